"""Recurrent networks: a cell between what reads the observation and what the head reads."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct

from qjax.core.checks import check_callable, check_record
from qjax.core.default_rules import makes_usual
from qjax.core.random import root_key
from qjax.core.text import shown
from qjax.networks.layers import orthogonal
from qjax.networks.networks import as_network, check_numbers
from qjax.types import NetworkLike, Params, RecurrentNetwork


def _without_lapack(key: Any, shape: tuple[int, int], dtype: Any) -> Any:
    return orthogonal(key, shape)


CELLS: dict[str, Callable[[int], Any]] = {
    "gru": lambda size: nn.GRUCell(size, recurrent_kernel_init=_without_lapack),
    "lstm": lambda size: nn.OptimizedLSTMCell(size, recurrent_kernel_init=_without_lapack),
}
"""Flax's by name, `size -> cell`. Their recurrent weights start orthogonal, as flax's do, without LAPACK."""


@struct.dataclass
class RecurrentParams:
    """The parameters of a `recurrent` network."""

    torso: Params
    """Of what comes before the cell; `()` where nothing does."""
    cell: Params
    """The cell's."""
    network: Params
    """Of what comes after it."""
    width: int = struct.field(pytree_node=False)
    """Numbers that the cell reads, on which its initial carry may depend."""


@makes_usual
def recurrent(cell: Any, network: NetworkLike, torso: NetworkLike | None = None) -> RecurrentNetwork:
    """Return a recurrent network: a torso, a cell that remembers, and a network of what the cell gives.

    Args:
        cell: a flax cell (`nn.GRUCell(64)`, `nn.LSTMCell(64)`, any `nn.RNNCellBase`), or an object with
            `initialize_carry(key, input_shape) -> carry`, `init(key, carry, x) -> params` and `apply(params, carry,
            x) -> (carry, y)`, for vectors x.
        network: any, such as `MLP(actions, (64,))`, which reads y in the place of an observation. So heads combine
            with it as with any network.
        torso: reads the observation; what it gives, of any shape, the cell reads as one vector. Default none.

    Raises:
        TypeError: the cell has no initial carry, or lacks another function; a network lacks `init` or `apply`.

    """
    _check_cell(cell)
    net, eyes = as_network(network), None if torso is None else as_network(torso)

    def begin(params):
        return cell.initialize_carry(root_key(0), (params.width,))

    def seen(params, obs, noise):
        if eyes is None:
            check_numbers(obs)
        else:
            # Not the noise of the network behind the cell, whose layers may have the same names.
            noise = jax.tree.map(lambda key: jax.random.fold_in(key, 1), noise)
            obs = eyes.apply(params, obs, noise)
        return jnp.concatenate([jnp.asarray(x, jnp.float32).reshape(-1) for x in jax.tree.leaves(obs)])

    def init(key, obs):
        torso_key, cell_key, network_key = jax.random.split(key, 3)
        torso_params = () if eyes is None else eyes.init(torso_key, obs)
        x = seen(torso_params, obs, None)
        carry = cell.initialize_carry(root_key(0), x.shape)
        cell_params = cell.init(cell_key, carry, x)
        y = cell.apply(cell_params, carry, x)[1]
        return RecurrentParams(torso_params, cell_params, net.init(network_key, y), x.size)

    def step(params, carry, x):
        carry, y = cell.apply(params.cell, carry, x)
        return y, carry

    return RecurrentNetwork(
        init,
        begin,
        features=lambda params, obs, noise: seen(params.torso, obs, noise),
        cell=step,
        output=lambda params, y, noise: net.apply(params.network, y, noise),
        masks=net.masks,
        noisy=net.noisy or (eyes is not None and eyes.noisy),
    )


def _check_cell(cell: Any) -> None:
    """Check that a cell of vectors has an initial carry, and what it takes to step."""
    for name in ("initialize_carry", "init", "apply"):
        if isinstance(cell, type) or not callable(getattr(cell, name, None)):
            raise TypeError(
                f"a cell is an object with initialize_carry, init and apply; {shown(cell)} has no {name}"
            )
    try:
        carry = jax.eval_shape(lambda: cell.initialize_carry(root_key(0), (1,)))
    except NotImplementedError:
        raise TypeError(
            f"a cell needs an initial carry; {shown(cell)} does not implement initialize_carry"
        ) from None
    try:
        axes = getattr(cell, "num_feature_axes", 1)
    except NotImplementedError:  # what flax's base has for it; `nn.RNN` alone needs it
        axes = 1
    if axes != 1 or not jax.tree.leaves(carry):
        raise TypeError(f"a cell must read vectors and remember something; {shown(cell)} does not")


@makes_usual
def as_recurrent(network: Any) -> RecurrentNetwork:
    """Return a recurrent network, or any object with `init`, `begin` and `apply`, as a `RecurrentNetwork`.

    `begin(params) -> carry` starts an episode, and `apply(params, carry, obs) -> (out, carry)` is one step, without
    noise.

    Raises:
        TypeError: a function is missing, or takes other arguments.

    """
    if isinstance(network, RecurrentNetwork):
        check_record("network", network, RecurrentNetwork)
        return network
    for name in ("init", "begin", "apply"):
        if isinstance(network, type) or not callable(getattr(network, name, None)):
            raise TypeError(
                f"a recurrent network needs init(key, obs), begin(params) and apply(params, carry, obs);"
                f" {shown(network)} has no {name}: qjax.recurrent(cell, network) makes one of any network"
            )
    check_callable("network.init", network.init, "(key, obs) -> params")
    check_callable("network.begin", network.begin, "(params) -> carry")
    check_callable("network.apply", network.apply, "(params, carry, obs) -> (out, carry)")
    return RecurrentNetwork(
        network.init, network.begin, lambda params, obs, noise: obs, network.apply, lambda params, y, noise: y
    )
