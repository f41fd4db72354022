"""Online memories whose rows wait until the rows after them are known, and are then learned once, in order."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from qjax.core.checks import check_size
from qjax.core.clock import missing
from qjax.core.default_rules import makes_usual
from qjax.objectives.returns import n_step_transition
from qjax.types import Batch, Clock, Memory, Transition


class DelayedState(NamedTuple):
    """Rows that wait for what comes after them: the newest block, and before it those of earlier ones."""

    rows: Transition
    """`[wait + T, N]`"""
    left: Bool[Array, "rows N"]
    """Whether a row is to be learned, now or later."""


def delayed(wait: int, merge: Callable[[Transition], Transition]) -> Memory:
    """Return a memory from which each transition is learned once, when the `wait` rows after it are known.

    The rows of an episode that has ended are learned at once. A batch is `[wait + T, N]`, in the order in which the
    rows were recorded; those that wait, or were learned before, have weight 0.

    Args:
        wait: how many rows after its own a transition needs.
        merge: what is learned of wait + 1 consecutive rows of one environment, leaves `[wait + 1, ...]`. Rows after
            the first one that is `last` must have no part in it.

    """

    def init(block, carry=()):
        held = jax.tree.map(lambda x: jnp.zeros((wait + x.shape[0], *x.shape[1:]), x.dtype), block)
        return DelayedState(held, jnp.zeros(held.reward.shape, bool))

    def add(state, block, clock, carry=()):
        rows, envs = block.reward.shape
        # A wrapper that holds rows back sets the clock back: rows from before the start do not count.
        known = jnp.broadcast_to((jnp.arange(rows) >= missing(clock, rows))[:, None], (rows, envs))
        still = DelayedState(state.rows, state.left & ~_complete(state.rows.last, wait))
        new = DelayedState(block, known)
        return jax.tree.map(lambda old, new: jnp.concatenate([old[rows:], new]), still, new)

    def sample(key, state, clock, time):
        held = jax.tree.map(partial(windows, wait=wait), state.rows)
        data = jax.vmap(jax.vmap(merge, in_axes=1), in_axes=1)(held)
        weight = (state.left & _complete(state.rows.last, wait)).astype(jnp.float32)
        return Batch(data, weight, *new_places(clock, state.left.shape[1]))

    return Memory(init, add, sample)


@makes_usual
def with_next_action(n: int = 1) -> Memory:
    """Return the online memory whose transitions have the executed next action, for SARSA.

    A transition waits for one more row, and is learned before the action after that is chosen: the order of the
    textbook's loop (Sutton and Barto 2018, section 6.4). Where the episode ended there is no next action; it is -1
    there, and the transition is learned at once. With n above 1 these are n-step transitions, as `online(n)` gives
    them, with the executed action at their successor (section 7.2).

    Raises:
        TypeError: n is traced or no whole number.
        ValueError: n is less than 1.

    """
    n = check_size("n", n)

    def merge(window):
        following = jnp.where(window.last[:-1], -1, window.action[1:])
        first = jax.tree.map(lambda x: x[:-1], window)
        return n_step_transition(first._replace(next_action=following))

    return delayed(n, merge)._replace(steps=n)


def new_places(clock: Clock, envs: int) -> tuple[Int[Array, " N"], Int[Array, " N"]]:
    """Return the slots and environments of a block that is learned from once: no block before it had its slots."""
    env = jnp.arange(envs, dtype=jnp.int32)
    return (clock.low * jnp.uint32(envs)).astype(jnp.int32) + env, env


def windows(rows: Array, wait: int) -> Array:
    """Return wait + 1 consecutive rows from each row on, `[wait + 1, rows, ...]`; at the end the newest again."""
    size = rows.shape[0]
    return jnp.stack([jnp.concatenate([rows[k:], *[rows[-1:]] * k])[:size] for k in range(wait + 1)])


def _complete(last: Bool[Array, "rows N"], wait: int) -> Bool[Array, "rows N"]:
    """Return of which rows the `wait` rows after them are known, or all those to the end of their episode."""
    size = last.shape[0]
    full = (jnp.arange(size) < size - wait)[:, None]
    return full | windows(last, wait).any(0)
