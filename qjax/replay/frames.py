"""A ring's rows with each observation stored once: a row's successor is the next row's observation.

That holds within an episode. Where one terminated, the successor's value counts for nothing (discount 0). Where a
time limit cut it, the true successor is stored apart. Cuts of one environment are at least as many rows apart as
the limit has steps, so each has a place that the clock tells: a write stays one slice for any number of lanes.
"""

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int

from qjax.core.checks import check_size
from qjax.core.clock import MODULUS_LIMIT, capped, modulo, plus
from qjax.replay.packing import Packed, pack
from qjax.replay.slices import write_slice
from qjax.types import Clock, Transition


class Frames(NamedTuple):
    """How a memory stores each observation once; see `qjax.ring`."""

    max_steps: int | None
    """The environment's own limit, `Env.max_steps`; None where no episode is ever truncated."""
    stack: int = 1
    """Frames of an observation, along its last axis, oldest first; the first one of an episode is repeated."""


@partial(jax.tree_util.register_dataclass, data_fields=["rows", "cut"], meta_fields=["size", "frames"])
@dataclasses.dataclass(frozen=True)
class FrameStore:
    """Rows of a ring, in memory longer than the ring by those that its oldest and newest rows need."""

    rows: Packed
    """`[places + 1, N, words]`, without successors; the last is the successor of the place before it alone."""
    cut: Packed | None
    """True successors at time limits, `[cuts, N, words]`; None where there is no limit."""
    size: int
    """Rows of the ring."""
    frames: Frames
    """How observations are stored."""

    @property
    def axes(self) -> tuple[int, ...]:
        """The ring's rows, and environments."""
        return self.size, self.rows.axes[1]

    @property
    def _places(self) -> int:
        return self.rows.axes[0] - 1

    @property
    def _limit(self) -> int:
        return self.frames.max_steps or 1

    @property
    def _cycle(self) -> int:
        """After how many rows a cut takes the same place again."""
        return self._limit * (0 if self.cut is None else self.cut.axes[0])

    def write(self, block: Transition, clock: Clock) -> "FrameStore":
        """Return the store with a block added."""
        steps = block.reward.shape[0]
        successors = jax.tree.map(partial(_newest, self.frames.stack), block.next_obs)
        rows = block._replace(obs=jax.tree.map(partial(_newest, self.frames.stack), block.obs), next_obs=())
        # The newest row's successor stands where the next row will.
        after = jax.tree.map(lambda x: jnp.zeros_like(x[:1]), rows)._replace(
            obs=jax.tree.map(lambda x: x[-1:], successors)
        )
        new = pack(jax.tree.map(lambda *x: jnp.concatenate(x), rows, after), axes=2)
        at = modulo(clock, self._places)
        stored = self.rows.map(lambda held, rows: write_slice(held, rows, at), new)
        if self.cut is None:
            return dataclasses.replace(self, rows=stored)
        cut, packed = self.cut.rows, pack(successors, axes=2).rows
        for step in range(steps):
            place = modulo(plus(clock, step), self._cycle) // self._limit
            old = lax.dynamic_slice_in_dim(cut, place, 1, axis=0)
            truncated = _truncated(block)[step, None, :, None]
            cut = write_slice(cut, jnp.where(truncated, packed[step][None], old), place)
        return dataclasses.replace(self, rows=stored, cut=self.cut.map(lambda _: cut))

    def consecutive(self, slot: Int[Array, " B"], window: int, clock: Clock) -> Transition:
        """Return rows from some slots of the ring on, leaves `[window, B, ...]`; `clock` counts all rows."""
        size, envs = self.axes
        row, env, before = slot // envs, slot % envs, self.frames.stack - 1
        age = (modulo(clock, size) - 1 - row) % size
        offset = jnp.arange(-before, window)[:, None]
        place = (modulo(clock, self._places) - 1 - age + offset) % self._places
        place = jnp.concatenate([place, place[-1:] + 1])  # where the last one's successor stands
        found = self.rows.at(place * envs + env)
        known = age - offset < capped(clock, self._places)
        own = jax.tree.map(lambda x: x[before:-1], found._replace(obs=()))
        follows = known & ~found.last[:-1]  # whether the episode goes on after a row
        obs = jax.tree.map(lambda x: _stacked(x[:-1], follows, before), found.obs)
        newest = jax.tree.map(lambda x: x[before + 1 :], found.obs)
        if self.cut is not None:
            tick = (modulo(clock, self._cycle) - 1 - age + jnp.arange(window)[:, None]) % self._cycle
            apart = self.cut.at(tick // self._limit * envs + env)
            newest = jax.tree.map(partial(_where, _truncated(own)), apart, newest)
        next_obs = jax.tree.map(lambda x, y: _pushed(x, y, self.frames.stack), obs, newest)
        return own._replace(obs=obs, next_obs=next_obs)


def zeros(block: Transition, size: int, frames: Frames) -> FrameStore:
    """Return the empty store of a ring of so many rows for blocks of these shapes.

    Raises:
        TypeError: the limit or the number of frames is traced, or no whole number.
        ValueError: one is not positive, an observation's last axis does not hold so many frames, or the rows and
            two episodes of the limit are more than 2**24.

    """
    frames = Frames(
        None if frames.max_steps is None else check_size("frames.max_steps", frames.max_steps),
        check_size("frames.stack", frames.stack),
    )
    steps = block.reward.shape[0]
    for leaf in jax.tree.leaves(block.obs):
        if frames.stack > 1 and (leaf.ndim < 3 or leaf.shape[-1] % frames.stack):
            raise ValueError(f"an observation {list(leaf.shape[2:])} has no {frames.stack} frames on its last axis")
    places = -(-(size + frames.stack) // steps) * steps
    cuts = 0 if frames.max_steps is None else size // frames.max_steps + 2
    if max(places, cuts * (frames.max_steps or 0)) > MODULUS_LIMIT:
        raise ValueError(
            f"{size} rows and a limit of {frames.max_steps} steps are too many: {MODULUS_LIMIT} at most"
        )

    def packed(block: Transition) -> Any:
        newest = partial(_newest, frames.stack)
        obs, after = (jax.tree.map(newest, x) for x in (block.obs, block.next_obs))
        return pack(block._replace(obs=obs, next_obs=()), axes=2), pack(after, axes=2)

    rows, after = jax.eval_shape(packed, block)
    held = rows.map(lambda x: jnp.zeros((places + 1, *x.shape[1:]), x.dtype))
    cut = after.map(lambda x: jnp.zeros((cuts, *x.shape[1:]), x.dtype)) if cuts else None
    return FrameStore(held, cut, size, frames)


def _truncated(rows: Transition) -> Array:
    """Return which rows a time limit cut; without a discount a successor counts for nothing."""
    return rows.last & (rows.discount > 0)


def _newest(stack: int, obs: Array) -> Array:
    """Return an observation's newest frame."""
    return obs if stack == 1 else obs[..., -(obs.shape[-1] // stack) :]


def _stacked(frame: Array, follows: Array, before: int) -> Array:
    """Return frames with those before them, back to the beginning of their episode, `[window, B, ...]`.

    Both are `[before + window, B, ...]`; `follows` says whether the next row is of the same episode.
    """
    parts, there = [frame[before:]], jnp.ones_like(follows[before:])
    for back in range(1, before + 1):
        at = slice(before - back, len(frame) - back)
        there &= follows[at]
        parts.insert(0, _where(there, frame[at], parts[0]))
    return jnp.concatenate(parts, axis=-1) if before else parts[0]


def _pushed(obs: Array, frame: Array, stack: int) -> Array:
    """Return a stack with a new frame in the place of its oldest."""
    return frame if stack == 1 else jnp.concatenate([obs[..., obs.shape[-1] // stack :], frame], axis=-1)


def _where(chosen: Array, x: Array, y: Array) -> Array:
    return jnp.where(chosen.reshape(*chosen.shape, *[1] * (x.ndim - chosen.ndim)), x, y)
