"""Layers of the ready networks: flax modules for one observation."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float

from qjax.core.checks import check_flag, check_range, check_size
from qjax.core.default_rules import usual

TINY = 1e-30
"""In the place of 0, where a number is divided by its own root."""


class Initializer(NamedTuple):
    """What the weights of a dense layer `[m, n]` are at the start."""

    kernel: Callable[[Any, tuple[int, int]], Array]
    """`(key, (m, n)) -> [m, n]`"""
    bias: Callable[[Any, tuple[int, int]], Array]
    """`(key, (m, n)) -> [n]`"""

    def scaled(self, factor: float) -> "Initializer":
        """Return this one with all kernels times a factor, `self` where that is 1."""
        if factor == 1:
            return self
        return self._replace(kernel=lambda key, shape: factor * self.kernel(key, shape))


def _no_bias(key: Any, shape: tuple[int, int]) -> Array:
    return jnp.zeros(shape[1])


def _uniform(key: Any, shape: tuple[int, ...], size: int) -> Array:
    """Return numbers uniform in +- 1 / sqrt(size)."""
    return jax.random.uniform(key, shape, minval=-(size**-0.5), maxval=size**-0.5)


def orthogonal(key: Any, shape: tuple[int, int]) -> Array:
    """Return orthonormal rows, or columns where they are fewer, uniform among all (Saxe et al. 2014).

    Normal vectors are made orthogonal one after another (Gram and Schmidt), each twice, for float32. A QR
    decomposition gives the same, but XLA's, a call of LAPACK, waits for ever in a program on several CPU devices.
    """
    count = min(shape)
    drawn = jax.random.normal(key, (count, max(shape)))

    def add(i: Any, rows: Any) -> Any:
        row = drawn[i]
        for _ in range(2):
            row -= (rows @ row) @ rows
        return rows.at[i].set(row / jnp.linalg.norm(row))

    rows = lax.fori_loop(0, count, add, jnp.zeros_like(drawn))
    return rows if shape[0] == count else rows.T


SPARSITY = 0.9
"""Share of the weights of each unit that are 0 with sparse initial weights."""


def sparse(key: Any, shape: tuple[int, int]) -> Array:
    """Return weights that are 0 but for a tenth of each unit's, uniform in +- 1 / sqrt(m) (Elsayed et al. 2024)."""
    weights_key, order_key = jax.random.split(key)
    order = jnp.argsort(jax.random.uniform(order_key, shape), axis=0)
    return jnp.where(order < int(SPARSITY * shape[0]), 0, _uniform(weights_key, shape, shape[0]))


INITIALIZERS = {
    "lecun_normal": Initializer(nn.initializers.lecun_normal(), _no_bias),
    "he_normal": Initializer(nn.initializers.he_normal(), _no_bias),
    "orthogonal": Initializer(orthogonal, _no_bias).scaled(2**0.5),
    "pytorch": Initializer(
        lambda key, shape: _uniform(key, shape, shape[0]), lambda key, shape: _uniform(key, shape[1:], shape[0])
    ),
    "sparse": Initializer(sparse, _no_bias),
}
"""By name: flax's own; He et al. 2015; `orthogonal` times sqrt(2), as Baselines and CleanRL have it; PyTorch's own,
uniform in +- 1 / sqrt(m), biases too; `sparse`."""


class Dense(nn.Module):
    """A dense layer `[..., m]` to `[..., n]`, with noise on its weights if wanted (Fortunato et al. 2018).

    With noise the weights are mu + sigma * f(e_in) f(e_out)^T and the biases mu + sigma * f(e_out), with normal e
    and f(e) = sign(e) sqrt(|e|) (factorised Gaussian noise, equations 10 and 11), mu uniform in +- 1 / sqrt(m) and
    sigma 0.5 / sqrt(m) at first (section 3.2). The noise is of the random stream "shared", so a batch has one
    matrix of weights and takes one matrix product; without that stream the weights are mu.

    Attributes:
        features: n.
        noisy: whether there is noise; weights then start as published, else as `initializer` says.
        initializer: what the weights are at the start.

    """

    features: int
    noisy: bool = False
    initializer: Initializer = INITIALIZERS["lecun_normal"]

    @nn.compact
    @usual
    def __call__(self, x: Float[Array, "*axes m"], rows: Float[Array, "k m"] | None = None) -> Array:
        """Return the layer's output for x, or with `rows` and an x `[m]` for each row times x, `[k, n]`."""
        size = x.shape[-1]
        kernel, bias = self._noisy(size) if self.noisy else self._plain(size)
        if rows is None:
            return x @ kernel + bias
        # x meets the weights first: in a batch with the same rows that is one matrix product, and no [B, k, m].
        return rows @ (x[:, None] * kernel) + bias

    def _plain(self, size: int) -> Any:
        shape = (size, self.features)
        return self.param("kernel", self.initializer.kernel, shape), self.param(
            "bias", self.initializer.bias, shape
        )

    def _noisy(self, size: int) -> Any:
        sigma = nn.initializers.constant(0.5 * size**-0.5)
        kernel = self.param("kernel", _uniform, (size, self.features), size)
        bias = self.param("bias", _uniform, (self.features,), size)
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
        norm_eps: its epsilon, which is added to the variance.
        initializer: what the weights are at the start.

    """

    features: int = 16
    norm: bool = False
    norm_eps: float = 1e-6
    initializer: Initializer = INITIALIZERS["lecun_normal"]

    def __post_init__(self) -> None:
        """Check the attributes.

        Raises:
            TypeError: the number of features is no whole number, or `norm` no flag.
            ValueError: the number of features is not positive.

        """
        check_size("features", self.features)
        check_flag("norm", self.norm)
        check_range("norm_eps", self.norm_eps, 0, 1, open_low=True)
        super().__post_init__()

    @nn.compact
    @usual
    def __call__(self, x: Any) -> Float[Array, "h w features"]:
        """Return `[H - 2, W - 2, features]`.

        Raises:
            ValueError: x is no image of at least 3 x 3.

        """
        if jnp.ndim(x) != 3 or min(jnp.shape(x)[:2]) < 3:
            raise ValueError(
                f"a convolution 3 x 3 needs an image [H, W, C] of at least 3 x 3, got {list(jnp.shape(x))}"
            )
        x = jnp.asarray(x, jnp.float32)
        height, width = x.shape[0] - 2, x.shape[1] - 2
        patches = [x[i : i + height, j : j + width] for i in range(3) for j in range(3)]
        x = Dense(self.features, initializer=self.initializer)(jnp.concatenate(patches, axis=-1))
        return nn.relu(nn.LayerNorm(self.norm_eps)(x) if self.norm else x)
