"""Wrappers of what is done: actions that stick, or are repeated."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Int

from qjax.core.checks import check_range, check_record, check_size, concrete
from qjax.envs.interface import check_action
from qjax.envs.wrappers.base import WrapperState, where, words, wrapped
from qjax.types import Env, Step


class Sticky(NamedTuple):
    """The action that was executed."""

    action: Int[Array, ""]
    """Its number."""
    may: Bool[Array, ""]
    """Whether it may be executed again: not in a new episode, and not where it is illegal."""


def sticky_actions(env: Env, probability: Any) -> Env:
    """Return an environment that executes the last action again with a probability (Machado et al. 2018, 5.2).

    Not at an episode's first step, and never an illegal action. The probability may be traced.

    Raises:
        TypeError: it is no number.
        ValueError: it lies outside [0, 1].

    """
    check_record("env", env, Env)
    check_range("probability", probability, 0, 1)

    def reset(key: Any) -> Any:
        obs, inner = env.reset(key)
        return obs, WrapperState(inner, Sticky(jnp.int32(0), jnp.bool_(False)))

    def step(key: Any, state: WrapperState, action: Any) -> Any:
        check_action(env.name, action, env.num_actions)  # before it may be another
        stick_key, step_key = jax.random.split(key)
        sticks = jax.random.bernoulli(stick_key, probability) & state.own.may
        action = jnp.where(sticks, state.own.action, action).astype(jnp.int32)
        made = env.step(step_key, state.env, action)
        own = Sticky(action, ~(made.terminated | made.truncated) & _may(env, made.obs, action))
        return made._replace(state=WrapperState(made.state, own))

    return wrapped(env, words("sticky_actions", probability), reset=reset, step=step)


def repeat_action(env: Env, times: int) -> Env:
    """Return an environment that takes each action several times; its reward is the sum of theirs.

    It stops at the episode's end, and where the action is illegal.

    Raises:
        TypeError: times is traced or no whole number.
        ValueError: times is less than 1.

    """
    check_record("env", env, Env)
    times = check_size("times", times)

    def step(key: Any, state: Any, action: Any) -> Any:
        first, *others = jax.random.split(key, times)

        def again(made: Step, key: Any) -> tuple[Step, None]:
            more = env.step(key, made.state, action)
            more = more._replace(reward=made.reward + more.reward)
            goes_on = ~(made.terminated | made.truncated) & _may(env, made.obs, action)
            return where(goes_on, more, made), None

        made = env.step(first, state, action)
        return lax.scan(again, made, jnp.stack(others))[0] if others else made

    changes: dict[str, Any] = {"step": step, "rewards": _summed(env.rewards, times)}
    if env.max_steps is not None and env.legal is None:
        changes["max_steps"] = -(-env.max_steps // times)
    return wrapped(env, words("repeat_action", times), **changes)


def _may(env: Env, obs: Any, action: Any) -> Any:
    return jnp.bool_(True) if env.legal is None else env.legal(obs)[action]


def _summed(known: tuple[Any, Any] | None, times: int) -> tuple[Any, Any] | None:
    """Return the least and the largest sum of one to so many rewards."""
    if known is None:
        return None
    least, largest = known
    if concrete(least, largest):
        return min(least, times * least), max(largest, times * largest)
    return jnp.minimum(least, times * least), jnp.maximum(largest, times * largest)
