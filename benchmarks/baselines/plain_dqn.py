"""Plain JAX: DQN on CartPole as one `vmap(scan)`, flashbax's buffer, the counter in the carry, CleanRL's constants.

What a good single-file implementation does: everything on the device, jitted, donated, its warm-up a scan of its
own so that no condition stands around the update.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flashbax
import flax.linen as nn
import gymnax
import jax
import jax.numpy as jnp
import optax

ENVS, BATCH, CAPACITY, GAMMA, PERIOD, TOTAL = 10, 128, 10_000, 0.99, 500, 500_000
WARMUP = 1_000
"""Iterations of ten steps."""


class QNetwork(nn.Module):
    """CleanRL's network."""

    @nn.compact
    def __call__(self, obs: Any) -> Any:
        """Return one value per action."""
        x = nn.relu(nn.Dense(120)(obs))
        x = nn.relu(nn.Dense(84)(x))
        return nn.Dense(2)(x)


class Carry(NamedTuple):
    """All state of one seed."""

    key: Any
    params: Any
    target: Any
    opt_state: Any
    buffer: Any
    env: Any
    obs: Any
    step: Any


def make() -> tuple[Callable[[Any], Carry], Callable[[Carry, int, bool], Carry]]:
    """Return `init(key)` and `run(carry, iterations, learning)` of one seed."""
    env, params = gymnax.make("CartPole-v1")
    network: Any = QNetwork()
    optimizer = optax.adam(2.5e-4)
    buffer = flashbax.make_item_buffer(
        max_length=CAPACITY, min_length=BATCH, sample_batch_size=BATCH, add_batches=True
    )

    def init(key: Any) -> Carry:
        key, env_key, net_key = jax.random.split(key, 3)
        obs, state = jax.vmap(env.reset, in_axes=(0, None))(jax.random.split(env_key, ENVS), params)
        weights = network.init(net_key, obs[0])
        row = (obs[0], jnp.int32(0), jnp.float32(0), obs[0], jnp.float32(0))
        copy = jax.tree.map(jnp.array, weights)
        return Carry(key, weights, copy, optimizer.init(weights), buffer.init(row), state, obs, jnp.int32(0))

    def act(carry: Carry) -> Carry:
        key, explore_key, action_key, env_key = jax.random.split(carry.key, 4)
        epsilon = jnp.maximum(1 + (0.05 - 1) * carry.step / (TOTAL / 2), 0.05)
        greedy = network.apply(carry.params, carry.obs).argmax(-1)
        random = jax.random.randint(action_key, (ENVS,), 0, 2)
        action = jnp.where(jax.random.uniform(explore_key, (ENVS,)) < epsilon, random, greedy)
        obs, state, reward, terminated, _, info = jax.vmap(env.step, in_axes=(0, 0, 0, None))(
            jax.random.split(env_key, ENVS), carry.env, action, params
        )
        rows = (carry.obs, action, reward, info["final_observation"], terminated.astype(jnp.float32))
        held = buffer.add(carry.buffer, rows)
        return carry._replace(key=key, buffer=held, env=state, obs=obs, step=carry.step + ENVS)

    def learn(carry: Carry) -> Carry:
        key, sample_key = jax.random.split(carry.key)
        obs, action, reward, next_obs, terminated = buffer.sample(carry.buffer, sample_key).experience
        y = reward + GAMMA * (1 - terminated) * network.apply(carry.target, next_obs).max(-1)

        def loss(weights: Any) -> Any:
            q = jnp.take_along_axis(network.apply(weights, obs), action[:, None], 1)[:, 0]
            return ((q - y) ** 2).mean()

        updates, opt_state = optimizer.update(jax.grad(loss)(carry.params), carry.opt_state)
        weights = optax.apply_updates(carry.params, updates)
        due = carry.step % PERIOD == 0
        target = jax.lax.cond(due, lambda: weights, lambda: carry.target)
        return carry._replace(key=key, params=weights, target=target, opt_state=opt_state)

    def run(carry: Carry, iterations: int, learning: bool) -> Carry:
        def body(carry: Carry, _: None) -> tuple[Carry, None]:
            carry = act(carry)
            return (learn(carry) if learning else carry), None

        return jax.lax.scan(body, carry, None, length=iterations)[0]

    return init, run


def programs(seeds: int) -> tuple[Callable[[Any], Carry], Callable[[Carry, int, bool], Carry]]:
    """Return the jitted start and chunk of so many seeds, the chunk donating its argument.

    What all seeds count alike is one number, as in one `vmap` of the whole training: so the target's condition
    stays one, and rows are written as slices.
    """
    init, run = make()
    held = jax.tree.map(lambda _: 0, jax.eval_shape(init, jax.random.key(0)).buffer)
    lanes = Carry(0, 0, 0, 0, held.replace(current_index=None, is_full=None), 0, 0, None)

    @partial(jax.jit, static_argnums=(1, 2), donate_argnums=0)
    def chunk(carry: Carry, iterations: int, learning: bool) -> Carry:
        return jax.vmap(lambda one: run(one, iterations, learning), in_axes=(lanes,), out_axes=lanes)(carry)

    return jax.jit(lambda key: jax.vmap(init, out_axes=lanes)(jax.random.split(key, seeds))), chunk
