"""The memory of recorded data: one copy of it for all lanes, whatever their number."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int

from qjax.core.checks import check_key, check_range, check_record, check_size
from qjax.core.default_rules import makes_usual
from qjax.datasets.dataset import Dataset, check_dataset, check_env
from qjax.types import Batch, Memory, Transition


@makes_usual
def recorded(data: Dataset, gamma: Any, batch_size: int, window: int = 1, burn_in: int = 0) -> Memory:
    """Return a memory that holds recorded transitions, and nothing of what its own environments go through.

    It has no state: lanes share the data, which a sweep's plan shows once. A batch is `[window, B]`, consecutive
    rows of one stream that may belong to several episodes; where it begins is drawn with replacement, uniformly of
    all transitions. A stream's last row ends a window as a truncated episode does; rows behind it have weight 0.
    With windows of n rows `n_step` makes targets of n steps, or fewer at the end of a stream; recurrent agents take
    them as sequences without a stored state.

    A loop still acts, so that it shows what its policy is worth; to learn more between steps, give it `updates`.

    Args:
        data: what was recorded.
        gamma: discount factor, the loop's.
        batch_size: windows drawn.
        window: consecutive rows of a batch.
        burn_in: of them those that only bring what a recurrent network remembers up to date: their weight is 0.

    Raises:
        TypeError: `data` is no `Dataset`, or a size is traced or no whole number.
        ValueError: a size is not positive, gamma lies outside [0, 1], the window is not longer than the burn-in,
            there are 2**31 transitions or more, (in `make_loop`) the environment has other observations or actions
            than the data, or (in `init`) the agent reads probabilities that were not recorded; and as for
            `qjax.datasets.from_arrays`.

    """
    check_record("data", data, Dataset)
    check_dataset(data, "data")
    check_range("gamma", gamma, 0, 1)
    batch_size, window = check_size("batch_size", batch_size), check_size("window", window)
    burn_in = check_size("burn_in", burn_in, least=0)
    if burn_in >= window:
        raise ValueError(f"a burn_in of {burn_in} rows leaves none of a window's {window} to learn from")
    rows, streams = data.action.shape
    if rows * streams >= 2**31:
        raise ValueError(f"{rows} rows x {streams} streams are 2**31 transitions or more: take a part of them")

    def init(block, carry=()):
        if jax.tree.leaves(block.probability) and not jax.tree.leaves(data.probability):
            raise ValueError("the agent learns from probabilities of actions, and the data have none")
        return ()

    def add(state, block, clock, carry=()):
        return state

    def sample(key, state, clock, time):
        check_key(key)
        bits = jax.random.bits(key, (batch_size,), jnp.uint32)
        slot = lax.rem(bits, jnp.uint32(rows * streams)).astype(jnp.int32)
        later = jnp.arange(window, dtype=jnp.int32)[:, None]
        row, stream = slot // streams + later, slot % streams
        found = _transition(_gathered(data, jnp.minimum(row, rows - 1), stream), gamma)
        weight = ((row < rows) & (later >= burn_in)).astype(jnp.float32)
        return Batch(found._replace(last=found.last | (row >= rows - 1)), weight, slot, env=stream)

    return Memory(init, add, sample, replays=True, check=partial(check_env, data, "data"))


def _gathered(data: Dataset, row: Int[Array, "T B"], stream: Int[Array, " B"]) -> dict[str, Any]:
    """Return some transitions by field, leaves `[T, B, ...]`: of each array, which may be a file's, its own rows.

    Packed as a ring's they would be one miss of the cache each; but packing copies what may not fit.
    """
    fields = {name: x for name, x in data._asdict().items() if name not in ("num_actions", "env")}
    return jax.tree.map(lambda x: jnp.asarray(x)[row, stream], fields)


def _transition(found: dict[str, Any], gamma: Any) -> Transition:
    """Return gathered fields as transitions."""
    terminated, last = found.pop("terminated"), found.pop("truncated")
    discount = (gamma * (1 - terminated.astype(jnp.float32))).astype(jnp.float32)
    return Transition(**found, discount=discount, last=terminated | last)
