"""A lane's first state, and whether its pieces fit one another."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from qjax.core import clock as clocks
from qjax.core import sums
from qjax.core.checks import check_key, describe
from qjax.core.returned import resetting, returning_arrays
from qjax.training.carry import begin, begin_policy, probabilities_of_one, remembers, values_of_one
from qjax.training.iteration import Setup, tick, update_once
from qjax.training.lane import Lane, Stats
from qjax.types import State, Time, Transition


def init(setup: Setup, key: Any, agent: Any = None) -> Lane:
    """Return a lane before its first step; it begins with the state of an `agent`, or its parameters, if given."""
    check_key(key)
    agent_remembers, policy_remembers = remembers(setup.agent), remembers(setup.policy)
    lane_key, env_key, agent_key, *begin_keys = jax.random.split(key, 3 + agent_remembers + policy_remembers)
    obs, env_state = jax.vmap(resetting(setup.env))(jax.random.split(env_key, setup.num_envs))
    state = returning_arrays("agent.init", setup.agent.init)(agent_key, obs)
    if agent is not None:
        state = begun_with(state, agent)
    carry, remembered = (), ()
    if agent_remembers:
        carry = begin(setup.agent, jax.random.split(begin_keys[0], setup.num_envs), state)
    if policy_remembers:
        remembered = begin_policy(setup.policy, jax.random.split(begin_keys[-1], setup.num_envs))
    _check_values(setup, agent_key, state, obs)
    none, (unpaid, rest) = jnp.int32(0), sums.zero(setup.num_envs)
    lane = Lane(
        lane_key,
        state,
        env_state,
        obs,
        carry,
        remembered,
        memory=None,
        episodes=none,
        episode_return=unpaid,
        episode_rest=rest,
        episode_length=jnp.zeros(setup.num_envs, jnp.int32),
        stats=Stats(sums.zero(setup.num_envs), jnp.zeros(setup.num_envs, jnp.uint32), none, none, none, none, {}),
    )
    start = clocks.at(0)
    after, row = jax.eval_shape(partial(tick, setup), lane, key, start, start)
    _check_step(setup, lane, after, row)
    block = jax.tree.map(lambda x: jax.ShapeDtypeStruct((setup.rollout, *x.shape), x.dtype), row)
    held = setup.memory.init(block, jax.eval_shape(lambda: carry))
    _, info = jax.eval_shape(partial(update_once, setup), lane, (state, held), key, start, none)
    logged = {name: sums.zero() for name, value in info.items() if value.shape == ()}
    return lane._replace(memory=held, stats=lane.stats._replace(sums=logged))


def begun_with(fresh: State, given: Any) -> State:
    """Return a given state of an agent, or a fresh one with the parameters given, its target network's, too.

    Raises:
        ValueError: what is given is neither the whole state nor its parameters, by structure, shapes and dtypes.

    """
    if _alike(fresh, given):
        return given
    if not hasattr(fresh, "params") or not _alike(fresh.params, given):
        raise ValueError(f"the lane's agent is {describe(fresh)}, it cannot begin with {describe(given)}")
    changed = {"params": given}
    if hasattr(fresh, "target_params"):
        copies, structure = jax.tree.flatten(fresh.target_params)  # of several networks there are several
        pairs = zip(jax.tree.leaves(given), copies, strict=True)
        changed["target_params"] = jax.tree.unflatten(structure, [jnp.broadcast_to(x, y.shape) for x, y in pairs])
    return fresh._replace(**changed)


def _check_step(setup: Setup, lane: Lane, after: Lane, row: Transition) -> None:
    """Check, by shapes, that what the environment gives is what it says, at first and after a step."""
    spec = jax.tree.map(lambda x: jax.ShapeDtypeStruct((setup.num_envs, *x.shape), x.dtype), setup.env.obs_spec)
    for what, found, expected in (
        ("reset gives observations", lane.obs, spec),
        ("step gives observations", after.obs, spec),
        ("step gives as final_obs", row.next_obs, spec),
        ("step gives a state", after.env, lane.env),
    ):
        if not _alike(found, expected):
            raise ValueError(
                f"{setup.env.name}: {what} {describe(found)}, of {setup.num_envs} environments; expected is"
                f" {describe(expected)}"
            )


def _alike(one: Any, other: Any) -> bool:
    """Return whether two pytrees have the same structure, shapes and dtypes."""
    kinds: list[Any] = [
        (jax.tree.structure(tree), [(x.shape, x.dtype) for x in jax.tree.leaves(tree)]) for tree in (one, other)
    ]
    return bool(kinds[0] == kinds[1])


def _check_values(setup: Setup, key: Key[Array, ""], state: State, obs: Any) -> None:
    """Check that the agent gives a value, and the policy a probability, for every action."""
    actions = setup.env.num_actions
    one = jax.tree.map(lambda x: x[0], obs)
    q = jax.eval_shape(lambda: values_of_one(setup.agent, key, state, one))
    if getattr(q, "shape", None) != (actions,):
        raise ValueError(
            f"the agent gives values {describe(q)} for one observation; {setup.env.name} has {actions} actions"
        )
    time = Time(jnp.float32(0), jnp.int32(0), jnp.float32(0), jnp.int32(0), setup.num_envs)
    probabilities = jax.eval_shape(
        lambda q: probabilities_of_one(setup.policy, key, q, time), q
    )  # envs stay static
    if getattr(probabilities, "shape", None) != (actions,):
        raise ValueError(
            f"the policy gives probabilities {describe(probabilities)}; {setup.env.name} has {actions} actions"
        )
