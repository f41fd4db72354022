"""Prioritized experience replay, the proportional variant (Schaul et al. 2016, section 3.3)."""

from functools import reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from qjax.core.checks import check_key, check_range, check_size
from qjax.core.clock import capped, modulo, plus
from qjax.core.default_rules import makes_usual
from qjax.exploration.schedules import as_schedule
from qjax.replay import sum_tree
from qjax.replay.frames import Frames, FrameStore
from qjax.replay.memory import consecutive, ring
from qjax.replay.packing import Packed, block_axes
from qjax.replay.slices import write_slice
from qjax.types import Batch, Clock, Memory

LEAST, MOST = 2.0**-96, 2.0**96
"""Masses are kept between these: the sum of any number of slots is finite, and none underflows to 0."""


class PrioritizedState(NamedTuple):
    """The state of a `prioritized` memory."""

    store: Packed | FrameStore
    """Transitions, rows `[capacity // N, N, words]`, as those of a `ring`."""
    tree: sum_tree.Tree
    """The mass p ** alpha of every slot; 0 where no window may begin."""
    max_priority: Float[Array, ""]
    """The largest p = |delta| + min_priority so far, from 1 on."""


@makes_usual
def prioritized(
    capacity: int,
    batch_size: int,
    alpha: Any,
    beta: Any,
    *,
    window: int = 1,
    min_priority: Any = 1e-6,
    frames: Frames | None = None,
    branching: int = sum_tree.BRANCHING,
) -> Memory:
    """Return a prioritized replay memory; its state is a `PrioritizedState`.

    Slot i has the priority p_i = |delta_i| + min_priority and is drawn with probability P(i) = p_i ** alpha /
    sum_k p_k ** alpha (equation 1), one from each of `batch_size` equal segments of the sum (appendix B.2.1). A
    transition's weight is w_i = (N P(i)) ** -beta / max_j w_j with the maximum over the batch (section 3.4), in
    which N and the sum cancel: (min_j p_j ** alpha / p_i ** alpha) ** beta.

    A new transition has the largest p so far, as in Algorithm 1, at first 1; that maximum includes transitions that
    are no longer stored. The newest window - 1 rows are not drawn, nor is anything before `window` rows are
    written: then every weight is 0. `update` gives a slot that occurs twice the larger priority, and leaves alone a
    slot whose new priority is NaN, infinite or negative (the loop flags the lane) or that no window may begin at.

    Args:
        capacity: transitions held, a multiple of a block's T x N.
        batch_size: windows drawn.
        alpha: how much priorities count, at least 0: 0 draws uniformly. May be traced.
        beta: how much of the bias is corrected, in [0, 1]; a number, which may be traced, or a schedule.
        window: consecutive rows of a batch, for `n_step`.
        min_priority: a small positive number added to |delta|, so that none is left out for good. May be traced.
        frames: how to store each observation once, as for `ring`.
        branching: children of a node of the sum-tree; a matter of speed alone.

    Raises:
        TypeError: a size is traced or no whole number.
        ValueError: alpha, beta or min_priority lies outside its range, or as for `ring`.

    """
    branching = check_size("branching", branching, least=2)
    check_range("alpha", alpha, 0, float("inf"))
    check_range("min_priority", min_priority, 0, float("inf"), open_low=True)
    replay, beta_at = ring(capacity, batch_size, window, frames), as_schedule("beta", beta, 0, 1)

    def mass_of(priority):
        return jnp.clip(priority**alpha, LEAST, MOST)

    def init(block, carry=()):
        return PrioritizedState(replay.init(block, carry), sum_tree.zeros(capacity, branching), jnp.float32(1))

    def add(state, block, clock, carry=()):
        tree = _enter(
            state.tree, mass_of(state.max_priority), block_axes(block), state.store.axes[0], clock, window
        )
        return state._replace(store=replay.add(state.store, block, clock, carry), tree=tree)

    def sample(key, state, clock, time):
        check_key(key)
        bits = jax.random.bits(key, (batch_size, len(state.tree)), jnp.uint32)
        fractions = (bits >> 8).astype(jnp.float32) * sum_tree.STEP
        segments = (jnp.arange(batch_size) + fractions[:, 0]) / batch_size
        slot, mass = jax.vmap(sum_tree.draw, in_axes=(None, 0))(state.tree, fractions.at[:, 0].set(segments))
        weight = jnp.where(mass > 0, (mass.min() / mass) ** beta_at(time), 0).astype(jnp.float32)
        data = consecutive(state.store, slot, window, clock)
        weights = jnp.broadcast_to(weight, (window, batch_size))
        return Batch(data, weights, slot=slot, env=slot % state.store.axes[1])

    def update(state, slot, priority):
        sound = (priority >= 0) & jnp.isfinite(priority) & (state.tree[0][slot] > 0)
        tree = sum_tree.put(state.tree, slot, jnp.where(sound, mass_of(priority + min_priority), -1))
        max_priority = jnp.maximum(state.max_priority, jnp.where(sound, priority + min_priority, 0).max())
        return state._replace(tree=tree, max_priority=max_priority)

    return Memory(init, add, sample, update, replays=True, frames=frames)


def _enter(
    tree: sum_tree.Tree, mass: Float[Array, ""], shape: tuple[int, ...], rows: int, clock: Clock, window: int
) -> sum_tree.Tree:
    """Give a mass to the rows whose window a block `shape` [T, N] completes, and none to the newest ones."""
    steps, envs = shape
    after = plus(clock, steps)
    end, stored = modulo(after, rows), capped(after, rows)
    touched = min(steps + window - 1, rows)

    def enter(leaves, first):
        """Set the touched ones among as many rows from `first` on."""
        age = (end - 1 - (first + jnp.arange(touched))) % rows
        new = jnp.where((age >= window - 1) & (age < stored), mass, 0)
        old = lax.dynamic_slice_in_dim(leaves, first * envs, touched * envs, axis=0)
        masses = jnp.where((age < touched)[:, None], new[:, None], old.reshape(touched, envs))
        return write_slice(leaves, masses.reshape(-1), first * envs)

    # Whole blocks fit in before the end. With the rows that waited they may not: the rest is at the beginning.
    firsts = [jnp.minimum((end - touched) % rows, rows - touched)] + [jnp.int32(0)] * (window > 1)
    leaves = reduce(enter, firsts, tree[0])
    return sum_tree.refresh(tree, leaves, [first * envs for first in firsts], touched * envs)
