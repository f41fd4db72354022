"""Memories: where transitions wait until they are learned from.

Rows are counted by the loop's clock, so a memory holds no cursor: the same row is written in every lane, and the
write stays one slice for any number of vmapped lanes.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int

from qjax.core.checks import check_key, check_record, check_size
from qjax.core.clock import MODULUS_LIMIT, capped, missing, modulo
from qjax.core.default_rules import makes_usual
from qjax.objectives.returns import n_step_transition
from qjax.replay.delayed import delayed, new_places
from qjax.replay.frames import Frames, FrameStore, zeros
from qjax.replay.packing import Packed, block_axes, pack
from qjax.replay.slices import write_slice
from qjax.types import Batch, Clock, Memory


@makes_usual
def online(n: int = 1) -> Memory:
    """Return the memory that holds just the newest block: online learning from each transition once.

    Its batch is the block itself, `T` rows of `N` streams in order, and what the actors remembered before it. With
    n above 1 each transition is learned when its n-step return is known, or its episode has ended (Sutton and Barto
    2018, section 7.1; see `n_step_transition`): a batch then is `[n - 1 + T, N]`, in which those that wait have
    weight 0, and there is no carry.

    Raises:
        TypeError: n is traced or no whole number.
        ValueError: n is less than 1.

    """
    if (n := check_size("n", n)) > 1:
        return delayed(n - 1, n_step_transition)._replace(steps=n)

    def init(block, carry=()):
        rows, before = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), (block, carry))
        return rows, jnp.zeros(block.reward.shape, jnp.float32), before

    def add(state, block, clock, carry=()):
        rows, envs = block.reward.shape
        # A wrapper that holds rows back sets the clock back: rows from before the start do not count.
        known = jnp.arange(rows) >= missing(clock, rows)
        return block, jnp.broadcast_to(known[:, None], (rows, envs)).astype(jnp.float32), carry

    def sample(key, state, clock, time):
        block, weight, carry = state
        return Batch(block, weight, *new_places(clock, weight.shape[1]), carry)

    return Memory(init, add, sample)


@makes_usual
def ring(capacity: int, batch_size: int, window: int = 1, frames: Frames | None = None) -> Memory:
    """Return a uniform replay memory: a fixed-size ring of arrays (Lin 1992; Mnih et al. 2015).

    Its state is `Packed` transitions, rows `[capacity // N, N, words]`; `state.unpacked()` shows them. A batch is
    drawn with replacement, uniformly from what is stored, from integer bits: float32 uniforms give each slot of a
    million only eight or nine values. The bias of the remainder is below capacity / 2**32.

    A batch is `[window, B]`: consecutive rows of one environment, which may belong to several episodes. A window
    never reaches over the newest row into the oldest ones, so none begins at the newest window - 1 rows. Before
    `window` rows are written there is nothing to draw, and every weight is 0.

    With `frames` each observation is stored once, and of a stack of them each frame: batches are the same, but for
    the successor where the discount is 0, which is no one's. For environments with no truncation but at a limit.

    Args:
        capacity: transitions held, a multiple of a block's T x N.
        batch_size: windows drawn.
        window: consecutive rows of a batch, for `n_step`.
        frames: `Frames(env.max_steps)`, or `Frames(env.max_steps, 4)` where an observation is a stack of four.

    Raises:
        TypeError: a size is traced or no whole number.
        ValueError: a size is not positive, the batch is larger than the capacity, the capacity 2**31 or more (2**30
            with windows), or (in `init`) the capacity is no multiple of a block, or its rows are more than 2**24 or
            less than the window.

    """
    capacity, batch_size = check_size("capacity", capacity, most=2**63), check_size("batch_size", batch_size)
    window = check_size("window", window)
    if batch_size > capacity:
        raise ValueError(f"batch_size {batch_size} exceeds capacity {capacity}")
    if frames is not None:
        check_record("frames", frames, Frames)
    limit = 2**31 if window == 1 else 2**30  # a window's last row stands, before it wraps, below twice that
    if capacity >= limit:
        kind = "" if window == 1 else f" for windows of {window} rows"
        raise ValueError(f"capacity must be below {limit}{kind}, as its slots are int32, got {capacity}")

    def init(block, carry=()):
        steps, envs = block_axes(block)
        if capacity % (steps * envs):
            raise ValueError(
                f"capacity {capacity} is not a multiple of a block: {steps} steps x {envs} environments"
                f" = {steps * envs}"
            )
        rows = capacity // envs
        if rows > MODULUS_LIMIT:
            raise ValueError(f"capacity {capacity} makes {rows} rows of {envs}, more than {MODULUS_LIMIT}")
        if window > rows:
            raise ValueError(
                f"window (n) {window} exceeds the {rows} rows that capacity {capacity} makes of {envs} environments"
            )
        if frames is not None:
            return zeros(block, rows, frames)
        packed = jax.eval_shape(lambda block: pack(block, axes=2), block)
        return packed.map(lambda x: jnp.zeros((rows, *x.shape[1:]), x.dtype))

    def add(store, block, clock, carry=()):
        if isinstance(store, FrameStore):
            return store.write(block, clock)
        row = modulo(clock, store.axes[0])
        new = pack(block, axes=2)
        return store.map(lambda held, rows: write_slice(held, rows, row), new)

    def sample(key, store, clock, time):
        check_key(key)
        rows, envs = store.axes
        # Rows fill from 0 upwards, so what is stored is always the first `stored` of them. At least one start:
        # before the first write there is nothing to draw, and a remainder by zero would be out of bounds.
        stored = capped(clock, rows)
        starts = jnp.maximum(stored - (window - 1), 1) * envs
        bits = jax.random.bits(key, (batch_size,), jnp.uint32)
        slot = lax.rem(bits, starts.astype(jnp.uint32)).astype(jnp.int32)
        if window > 1:
            oldest = jnp.where(stored < rows, 0, modulo(clock, rows))
            slot = (slot + oldest * envs) % capacity
        weight = jnp.full((window, batch_size), (stored >= window).astype(jnp.float32))
        return Batch(consecutive(store, slot, window, clock), weight, slot=slot, env=slot % envs)

    return Memory(init, add, sample, replays=True, frames=frames)


def consecutive(store: Packed | FrameStore, slot: Int[Array, " B"], window: int, clock: Clock) -> Any:
    """Return the rows from some slots of a ring on, leaves `[window, B, ...]`, by one gather."""
    if isinstance(store, FrameStore):
        return store.consecutive(slot, window, clock)
    if window == 1:
        return store.at(slot[None])
    rows, envs = store.axes
    later = jnp.arange(window, dtype=jnp.int32)[:, None] * envs
    return store.at((slot + later) % (rows * envs))


@makes_usual
def n_step(memory: Memory, n: int) -> Memory:
    """Return a memory whose batches `[1, B]` are n-step transitions: its windows, folded when they are drawn.

    `n_step(ring(capacity, batch_size, window=n), n)`, and so for `prioritized`. A window ends early with its
    episode (see `n_step_transition`). Weights, slots and environments are those of a window's first row.

    Raises:
        TypeError: n is traced or no whole number, or `memory` no memory.
        ValueError: n is less than 1, or (at trace time) the memory's windows do not have n rows.

    """
    check_record("memory", memory, Memory)
    n = check_size("n", n)

    def sample(key, state, clock, time):
        batch = memory.sample(key, state, clock, time)
        rows = batch.weight.shape[0]
        if rows != n:
            raise ValueError(f"n_step takes windows of {n} rows, the memory's have {rows}: give it window={n}")
        folded = jax.vmap(n_step_transition, in_axes=1)(batch.data)
        return batch._replace(data=jax.tree.map(lambda x: x[None], folded), weight=batch.weight[:1])

    return memory._replace(sample=sample, steps=n)
