"""Environments: gymnax ids, gymnasium's names and environment objects as one record of functions.

gymnax is imported on first use alone: it takes seconds to load and starts JAX's backend.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qjax.core.checks import check_key, describe
from qjax.core.default_rules import usual
from qjax.core.text import given, telling
from qjax.envs.arguments import checked_params
from qjax.envs.interface import check_environment, check_object
from qjax.envs.names import construct, limit_of, with_fields, with_limit
from qjax.envs.reward_ranges import reward_range
from qjax.mdp.arrays import TabularMDP
from qjax.types import Env, Step


@usual
def make(env: Any, params: Any = None, **kwargs: Any) -> Env:
    """Return an environment by name, or from an object with gymnax's interface.

    Args:
        env: a gymnax id ("CartPole-v1"), one of gymnasium's names ("FrozenLake-v1", "Taxi-v4"), with gymnasium's
            time limit and arguments, or an object with `reset(key, params) -> (obs, state)`, `step(key,
            state, action, params) -> (obs, state, reward, terminated, truncated, info)` where
            `info["final_observation"]` is the true successor, `action_space(params)`, and
            `observation_space(params)`; or a `TabularMDP`.
        params: the environment's parameters; default its own. They may be traced.
        kwargs: arguments of the environment's constructor (names only), or fields of its parameters; the time limit
            is `max_steps_in_episode` (None for none) or, as gymnasium has it, `max_episode_steps` (-1 for none).
            A lake with `map_name=None` is drawn from `map_seed`, default 0.

    Raises:
        ValueError: an unknown name (the nearest known ones are named), a continuous action space, observations
            that do not have the shape of the observation space, a lake without a goal or a path to it, or an MDP
            that is none (as `qjax.mdp.from_outcomes`).
        TypeError: an unknown keyword argument, parameters of another environment, or an object that does not
            follow the interface, in its methods or in what they return; what to use in the place of gymnasium's
            objects is said.

    """
    if isinstance(env, TabularMDP):
        from qjax.mdp.environment import MDPEnvironment

        env = MDPEnvironment(env)
    name = env if isinstance(env, str) else getattr(env, "name", type(env).__name__)
    kwargs = with_limit(name, kwargs)
    asked = given(kwargs)
    if isinstance(env, str):
        env, own, kwargs = construct(name, kwargs)
    else:
        check_object(name, env)
        own = getattr(env, "default_params", None)
    params = with_fields(name, own if params is None else checked_params(name, params, own), kwargs)

    with telling(f"{name}{asked} has no spaces"):
        actions, observations = env.action_space(params), env.observation_space(params)
    if not hasattr(actions, "n"):
        raise ValueError(f"{name} has a continuous action space, {actions}; qjax needs discrete actions")
    num_states = int(observations.n) if hasattr(observations, "n") else None
    shape = tuple(getattr(observations, "shape", ()))

    reset, step = _functions(name, env, params)
    made = Env(
        name=name,
        reset=usual(reset),
        step=usual(step),
        encode=usual(_encoder(name, num_states, shape)),
        num_actions=int(actions.n),
        num_states=num_states,
        obs_shape=shape,
        max_steps=limit_of(params),
        unwrapped=env,
        params=params,
        rewards=reward_range(env, params),
    )
    check_environment(made, env, params, asked)
    return made


def _functions(name: str, env: Any, params: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return `reset` and `step` of an `Env`."""

    def step(key, state, action):
        obs, state, reward, terminated, truncated, info = env.step(key, state, action, params)
        reward, ended, cut = jnp.asarray(reward, jnp.float32), jnp.asarray(terminated), jnp.asarray(truncated)
        return Step(obs, state, reward, ended, cut, info["final_observation"])

    def reset(key):
        check_key(key)
        return env.reset(key, params)

    return reset, step


def _encoder(name: str, num_states: int | None, shape: tuple[int, ...]) -> Callable[[Any], Any]:
    def encode(obs):
        if np.shape(obs) != shape:
            raise ValueError(f"{name} gives observations of shape {shape}, got {describe(obs)}")
        return jnp.asarray(obs, jnp.float32) if num_states is None else jax.nn.one_hot(obs, num_states)

    return encode
