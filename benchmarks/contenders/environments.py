"""Environments alone, under random actions."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.contenders.measuring import Measure, chunked, sum_of


def random_steps(env_name: str, envs: int = 160, steps: int = 200, wrap: Sequence[str] = ()) -> Measure:
    """Return environments by a name of `qjax.make`'s under random actions, env-steps/s."""
    import qjax
    from qjax.cli.wrapping import wrapped

    env = wrapped(qjax.make(env_name), wrap)

    def step(key: Any, state: Any, action: Any) -> Any:
        after = env.step(key, state, action)
        return after.state, after.reward, (after.obs, after.final_obs)

    return _random_actions(step, env.reset, env.num_actions, envs, steps)


def bare_steps(env_name: str, envs: int = 160, steps: int = 200) -> Measure:
    """Return the same of the steps of gymnax or a suite as they are, with no limit and no new episode."""
    import qjax

    actions = qjax.make(env_name).num_actions
    if ":" in env_name:
        from qjax.envs.suites.names import construct

        suite = construct(env_name, {})[0]

        def step(key: Any, state: Any, action: Any) -> Any:
            obs, state, reward, _ = suite.advance(key, state, action)
            return state, reward, obs

        return _random_actions(step, suite.begin, actions, envs, steps)
    import gymnax

    env, params = gymnax.make(env_name)

    def step_env(key: Any, state: Any, action: Any) -> Any:
        obs, state, reward, *_ = env.step_env(key, state, action, params)
        return state, reward, obs

    return _random_actions(step_env, lambda key: env.reset(key, params), actions, envs, steps)


def _random_actions(step: Any, reset: Any, actions: int, envs: int, steps: int) -> Measure:
    """Return environments under random actions: `step` gives state, reward, and what else is to be computed."""
    import jax

    def one(carry: Any, key: Any) -> Any:
        state, total = carry
        drawn = jax.random.randint(key, (envs,), 0, actions)
        state, reward, rest = jax.vmap(step)(jax.random.split(key, envs), state, drawn)
        return (state, total + reward + sum_of(rest)), None  # nothing left out

    @jax.jit
    def run(held: Any) -> Any:
        carry, key = held
        key, own = jax.random.split(key)
        return jax.lax.scan(one, carry, jax.random.split(own, steps))[0], key

    _, state = jax.vmap(reset)(jax.random.split(jax.random.key(0), envs))
    start = ((state, np.zeros(envs, np.float32)), jax.random.key(1))
    return chunked(run, start, envs * steps)
