"""Networks: any object with `init` and `apply` for one observation, and a few ready ones."""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from qjax.checks import check_size
from qjax.types import Network, NetworkLike


class MLP(nn.Module):
    """Dense layers with ReLU between them: one observation of any shape (flattened) to `[actions]`.

    Attributes:
        actions: width of the output.
        hidden: widths of the hidden layers.

    """

    actions: int
    hidden: Sequence[int] = (120, 84)

    @nn.compact
    def __call__(self, x: Any) -> Float[Array, " A"]:
        """Return `[actions]` for one observation `x`.

        Raises:
            TypeError: x is an integer scalar, or a width no whole number.
            ValueError: a width is not positive.

        """
        if jnp.ndim(x) == 0 and jnp.issubdtype(jnp.result_type(x), jnp.integer):
            raise TypeError("a discrete observation is a name, not a number: use qjax.encoded(network, env.encode)")
        check_size("actions", self.actions)
        for width in self.hidden:
            check_size("a hidden width", width)
        x = jnp.asarray(x, jnp.float32).reshape(-1)
        for width in self.hidden:
            x = nn.relu(nn.Dense(width)(x))
        return nn.Dense(self.actions)(x)


def table(num_states: int, num_actions: int, initial: Any = 0.0) -> Network:
    """Return a Q-table as a network: its parameters are `[S, A]`, its input an integer scalar."""
    check_size("num_states", num_states)
    check_size("num_actions", num_actions)

    def init(key, obs):
        return jnp.full((num_states, num_actions), initial, jnp.float32)

    return Network(init, lambda params, obs, noise: params[obs])


def encoded(network: NetworkLike, encode: Callable[[Any], Any]) -> Network:
    """Return `network` reading `encode(obs)` in place of an observation.

    With `Env.encode` a discrete observation reaches the network as one-hot vector and anything else as float32,
    while the memory keeps the small original.
    """
    net = as_network(network)
    return Network(
        lambda key, obs: net.init(key, encode(obs)),
        lambda params, obs, noise: net.apply(params, encode(obs), noise),
    )


def as_network(network: NetworkLike) -> Network:
    """Return any object with `init` and `apply` as a `Network`.

    A `Network` is returned as it is. A flax module gets the two keys of `Noise` as the random streams "shared"
    and "own", which it may use or not. Anything else is called as `apply(params, obs)`, without noise.

    Raises:
        TypeError: `init` or `apply` is missing, or `network` is a class.

    """
    if isinstance(network, Network):
        return network
    if isinstance(network, type):
        raise TypeError(
            f"a network is an object, got the class {network.__name__}: make one, {network.__name__}(...)"
        )
    for name in ("init", "apply"):
        if not callable(getattr(network, name, None)):
            raise TypeError(f"a network needs init(key, obs) and apply(params, obs); {network!r} has no {name}")
    if isinstance(network, nn.Module):

        def apply(params, obs, noise):
            rngs = {} if noise is None else noise._asdict()
            return network.apply(params, obs, rngs=rngs)

        return Network(network.init, apply)
    return Network(network.init, lambda params, obs, noise: network.apply(params, obs))
