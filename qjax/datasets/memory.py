"""The memory of recorded data: one copy of it for all lanes, whatever their number."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Int

from qjax.core.checks import check_key, check_range, check_record, check_size, describe
from qjax.core.default_rules import makes_usual
from qjax.datasets.dataset import Dataset, check_dataset
from qjax.types import Batch, Memory, Transition


@makes_usual
def recorded(data: Dataset, gamma: Any, batch_size: int, window: int = 1, burn_in: int = 0) -> Memory:
    """Return a memory that holds recorded transitions, and nothing of what its own environments go through.

    It has no state: lanes share the data, which a sweep's plan shows once. A batch is `[window, B]`, consecutive
    rows of one stream that may belong to several episodes, drawn with replacement, uniformly. With windows of n
    rows `n_step` makes targets of n steps of them; recurrent agents take them as sequences without a stored state.
    A loop still acts, so that it shows what its policy is worth; to learn more between steps, give it `updates`.

    Args:
        data: what was recorded.
        gamma: discount factor, the loop's.
        batch_size: windows drawn.
        window: consecutive rows of a batch.
        burn_in: of them those that only bring what a recurrent network remembers up to date: their weight is 0.

    Raises:
        TypeError: `data` is no `Dataset`, or a size is traced or no whole number.
        ValueError: a size is not positive, gamma lies outside [0, 1], the window is longer than the data's streams
            or not longer than the burn-in, there are 2**31 transitions or more, or (in `init`) the environment's
            observations are others than those recorded, or an agent reads probabilities that were not; and as
            for `qjax.datasets.from_arrays`.

    """
    check_record("data", data, Dataset)
    check_dataset(data, "data")
    check_range("gamma", gamma, 0, 1)
    batch_size, window = check_size("batch_size", batch_size), check_size("window", window)
    burn_in = check_size("burn_in", burn_in, least=0)
    rows, streams = data.action.shape
    if window > rows:
        raise ValueError(f"windows of {window} rows are longer than the data's streams of {rows}")
    if burn_in >= window:
        raise ValueError(f"a burn_in of {burn_in} rows leaves none of a window's {window} to learn from")
    if rows * streams >= 2**31:
        raise ValueError(f"{rows} rows x {streams} streams are 2**31 transitions or more: take a part of them")

    def init(block, carry=()):
        _check_alike(data, block)
        return ()

    def add(state, block, clock, carry=()):
        return state

    def sample(key, state, clock, time):
        check_key(key)
        starts = jnp.uint32((rows - window + 1) * streams)
        slot = lax.rem(jax.random.bits(key, (batch_size,), jnp.uint32), starts).astype(jnp.int32)
        later = jnp.arange(window, dtype=jnp.int32)[:, None]
        weight = jnp.broadcast_to((later >= burn_in).astype(jnp.float32), (window, batch_size))
        return Batch(_transition(_gathered(data, slot + later * streams), gamma), weight, slot, env=slot % streams)

    return Memory(init, add, sample, replays=True)


def _gathered(data: Dataset, slot: Int[Array, "T B"]) -> dict[str, Any]:
    """Return some transitions by field, leaves `[T, B, ...]`: of each array, which may be a file's, its own rows.

    Packed as a ring's they would be one miss of the cache each; but packing copies what may not fit.
    """
    fields = {name: x for name, x in data._asdict().items() if name not in ("num_actions", "env")}
    return jax.tree.map(lambda x: jnp.asarray(x)[jnp.unravel_index(slot, x.shape[:2])], fields)


def _transition(found: dict[str, Any], gamma: Any) -> Transition:
    """Return gathered fields as transitions."""
    terminated, last = found.pop("terminated"), found.pop("truncated")
    discount = (gamma * (1 - terminated.astype(jnp.float32))).astype(jnp.float32)
    return Transition(**found, discount=discount, last=terminated | last)


def _check_alike(data: Dataset, block: Transition) -> None:
    """Check that data were recorded in such an environment as gives this block, with what its agent reads."""
    recorded_obs, obs = (
        jax.tree.map(lambda x: jax.ShapeDtypeStruct(np.shape(x)[2:], x.dtype), tree)
        for tree in (data.obs, block.obs)
    )
    if recorded_obs != obs:
        raise ValueError(
            f"the data's observations are {describe(recorded_obs)}{f' of {data.env}' * bool(data.env)}, the"
            f" environment's {describe(obs)}"
        )
    if jax.tree.leaves(block.probability) and not jax.tree.leaves(data.probability):
        raise ValueError("the agent learns from probabilities of actions, and the data have none")
