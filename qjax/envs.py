"""Environments: gymnax ids, gymnasium's names and environment objects as one record of functions.

The only file that imports gymnax, and only on first use: it takes seconds to load and starts JAX's backend.
"""

import dataclasses
import difflib
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from qjax.checks import check_key, check_map, describe
from qjax.mdp import TabularMDP
from qjax.random import root_key

ALIASES: dict[str, tuple[str, dict[str, Any]]] = {
    "FrozenLake-v1": ("FrozenLake-misc", {}),
    "FrozenLake8x8-v1": ("FrozenLake-misc", {"map_name": "8x8"}),
    "CartPole-v0": ("CartPole-v1", {"max_steps_in_episode": 200}),
    "MinAtar/Asterix-v1": ("Asterix-MinAtar", {}),
    "MinAtar/Breakout-v1": ("Breakout-MinAtar", {}),
    "MinAtar/Freeway-v1": ("Freeway-MinAtar", {}),
    "MinAtar/Seaquest-v1": ("Seaquest-MinAtar", {}),
    "MinAtar/SpaceInvaders-v1": ("SpaceInvaders-MinAtar", {}),
}
"""gymnasium's names for what gymnax calls otherwise, with the keyword arguments that make them so."""

TOY_TEXT = ("CliffWalking-v1", "CliffWalkingSlippery-v1", "Taxi-v4")
"""gymnasium's environments that gymnax does not have, read from gymnasium's tables (`qjax.mdps.toy_text`)."""


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


def make(env: Any, params: Any = None, **kwargs: Any) -> Env:
    """Return an environment by name, or from an object with gymnax's interface.

    Args:
        env: a gymnax id ("CartPole-v1"), one of gymnasium's names ("FrozenLake-v1", "Taxi-v4"), or an object with
            `reset(key, params) -> (obs, state)`, `step(key, state, action, params) -> (obs, state, reward,
            terminated, truncated, info)` where `info["final_observation"]` is the true successor,
            `action_space(params)`, and `observation_space(params)`; or a `TabularMDP`.
        params: the environment's parameters; default its `default_params`. They may be traced.
        kwargs: arguments of the environment's constructor (names only), or fields of its parameters.

    Raises:
        ValueError: an unknown name (the nearest known ones are named), a continuous action space, observations
            that do not have the shape of the observation space, a lake without a goal or a path to it, or an MDP
            that is none (as `qjax.mdp.from_outcomes`).
        TypeError: an unknown keyword argument, or an object that does not follow the interface.

    """
    if isinstance(env, TabularMDP):
        from qjax.mdp_env import MDPEnvironment

        env = MDPEnvironment(env)
    if isinstance(env, str):
        name, env, kwargs = env, *_construct(env, kwargs)
    else:
        name = getattr(env, "name", type(env).__name__)
    params = getattr(env, "default_params", None) if params is None else params
    params = _with_fields(name, params, kwargs)
    for method in ("reset", "step", "action_space", "observation_space"):
        if not callable(getattr(env, method, None)):
            raise TypeError(f"{name} has no {method}: an environment object needs gymnax's interface")

    actions, observations = env.action_space(params), env.observation_space(params)
    if not hasattr(actions, "n"):
        raise ValueError(f"{name} has a continuous action space, {actions}; qjax needs discrete actions")
    num_states = int(observations.n) if hasattr(observations, "n") else None
    shape = tuple(getattr(observations, "shape", ()))

    reset, step = _functions(name, env, params)
    made = Env(
        name=name,
        reset=reset,
        step=step,
        encode=_encoder(name, num_states, shape),
        num_actions=int(actions.n),
        num_states=num_states,
        obs_shape=shape,
        max_steps=getattr(params, "max_steps_in_episode", None),
        unwrapped=env,
        params=params,
    )
    _check_observations(made)
    return made


def _functions(name: str, env: Any, params: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return `reset` and `step` of an `Env`."""

    def step(key, state, action):
        returned = env.step(key, state, action, params)
        if len(returned) != 6 or "final_observation" not in returned[-1]:
            raise TypeError(
                f"{name}.step must return (obs, state, reward, terminated, truncated, info) with"
                f' info["final_observation"], as gymnax 1.0 does; it returned {len(returned)} values'
            )
        obs, state, reward, terminated, truncated, info = returned
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


def _construct(name: str, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return the named gymnax environment, and the arguments that its constructor does not take."""
    if name in TOY_TEXT:
        return _table(name, kwargs)
    from gymnax import registration

    gymnax_name, preset = ALIASES.get(name, (name, {}))
    if gymnax_name not in registration.registered_envs:
        known = [*registration.registered_envs, *ALIASES, *TOY_TEXT]
        lower = {k.lower(): k for k in known}
        near = [lower[k] for k in difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.5)]
        raise ValueError(
            f"unknown environment {name!r}"
            + (f"; did you mean {' or '.join(near)}?" if near else f"; known are {', '.join(sorted(known))}")
        )
    kwargs = {**preset, **kwargs}
    _, params = registration.make(gymnax_name)
    fields = [f.name for f in dataclasses.fields(params)]
    arguments = {k: v for k, v in kwargs.items() if k not in fields}
    if gymnax_name == "FrozenLake-misc" and arguments.get("desc") is not None:
        check_map(list(arguments["desc"]))  # gymnax does not look for a path
    try:
        env, _ = registration.make(gymnax_name, **arguments)
    except TypeError:
        accepted = inspect.signature(type(registration.make(gymnax_name)[0])).parameters
        unknown = [k for k in arguments if k not in accepted]
        if not unknown:
            raise
        raise TypeError(
            f"{name} has no argument {_listed(unknown)}; its constructor takes {_listed(accepted)},"
            f" its parameters have {_listed(fields)}"
        ) from None
    return env, {k: v for k, v in kwargs.items() if k in fields}


def lake_map(lake: Any) -> list[str]:
    """Return the rows of the map of gymnax's FrozenLake, in gymnasium's letters."""
    return ["".join("SFHG"[int(tile)] for tile in row) for row in np.asarray(lake.desc)]


def _table(name: str, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return one of gymnasium's environments as arrays, and the arguments that are fields of its parameters."""
    from qjax.mdps import toy_text

    fields: dict[str, Any] = {k: kwargs[k] for k in ("max_steps_in_episode", "reward_noise") if k in kwargs}
    return toy_text(name, **{k: v for k, v in kwargs.items() if k not in fields}), fields


def _with_fields(name: str, params: Any, fields: dict[str, Any]) -> Any:
    if not fields:
        return params
    known = [f.name for f in dataclasses.fields(params)] if dataclasses.is_dataclass(params) else []
    unknown = [key for key in fields if key not in known]
    if unknown:
        raise TypeError(f"{name}'s parameters have no {_listed(unknown)}; they have {_listed(known)}")
    return dataclasses.replace(params, **fields)


def _listed(names: Any) -> str:
    return ", ".join(names) or "none"


def _encoder(name: str, num_states: int | None, shape: tuple[int, ...]) -> Callable[[Any], Any]:
    def encode(obs):
        if np.shape(obs) != shape:
            raise ValueError(f"{name} gives observations of shape {shape}, got {describe(obs)}")
        return jnp.asarray(obs, jnp.float32) if num_states is None else jax.nn.one_hot(obs, num_states)

    return encode


def _check_observations(env: Env) -> None:
    """Check, by shapes alone, that what the environment returns is what its observation space says."""
    key = jax.eval_shape(lambda: root_key(0))
    obs, state = jax.eval_shape(env.reset, key)
    action = jax.ShapeDtypeStruct((), jnp.int32)
    step = jax.eval_shape(env.step, key, state, action)
    for where, found in (("reset", obs), ("step", step.obs), ("final_observation", step.final_obs)):
        if not hasattr(found, "shape"):
            raise ValueError(f"{env.name}: {where} gives {describe(found)}; one array is needed")
        if found.shape != env.obs_shape:
            raise ValueError(
                f"{env.name}: {where} gives an observation of shape {found.shape},"
                f" its observation space says {env.obs_shape}"
            )
