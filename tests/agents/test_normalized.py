"""Running normalisation against NumPy: statistics, what is learned from, resuming, evaluation."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from probes import Countdown

import qjax
from qjax.types import Agent


def recorder():
    """Return an agent that keeps the last batch, as it is given it, and the observation that it acted on last."""
    values = lambda noise, state, obs: jnp.asarray(obs, jnp.float32).sum() + jnp.zeros(2)

    def learn(key, state, batch, time):
        return batch.data, {"loss": jnp.float32(0), "priority": jnp.zeros(len(batch.slot))}

    def init(key, obs):
        row = jax.tree.map(lambda x: jnp.zeros((1, *x.shape), jnp.float32), obs)
        flat = jnp.zeros(row.shape[:2])
        whole = jnp.zeros(row.shape[:2], jnp.int32)
        return qjax.Transition(row, whole, flat, flat, row, jnp.zeros(row.shape[:2], bool))

    return Agent(init, qjax.memoryless(values), learn)


def loop_of(agent, envs=3, **options):
    env = qjax.make(Countdown(box=True, limit=3))
    return qjax.make_loop(env, agent, qjax.epsilon_greedy(1.0), qjax.online(), gamma=0.9, num_envs=envs, **options)


def played(envs, iterations):
    """Return the blocks of a loop that normalises nothing, by the same keys, `[iterations, N]`."""
    loop, blocks = loop_of(recorder(), envs), []
    lane, clock = loop.init(jax.random.key(0)), qjax.clock.at(0)
    step = jax.jit(lambda lane, clock: loop.run(lane, clock, 1))
    for _ in range(iterations):
        lane, clock = step(lane, clock), qjax.clock.plus(clock, 1)
        blocks.append(jax.tree.map(lambda x: np.asarray(x[0]), lane.agent))
    return jax.tree.map(lambda *x: np.stack(x), *blocks)


def test_statistics_are_those_of_all_that_was_seen():
    agent = qjax.normalized(recorder(), rewards=True, clip=1e6)
    loop, blocks = loop_of(agent), played(3, 40)
    lane = jax.jit(lambda lane: loop.run(lane, qjax.clock.at(0), 40))(loop.init(jax.random.key(0)))
    seen, (mean,), (variance,) = blocks.obs.reshape(120, -1), *lane.agent.observations[1:]
    assert lane.agent.observations.number == 120
    np.testing.assert_allclose(mean, seen.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(variance, seen.var(0), rtol=1e-5, atol=1e-6)

    running, returns = np.zeros(3), []
    for reward, last in zip(blocks.reward, blocks.last, strict=True):
        running = running + reward
        returns.append(running)
        running = np.where(last, 0, 0.9 * running)
    assert blocks.last.any() and not blocks.last.all()
    np.testing.assert_allclose(lane.agent.returns.mean, np.mean(returns), rtol=1e-5)
    np.testing.assert_allclose(lane.agent.returns.variance, np.var(returns), rtol=1e-5)
    np.testing.assert_allclose(lane.agent.running, running, rtol=1e-5)

    learned = jax.tree.map(lambda x: np.asarray(x[0]), lane.agent.agent)
    scale = np.sqrt(seen.var(0) + 1e-8)
    np.testing.assert_allclose(learned.obs, (blocks.obs[-1] - seen.mean(0)) / scale, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(learned.next_obs, (blocks.next_obs[-1] - seen.mean(0)) / scale, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(learned.reward, blocks.reward[-1] / np.sqrt(np.var(returns) + 1e-8), rtol=1e-4)
    acted = loop.agent.values(None, lane.agent, jnp.asarray(blocks.obs[3, 0]))
    np.testing.assert_allclose(acted, ((blocks.obs[3, 0] - seen.mean(0)) / scale).sum(), rtol=1e-3, atol=1e-5)


def test_rollouts_are_merged_as_they_come():
    blocks = played(3, 40)
    agent = qjax.normalized(recorder(), rewards=True)
    state = agent.init(jax.random.key(0), jnp.asarray(blocks.obs[0]))
    whole = agent.observe(state, jax.tree.map(jnp.asarray, blocks))
    parts = state
    for low, high in ((0, 1), (1, 5), (5, 20), (20, 40)):
        parts = agent.observe(parts, jax.tree.map(lambda x: jnp.asarray(x[low:high]), blocks))  # noqa: B023
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6), parts, whole)


def test_many_values_lose_no_digits():
    """Far from 0, and more of them than one merge could add up in float32."""
    rng = np.random.default_rng(0)
    values = (100 + rng.standard_normal((500, 64, 8))).astype(np.float32)
    start = qjax.agents.Moments(jnp.float32(0), jnp.zeros(()), jnp.ones(()))
    merge = jax.jit(qjax.agents.normalized.merged)
    found = jax.lax.scan(lambda moments, x: (merge(moments, x), None), start, jnp.asarray(values))[0]
    np.testing.assert_allclose(found.mean, values.astype(np.float64).mean(), rtol=1e-6)
    np.testing.assert_allclose(found.variance, values.astype(np.float64).var(), rtol=1e-3)


def test_what_is_far_out_is_clipped():
    agent = qjax.normalized(recorder(), clip=2.0)
    state = agent.init(jax.random.key(0), jnp.zeros((3, 7)))
    assert agent.values(None, state, jnp.full(7, 100.0)).tolist() == [14, 14]


def test_whole_numbers_and_flags_stay():
    seen = []

    def values(noise, state, obs):
        seen.append(obs)
        return jnp.zeros(2)

    agent = qjax.normalized(Agent(lambda key, obs: (), qjax.memoryless(values), recorder().learn))
    obs = {"at": jnp.ones((3, 2)), "number": jnp.ones(3, jnp.int32), "flag": jnp.ones(3, bool)}
    state = agent.init(jax.random.key(0), obs)
    ones = qjax.agents.Moments(1.0, [jnp.ones(2)], [jnp.ones(2)])
    agent.values(None, state._replace(observations=ones), jax.tree.map(lambda x: x[0], obs))
    assert seen[0]["at"].tolist() == [0, 0] and seen[0]["number"] == 1 and seen[0]["flag"].dtype == bool


def dqn(hyper=None):
    env = qjax.make("CartPole-v1")
    net = qjax.encoded(qjax.MLP(2, (8,)), env.encode)
    agent = qjax.normalized(qjax.dqn(net, optax.adam(1e-3), target=qjax.periodic(20, "step")), rewards=True)
    policy, memory = qjax.epsilon_greedy(0.5), qjax.ring(200, 8)
    return qjax.make_loop(env, agent, policy, memory, gamma=0.99, num_envs=2, warmup=10)


def test_statistics_are_saved_and_resumed_bit_for_bit(tmp_path):
    work = {"seeds": 2, "steps": 400, "log_points": 4}
    whole, seen = qjax.sweep(dqn, **work), []

    class Stopped(Exception):
        pass

    def stop(point):
        seen.append(point)
        if len(seen) == 3:
            raise Stopped

    with pytest.raises(Stopped), qjax.Run(tmp_path / "run", "test", {}) as run:
        qjax.sweep(dqn, run=run, on_log=stop, checkpoint_every=1e-6, chunk_seconds=1e-6, **work)
    with qjax.Run(tmp_path / "run", "test", {}, resume=True) as run:
        again = qjax.sweep(dqn, run=run, on_log=seen.append, **work)
    assert 4 <= len(seen) < 3 + 4  # not from the start
    jax.tree.map(np.testing.assert_array_equal, again.agents, whole.agents)
    assert (np.asarray(again.agents.observations.number) == 400).all()


def test_lanes_have_statistics_of_their_own():
    agents = qjax.sweep(dqn, seeds=3, steps=400, log_points=1).agents
    means = np.asarray(agents.observations.mean[0])
    assert means.shape == (3, 4) and len(np.unique(means, axis=0)) == 3


def test_evaluation_leaves_them_as_they_are():
    loop = dqn()
    state = loop.init(jax.random.key(0)).agent
    far = state._replace(observations=state.observations._replace(mean=[jnp.full(4, 1e6)]))
    one, other = (qjax.evaluate(loop.env, loop.agent, each, jax.random.key(1), 4).returns for each in (state, far))
    assert (one != other).any()  # they are read
    fixed = loop.agent.values(None, state, jnp.ones(4))
    qjax.evaluate(loop.env, loop.agent, state, jax.random.key(1), 4)
    np.testing.assert_array_equal(loop.agent.values(None, state, jnp.ones(4)), fixed)


def test_a_finished_lane_keeps_its_statistics():
    env = qjax.make(Countdown(limit=3))
    agent = qjax.normalized(qjax.tabular(7, 2, 0.5), observations=False, rewards=True)
    assert not agent.zero_weight_noop
    loop = qjax.make_loop(env, agent, qjax.epsilon_greedy(1.0), qjax.online(), gamma=0.9, episodes=3)
    run = jax.jit(lambda lane: loop.run(lane, qjax.clock.at(0), 50))
    lane = run(loop.init(jax.random.key(0)))
    assert lane.episodes == 3 and lane.agent.returns.number < 10


def test_where_nothing_is_seen_the_program_stays():
    """A loop without the hook is traced as if there were none."""

    def equations(agent):
        loop = loop_of(agent)
        lane = loop.init(jax.random.key(0))
        return len(jax.make_jaxpr(lambda lane: loop.step(lane, qjax.clock.at(0)))(lane).eqns)

    plain = equations(recorder())
    assert equations(recorder()._replace(observe=lambda state, block: state)) == plain
    assert equations(recorder()._replace(observe=lambda state, block: jax.tree.map(jnp.logical_not, state))) > plain


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda: qjax.normalized(recorder(), observations=False), "nothing to do"),
        (lambda: qjax.normalized(recorder(), clip=0), "clip must lie in (0, inf)"),
        (lambda: qjax.normalized(recorder(), observations="yes"), "observations must be True or False"),
        (
            lambda: qjax.normalized(recorder()).init(jax.random.key(0), jnp.zeros(3, jnp.int32)),
            "none of them floats",
        ),
        (
            lambda: qjax.algorithms.make("c51", qjax.make("CartPole-v1"), normalize=["rewards"]),
            "give the support",
        ),
        (lambda: qjax.algorithms.make("dqn", qjax.make("CartPole-v1"), normalize=["reward"]), "got reward"),
    ],
)
def test_what_is_refused(call, said):
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    assert said in str(caught.value)
