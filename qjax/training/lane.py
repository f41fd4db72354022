"""A lane: all state of one seed, and what it adds up."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, UInt32

from qjax.core import sums
from qjax.core.annotations import checked
from qjax.core.default_rules import usual
from qjax.core.sums import Sum
from qjax.types import Carry, State

EPISODES_LIMIT = 2**30
"""A lane's count of episodes stops here, for schedules to read; hosts add up `Stats.episodes` in 64 bits."""


class Stats(NamedTuple):
    """What a lane adds up between two calls of `pop_metrics`, less than 2**31 steps apart."""

    returns: Sum
    """Sum of the undiscounted returns of the episodes that ended, in each environment, `[N]`."""
    lengths: UInt32[Array, " N"]
    """Sum of their lengths in steps."""
    episodes: Int[Array, ""]
    """Their number."""
    steps: Int[Array, ""]
    """Environment steps; a lane whose episodes are done adds none."""
    updates: Int[Array, ""]
    """Learner updates."""
    diverged_at: Int[Array, ""]
    """`steps` when the loss was NaN or infinite for the first time, or a priority that a memory learns from was one
    of these or negative; 0 while neither ever was."""
    sums: dict[str, Sum]
    """Sum over the updates of every scalar that the agent reports (`loss`, `q`, ...)."""


class Best(NamedTuple):
    """The agent of the best evaluation so far."""

    agent: State
    """Its state."""
    value: Float[Array, ""]
    """What the evaluation gave: minus infinity before the first one."""


class Lane(NamedTuple):
    """All state of one seed."""

    key: Key[Array, ""]
    """Constant: the randomness of every iteration is folded from it and the clock."""
    agent: State
    """The agent's state."""
    env: State
    """`[N, ...]`"""
    obs: Any
    """`[N, ...]`"""
    carry: Carry
    """What the actors remember of their episodes, `[N, ...]`; `()` where the agent remembers nothing."""
    policy: State
    """What the policy remembers of their episodes, `[N, ...]`; `()` where it remembers nothing."""
    memory: State
    """The memory's state."""
    episodes: Int[Array, ""]
    """Episodes finished since the start, in all N environments together."""
    episode_return: Float[Array, " N"]
    """Return so far of the running episodes."""
    episode_rest: Float[Array, " N"]
    """What its rounding left out (`qjax.core.sums`)."""
    episode_length: Int[Array, " N"]
    """Steps so far of the running episodes."""
    stats: Stats
    """Sums since they were last fetched, by `pop_metrics`."""
    best: Any = ()
    """The `Best` of its agents, where a sweep evaluates them while they train; else `()`."""


@usual
@checked
def pop_metrics(lane: Lane) -> tuple[Lane, dict[str, Array]]:
    """Return the lane with its sums set to zero, and what they were.

    Sums rather than means, so that a host may add intervals up: `returns / episodes` is the mean return of the
    episodes that ended, `loss / updates` the mean loss. `total_episodes` counts from the start.
    Where the agent's state holds a NaN or an infinity by now, `diverged_at` is at most the steps so far; minus
    infinity alone is how a table masks an action, and a value that falls without end shows in the loss before.
    """
    stats = lane.stats
    floats = [x for x in jax.tree.leaves(lane.agent) if jnp.issubdtype(x.dtype, jnp.floating)]
    sound = jnp.all(jnp.array([(x < jnp.inf).all() for x in floats]))
    diverged_at = jnp.where((stats.diverged_at > 0) | sound, stats.diverged_at, stats.steps)
    report = {**stats._asdict(), "total_episodes": lane.episodes, "diverged_at": diverged_at}
    del report["sums"]
    report |= {"returns": sums.together(stats.returns), "lengths": stats.lengths.sum(dtype=jnp.uint32)}
    report |= {name: found.total for name, found in stats.sums.items()}
    return lane._replace(stats=jax.tree.map(jnp.zeros_like, stats)), report


def count_episodes(lane: Lane, reward: Float[Array, " N"], last: Array) -> Lane:
    """Add one tick's rewards to the running episodes, and the ended ones to the sums."""
    returns = sums.plus(Sum(lane.episode_return, lane.episode_rest), reward)
    lengths = lane.episode_length + 1
    ended = last.sum().astype(jnp.int32)
    stats = lane.stats._replace(
        returns=sums.plus(lane.stats.returns, jnp.where(last, returns.total, 0)),
        lengths=lane.stats.lengths + jnp.where(last, lengths, 0).astype(jnp.uint32),
        episodes=lane.stats.episodes + ended,
    )
    return lane._replace(
        episodes=jnp.minimum(lane.episodes + ended, EPISODES_LIMIT),
        episode_return=jnp.where(last, 0, returns.total),
        episode_rest=jnp.where(last, 0, returns.rest),
        episode_length=jnp.where(last, 0, lengths),
        stats=stats,
    )
