"""Layers of the ready networks: flax modules for one observation."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from qjax.checks import check_size

TINY = 1e-30
"""In the place of 0, where a number is divided by its own root."""


class Dense(nn.Module):
    """A dense layer `[..., m]` to `[..., n]`, with noise on its weights if wanted (Fortunato et al. 2018).

    With noise the weights are mu + sigma * f(e_in) f(e_out)^T and the biases mu + sigma * f(e_out), with normal e
    and f(e) = sign(e) sqrt(|e|) (factorised Gaussian noise, equations 10 and 11), mu uniform in +- 1 / sqrt(m) and
    sigma 0.5 / sqrt(m) at first (section 3.2). The noise is of the random stream "shared", so a batch has one
    matrix of weights and takes one matrix product; without that stream the weights are mu.

    Attributes:
        features: n.
        noisy: whether there is noise.

    """

    features: int
    noisy: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "*axes m"], rows: Float[Array, "k m"] | None = None) -> Array:
        """Return the layer's output for x, or with `rows` and an x `[m]` for each row times x, `[k, n]`."""
        size = x.shape[-1]
        kernel, bias = self._noisy(size) if self.noisy else self._plain(size)
        if rows is None:
            return x @ kernel + bias
        # x meets the weights first: in a batch with the same rows that is one matrix product, and no [B, k, m].
        return rows @ (x[:, None] * kernel) + bias

    def _plain(self, size: int) -> Any:
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (size, self.features))
        return kernel, self.param("bias", nn.initializers.zeros, (self.features,))

    def _noisy(self, size: int) -> Any:
        def uniform(key: Any, shape: Any) -> Any:
            return jax.random.uniform(key, shape, minval=-(size**-0.5), maxval=size**-0.5)

        sigma = nn.initializers.constant(0.5 * size**-0.5)
        kernel = self.param("kernel", uniform, (size, self.features))
        bias = self.param("bias", uniform, (self.features,))
        kernel_sigma = self.param("kernel_sigma", sigma, (size, self.features))
        bias_sigma = self.param("bias_sigma", sigma, (self.features,))
        if not self.has_rng("shared"):
            return kernel, bias
        noise = jax.random.normal(self.make_rng("shared"), (size + self.features,))
        # sign(e) sqrt(|e|), as a quotient: XLA never repeats a division for each of the m n weights, as it would
        # repeat a product and then also the random bits that it is made of.
        noise = noise / jnp.maximum(jnp.sqrt(jnp.abs(noise)), TINY)
        inputs, outputs = noise[:size], noise[size:]
        return kernel + kernel_sigma * jnp.outer(inputs, outputs), bias + bias_sigma * outputs


class Convolution(nn.Module):
    """A convolution 3 x 3 of an image `[H, W, C]` without padding, and ReLU: `[H - 2, W - 2, features]`.

    It is a dense layer on patches: lanes have different weights, and convolutions with a batch of kernels are slow
    on a CPU where matrix products are not.

    Attributes:
        features: width of the output.
        norm: LayerNorm over the features before the ReLU.

    """

    features: int = 16
    norm: bool = False

    @nn.compact
    def __call__(self, x: Any) -> Float[Array, "h w features"]:
        """Return `[H - 2, W - 2, features]`.

        Raises:
            TypeError: the number of features is no whole number.
            ValueError: it is not positive, or x is no image of at least 3 x 3.

        """
        check_size("features", self.features)
        if jnp.ndim(x) != 3 or min(jnp.shape(x)[:2]) < 3:
            raise ValueError(
                f"a convolution 3 x 3 needs an image [H, W, C] of at least 3 x 3, got {list(jnp.shape(x))}"
            )
        x = jnp.asarray(x, jnp.float32)
        height, width = x.shape[0] - 2, x.shape[1] - 2
        patches = [x[i : i + height, j : j + width] for i in range(3) for j in range(3)]
        x = Dense(self.features)(jnp.concatenate(patches, axis=-1))
        return nn.relu(nn.LayerNorm()(x) if self.norm else x)
