"""Wrappers of what is paid. The returns that a run logs are then those of the changed rewards."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from qjax.core.checks import check_callable, check_flag, check_number, check_range, check_record, concrete
from qjax.core.default_rules import usual
from qjax.core.returned import check_scalar
from qjax.envs.wrappers.base import words, wrapped
from qjax.types import Env


def reward(env: Env, function: Callable[[Any], Any], monotone: bool = False) -> Env:
    """Return an environment whose rewards are a function of its own.

    Args:
        env: the environment.
        function: `reward -> reward`.
        monotone: whether it only rises or only falls, so that the range of the rewards stays known.

    Raises:
        TypeError: it is no function, or gives no number.

    """
    check_callable("function", function, "(reward) -> reward")
    word = words("reward", getattr(function, "__name__", "function"))
    return _reward(env, word, function, check_flag("monotone", monotone))


def _reward(env: Env, word: str, function: Callable[[Any], Any], monotone: bool = True) -> Env:
    check_record("env", env, Env)
    found = jax.eval_shape(usual(function), jax.ShapeDtypeStruct((), jnp.float32))
    check_scalar(f"{env.name} {word}", "reward", found, "a number")

    def step(key: Any, state: Any, action: Any) -> Any:
        made = env.step(key, state, action)
        return made._replace(reward=jnp.asarray(function(made.reward), jnp.float32))

    known = env.rewards if monotone else None
    return wrapped(env, word, step=step, rewards=None if known is None else _between(function, known))


def _between(function: Callable[[Any], Any], known: tuple[Any, Any]) -> tuple[Any, Any]:
    """Return the least and the largest of what a monotone function makes of the numbers between two."""
    with jax.ensure_compile_time_eval():  # concrete inside a traced function, too
        least, largest = (function(jnp.float32(end)) for end in known)
    if concrete(least, largest):
        return min(float(least), float(largest)), max(float(least), float(largest))
    return jnp.minimum(least, largest), jnp.maximum(least, largest)


def reward_scale(env: Env, factor: Any) -> Env:
    """Return an environment whose rewards are multiplied by a factor, which may be traced.

    Raises:
        TypeError: it is no number.
        ValueError: it is not finite.

    """
    check_number("factor", factor)
    return _reward(env, words("reward_scale", factor), lambda paid: factor * paid)


def reward_clip(env: Env, most: Any) -> Env:
    """Return an environment whose rewards are clipped to `[-most, most]`, which may be traced.

    Raises:
        TypeError: it is no number.
        ValueError: it is not positive.

    """
    check_range("most", most, 0, float("inf"), open_low=True)
    return _reward(env, words("reward_clip", most), lambda paid: jnp.clip(paid, -most, most))


def reward_sign(env: Env) -> Env:
    """Return an environment whose rewards are -1, 0 or 1, their signs (Mnih et al. 2015)."""
    return _reward(env, "reward_sign", jnp.sign)
