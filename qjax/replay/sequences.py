"""Replay of sequences, with what their actor remembered before them."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from qjax.core.checks import check_callable, check_size
from qjax.core.clock import divided
from qjax.core.default_rules import makes_usual
from qjax.replay.memory import ring
from qjax.types import Batch, Carry, Memory, State, Transition, no_update


class Piece(NamedTuple):
    """The block of each environment as one row of a ring."""

    rows: Transition
    """`[1, N, T, ...]`"""
    carry: Carry
    """What the actor remembered before the first of them, `[1, N, ...]`."""


@partial(jax.tree_util.register_dataclass, data_fields=["pieces"], meta_fields=["steps"])
@dataclasses.dataclass(frozen=True)
class SequencesState:
    """The state of a `sequences` memory."""

    pieces: State
    """That of the ring of pieces."""
    steps: int
    """T, rows of a piece."""


@makes_usual
def sequences(
    capacity: int, batch_size: int, length: int, burn_in: int = 0, replay: Callable[..., Memory] = ring
) -> Memory:
    """Return a replay memory of sequences, each with what its actor remembered before it (Kapturowski et al. 2019).

    A batch is `[length, B]`, consecutive rows of one environment that may belong to several episodes. The first
    `burn_in` rows have weight 0: they only bring what is remembered up to date (section 3 there). A sequence is
    made of whole blocks of a rollout, before each of which the carry is stored once; so it begins where a block
    does. None reaches over the newest row into the oldest.

    The blocks are rows of a `ring`, or of another memory with the same sizes: `partial(qjax.prioritized, alpha=0.9,
    beta=0.6)` draws by the priorities of sequences.

    Args:
        capacity: transitions held, a multiple of a block's T x N.
        batch_size: sequences drawn.
        length: rows of a sequence, a multiple of T.
        burn_in: how many of them come before those that are learned from.
        replay: `(capacity, batch_size, window=) -> memory` of the blocks.

    Raises:
        TypeError: a size is traced or no whole number.
        ValueError: a size is not positive, the burn-in is as long as a sequence, `replay` stores frames, or (in
            `init`) capacity or length are no multiple of a block, or the length is more than the rows of an
            environment; and as for `replay`.

    """
    capacity, batch_size = check_size("capacity", capacity), check_size("batch_size", batch_size)
    length, burn_in = check_size("length", length), check_size("burn_in", burn_in, least=0)
    check_callable("replay", replay, "(capacity, batch_size) -> memory")
    if burn_in >= length:
        raise ValueError(f"a burn_in of {burn_in} rows leaves none of a sequence's {length} (length) to learn from")
    single = replay(batch_size, batch_size, window=1)
    if single.frames is not None:
        raise ValueError("sequences store blocks as they come, and no observation once: give replay no frames")

    def of_blocks(steps):
        return replay(capacity // steps, batch_size, window=length // steps)

    def init(block, carry=()):
        steps, envs = block.reward.shape
        _check_blocks(capacity, length, steps, envs)
        piece = jax.eval_shape(_piece, block, carry)
        return SequencesState(of_blocks(steps).init(piece), steps)

    def add(state, block, clock, carry=()):
        memory, piece = of_blocks(state.steps), _piece(block, carry)
        return dataclasses.replace(state, pieces=memory.add(state.pieces, piece, divided(clock, state.steps)))

    def sample(key, state, clock, time):
        batch = of_blocks(state.steps).sample(key, state.pieces, divided(clock, state.steps), time)
        rows: Transition = jax.tree.map(_joined, batch.data.rows)
        learned = (jnp.arange(length) >= burn_in)[:, None]
        weight = jnp.where(learned, jnp.repeat(batch.weight, state.steps, axis=0), 0)
        carry = jax.tree.map(lambda x: x[0], batch.data.carry)
        return Batch(rows, weight, batch.slot, batch.env, carry)

    if single.update is no_update:
        return Memory(init, add, sample, replays=True)

    def update(state, slot, priority):
        return dataclasses.replace(state, pieces=of_blocks(state.steps).update(state.pieces, slot, priority))

    return Memory(init, add, sample, update, replays=True)


def _check_blocks(capacity: int, length: int, steps: int, envs: int) -> None:
    """Check that memory and sequences are made of whole blocks."""
    if capacity % (steps * envs):
        raise ValueError(
            f"capacity {capacity} is not a multiple of a block: {steps} steps x {envs} environments"
            f" = {steps * envs}"
        )
    if length % steps:
        raise ValueError(f"sequences of {length} rows (length) are not made of whole blocks of {steps} (rollout)")
    if length > capacity // envs:
        raise ValueError(
            f"sequences of {length} rows (length) exceed the {capacity // envs} rows that capacity {capacity} makes"
            f" of {envs} environments"
        )


def _piece(block: Transition, carry: Carry) -> Piece:
    rows = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1)[None], block)
    return Piece(rows, jax.tree.map(lambda x: x[None], carry))


def _joined(x: jax.Array) -> jax.Array:
    """Return `[blocks, B, T, ...]` as `[blocks T, B, ...]`."""
    blocks, streams, steps, *rest = x.shape
    return jnp.moveaxis(x, 2, 1).reshape(blocks * steps, streams, *rest)
