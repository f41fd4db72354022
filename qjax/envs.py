"""Environments: gymnax ids, gymnasium's names and environment objects as one record of functions.

gymnax is imported on first use alone: it takes seconds to load and starts JAX's backend.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from qjax.checks import check_key, describe
from qjax.interface import check_environment, check_object
from qjax.mdp import TabularMDP
from qjax.names import construct, limit_of, with_fields, with_limit
from qjax.ranges import reward_range
from qjax.text import shown
from qjax.usual import usual


class Step(NamedTuple):
    """What one step of an environment returns."""

    obs: PyTree[Array]
    """The next observation to act on: the reset one where the episode ended."""
    state: Any
    reward: Float[Array, ""]
    terminated: Bool[Array, ""]
    truncated: Bool[Array, ""]
    final_obs: PyTree[Array]
    """The true successor, before any reset."""


class Env(NamedTuple):
    """One environment that resets itself, as pure functions with its parameters bound."""

    name: str
    reset: Callable[[Key[Array, ""]], tuple[PyTree[Array], Any]]
    """`key -> (obs, state)`"""
    step: Callable[[Key[Array, ""], Any, Int[Array, ""]], Step]
    """`(key, state, action) -> Step`"""
    encode: Callable[[PyTree[Array]], Float[Array, "..."]]
    """`obs -> features`: discrete as one-hot, boxes and images as they are, float32."""
    num_actions: int
    num_states: int | None
    """Number of discrete observations; None for boxes."""
    obs_shape: tuple[int, ...]
    max_steps: Any
    """The environment's own limit on an episode's steps, where it has one."""
    unwrapped: Any
    """The gymnax environment object."""
    params: Any
    """Its parameters."""
    rewards: tuple[Any, Any] | None = None
    """The least and the largest reward of a step, where they are known; what changes rewards says its own."""


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
        from qjax.mdp_env import MDPEnvironment

        env = MDPEnvironment(env)
    name = env if isinstance(env, str) else getattr(env, "name", type(env).__name__)
    kwargs = with_limit(name, kwargs)
    if isinstance(env, str):
        env, given, kwargs = construct(name, kwargs)
    else:
        check_object(name, env)
        given = getattr(env, "default_params", None)
    if params is not None and given is not None and not isinstance(params, type(given)):
        raise TypeError(f"params must be {name}'s {type(given).__name__}, got {shown(params)}")
    params = with_fields(name, given if params is None else params, kwargs)

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
    check_environment(made, env, params)
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


def discrete(n: int) -> Any:
    """Return gymnax's space of the numbers from 0 to n - 1."""
    from gymnax.environments import spaces

    return spaces.Discrete(n)


def lake_map(lake: Any) -> list[str]:
    """Return the rows of the map of gymnax's FrozenLake, in gymnasium's letters."""
    return ["".join("SFHG"[int(tile)] for tile in row) for row in np.asarray(lake.desc)]


def _encoder(name: str, num_states: int | None, shape: tuple[int, ...]) -> Callable[[Any], Any]:
    def encode(obs):
        if np.shape(obs) != shape:
            raise ValueError(f"{name} gives observations of shape {shape}, got {describe(obs)}")
        return jnp.asarray(obs, jnp.float32) if num_states is None else jax.nn.one_hot(obs, num_states)

    return encode
