"""Off-policy returns against sums written out, and agents that learn from them against slow loops in NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import probes
import pytest

import qjax
from qjax.core import clock as clocks
from qjax.objectives.off_policy import Trace
from qjax.types import Time

KEY, T, B, A, FEATURES = jax.random.key(0), 6, 4, 3, 4
NET = qjax.MLP(A, (5,))
LAMBDA, PI = 0.8, 0.3
TRACES = {
    "retrace": (qjax.retrace, lambda q, pi, a, mu: (LAMBDA * min(1, pi[a] / mu), q[a])),
    "tree backup": (qjax.tree_backup, lambda q, pi, a, mu: (LAMBDA * pi[a], q[a])),
    "watkins": (qjax.watkins_trace, lambda q, pi, a, mu: (LAMBDA * (q[a] == q.max()), q[a])),
    "peng": (qjax.peng_trace, lambda q, pi, a, mu: (LAMBDA, pi @ q)),
}


def batch(seed=1):
    """Return sequences in which episodes terminate and are cut, and the next row begins another one."""
    keys = jax.random.split(jax.random.key(seed), 6)
    obs, reset = jax.random.normal(keys[0], (2, T + 1, B, FEATURES))
    last = jnp.zeros((T, B), bool).at[1, 0].set(True).at[3, 1].set(True).at[2, 2].set(True)
    terminated = last & (jnp.arange(B) != 1)
    rows = [obs[0]]
    for t in range(T):  # after an end the next row begins elsewhere
        rows.append(jnp.where(last[t][:, None], reset[t], obs[t + 1]))
    data = qjax.Transition(
        jnp.stack(rows[:T]), jax.random.randint(keys[1], (T, B), 0, A), jax.random.normal(keys[2], (T, B)),
        0.9 * (1 - terminated), obs[1:], last, probability=jax.random.uniform(keys[3], (T, B), minval=0.1),
    )  # fmt: skip
    weight = jax.random.uniform(keys[4], (T, B)).at[0].set(0)
    return qjax.Batch(data, weight, jnp.arange(B), jnp.zeros(B, jnp.int32))


def slow_returns(data, q, pi, step):
    """Return G `[T, B]` by the definition's recursion, of values and probabilities at each true successor."""
    found = np.zeros((T, B))
    for b in range(B):
        for t in reversed(range(T)):
            v = pi[t, b] @ q[t, b]
            if t + 1 < T and not data.last[t, b]:
                action, mu = int(data.action[t + 1, b]), float(data.probability[t + 1, b])
                c, base = step(q[t, b], pi[t, b], action, mu)
                v += c * (found[t + 1, b] - base)
            found[t, b] = data.reward[t, b] + data.discount[t, b] * v
    return found


def values(params, obs):
    return np.asarray(jax.vmap(jax.vmap(NET.apply, in_axes=(None, 0)), in_axes=(None, 0))(params, obs), float)


def near_greedy(q):
    best = q == q.max(-1, keepdims=True)
    return (1 - PI) * best / best.sum(-1, keepdims=True) + PI / A


@pytest.mark.parametrize("name", TRACES)
def test_targets_are_those_of_a_slow_loop(name):
    """With the values of the target network and a target policy that reads the online ones."""
    trace, step = TRACES[name]
    target_policy = qjax.expected(qjax.epsilon_greedy(PI))
    agent = qjax.dqn(NET, optax.sgd(0.1), target_policy=target_policy, trace=trace(LAMBDA))
    given, state = batch(), agent.init(KEY, jnp.zeros((1, FEATURES)))
    state = state._replace(target_params=agent.init(jax.random.key(1), jnp.zeros((1, FEATURES))).params)
    online, q = (values(params, given.data.next_obs) for params in (state.params, state.target_params))
    expected = slow_returns(given.data, q, near_greedy(online), step)

    def loss(params):
        chosen = jnp.take_along_axis(
            jax.vmap(jax.vmap(NET.apply, in_axes=(None, 0)), in_axes=(None, 0))(params, given.data.obs),
            given.data.action[..., None], -1,
        )[..., 0]  # fmt: skip
        return (given.weight * (expected - chosen) ** 2).mean(), chosen

    (value, chosen), gradient = jax.value_and_grad(loss, has_aux=True)(state.params)
    after, info = agent.learn(jax.random.key(2), state, given, Time(0, 0, 0))
    np.testing.assert_allclose(info["loss"], value, rtol=1e-5)
    np.testing.assert_allclose(info["priority"], abs(expected - chosen).max(0), rtol=1e-4, atol=1e-5)
    moved = jax.tree.map(lambda x, g: x - 0.1 * g, state.params, gradient)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), after.params, moved)


def test_known_cases():
    """Without a trace one step; Peng's are lambda-returns; greedy actions are followed, others by Peng alone."""
    data = batch().data
    rows = [jnp.asarray(x[:, 1]) for x in (data.reward, data.discount, data.last)]
    v, b = jax.random.normal(KEY, (2, T))
    one_step = qjax.off_policy_returns(*rows, v, jnp.zeros(T), b)
    np.testing.assert_allclose(one_step, rows[0] + rows[1] * v, rtol=1e-6)
    np.testing.assert_allclose(
        qjax.off_policy_returns(*rows, v, jnp.full(T, 0.7), v), qjax.lambda_returns(*rows, v, 0.7), rtol=1e-5
    )
    whole = qjax.off_policy_returns(*rows, v, jnp.ones(T), v)
    np.testing.assert_allclose(whole, qjax.lambda_returns(*rows, v, 1.0), rtol=1e-5)
    q, greedy = jnp.array([1.0, 3.0, 2.0]), jnp.array([False, True, False])
    for name, (trace, _) in TRACES.items():
        taken, other = (trace(0.5).step(q, greedy, jnp.int32(action), 0.25) for action in (1, 2))
        assert [float(x) for x in taken] == [0.5, 3]
        assert [float(x) for x in other] == ([0.5, 3] if name == "peng" else [0, 2])
    assert float(qjax.retrace(1.0).step(q, jnp.array([0.1, 0.5, 0.4]), jnp.int32(2), 0.8)[0]) == pytest.approx(0.5)


def test_nothing_leaks_over_an_end():
    data = batch().data
    after = data._replace(reward=data.reward.at[4, 1].set(jnp.nan))  # the row after the cut of stream 1
    found = [
        jax.vmap(qjax.off_policy_returns, in_axes=1, out_axes=1)(
            x.reward, x.discount, x.last, jnp.ones((T, B)), jnp.ones((T, B)), jnp.zeros((T, B))
        )
        for x in (data, after)
    ]
    np.testing.assert_array_equal(found[0][:4, 1], found[1][:4, 1])
    assert np.isnan(found[1][4, 1])


def test_recurrent_agents_look_ahead_alike():
    """A cell that gives on what it reads makes the recurrent agent the feed-forward one."""
    given, target_policy = batch(), qjax.expected(qjax.epsilon_greedy(PI))

    class Passes:
        def initialize_carry(self, key, shape):
            return jnp.zeros(1)

        def init(self, key, carry, x):
            return ()

        def apply(self, params, carry, x):
            return carry, x

    options = {"target_policy": target_policy, "trace": qjax.retrace(LAMBDA)}
    plain = qjax.dqn(NET, optax.sgd(0.1), **options)
    agent = qjax.recurrent_dqn(qjax.recurrent(Passes(), NET), optax.sgd(0.1), stored_state=False, **options)
    assert agent.reads_probability and plain.reads_probability
    even = given._replace(weight=jnp.ones((T, B)))
    state, recurrent = (x.init(KEY, jnp.zeros((1, FEATURES))) for x in (plain, agent))
    recurrent = recurrent._replace(
        params=recurrent.params.replace(network=state.params),
        target_params=recurrent.target_params.replace(network=state.target_params),
    )
    after, info = plain.learn(KEY, state, even, Time(0, 0, 0))
    again, same = agent.learn(KEY, recurrent, even, Time(0, 0, 0))
    np.testing.assert_allclose(info["loss"], same["loss"], rtol=1e-5)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), again.params.network, after.params
    )


@pytest.mark.parametrize(
    "memory", [qjax.ring(64, 4, window=3), qjax.sequences(64, 4, 4)], ids=["ring", "sequences"]
)
def test_probabilities_are_those_of_the_acting_policy(memory):
    """Of the actions that were taken, and only where the agent reads them."""
    env = qjax.make(probes.Countdown(box=True))
    count = env.num_actions
    acts = lambda q, time: jnp.where(jnp.arange(count) == 0, 0.75, 0.25 / (count - 1))
    for trace in (qjax.retrace(), qjax.tree_backup()):
        agent = qjax.dqn(qjax.MLP(count, (4,)), optax.sgd(0.1), trace=trace)
        loop = qjax.make_loop(env, agent, acts, memory, gamma=0.9, num_envs=2, rollout=2)
        lane = jax.jit(loop.run, static_argnums=2)(loop.init(KEY), clocks.at(0), 12)
        data = memory.sample(KEY, lane.memory, clocks.at(24), Time(0, 0, 0)).data
        if trace.reads_probability:
            np.testing.assert_allclose(data.probability, np.where(data.action == 0, 0.75, 0.25 / (count - 1)))
            assert len(np.unique(data.probability)) == 2
        else:
            assert data.probability == ()
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(lane.agent.params))


def test_what_takes_no_trace():
    noisy = qjax.MLP(A, (5,), noisy=True)
    for net in (
        noisy,
        qjax.encoded(noisy, lambda x: x),
        qjax.with_prior(noisy),
        qjax.masked(noisy, lambda x: x > 0),
    ):
        with pytest.raises(ValueError, match="a noisy network's differ by their noise"):
            qjax.dqn(net, optax.sgd(0.1), trace=qjax.retrace())
    cell = qjax.networks.recurrent.CELLS["gru"](3)
    for net in (qjax.recurrent(cell, noisy), qjax.recurrent(cell, NET, qjax.MLP(None, (4,), noisy=True))):
        with pytest.raises(ValueError, match="a noisy network's differ by their noise"):
            qjax.recurrent_dqn(net, optax.sgd(0.1), trace=qjax.retrace())
    with pytest.raises(ValueError, match="a trace looks ahead in the place of n steps, got n = 3"):
        qjax.recurrent_dqn(qjax.recurrent(cell, NET), optax.sgd(0.1), trace=qjax.retrace(), n=3)
    with pytest.raises(ValueError, match="a reward with a bonus is that of single steps, and takes no trace"):
        qjax.dqn(NET, optax.sgd(0.1), trace=qjax.retrace(), **qjax.munchausen())
    agent, env = qjax.dqn(NET, optax.sgd(0.1), trace=qjax.retrace()), qjax.make("CartPole-v1")
    folded = qjax.n_step(qjax.ring(64, 4, window=3), 3)
    with pytest.raises(ValueError, match="an agent with a trace learns from single steps"):
        qjax.make_loop(env, agent, qjax.epsilon_greedy(0.1), folded, gamma=0.9)
    with pytest.raises(TypeError, match=r"trace.step must be a function \(q, weights, action, probability\)"):
        qjax.dqn(NET, optax.sgd(0.1), trace=Trace(lambda q: q))
