"""Measures of networks whose answer is known, and of a sweep, which does not notice that it is measured."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import probes
import pytest

import qjax
from qjax.training import measures
from qjax.types import HiddenLayer

KEY = jax.random.key(0)
ENV = qjax.make(probes.Countdown(box=True))


@pytest.mark.parametrize("shape", [(12, 5), (5, 12), (6, 6), (7, 1), (1, 4), (9, 2), (40, 17)])
@pytest.mark.parametrize("rank", [1, 3, None])
def test_singular_values_are_numpys(shape, rank):
    random = np.random.default_rng(3)
    matrix = random.normal(size=shape)
    if rank is not None:
        matrix = random.normal(size=(shape[0], rank)) @ random.normal(size=(rank, shape[1]))
    expected = np.linalg.svd(matrix, compute_uv=False)
    found = jax.jit(measures.singular_values)(matrix.astype(np.float32))
    np.testing.assert_allclose(found, expected, atol=1e-5 * expected[0])


def test_effective_ranks_that_are_known():
    """99% of 4 + 3 + 2 + 0.05 + 0.05 are in the first three, 50% in two; rank one is 1, and of nothing it is 0."""
    sizes = np.array([4, 3, 2, 0.05, 0.05], np.float32)
    left, right = (np.linalg.qr(np.random.default_rng(n).normal(size=(8, 5)))[0] for n in range(2))
    matrix = jnp.asarray((left * sizes) @ right.T, jnp.float32)
    assert [int(measures.effective_rank(matrix, delta)) for delta in (0.01, 0.0111, 0.5)] == [4, 3, 2]
    assert int(measures.effective_rank(jnp.outer(jnp.arange(5.0), jnp.ones(3)))) == 1
    assert int(measures.effective_rank(jnp.zeros((5, 3)))) == 0


def test_dormant_units_that_are_known():
    """Of six units the dead one and those at most a tenth of their layer's mean: 0.1 of 1.025, but not 0.11."""
    layers = (jnp.array([0.0, 0.1, 2.0, 2.0]), jnp.array([1.0, 1.0]))
    assert float(measures.dormant_share(layers, 0.1)) == pytest.approx(2 / 6)
    assert float(measures.dormant_share(layers, 0.0)) == pytest.approx(1 / 6)
    assert float(measures.dormant_share((jnp.zeros(3),))) == 1


def test_features_are_what_the_output_reads():
    readers = {1: ("2", "3"), 2: ("v",), 3: ("a",)}
    shared, one, other = (HiddenLayer(jnp.full((2, n), float(n)), (f"{n}",), read) for n, read in readers.items())
    assert measures.features((shared, one, other)).tolist() == [[2, 2, 3, 3, 3]] * 2
    image = HiddenLayer(jnp.ones((2, 4, 3, 5)), ("torso",), ("out",))
    assert measures.features((image,)).shape == (2, 60)


def build(_, **options):
    network = qjax.MLP(ENV.num_actions, (6, 5))
    chained = optax.chain(qjax.keep_gradient_norm(), optax.sgd(0.5))
    agent = qjax.dqn(network, options.get("optimizer", chained), target=qjax.periodic(8))
    agent = qjax.normalized(agent) if options.get("normalized") else agent
    return qjax.make_loop(ENV, agent, qjax.epsilon_greedy(0.5), qjax.ring(64, 8), gamma=0.9, num_envs=2, warmup=4)


def test_a_report_is_of_a_batch_and_of_one_more_update():
    loop = build(None)
    lane = loop.run(loop.init(KEY), qjax.clock.at(0), 4, False)
    lane = loop.run(lane, qjax.clock.at(4), 6)
    found = jax.jit(qjax.network_measures(build, threshold=0.3))(None, lane, qjax.clock.at(10), jax.random.key(5))
    sample_key, learn_key = jax.random.split(jax.random.key(5))
    at = qjax.Time(20.0, lane.episodes, 6.0, envs=2)
    batch = loop.memory.sample(sample_key, lane.memory, qjax.clock.at(10), at)
    params, rows = lane.agent.params, np.asarray(batch.data.obs[0])
    assert float(found["weight_norm"]) == pytest.approx(
        np.sqrt(sum((np.asarray(x) ** 2).sum() for x in jax.tree.leaves(params))), rel=1e-5
    )
    after, _ = loop.agent.learn(learn_key, lane.agent, batch, at)
    # Plain gradient descent: the gradient is what the parameters went by, over the rate.
    gone = jax.tree.map(lambda new, old: (old - new) / 0.5, after.params, params)
    assert float(found["gradient_norm"]) == pytest.approx(float(optax.tree.norm(gone)), rel=1e-3)
    q = [
        jax.vmap(qjax.MLP(ENV.num_actions, (6, 5)).apply, in_axes=(None, 0))(x, rows)
        for x in (params, after.params)
    ]
    assert float(found["churn"]) == pytest.approx(float((q[0].argmax(-1) != q[1].argmax(-1)).mean()))
    h, activity = rows, []
    for name in ("Dense_0", "Dense_1"):
        h = np.maximum(h @ params["params"][name]["kernel"] + params["params"][name]["bias"], 0)
        activity.append(h.mean(0))
    assert float(found["dormant"]) == pytest.approx(np.concatenate([x <= 0.3 * x.mean() for x in activity]).mean())
    values = np.linalg.svd(h, compute_uv=False)
    assert found["srank"] == 1 + np.argmax(np.cumsum(values) >= 0.99 * values.sum())


def test_what_an_update_changes_is_told_as_churn(monkeypatch):
    """None where nothing is learned; all where the values change their sign and so their order."""
    loop = build(None, optimizer=optax.sgd(0.5))
    lane = loop.run(loop.init(KEY), qjax.clock.at(0), 8, False)
    lane = lane._replace(agent=lane.agent._replace(params=jax.tree.map(lambda x: x + 0.1, lane.agent.params)))

    def turned(change):
        agent = loop.agent._replace(learn=lambda key, state, batch, time: (change(state), {}))
        report = qjax.network_measures(lambda _: loop._replace(agent=agent))
        return float(report(None, lane, qjax.clock.at(8), KEY)["churn"])

    def negative(state):
        params = {"params": {**state.params["params"]}}
        params["params"]["Dense_2"] = jax.tree.map(jnp.negative, params["params"]["Dense_2"])
        return state._replace(params=params)

    assert turned(lambda state: state) == 0 and turned(negative) == 1


WORK = {"seeds": 3, "steps": 200, "log_points": 2, "width": 2}


def test_training_does_not_notice():
    """On two devices."""
    plain = qjax.sweep(build, **WORK)
    measured = qjax.sweep(build, report=qjax.network_measures(build), **WORK)
    jax.tree.map(np.testing.assert_array_equal, measured.agents, plain.agents)
    values = measured.points[-1].values
    assert set(values) == {"churn", "dormant", "gradient_norm", "srank", "weight_norm"}
    norms = [np.sqrt(sum((x[n] ** 2).sum() for x in jax.tree.leaves(plain.agents.params))) for n in range(3)]
    np.testing.assert_allclose(values["weight_norm"], norms, rtol=1e-5)


@pytest.mark.slow
def test_an_agent_within_another_and_settings_are_measured():
    def within(hyper):
        return build(hyper, normalized=True, optimizer=optax.adam(hyper["rate"]))

    swept = {"hypers": qjax.grid(rate=[0.1, 0.01])}
    values = qjax.sweep(within, report=qjax.network_measures(within), **WORK, **swept).points[-1].values
    assert set(values) == {"churn", "dormant", "srank", "weight_norm"} and len(values["srank"]) == 6


def test_what_cannot_be_measured():
    cell = qjax.recurrent(qjax.networks.recurrent.CELLS["gru"](3), qjax.MLP(ENV.num_actions, ()))
    agents = {
        "values depend on those before": qjax.recurrent_dqn(cell, optax.sgd(0.1)),
        "has no params, it is a ": qjax.count_bonus(qjax.tabular(5, 2, 0.1), 0.1),
    }
    for message, agent in agents.items():
        loop = build(None)._replace(agent=agent)
        state = agent.init(KEY, jnp.zeros(2, jnp.int32) if agent.table else jnp.zeros((2, *ENV.obs_spec.shape)))
        with pytest.raises(ValueError, match=message):
            qjax.network_measures(lambda _, loop=loop: loop)(
                None, build(None).init(KEY)._replace(agent=state), qjax.clock.at(0), KEY
            )
