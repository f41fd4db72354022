"""A lane's first state, and whether its pieces fit one another."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from qjax.core import clock as clocks
from qjax.core import sums
from qjax.core.checks import check_key, describe
from qjax.core.returned import resetting, returning_arrays
from qjax.training.iteration import Setup, tick, update_once
from qjax.training.lane import Lane, Stats
from qjax.types import State, Time


def init(setup: Setup, key: Any) -> Lane:
    """Return a lane before its first step."""
    check_key(key)
    lane_key, env_key, agent_key = jax.random.split(key, 3)
    obs, env_state = jax.vmap(resetting(setup.env))(jax.random.split(env_key, setup.num_envs))
    state = returning_arrays("agent.init", setup.agent.init)(agent_key, obs)
    _check_values(setup, state, obs)
    none, (unpaid, rest) = jnp.int32(0), sums.zero(setup.num_envs)
    lane = Lane(
        lane_key,
        state,
        env_state,
        obs,
        memory=None,
        episodes=none,
        episode_return=unpaid,
        episode_rest=rest,
        episode_length=jnp.zeros(setup.num_envs, jnp.int32),
        stats=Stats(sums.zero(setup.num_envs), jnp.zeros(setup.num_envs, jnp.uint32), none, none, none, none, {}),
    )
    start = clocks.at(0)
    _, row = jax.eval_shape(partial(tick, setup), lane, key, start, start)
    block = jax.tree.map(lambda x: jax.ShapeDtypeStruct((setup.rollout, *x.shape), x.dtype), row)
    held = setup.memory.init(block)
    _, info = jax.eval_shape(partial(update_once, setup), lane, (state, held), key, start, none)
    logged = {name: sums.zero() for name, value in info.items() if value.shape == ()}
    return lane._replace(memory=held, stats=lane.stats._replace(sums=logged))


def _check_values(setup: Setup, state: State, obs: Any) -> None:
    """Check that the agent gives a value, and the policy a probability, for every action."""
    actions = setup.env.num_actions
    one = jax.tree.map(lambda x: x[0], obs)
    q = jax.eval_shape(returning_arrays("agent.values", lambda: setup.agent.values(None, state, one)))
    if getattr(q, "shape", None) != (actions,):
        raise ValueError(
            f"the agent gives values {describe(q)} for one observation; {setup.env.name} has {actions} actions"
        )
    time = Time(jnp.float32(0), jnp.int32(0), jnp.float32(0), jnp.int32(0), setup.num_envs)
    acts = returning_arrays("the policy", lambda q: setup.policy(q, time), "probabilities")  # envs stay static
    probabilities = jax.eval_shape(acts, q)
    if getattr(probabilities, "shape", None) != (actions,):
        raise ValueError(
            f"the policy gives probabilities {describe(probabilities)}; {setup.env.name} has {actions} actions"
        )
