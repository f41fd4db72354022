"""Plain JAX: tabular Q-learning on slippery FrozenLake as one `vmap(scan)` over gymnax, everything in the carry."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import gymnax
import jax
import jax.numpy as jnp

ALPHA, GAMMA, EPSILON = 0.1, 0.99, 0.1


class Carry(NamedTuple):
    """All state of one seed."""

    key: Any
    q: Any
    env: Any
    obs: Any


def make() -> tuple[Callable[[Any], Carry], Callable[[Carry, int], Carry]]:
    """Return `init(key)` and `run(carry, steps)` of one seed."""
    env, params = gymnax.make("FrozenLake-misc")

    def init(key: Any) -> Carry:
        key, env_key = jax.random.split(key)
        obs, state = env.reset(env_key, params)
        return Carry(key, jnp.zeros((16, 4)), state, obs)

    def step(carry: Carry, _: None) -> tuple[Carry, None]:
        key, explore_key, action_key, env_key = jax.random.split(carry.key, 4)
        q = carry.q[carry.obs]
        explore = jax.random.uniform(explore_key) < EPSILON
        action = jnp.where(explore, jax.random.randint(action_key, (), 0, 4), q.argmax())
        obs, state, reward, terminated, _, info = env.step(env_key, carry.env, action, params)
        y = reward + GAMMA * (1 - terminated) * carry.q[info["final_observation"]].max()
        table = carry.q.at[carry.obs, action].add(ALPHA * (y - q[action]))
        return Carry(key, table, state, obs), None

    return init, lambda carry, steps: jax.lax.scan(step, carry, None, length=steps)[0]


def programs(
    seeds: int, sharding: jax.sharding.Sharding | None = None
) -> tuple[Callable[[Any], Carry], Callable[[Carry, int], Carry]]:
    """Return the jitted start and chunk of so many seeds; sharded over devices if asked for."""
    init, run = make()

    @partial(jax.jit, static_argnums=1, donate_argnums=0)
    def chunk(carry: Carry, steps: int) -> Carry:
        return jax.vmap(lambda c: run(c, steps))(carry)

    start = jax.jit(lambda key: jax.vmap(init)(jax.random.split(key, seeds)), out_shardings=sharding)
    return start, chunk
