"""Plain JAX: PQN with a GRU on MemoryChain as one `vmap(scan)` over gymnax, with the constants of `recurrent-pqn`.

What a good single-file implementation does: everything on the device, jitted, donated; dense layers for all rows of
a rollout at once; the values that acted serve the returns. That is right for a chain, whose episodes all terminate:
the next row is the true successor wherever it counts.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import gymnax
import jax
import jax.numpy as jnp
import optax

ENVS, ROLLOUT, EPOCHS, MINIBATCHES, GAMMA, LAM, TOTAL = 16, 32, 4, 4, 0.99, 0.65, 500_000
SIZE, ACTIONS = 64, 2


class Cell(nn.Module):
    """A GRU over rows `[T, N, ...]`, which begins anew where an episode begins."""

    @partial(nn.scan, variable_broadcast="params", split_rngs={"params": False})
    @nn.compact
    def __call__(self, hidden: Any, row: Any) -> Any:
        """Return what is remembered and given."""
        x, begun = row
        # Orthogonal weights, the default, are a call of LAPACK, which may wait for ever among several lanes.
        cell = nn.GRUCell(SIZE, recurrent_kernel_init=nn.initializers.lecun_normal())
        return cell(jnp.where(begun[:, None], 0.0, hidden), x)


class QNetwork(nn.Module):
    """A dense layer with LayerNorm, the cell, and an output."""

    @nn.compact
    def __call__(self, hidden: Any, obs: Any, begun: Any) -> Any:
        """Return what is remembered after all rows, and one value per action of each."""
        x = nn.relu(nn.LayerNorm()(nn.Dense(SIZE)(obs)))
        hidden, y = Cell()(hidden, (x, begun))
        return hidden, nn.Dense(ACTIONS)(y)


ENV, ENV_PARAMS = gymnax.make("MemoryChain-bsuite")
NETWORK: Any = QNetwork()
RATE = optax.linear_schedule(1e-3, 0, TOTAL // (ROLLOUT * ENVS) * EPOCHS * MINIBATCHES)
OPTIMIZER = optax.chain(optax.clip_by_global_norm(10.0), optax.radam(RATE))


class Carry(NamedTuple):
    """All state of one seed."""

    key: Any
    params: Any
    opt_state: Any
    env: Any
    obs: Any
    begun: Any
    hidden: Any
    step: Any


class Row(NamedTuple):
    """One step of every environment."""

    obs: Any
    begun: Any
    action: Any
    reward: Any
    terminated: Any
    value: Any


def init(key: Any) -> Carry:
    """Return the state at the start."""
    key, env_key, net_key = jax.random.split(key, 3)
    obs, env = jax.vmap(ENV.reset, in_axes=(0, None))(jax.random.split(env_key, ENVS), ENV_PARAMS)
    begun, hidden = jnp.ones(ENVS, bool), jnp.zeros((ENVS, SIZE))
    params = NETWORK.init(net_key, hidden, obs[None], begun[None])
    return Carry(key, params, OPTIMIZER.init(params), env, obs, begun, hidden, jnp.int32(0))


def act(carry: Carry, _: None) -> tuple[Carry, Row]:
    """Step every environment once."""
    key, explore_key, action_key, env_key = jax.random.split(carry.key, 4)
    epsilon = jnp.maximum(1 + (0.05 - 1) * carry.step / (TOTAL / 2), 0.05)
    hidden, (q,) = NETWORK.apply(carry.params, carry.hidden, carry.obs[None], carry.begun[None])
    random = jax.random.randint(action_key, (ENVS,), 0, ACTIONS)
    action = jnp.where(jax.random.uniform(explore_key, (ENVS,)) < epsilon, random, q.argmax(-1))
    obs, env, reward, terminated, _, _ = jax.vmap(ENV.step, in_axes=(0, 0, 0, None))(
        jax.random.split(env_key, ENVS), carry.env, action, ENV_PARAMS
    )
    row = Row(carry.obs, carry.begun, action, reward, terminated, q.max(-1))
    return Carry(key, carry.params, carry.opt_state, env, obs, terminated, hidden, carry.step + ENVS), row


def lambda_returns(rows: Row, value: Any) -> Any:
    """Return the returns of all rows, `value` being that of what follows the last ones."""

    def back(later: Any, row: Row) -> Any:
        following, value = later
        bootstrap = LAM * following + (1 - LAM) * value
        following = row.reward + GAMMA * (1 - row.terminated) * bootstrap
        return (following, row.value), following

    return jax.lax.scan(back, (value, value), rows, reverse=True)[1]


def learn(params: Any, opt_state: Any, hidden: Any, rows: Row, value: Any, order: Any) -> Any:
    """Return parameters and optimiser after the minibatches of `order`, each of so many environments."""
    target = lambda_returns(rows, value)

    def step(state: Any, slot: Any) -> Any:
        params, opt_state = state
        part, y = jax.tree.map(lambda x: x[:, slot], (rows, target))

        def loss(params: Any) -> Any:
            _, q = NETWORK.apply(params, hidden[slot], part.obs, part.begun)
            return ((jnp.take_along_axis(q, part.action[..., None], -1)[..., 0] - y) ** 2).mean()

        updates, opt_state = OPTIMIZER.update(jax.grad(loss)(params), opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), None

    return jax.lax.scan(step, (params, opt_state), order)[0]


def collect(carry: Carry) -> tuple[Carry, Row, Any]:
    """Return the state after a rollout, its rows, and the value of what follows them."""
    carry, rows = jax.lax.scan(act, carry, None, length=ROLLOUT)
    _, (q,) = NETWORK.apply(carry.params, carry.hidden, carry.obs[None], carry.begun[None])
    return carry, rows, q.max(-1)


def iterate(carry: Carry, _: None) -> tuple[Carry, None]:
    """Make a rollout, and learn from it."""
    key, order_key = jax.random.split(carry.key)
    after, rows, value = collect(carry._replace(key=key))
    keys = jax.random.split(order_key, EPOCHS)
    order = jax.vmap(lambda key: jax.random.permutation(key, ENVS))(keys).reshape(EPOCHS * MINIBATCHES, -1)
    params, opt_state = learn(carry.params, carry.opt_state, carry.hidden, rows, value, order)
    return after._replace(params=params, opt_state=opt_state), None


def programs(
    seeds: int, sharding: jax.sharding.Sharding | None = None
) -> tuple[Callable[[Any], Carry], Callable[[Carry, int], Carry]]:
    """Return the start and the jitted chunk of so many seeds; sharded over devices if asked for."""

    @partial(jax.jit, static_argnums=1, donate_argnums=0)
    def chunk(carry: Carry, iterations: int) -> Carry:
        return jax.vmap(lambda c: jax.lax.scan(iterate, c, None, length=iterations)[0])(carry)

    start = jax.jit(lambda key: jax.vmap(init)(jax.random.split(key, seeds)))
    if sharding is None:
        return start, chunk
    # Spread afterwards: flax's orthogonal weights call LAPACK, which may wait for ever on several CPU devices.
    return lambda key: jax.device_put(start(key), sharding), chunk
