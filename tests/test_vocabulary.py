"""The vocabulary holds the members that come later and are hardest to fit: shapes only, nothing is trained.

Each member is composed from records of the right signature, put into the one loop, vmapped over lanes and traced
with `jax.eval_shape`: what goes in comes out, and nothing in the loop knows which member it runs.
"""

import jax
import jax.numpy as jnp
import optax
import pytest
from flax import linen as nn
from jax import lax

import qjax
from qjax import clock as clocks
from qjax import schedules
from qjax.types import Agent, Batch, Head, Memory, Time

LANES, ATOMS = 3, 5
PER_ENV = Time(None, None, None, 0)
POLICY = qjax.epsilon_greedy(schedules.linear(1.0, 0.1, 100))
ADAM = optax.adam(1e-3)


def tree(function, *trees):
    return jax.tree.map(function, *trees)


# Pieces that are still to come, smallest form ---------------------------------------------------------------


def munchausen(temperature):
    def log_pi(q):
        return jax.nn.log_softmax(q / temperature)

    def select(key, transition, q_online, q_target, time):
        return jax.nn.softmax(q_target / temperature)

    def reward(transition, q, q_next, weights, time):
        entropy = -(weights * log_pi(q_next)).sum()
        bonus = 0.9 * jnp.clip(temperature * log_pi(q)[transition.action], -1, 0)
        return transition.reward + bonus + transition.discount * temperature * entropy

    return {"select": select, "reward": reward}


def categorical(low, high):  # C51: out [A, atoms]
    support = jnp.linspace(low, high, ATOMS)

    def target(reward, discount, next_out, weights):
        mass = (weights[:, None] * jax.nn.softmax(next_out)).sum(0)
        place = (jnp.clip(reward + discount * support, low, high) - low) / (support[1] - low)
        return (mass[:, None] * jnp.clip(1 - jnp.abs(place[:, None] - jnp.arange(ATOMS)), 0, 1)).sum(0)

    def loss(out, action, y):
        cross = -(y * jax.nn.log_softmax(out[action])).sum()
        return cross, cross

    return Head(lambda out: (jax.nn.softmax(out) * support).sum(-1), target, loss)


def implicit():  # IQN: out is (quantiles [A, n], levels [n]), and y weighted atoms
    def target(reward, discount, next_out, weights):
        return reward + discount * next_out[0], weights

    def loss(out, action, y):
        (atoms, weights), (quantiles, levels) = y, out
        delta = atoms[..., None] - quantiles[action]
        each = jnp.abs(levels - (delta < 0)) * qjax.huber()(delta)
        total = (weights[:, None] * each.mean(1)).sum()
        return total, total

    return Head(lambda out: out[0].mean(-1), target, loss)


class Quantiles(nn.Module):
    actions: int

    @nn.compact
    def __call__(self, x):
        middle = (jnp.arange(ATOMS) + 0.5) / ATOMS
        levels = jax.random.uniform(self.make_rng("own"), (ATOMS,)) if self.has_rng("own") else middle
        embedded = nn.Dense(8)(x) * nn.Dense(8)(jnp.cos(jnp.arange(4) * levels[:, None]))
        return nn.Dense(self.actions)(embedded).T, levels


class Noisy(nn.Module):
    actions: int

    @nn.compact
    def __call__(self, x):
        sigma = self.param("sigma", nn.initializers.constant(0.5), (x.shape[-1], self.actions))
        out = nn.Dense(self.actions)(x)
        return (
            out + x @ (sigma * jax.random.normal(self.make_rng("shared"), sigma.shape))
            if self.has_rng("shared")
            else out
        )


class Atoms(nn.Module):
    actions: int

    @nn.compact
    def __call__(self, x):
        return nn.Dense(self.actions * ATOMS)(x).reshape(self.actions, ATOMS)


def delayed(memory, rows, merge):
    """Rows wait until the `rows` after them are known; whole blocks, so that writes stay aligned."""

    def wait(steps):
        return -(-rows // steps) * steps

    def init(block):
        window = jax.eval_shape(merge, tree(lambda x: jnp.zeros((rows + 1, *x.shape), x.dtype), block))
        return memory.init(window), tree(lambda x: jnp.zeros((wait(x.shape[0]), *x.shape[1:]), x.dtype), block)

    def late(state, clock):
        return clocks.minus(clock, state[1].reward.shape[0])

    def add(state, block, clock):
        steps = block.reward.shape[0]
        known = tree(lambda a, b: jnp.concatenate([a, b]), state[1], block)
        window = merge(tree(lambda x: jnp.stack([x[k : k + steps] for k in range(rows + 1)]), known))
        return memory.add(state[0], window, late(state, clock)), tree(lambda x: x[steps:], known)

    def sample(key, state, clock, time):
        return memory.sample(key, state[0], late(state, clock), time)

    def update(state, slot, priority):
        return memory.update(state[0], slot, priority), state[1]

    return Memory(init, add, sample, update)


def n_step(memory, n):
    def fold(window):
        out = tree(lambda x: x[n - 1], window)
        for k in reversed(range(n - 1)):
            row = tree(lambda x, k=k: x[k], window)
            longer = out._replace(
                obs=row.obs,
                action=row.action,
                reward=row.reward + row.discount * out.reward,
                discount=row.discount * out.discount,
            )
            shape = row.last.shape
            pick = lambda a, b, row=row, shape=shape: jnp.where(
                row.last.reshape(shape + (1,) * (a.ndim - len(shape))), a, b
            )
            out = tree(pick, row, longer)
        return out

    return delayed(memory, n - 1, fold)


def executed(memory):
    def merge(window):
        now = tree(lambda x: x[0], window)
        return now._replace(next_action=jnp.where(now.last, -1, window.action[1]))

    return delayed(memory, 1, merge)


def prioritized(capacity, batch_size, beta):
    ring = qjax.ring(capacity, batch_size)

    def init(block):
        return ring.init(block), jnp.zeros(capacity), jnp.float32(1)

    def add(state, block, clock):
        store, priorities, top = state
        steps, envs = block.reward.shape
        first = clocks.modulo(clock, capacity // envs) * envs
        new = jnp.broadcast_to(top, (steps * envs,))
        return ring.add(store, block, clock), lax.dynamic_update_slice(priorities, new, (first,)), top

    def sample(key, state, clock, time):
        store, priorities, _ = state
        total = jnp.cumsum(priorities)
        slot = jnp.searchsorted(total, jax.random.uniform(key, (batch_size,)) * total[-1]).astype(jnp.int32)
        data = store.at(slot[None])
        weight = (priorities[slot] / total[-1]) ** -beta(time)
        return Batch(data, (weight / weight.max())[None], slot, slot % store.axes[1])

    def update(state, slot, priority):
        store, priorities, top = state
        return store, priorities.at[slot].set(priority), jnp.maximum(top, priority.max())

    return Memory(init, add, sample, update)


def sarsa_select(policy):
    drawn = qjax.sampled(policy)

    def select(key, transition, q_online, q_target, time):
        own = jax.nn.one_hot(transition.next_action, q_online.shape[-1])
        return jnp.where(transition.next_action >= 0, own, drawn(key, transition, q_online, q_target, time))

    return select


def pqn(network, optimizer, lam):
    net = qjax.as_network(network)

    def init(key, obs):
        params = net.init(key, obs[0])
        return params, optimizer.init(params)

    def learn(key, state, batch, time):
        params, x = state[0], batch.data
        value = jax.vmap(jax.vmap(lambda obs: net.apply(params, obs, None).max()))(x.next_obs)

        def back(g, row):
            reward, discount, last, v = row
            g = reward + discount * jnp.where(last, v, (1 - lam) * v + lam * g)
            return g, g

        _, y = lax.scan(back, value[-1], (x.reward, x.discount, x.last, value), reverse=True)

        def loss(params):
            q = jax.vmap(jax.vmap(lambda obs, a: net.apply(params, obs, None)[a]))(x.obs, x.action)
            return ((y - q) ** 2).mean(), q.mean()

        (value_loss, q), gradient = jax.value_and_grad(loss, has_aux=True)(params)
        updates, opt = optimizer.update(gradient, state[1], params)
        info = {"loss": value_loss, "q": q, "priority": jnp.zeros(batch.slot.shape)}
        return (optax.apply_updates(params, updates), opt), info

    return Agent(init, lambda noise, state, obs: net.apply(state[0], obs, noise), learn)


def watkins(num_states, num_actions, alpha, lam):
    """Q(lambda) with one trace table per environment, cut where the executed next action is not greedy."""

    def init(key, obs):
        return jnp.zeros((num_states, num_actions)), jnp.zeros((obs.shape[0], num_states, num_actions))

    def learn(key, state, batch, time):
        (table, trace), row, env = state, tree(lambda x: x[0], batch.data), batch.env
        next_q = table[row.next_obs]
        delta = row.reward + row.discount * next_q.max(-1) - table[row.obs, row.action]
        trace = trace.at[env, row.obs, row.action].add(1.0)
        table = table + alpha * jnp.einsum("n,nsa->sa", batch.weight[0] * delta, trace)
        keep = ~row.last & (next_q[jnp.arange(env.size), row.next_action] == next_q.max(-1))
        trace = (row.discount * lam * keep)[:, None, None] * trace
        return (table, trace), {"loss": (delta**2).mean(), "q": next_q.mean(), "priority": jnp.abs(delta)}

    return Agent(init, lambda noise, state, obs: state[0][obs], learn)


# The members, each one composition ---------------------------------------------------------------------------


CARTPOLE = {"num_envs": 2, "gamma": 0.99}
RING = qjax.ring(64, 8)
PER = prioritized(64, 8, schedules.linear(0.4, 1.0, 100))


def cartpole(agent, memory, policy=POLICY, **sizes):
    return qjax.make_loop(qjax.make("CartPole-v1"), agent, policy, memory, **{**CARTPOLE, **sizes})


def lake(agent, memory, **sizes):
    return qjax.make_loop(qjax.make("FrozenLake-v1"), agent, POLICY, memory, gamma=0.99, **sizes)


MEMBERS = {
    "munchausen": lambda _: cartpole(qjax.dqn(qjax.MLP(2), ADAM, **munchausen(0.03)), RING),
    "c51, n-step, prioritized": lambda _: cartpole(
        qjax.dqn(Atoms(2), ADAM, head=categorical(0.0, 100.0)), n_step(PER, 3)
    ),
    "iqn, n-step, prioritized, double": lambda _: cartpole(
        qjax.dqn(Quantiles(2), ADAM, head=implicit(), select=qjax.double), n_step(PER, 3), rollout=2
    ),
    "noisy": lambda _: cartpole(qjax.dqn(Noisy(2), ADAM), RING, policy=qjax.greedy),
    "pqn": lambda _: cartpole(pqn(qjax.MLP(2), ADAM, 0.65), qjax.latest(), rollout=4),
    "sarsa, exactly": lambda _: lake(
        qjax.tabular(16, 4, 0.1, select=sarsa_select(POLICY)), executed(qjax.latest())
    ),
    "sarsa, n-step": lambda _: lake(
        qjax.tabular(16, 4, 0.1, select=sarsa_select(POLICY)), executed(n_step(qjax.latest(), 3)), num_envs=2
    ),
    "watkins's q(lambda)": lambda _: lake(watkins(16, 4, 0.1, 0.9), executed(qjax.latest()), num_envs=2),
    "epsilon ladder": lambda _: cartpole(
        qjax.dqn(qjax.MLP(2), ADAM), RING, policy=qjax.epsilon_greedy(schedules.ladder(2))
    ),
    "ladder, expected": lambda _: lake(
        qjax.tabular(16, 4, 0.1, select=qjax.expected(qjax.epsilon_greedy(schedules.ladder(2)))),
        qjax.latest(),
        num_envs=2,
    ),
    "swept target period": lambda hyper: cartpole(
        qjax.dqn(qjax.MLP(2), ADAM, target=qjax.periodic(hyper["period"])), RING
    ),
    "static target period": lambda _: cartpole(
        qjax.dqn(qjax.MLP(2), ADAM, target=qjax.periodic(10)), RING, cadence=5
    ),
}


@pytest.mark.parametrize("name", MEMBERS)
def test_the_vocabulary_holds(name):
    build = MEMBERS[name]
    hypers = {"period": jax.ShapeDtypeStruct((LANES,), jnp.int32)}
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), LANES))
    clock = jax.eval_shape(lambda: clocks.at(0))
    init = jax.vmap(lambda hyper, key: build(hyper).init(key))
    lanes = jax.eval_shape(init, hypers, keys)

    def run(hyper, lane, clock):
        loop = build(hyper)
        return loop.run(loop.run(lane, clock, 5, learning=False), clocks.plus(clock, 5), 10)

    after = jax.eval_shape(jax.vmap(run, in_axes=(0, 0, None)), hypers, lanes, clock)
    assert jax.tree.structure(after) == jax.tree.structure(lanes)
    assert [(x.shape, x.dtype) for x in jax.tree.leaves(after)] == [
        (x.shape, x.dtype) for x in jax.tree.leaves(lanes)
    ]
    assert {"loss", "q"} <= set(after.stats.sums)


def test_a_record_of_the_wrong_shape_does_not_fit():
    # The check above can fail: an agent whose learning changes its state's shape is refused by the same trace.
    agent = qjax.dqn(qjax.MLP(2), ADAM)

    def learn(key, state, batch, time):
        state, info = agent.learn(key, state, batch, time)
        return state._replace(sync_state=(state.sync_state, state.sync_state)), info

    growing = agent._replace(learn=learn, sync=lambda state, elapsed: state)
    loop = cartpole(growing, RING)
    lane = jax.eval_shape(loop.init, jax.eval_shape(lambda: jax.random.key(0)))
    with pytest.raises(TypeError, match="carry"):
        jax.eval_shape(lambda lane, clock: loop.run(lane, clock, 2), lane, jax.eval_shape(lambda: clocks.at(0)))
