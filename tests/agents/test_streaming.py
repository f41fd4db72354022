"""Stream Q(lambda) and regularised corrections against slow loops, and where semi-gradients diverge."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import qjax
from qjax.agents.qrc import QRCParams
from qjax.networks.layers import sparse
from qjax.types import Time

KEY, TIME, FEATURES, A = jax.random.key(0), Time(0, 0, 0), 4, 3
NET, LAMBDA, GAMMA = qjax.MLP(A, (5,)), 0.7, 0.9


def stream(steps=8, seed=1):
    """Return consecutive steps of one environment, of which one terminates and one is cut."""
    keys = jax.random.split(jax.random.key(seed), 4)
    obs = jax.random.normal(keys[0], (steps + 1, FEATURES))
    last = jnp.zeros(steps, bool).at[3].set(True).at[5].set(True)
    discount = GAMMA * (1.0 - (jnp.arange(steps) == 3))
    action, reward = jax.random.randint(keys[1], (steps,), 0, A), jax.random.normal(keys[2], (steps,))
    return qjax.Transition(obs[:-1], action, reward, discount, obs[1:], last)


def batch_of(data, weight=None):
    rows = jax.tree.map(lambda x: x[:, None], data)
    ones = jnp.ones((len(data.reward), 1)) if weight is None else weight[:, None]
    return qjax.Batch(rows, ones, jnp.zeros(1, int), jnp.zeros(1, int))


def slow_stream(params, data, alpha=1.0, kappa=2.0, rows=None):
    """Return parameters and trace after some steps, as the algorithm is written, and the errors on the way."""
    trace, errors = jax.tree.map(jnp.zeros_like, params), []
    for t in range(len(data.reward)) if rows is None else rows:
        q = NET.apply(params, data.obs[t])
        gradient = jax.grad(lambda p, t=t: NET.apply(p, data.obs[t])[data.action[t]])(params)
        following = float(NET.apply(params, data.next_obs[t]).max())
        delta = float(data.reward[t] + data.discount[t] * following - q[data.action[t]])
        trace = jax.tree.map(jnp.add, trace, gradient)
        bound = alpha * kappa * max(abs(delta), 1) * sum(float(abs(z).sum()) for z in jax.tree.leaves(trace))
        step = alpha / bound if bound > 1 else alpha
        params = jax.tree.map(lambda w, z, step=step, delta=delta: w + step * delta * z, params, trace)
        cut = bool(data.last[t]) or q[data.action[t]] < q.max()
        trace = jax.tree.map(lambda z, t=t, cut=cut: z * (0 if cut else GAMMA * LAMBDA), trace)
        errors.append(delta)
    return params, trace, errors


close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)


def test_a_stream_is_followed_as_a_slow_loop_does():
    """Greedy actions and others, an end and a cut among them; in one rollout or step by step."""
    agent, data = qjax.stream_q(NET, lam=LAMBDA), stream()
    state = agent.init(KEY, data.obs[:1])
    params, trace, errors = slow_stream(state.params, data)
    greedy = [int(NET.apply(state.params, x).argmax()) == a for x, a in zip(data.obs, data.action, strict=True)]
    assert 0 < sum(greedy) < len(greedy)
    whole, info = agent.learn(KEY, state, batch_of(data), TIME)
    jax.tree.map(close, whole.params, params)
    jax.tree.map(close, whole.trace, trace)
    assert float(info["loss"]) == pytest.approx(np.square(errors).mean(), rel=1e-4)
    for t in range(len(errors)):
        state, info = agent.learn(KEY, state, batch_of(jax.tree.map(lambda x, t=t: x[t : t + 1], data)), TIME)
        assert info["priority"].tolist() == pytest.approx([abs(errors[t])], rel=1e-3)
    jax.tree.map(close, state.params, params)


def test_steps_of_weight_0_change_nothing():
    agent, data = qjax.stream_q(NET, lam=LAMBDA), stream()
    weight, rows = jnp.ones(8).at[2].set(0).at[6].set(0), [0, 1, 3, 4, 5, 7]
    state = agent.init(KEY, data.obs[:1])
    spoilt = data._replace(reward=data.reward.at[2].set(jnp.nan))
    after, info = agent.learn(KEY, state, batch_of(spoilt, weight), TIME)
    params, trace, _ = slow_stream(state.params, data, rows=rows)
    jax.tree.map(close, after.params, params)
    jax.tree.map(close, after.trace, trace)
    assert np.isfinite(info["loss"])


@pytest.mark.parametrize(("delta", "trace"), [(0.5, 0.1), (-3.0, 2.0), (4.0, 0.01), (0.0, 1.0)])
def test_a_bounded_step(delta, trace):
    z = jnp.array([trace, -trace])
    made = qjax.obgd(0.5, 3.0)
    found, _ = made.update(-delta * z, made.init(z), z, td_error=jnp.float32(delta))
    bound = 0.5 * 3.0 * max(abs(delta), 1) * 2 * trace
    np.testing.assert_allclose(found, 0.5 / max(bound, 1) * delta * z, rtol=1e-5)


def test_any_optimizer_follows_the_trace():
    agent, data = qjax.stream_q(NET, optax.sgd(0.1), LAMBDA), stream(1)
    state = agent.init(KEY, data.obs[:1])
    after, _ = agent.learn(KEY, state, batch_of(data), TIME)
    gradient = jax.grad(lambda p: NET.apply(p, data.obs[0])[data.action[0]])(state.params)
    q = NET.apply(state.params, data.obs[0])[data.action[0]]
    delta = data.reward[0] + data.discount[0] * NET.apply(state.params, data.next_obs[0]).max() - q
    jax.tree.map(close, after.params, jax.tree.map(lambda w, g: w + 0.1 * delta * g, state.params, gradient))


def test_what_is_no_stream():
    agent = qjax.stream_q(NET)
    with pytest.raises(ValueError, match="a stream is of one environment, got 2: take num_envs=1, and more seeds"):
        agent.init(KEY, jnp.zeros((2, FEATURES)))
    env = qjax.make("CartPole-v1")
    with pytest.raises(ValueError, match="an agent with eligibility traces learns each step once, in order"):
        qjax.make_loop(env, qjax.stream_q(qjax.MLP(2)), qjax.epsilon_greedy(0.1), qjax.ring(64, 4), gamma=0.9)


def test_sparse_weights():
    weights = np.asarray(sparse(KEY, (50, 30)))
    assert ((weights != 0).sum(0) == 5).all() and abs(weights).max() < 50**-0.5 and len(np.unique(weights)) > 140
    assert len({tuple(np.flatnonzero(column)) for column in weights.T}) == 30


# ---- corrections


def test_corrections_are_those_of_a_slow_loop():
    """Of a batch of replayed transitions: both networks' steps as the paper has them, weighted."""
    beta, rate, data = 0.5, 0.1, stream(6)
    agent = qjax.qrc(NET, optax.sgd(rate), beta)
    state = agent.init(KEY, data.obs[:1])
    rows = jax.tree.map(lambda x: x[None], data)
    weight = jnp.linspace(0, 1, 6)[None]
    after, info = agent.learn(KEY, state, qjax.Batch(rows, weight, jnp.arange(6), jnp.zeros(6, int)), TIME)

    def at(params, t):
        return NET.apply(params, data.obs[t])[data.action[t]]

    steps, errors = [], []
    for t in range(6):
        w, v = state.params
        delta = data.reward[t] + data.discount[t] * NET.apply(w, data.next_obs[t]).max() - at(w, t)
        up, correction = jax.grad(at)(w, t), jax.grad(lambda w, t=t: NET.apply(w, data.next_obs[t]).max())(w)
        h = at(v, t)
        steps.append(
            QRCParams(
                jax.tree.map(lambda g, c, d=delta, h=h, t=t: d * g - data.discount[t] * h * c, up, correction),
                jax.tree.map(lambda g, d=delta, h=h: (d - h) * g, jax.grad(at)(v, t)),
            )
        )
        errors.append(float(delta))
    mean = jax.tree.map(lambda *x: sum(w * g for w, g in zip(weight[0], x, strict=True)) / 6, *steps)
    values = jax.tree.map(lambda w, g: w + rate * g, state.params.values, mean.values)
    others = jax.tree.map(lambda v, g: v + rate * (g - beta * v), state.params.errors, mean.errors)
    jax.tree.map(close, after.params, QRCParams(values, others))
    np.testing.assert_allclose(info["priority"], np.abs(errors), rtol=1e-4)


def baird(agent, steps=4_000):
    """Return the largest value along the way of agents on Baird's counterexample, from what it is known to fail."""
    mdp, _ = qjax.mdp.baird()
    env = qjax.make(mdp)
    acts = lambda q, time: jnp.array([6 / 7, 1 / 7])
    loop = qjax.make_loop(env, agent, acts, qjax.online(), gamma=0.99)
    lane, run, seen = loop.init(KEY), jax.jit(loop.run, static_argnums=2), []
    for number in range(steps // 400):
        lane = run(lane, qjax.clock.at(400 * number), 400)
        q = jax.vmap(loop.agent.values, in_axes=(None, None, 0))(None, lane.agent, jnp.arange(7))
        seen.append(float(abs(q).max()))
    return seen


def test_semi_gradients_diverge_on_bairds_counterexample_and_corrections_do_not():
    _, features = qjax.mdp.baird()
    initial = np.array([1.0] * 6 + [10.0, 1.0] + [0.0] * 7)
    network = qjax.linear(features, initial)
    semi = baird(qjax.dqn(network, optax.sgd(0.01), target=qjax.periodic(1)))
    corrected = baird(qjax.qrc(network, optax.sgd(0.01), errors=qjax.linear(features)))
    assert semi[-1] > 20 * semi[0] and all(np.diff(semi) > 0)
    assert corrected[-1] < corrected[0] and max(corrected) < 30


def test_bairds_mdp_and_features():
    mdp, features = qjax.mdp.baird()
    assert np.linalg.matrix_rank(features.reshape(14, 15)) == 14  # values of 0 are within reach
    exact = qjax.solve.exact(mdp, 0.99)
    assert abs(np.asarray(exact.q)).max() == 0
    np.testing.assert_array_equal(np.asarray(mdp.successor)[:, 1], 6)


def test_linear_values():
    features = np.arange(12.0).reshape(2, 3, 2)
    net = qjax.linear(features, [1.0, -0.5])
    params = net.init(KEY, jnp.int32(0))
    np.testing.assert_allclose(net.apply(params, jnp.int32(1), None), features[1] @ [1, -0.5])
    with pytest.raises(ValueError, match=r"features are x\(s, a\), \[S, A, d\], got \[2, 3\]"):
        qjax.linear(np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"initial weights of shape \(3,\) for features of shape \(2, 3, 2\)"):
        qjax.linear(features, [1.0] * 3)
