"""Environment objects written for gymnax before 1.0, whose steps return `done` in place of its two reasons."""

import copy
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from qjax.core.random import root_key
from qjax.envs.arguments import LIMIT, UNLIMITED


class FiveValues:
    """An object of gymnax's old interface, with that of gymnax 1.0.

    `step_env` is the step that does not reset. Taken again without a time limit (the compiler takes it once), it
    tells whether the episode would have ended all the same.
    """

    def __init__(self, env: Any) -> None:
        """Make it from the object."""
        self.env = env

    def reset(self, key: Any, params: Any) -> Any:
        """Return the first observation and state of an episode."""
        return self.env.reset(key, params)

    def step(self, key: Any, state: Any, action: Any, params: Any) -> Any:
        """Return `(obs, state, reward, terminated, truncated, info)`, after a reset where the episode ended."""
        step_key, reset_key = jax.random.split(key)
        final, after, reward, done, info = self.env.step_env(step_key, state, action, params)
        terminated = done = jnp.asarray(done)
        if dataclasses.is_dataclass(params) and getattr(params, LIMIT, None) is not None:
            endless: Any = dataclasses.replace(params, **{LIMIT: UNLIMITED})  # type: ignore[type-var]
            terminated = jnp.asarray(self.env.step_env(step_key, state, action, endless)[3])
        fresh = self.env.reset(reset_key, params)
        obs, state = jax.tree.map(lambda new, old: jnp.where(done, new, old), fresh, (final, after))
        return obs, state, reward, terminated, done & ~terminated, {**info, "final_observation": final}


def six_values(env: Any, params: Any, values: Any = None) -> Any:
    """Return an environment object, one of gymnax's old interface with the new one, any other as it is.

    A wrapper that hands on the `step_env` of what it wraps has none of its own: its observations may be others.
    `values` `[A, ...]` are its actions where they are no numbers from 0.
    """
    if type(env).__module__.partition(".")[0] in ("gymnax", "qjax") or not hasattr(type(env), "step_env"):
        return env
    if _inherits_step(type(env)):
        return FiveValues(_renamed(env)) if _is_old(type(env)) else env

    def step(key: Any, action: Any) -> Any:
        return env.step(key, env.reset(key, params)[1], action, params)

    try:
        action = jax.eval_shape(lambda: jnp.int32(0) if values is None else values[0])
        returned = jax.eval_shape(step, jax.eval_shape(lambda: root_key(0)), action)
    except Exception:  # told where it is checked
        return env
    return FiveValues(env) if isinstance(returned, tuple) and len(returned) == 5 else env


def _inherits_step(cls: Any) -> bool:
    """Return whether a class has the step of gymnax 1.0, to which `step_env` tells terminations."""
    from gymnax.environments.environment import Environment

    return issubclass(cls, Environment) and cls.step is Environment.step


def _renamed(env: Any) -> Any:
    """Return a copy of an object whose `is_terminal` has the name, too, that `discount` of gymnax 1.0 calls."""
    env = copy.copy(env)
    object.__setattr__(env, "is_terminated", env.is_terminal)
    return env


def _is_old(cls: Any) -> bool:
    """Return whether a class of gymnax's says when an episode ends as before 1.0, the time limit included."""
    from gymnax.environments.environment import Environment

    return cls.is_terminal is not Environment.is_terminal and cls.is_terminated is Environment.is_terminated
