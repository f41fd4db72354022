"""Wrappers of where episodes begin and end."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PyTree

from qjax.core.checks import LARGEST, check_range, check_record, check_size, concrete
from qjax.core.default_rules import usual
from qjax.core.random import root_key
from qjax.envs.wrappers.base import WrapperState, legal_of, observing, original_of, where, words, wrapped
from qjax.types import Env


def time_limit(env: Env, max_steps: Any) -> Env:
    """Return an environment whose episodes are truncated after so many steps, which may be traced.

    Where an environment has a limit of its own, `qjax.make(..., max_steps_in_episode=...)` is cheaper.

    Raises:
        TypeError: it is no number.
        ValueError: it is less than 1, or no whole number.

    """
    check_record("env", env, Env)
    check_range("max_steps", max_steps, 1, LARGEST, whole=True)

    def reset(key: Any) -> Any:
        obs, inner = env.reset(key)
        return obs, WrapperState(inner, jnp.int32(0))

    def step(key: Any, state: WrapperState, action: Any) -> Any:
        step_key, reset_key = jax.random.split(key)
        made, time = env.step(step_key, state.env, action), state.own + 1
        ended, cut = made.terminated | made.truncated, time >= max_steps
        obs, inner = where(cut & ~ended, env.reset(reset_key), (made.obs, made.state))
        own = jnp.where(cut | ended, 0, time)
        return made._replace(obs=obs, state=WrapperState(inner, own), truncated=made.truncated | cut)

    limit = max_steps
    if env.max_steps is not None:
        both = (env.max_steps, max_steps)
        limit = min(both) if concrete(both) else jnp.minimum(*both)
    return wrapped(env, words("time_limit", max_steps), reset=reset, step=step, max_steps=limit)


class Timed(NamedTuple):
    """An observation, and the share of the episode's time limit that is left."""

    obs: PyTree[Array]
    """What is observed."""
    remaining: Float[Array, ""]
    """1 at the start, 0 at the limit."""


def remaining_time(env: Env) -> Env:
    """Return an environment that shows how much of its time limit is left, 1 to 0 (`Timed`; Pardo et al. 2018).

    Raises:
        ValueError: it has no time limit.

    """
    check_record("env", env, Env)
    limit = env.max_steps
    if limit is None:
        raise ValueError(f"{env.name} has no time limit; time_limit gives it one")

    def seen(obs: Any, time: Any) -> Any:
        return Timed(obs, (1 - time / limit).astype(jnp.float32)), time

    def before(timed: Timed) -> Any:
        return timed.obs

    return observing(
        env,
        "remaining_time",
        lambda obs: seen(obs, jnp.int32(0)),
        lambda own, action, reward, obs: seen(obs, own + 1),
        encode=lambda timed: Timed(env.encode(timed.obs), timed.remaining),
        legal=legal_of(env, before),
        original=original_of(env, before),
    )


def random_starts(env: Env, most: int, pool: int = 256) -> Env:
    """Return an environment whose episodes begin in a pool of states, each after 0 to `most` random steps.

    The pool is filled once, the same in every process, so all that is seen of first states is `pool` of them: what
    is learned is biased to these, the more so the fewer they are. `most=0` keeps first states as they are. Steps
    that were taken before count against the environment's own time limit, so all episodes have one that is shorter
    by `most`.

    Args:
        env: the environment.
        most: legal actions, drawn uniformly, that are taken before an episode; how many is drawn uniformly, too.
        pool: states.

    Raises:
        TypeError: a size is traced or no whole number.
        ValueError: most is negative, or not below the time limit, or the pool is empty.

    """
    check_record("env", env, Env)
    most, pool = check_size("most", most, least=0), check_size("pool", pool)
    if env.max_steps is not None and concrete(env.max_steps) and most >= env.max_steps:
        raise ValueError(f"most must be below the time limit of {env.name}, {env.max_steps} steps, got {most}")
    held = _pool(env, most, pool)

    def reset(key: Any) -> Any:
        which_key, own_key = jax.random.split(key)
        which = jax.random.randint(which_key, (), 0, pool)
        return jax.tree.map(lambda x: own_key if _is_key(x) else x[which], held)

    def step(key: Any, state: Any, action: Any) -> Any:
        step_key, reset_key = jax.random.split(key)
        made = env.step(step_key, state, action)
        fresh = reset(reset_key)
        obs, inner = where(made.terminated | made.truncated, fresh, (made.obs, made.state))
        return made._replace(obs=obs, state=inner)

    started = wrapped(env, words("random_starts", most, pool), reset=reset, step=step)
    if env.max_steps is None or most == 0:
        return started
    # Counted from the start of the episode: the environment's own limit never comes before, and never varies.
    return time_limit(started, env.max_steps - most)._replace(name=started.name, wrappers=started.wrappers)


def _pool(env: Env, most: int, size: int) -> Any:
    """Return observations and states `[size, ...]`, each after some random steps."""

    def one(key: Any) -> Any:
        first_key, count_key, walk_key = jax.random.split(key, 3)
        count = jax.random.randint(count_key, (), 0, most + 1)

        def walk(number: Any, at: Any) -> Any:
            obs, state = at
            action_key, step_key = jax.random.split(jax.random.fold_in(walk_key, number))
            made = env.step(step_key, state, _any_legal(env, action_key, obs))
            return made.obs, made.state

        return lax.fori_loop(0, count, walk, env.reset(first_key))

    with jax.ensure_compile_time_eval():  # concrete inside a traced function, too, but for traced parameters
        return jax.jit(usual(jax.vmap(one)))(jax.random.split(root_key(0), size))


def _any_legal(env: Env, key: Any, obs: Any) -> Any:
    """Return a legal action, drawn uniformly."""
    if env.legal is None:
        return jax.random.randint(key, (), 0, env.num_actions)
    return jax.random.categorical(key, jnp.where(env.legal(obs), 0.0, -jnp.inf)).astype(jnp.int32)


def _is_key(leaf: Any) -> bool:
    return bool(jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key))
