"""Recording: the episodes of an evaluation with every step on the way, for a few of them to be looked at."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qjax.core.default_rules import usual
from qjax.exploration.policies import greedy
from qjax.training.evaluation import Episodes, PlayState, play
from qjax.types import Agent, Env, Policy, State


class Recording(NamedTuple):
    """Episodes of one agent step by step, NumPy arrays. Episode e ends in row `episodes.lengths[e]` of T + 1.

    What stands below that row came after the episode's end and has no meaning.
    """

    observations: Any
    """`[T + 1, E, ...]`, or a pytree of these: the first one and every true successor, the episode's last, too."""
    actions: np.ndarray
    """The actions, `[T, E]`."""
    returns: np.ndarray
    """Sum of the rewards so far, undiscounted, `[T + 1, E]`."""
    episodes: Episodes
    """What `qjax.evaluate` returns of them."""


@usual
def record(
    env: Env,
    agent: Agent,
    state: State,
    key: Any,
    episodes: int = 1,
    policy: Policy = greedy,
    max_steps: int | None = None,
) -> Recording:
    """Run the episodes that `qjax.evaluate` runs with the same arguments, and keep every step of them.

    The host calls the loop of `evaluate`, as it is outside of `jit`, once for each step: slow, but no last digit
    differs, of which one is enough to make another episode.

    Args:
        env: the environment.
        agent: who acts.
        state: its state.
        key: a typed key.
        episodes: E.
        policy: default greedy, ties broken at random.
        max_steps: default the environment's own limit.

    Raises:
        ValueError: there is no limit on an episode's steps, or `episodes` or `max_steps` is not positive.
        TypeError: `key` is not a typed key.

    """
    start, given, running, run = play(env, agent, state, key, episodes, policy, max_steps)
    now = jax.tree.map(lambda x: jnp.asarray(x, x.dtype), start)  # weakly typed it would compile twice
    limit, steps, once = now.limit, [_seen(now)], jax.jit(run)
    while running(steps[-1]._replace(limit=limit)):
        now = once(given, now._replace(limit=now.tick + 1))
        steps.append(_seen(now))
    return Recording(
        observations=jax.tree.map(lambda *seen: np.stack(seen), *(step.final_obs for step in steps)),
        actions=np.stack([step.action for step in steps[1:]]),
        returns=np.stack([step.episodes.returns for step in steps]),
        episodes=steps[-1].episodes,
    )


def _seen(now: PlayState) -> PlayState:
    """Return what is recorded of a step, as NumPy arrays."""
    return jax.device_get(now._replace(obs=None, env_state=None, carry=None))
