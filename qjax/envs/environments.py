"""Environments: gymnax ids, gymnasium's names and environment objects as one record of functions.

gymnax is imported on first use alone: it takes seconds to load and starts JAX's backend.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from qjax.core.checks import check_key
from qjax.core.default_rules import usual
from qjax.core.text import given, telling
from qjax.envs.action_bins import Binned, action_values
from qjax.envs.arguments import checked_params
from qjax.envs.encoding import encoder
from qjax.envs.five_values import six_values
from qjax.envs.interface import check_action, check_environment, check_gymnax, check_object
from qjax.envs.legal import check_legal
from qjax.envs.names import construct, limit_of, stickiness, with_fields, with_limit
from qjax.envs.reward_ranges import reward_range
from qjax.envs.wrappers.actions import sticky_actions
from qjax.mdp.arrays import TabularMDP
from qjax.types import Env, Step


@usual
def make(env: Any, params: Any = None, **kwargs: Any) -> Env:
    """Return an environment by name, or from an object with gymnax's interface.

    Args:
        env: a gymnax id ("CartPole-v1"), one of gymnasium's names ("FrozenLake-v1", "Taxi-v4"), with gymnasium's
            time limit and arguments, one of another suite ("pgx:minatar-breakout"; `qjax list` has the prefixes),
            or an object with `reset(key, params) -> (obs, state)`, `step(key, state, action, params) -> (obs,
            state, reward, terminated, truncated, info)` where `info["final_observation"]` is the true successor,
            `action_space(params)`, and `observation_space(params)`. An object that returns gymnax's old five values
            `(obs, state, reward, done, info)` needs `step_env`, too. Or a `TabularMDP`; or an `Env`, returned as it
            is.
        params: the environment's parameters; default its own. They may be traced.
        kwargs: arguments of the environment's constructor (names only), or fields of its parameters; the time limit
            is `max_steps_in_episode` (None for none) or, as gymnasium has it, `max_episode_steps` (-1 for none).
            An environment with continuous actions needs `action_bins`: into how many values each dimension of an
            action is cut, its ends among them, one number or one for each dimension; all combinations are actions.
            A lake with `map_name=None` is drawn from `map_seed`, default 0. MinAtar's frames are of flags, with
            `bool_obs=False` gymnax's own; by MinAtar's own names ("MinAtar/Breakout-v1") the last action is taken
            again with the probability `sticky_action_prob`, default 0.1. With `pool=64` an environment of a suite
            begins its episodes in one of so many states.

    Raises:
        ValueError: an unknown name (the nearest known ones are named), continuous actions without bins, what is
            observed does not have the shape of the observation space, a lake without a goal or a path to it, or an
            MDP that is none (as `qjax.mdp.from_outcomes`).
        TypeError: an unknown keyword argument, parameters of another environment, or an object that does not
            follow the interface, in its methods or in what they return; what to use in the place of gymnasium's
            objects is said.
        ImportError: the suite is not installed, or another distribution has overwritten gymnax.

    """
    if isinstance(env, Env):
        if params is not None or kwargs:
            raise TypeError(f"{env.name} is made already: give its parameters and arguments where it is made")
        return env
    check_gymnax()
    if isinstance(env, TabularMDP):
        from qjax.mdp.environment import MDPEnvironment

        env = MDPEnvironment(env)
    name = env if isinstance(env, str) else getattr(env, "name", type(env).__name__)
    bins = kwargs.pop("action_bins", None)
    kwargs = with_limit(name, kwargs)
    asked = given(kwargs)
    env, params, sticky = _constructed(name, env, params, kwargs)
    with telling(f"{name}{asked} has no spaces"):
        actions, observations = env.action_space(params), env.observation_space(params)
    values = action_values(name, actions, bins)
    inner = six_values(env, params, values)
    num_states = int(observations.n) if hasattr(observations, "n") else None
    if values is not None:
        inner = Binned(inner, values)
    num_actions = int(actions.n) if values is None else len(values)
    reset, step = _functions(name, inner, params, num_actions)
    made = Env(
        name=name,
        reset=usual(reset),
        step=usual(step),
        encode=lambda obs: obs,
        num_actions=num_actions,
        num_states=num_states,
        obs_spec=None,
        max_steps=limit_of(params),
        unwrapped=env,
        params=params,
        rewards=reward_range(env, params),
        legal=getattr(env, "legal", None),
    )
    spec = check_environment(made, inner, params, observations, asked)
    made = made._replace(obs_spec=spec, encode=usual(encoder(name, spec, observations)))
    check_legal(made)
    return made if sticky is None else sticky_actions(made, sticky)._replace(name=name)


def _constructed(name: str, env: Any, params: Any, kwargs: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Return the environment of a name, or the object itself, its parameters, and how sticky its actions are."""
    sticky = None
    if isinstance(env, str):
        sticky, kwargs = stickiness(name, kwargs)
        env, own, kwargs = construct(name, kwargs)
    else:
        check_object(name, env)
        own = getattr(env, "default_params", None)
    return env, with_fields(name, own if params is None else checked_params(name, params, own), kwargs), sticky


def _functions(name: str, env: Any, params: Any, num_actions: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return `reset` and `step` of an `Env`."""

    def step(key, state, action):
        check_action(name, action, num_actions)
        obs, state, reward, terminated, truncated, info = env.step(key, state, action, params)
        reward, ended, cut = jnp.asarray(reward, jnp.float32), jnp.asarray(terminated), jnp.asarray(truncated)
        return Step(obs, state, reward, ended, cut, info["final_observation"])

    def reset(key):
        check_key(key)
        return env.reset(key, params)

    return reset, step
