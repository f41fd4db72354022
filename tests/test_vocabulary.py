"""The vocabulary holds the algorithms that come later and are hardest to fit: shapes only, nothing is trained.

Each algorithm is composed from records of the right signature, put into the one loop, vmapped over lanes and traced
with `jax.eval_shape`: what goes in comes out, and nothing in the loop knows which algorithm it runs.
"""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
import pytest

import qjax
from qjax.core import clock as clocks
from qjax.exploration import schedules
from qjax.types import Agent, Memory, Time

LANES = 3
PER_ENV = Time(None, None, None, 0)
POLICY = qjax.epsilon_greedy(schedules.linear(1.0, 0.1, 100))
ADAM = optax.adam(1e-3)


def tree(function, *trees):
    return jax.tree.map(function, *trees)


# Pieces that are still to come, smallest form ---------------------------------------------------------------


def delayed(memory, rows, merge):
    """Rows wait until the `rows` after them are known; whole blocks, so that writes stay aligned."""

    def wait(steps):
        return -(-rows // steps) * steps

    def init(block, carry=()):
        window = jax.eval_shape(merge, tree(lambda x: jnp.zeros((rows + 1, *x.shape), x.dtype), block))
        return memory.init(window), tree(lambda x: jnp.zeros((wait(x.shape[0]), *x.shape[1:]), x.dtype), block)

    def late(state, clock):
        return clocks.minus(clock, state[1].reward.shape[0])

    def add(state, block, clock, carry=()):
        steps = block.reward.shape[0]
        known = tree(lambda a, b: jnp.concatenate([a, b]), state[1], block)
        window = merge(tree(lambda x: jnp.stack([x[k : k + steps] for k in range(rows + 1)]), known))
        return memory.add(state[0], window, late(state, clock)), tree(lambda x: x[steps:], known)

    def sample(key, state, clock, time):
        return memory.sample(key, state[0], late(state, clock), time)

    def update(state, slot, priority):
        return memory.update(state[0], slot, priority), state[1]

    return Memory(init, add, sample, update)


def action_taken(memory):
    def merge(window):
        now = tree(lambda x: x[0], window)
        return now._replace(next_action=jnp.where(now.last, -1, window.action[1]))

    return delayed(memory, 1, merge)


def sarsa_target_policy(policy):
    drawn = qjax.sampled(policy)

    def target_policy(key, transition, q_online, q_target, time):
        own = jax.nn.one_hot(transition.next_action, q_online.shape[-1])
        return jnp.where(transition.next_action >= 0, own, drawn(key, transition, q_online, q_target, time))

    return target_policy


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

    return Agent(init, qjax.memoryless(lambda noise, state, obs: state[0][obs]), learn)


# The algorithms, each one composition ---------------------------------------------------------------------------


CARTPOLE = {"num_envs": 2, "gamma": 0.99}
RING = qjax.ring(64, 8)
SEQUENCES = qjax.sequences(64, 8, 8, 3, partial(qjax.prioritized, alpha=0.9, beta=0.6))
PER = qjax.prioritized(64, 8, 0.6, schedules.linear(0.4, 1.0, 100), window=3)


def gru(**options):
    return qjax.recurrent(nn.GRUCell(6), qjax.MLP(2, (5,), **options))


def cartpole(agent, memory, policy=POLICY, **sizes):
    return qjax.make_loop(qjax.make("CartPole-v1"), agent, policy, memory, **{**CARTPOLE, **sizes})


def lake(agent, memory, **sizes):
    return qjax.make_loop(qjax.make("FrozenLake-v1"), agent, POLICY, memory, gamma=0.99, **sizes)


COMPOSITIONS = {
    "munchausen": lambda _: cartpole(qjax.dqn(qjax.MLP(2), ADAM, **qjax.munchausen()), RING),
    "c51, n-step, prioritized": lambda _: cartpole(
        qjax.dqn(qjax.MLP(2, atoms=5), ADAM, head=qjax.categorical(0.0, 100.0, 5)), qjax.n_step(PER, 3)
    ),
    "iqn, n-step, prioritized, double": lambda _: cartpole(
        qjax.dqn(qjax.MLP(2, levels=5), ADAM, head=qjax.quantile(), target_policy=qjax.double),
        qjax.n_step(PER, 3),
        rollout=2,
    ),
    "noisy": lambda _: cartpole(qjax.dqn(qjax.MLP(2, noisy=True), ADAM), RING, policy=qjax.greedy),
    "pqn": lambda _: cartpole(qjax.pqn(qjax.MLP(2), ADAM), qjax.online(), rollout=4),
    "sarsa, exactly": lambda _: lake(
        qjax.tabular(16, 4, 0.1, target_policy=sarsa_target_policy(POLICY)), action_taken(qjax.online())
    ),
    "sarsa, replayed": lambda _: lake(
        qjax.tabular(16, 4, 0.1, target_policy=sarsa_target_policy(POLICY)),
        action_taken(qjax.ring(64, 8)),
        num_envs=2,
    ),
    "watkins's q(lambda)": lambda _: lake(watkins(16, 4, 0.1, 0.9), action_taken(qjax.online()), num_envs=2),
    "epsilon ladder": lambda _: cartpole(
        qjax.dqn(qjax.MLP(2), ADAM), RING, policy=qjax.epsilon_greedy(schedules.ladder(2))
    ),
    "ladder, expected": lambda _: lake(
        qjax.tabular(16, 4, 0.1, target_policy=qjax.expected(qjax.epsilon_greedy(schedules.ladder(2)))),
        qjax.online(),
        num_envs=2,
    ),
    "swept target period": lambda hyper: cartpole(
        qjax.dqn(qjax.MLP(2), ADAM, target=qjax.periodic(hyper["period"])), RING
    ),
    "recurrent c51, n-step, prioritized, double": lambda _: cartpole(
        qjax.recurrent_dqn(
            gru(atoms=5), ADAM, n=3, head=qjax.categorical(0.0, 100.0, 5), target_policy=qjax.double
        ),
        SEQUENCES,
        rollout=4,
    ),
    "recurrent iqn, munchausen, noisy": lambda _: cartpole(
        qjax.recurrent_dqn(gru(levels=5, noisy=True), ADAM, head=qjax.quantile(), **qjax.munchausen()),
        SEQUENCES,
        rollout=2,
    ),
    "drqn, dueling": lambda _: cartpole(
        qjax.recurrent_dqn(gru(dueling=True), ADAM, stored_state=False), qjax.sequences(64, 8, 8), rollout=4
    ),
    "hl-gauss, munchausen, prioritized": lambda _: cartpole(
        qjax.dqn(qjax.MLP(2, atoms=5), ADAM, head=qjax.hl_gauss(0.0, 100.0, 5), **qjax.munchausen()), PER
    ),
    "recurrent pqn, two-hot rescaled": lambda _: cartpole(
        qjax.recurrent_pqn(
            gru(atoms=5), ADAM, head=qjax.two_hot(0.0, 10.0, 5, qjax.signed_hyperbolic()), minibatches=2
        ),
        qjax.online(),
        rollout=4,
    ),
    "recurrent pqn, quantiles": lambda _: cartpole(
        qjax.recurrent_pqn(gru(atoms=5), ADAM, head=qjax.quantile(), minibatches=2), qjax.online(), rollout=4
    ),
    "normalized, recurrent": lambda _: cartpole(
        qjax.normalized(qjax.recurrent_pqn(gru(), ADAM, minibatches=1), rewards=True), qjax.online(), rollout=4
    ),
    "averaged iqn, munchausen, noisy, prioritized": lambda _: cartpole(
        qjax.averaged_dqn(
            qjax.MLP(2, levels=5, noisy=True),
            ADAM,
            3,
            head=qjax.quantile(),
            target=qjax.periodic(4),
            **qjax.munchausen(),
        ),
        qjax.prioritized(64, 8, 0.6, 0.4),
    ),
    "averaged, rescaled, swept target period": lambda hyper: cartpole(
        qjax.averaged_dqn(
            qjax.MLP(2),
            ADAM,
            3,
            head=qjax.scalar(rescale=qjax.signed_hyperbolic()),
            target=qjax.periodic(hyper["period"]),
        ),
        RING,
    ),
    "maxmin c51, expected, n-step, prioritized": lambda _: cartpole(
        qjax.maxmin_dqn(
            qjax.MLP(2, atoms=5), ADAM, 3, head=qjax.categorical(0.0, 100.0, 5), target_policy=qjax.expected(POLICY)
        ),
        qjax.n_step(PER, 3),
    ),
    "maxmin quantiles, double, prior, normalized": lambda _: cartpole(
        qjax.normalized(
            qjax.maxmin_dqn(
                qjax.with_prior(qjax.MLP(2, atoms=5)),
                ADAM,
                3,
                2,
                head=qjax.quantile(),
                target_policy=qjax.double,
                target=qjax.polyak(0.1),
            )
        ),
        RING,
    ),
    "epsilon-z, recurrent": lambda _: cartpole(
        qjax.recurrent_dqn(gru(), ADAM), SEQUENCES, qjax.epsilon_z_greedy(schedules.ladder(2)), rollout=4
    ),
    "retrace, double, hl-gauss, prioritized, recycled": lambda _: cartpole(
        qjax.with_resets(
            qjax.dqn(
                qjax.MLP(2, (5,), atoms=5, dueling=True),
                ADAM,
                head=qjax.hl_gauss(0.0, 100.0, 5),
                target_policy=qjax.double,
                trace=qjax.retrace(0.9),
            ),
            qjax.redo(0.1),
            qjax.periodic(4, "update"),
            jax.ShapeDtypeStruct((4,), jnp.float32),
        ),
        PER,
    ),
    "recurrent tree backup, rescaled, reset, members": lambda _: cartpole(
        qjax.bootstrapped(
            qjax.with_resets(
                qjax.recurrent_dqn(
                    gru(), ADAM, head=qjax.scalar(rescale=qjax.signed_hyperbolic()), trace=qjax.tree_backup()
                ),
                qjax.reset_layers(),
                qjax.periodic(4, "update"),
                jax.ShapeDtypeStruct((4,), jnp.float32),
            ),
            2,
        ),
        SEQUENCES,
        rollout=4,
    ),
    "recurrent c51, retrace, expected": lambda _: cartpole(
        qjax.recurrent_dqn(
            gru(atoms=5),
            ADAM,
            head=qjax.categorical(0.0, 100.0, 5),
            target_policy=qjax.expected(POLICY),
            trace=qjax.retrace(),
        ),
        SEQUENCES,
        rollout=2,
    ),
    "averaged, shrunk, swept period": lambda hyper: cartpole(
        qjax.with_resets(
            qjax.averaged_dqn(qjax.MLP(2), ADAM, 3),
            qjax.shrink_and_perturb(),
            qjax.periodic(hyper["period"], "update"),
            jax.ShapeDtypeStruct((4,), jnp.float32),
        ),
        RING,
    ),
    "stream, normalized": lambda _: cartpole(
        qjax.normalized(qjax.stream_q(qjax.MLP(2, norm=True, initializer="sparse")), rewards=True),
        qjax.online(),
        num_envs=1,
        rollout=3,
    ),
    "corrections, prior, prioritized": lambda _: cartpole(
        qjax.qrc(qjax.with_prior(qjax.MLP(2)), ADAM), qjax.prioritized(64, 8, 0.6, 0.4)
    ),
    "static target period": lambda _: cartpole(
        qjax.dqn(qjax.MLP(2), ADAM, target=qjax.periodic(10)), RING, sync_every=5
    ),
}


@pytest.mark.parametrize("name", COMPOSITIONS)
def test_the_vocabulary_holds(name):
    build = COMPOSITIONS[name]
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

    growing = agent._replace(learn=learn, sync=lambda key, state, elapsed: state)
    loop = cartpole(growing, RING)
    lane = jax.eval_shape(loop.init, jax.eval_shape(lambda: jax.random.key(0)))
    with pytest.raises(TypeError, match="carry"):
        jax.eval_shape(lambda lane, clock: loop.run(lane, clock, 2), lane, jax.eval_shape(lambda: clocks.at(0)))
