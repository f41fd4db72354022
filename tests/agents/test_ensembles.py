"""Members are agents of their own: what each learns, which of them acts, and what the others have to do with it."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import probes
import pytest

import qjax
from qjax.agents.ensembles import Member, masks
from qjax.core import clock as clocks
from qjax.types import Batch, Time, Transition

KEY = jax.random.key(11)
TIME = Time(jnp.float32(0), jnp.int32(0), jnp.float32(0), envs=2)
SIZE, STREAMS = 4, 6


def dqn(**options):
    return qjax.dqn(qjax.MLP(2, (8,)), optax.adam(1e-2), **options)


def batch(seed=0):
    draw = np.random.default_rng(seed)
    shape = (1, STREAMS)
    return jax.device_put(
        Batch(
            Transition(
                draw.normal(size=(*shape, 3)).astype(np.float32), draw.integers(0, 2, shape).astype(np.int32),
                draw.normal(size=shape).astype(np.float32), np.full(shape, 0.9, np.float32),
                draw.normal(size=(*shape, 3)).astype(np.float32), np.zeros(shape, bool),
            ),
            np.ones(shape, np.float32), np.arange(10, 10 + STREAMS), np.zeros(STREAMS, int),
        )
    )  # fmt: skip


@pytest.mark.parametrize("probability", [1.0, 0.5])
def test_each_member_learns_as_it_would_alone(probability):
    """From those transitions that are its own, by a key of its own."""
    alone, given = dqn(), batch()
    together = qjax.bootstrapped(alone, SIZE, probability)
    state = together.init(KEY, given.data.obs[0])
    after, info = together.learn(KEY, state, given, TIME)
    own = masks(state.seed, given.slot, SIZE, probability)
    found = []
    for number, key in enumerate(jax.random.split(KEY, SIZE)):
        member = jax.tree.map(lambda x, number=number: x[number], state.members)
        weight = given.weight * own[number]
        learned, told = alone.learn(key, member, given._replace(weight=weight), TIME)
        left = jax.tree.map(lambda x, number=number: x[number], after.members)
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), left, learned)
        found.append(told)
    np.testing.assert_allclose(info["loss"], np.mean([told["loss"] for told in found]), rtol=1e-5)
    priorities = np.stack([told["priority"] for told in found])
    of_learners = [priorities[own[:, at], at].mean() if own[:, at].any() else 0 for at in range(STREAMS)]
    np.testing.assert_allclose(info["priority"], of_learners, rtol=1e-5)
    assert len({float(x) for x in jax.tree.leaves(state.members.params)[1][:, 0, 0]}) == SIZE


def test_a_sequence_s_priority_does_not_tell_how_many_members_learn_from_it():
    """Members without a part in it have none of it, and lower none: all here have the same parameters."""
    net = qjax.recurrent(nn.GRUCell(3), qjax.MLP(2, (4,)))
    alone = qjax.recurrent_dqn(net, optax.sgd(0.0))
    together, given = qjax.bootstrapped(alone, 2, 0.5), batch()
    alike = jax.tree.map(lambda x: x[:, :1].repeat(STREAMS, 1), given.data)
    state = together.init(KEY, given.data.obs[0])
    same = jax.tree.map(lambda x: jnp.stack([x[0]] * 2), state.members)
    carry = jnp.zeros((STREAMS, 2, 3))
    given = given._replace(data=alike, carry=Member(jnp.zeros(STREAMS, int), carry))
    priority = together.learn(KEY, state._replace(members=same), given, TIME)[1]["priority"]
    own = np.asarray(masks(state.seed, given.slot, 2, 0.5)).sum(0)
    assert {*own} == {0, 1, 2}
    np.testing.assert_allclose(priority, np.where(own > 0, priority[own == 2][0], 0), rtol=1e-5)


def test_which_transitions_a_member_learns_from_stays_and_is_a_fair_draw():
    slots, seed = jnp.arange(20_000), jnp.uint32(5)
    own = masks(seed, slots, SIZE, 0.3)
    np.testing.assert_array_equal(masks(seed, slots[::-1], SIZE, 0.3), own[:, ::-1])
    np.testing.assert_allclose(own.mean(1), 0.3, atol=0.015)
    np.testing.assert_allclose(np.corrcoef(own.astype(float)), np.eye(SIZE), atol=0.03)
    assert (masks(jnp.uint32(6), slots, SIZE, 0.3) != own).any()


def test_a_member_s_table_moves_where_transitions_are_its_own():
    agent, states = qjax.bootstrapped(qjax.tabular(STREAMS, 2, 0.5), SIZE), jnp.arange(STREAMS)
    given = batch()
    data = given.data._replace(obs=states[None], next_obs=states[None], reward=jnp.ones((1, STREAMS)))
    given = given._replace(data=data._replace(discount=jnp.zeros((1, STREAMS))))
    state = agent.init(KEY, states)
    moved = agent.learn(KEY, state, given, TIME)[0].members[:, states, data.action[0]]
    own = masks(state.seed, given.slot, SIZE, 0.5)
    np.testing.assert_array_equal(moved, 0.5 * own)
    assert 0 < own.sum() < own.size


def test_one_member_acts_for_an_episode_and_then_another_is_drawn():
    env = qjax.make(probes.Endless(box=True))  # episodes of three steps
    agent = qjax.bootstrapped(dqn(), SIZE)
    loop = qjax.make_loop(env, agent, qjax.greedy, qjax.ring(8, 2), gamma=0.9, num_envs=2)
    lane, acted = loop.init(KEY), []
    step = jax.jit(loop.step)
    for tick in range(60):
        acted.append(np.asarray(lane.carry.number))
        lane = step(lane, clocks.at(tick))
    episodes = np.array(acted).reshape(20, 3, 2)
    assert (episodes == episodes[:, :1]).all()
    assert {*episodes.flat} == set(range(SIZE)) and (episodes[:, 0, 0] != episodes[:, 0, 1]).any()


def test_together_they_act_on_their_mean_or_their_votes():
    values = jnp.array([[0.0, 1.0, -jnp.inf], [1.0, 1.0, -jnp.inf], [10.0, 0.0, -jnp.inf]])  # the second's tie
    alone = qjax.tabular(1, 3, 0.1)._replace(init=lambda key, obs: jnp.zeros((1, 3)))
    for vote, expected in ((False, [11 / 3, 2 / 3, -np.inf]), (True, [1 / 2, 1 / 2, -np.inf])):
        agent = qjax.bootstrapped(alone, 3, vote=vote)
        state = agent.init(KEY, jnp.zeros(2, jnp.int32))._replace(members=values[:, None])
        carry = agent.begin(KEY, state)
        q, after = agent.act(None, state, carry, jnp.int32(0))
        np.testing.assert_allclose(q, expected, rtol=1e-6)
        assert after == carry
        noise = qjax.Noise(KEY, KEY)
        for number in range(3):
            drawn = carry._replace(number=jnp.int32(number))
            np.testing.assert_array_equal(agent.act(noise, state, drawn, jnp.int32(0))[0], values[number])


@pytest.mark.parametrize(
    ("options", "head"),
    [({}, None), ({"atoms": 5}, qjax.categorical(0.0, 9.0, 5)), ({"levels": 5}, qjax.quantile())],
)
def test_a_prior_is_added_and_stays(options, head):
    net = qjax.with_prior(qjax.MLP(2, (8,), **options), 3.0)
    agent, given = qjax.dqn(net, optax.adam(1e-2), head=head), batch()
    state = agent.init(KEY, given.data.obs[0])
    after, _ = agent.learn(KEY, state, given, TIME)
    jax.tree.map(np.testing.assert_array_equal, after.params.prior, state.params.prior)
    moved = jax.tree.map(lambda x, y: bool((x != y).any()), after.params.own, state.params.own)
    assert any(jax.tree.leaves(moved))
    inner = qjax.as_network(qjax.MLP(2, (8,), **options))
    own, prior = (inner.apply(params, given.data.obs[0, 0], None) for params in state.params)
    out = net.apply(state.params, given.data.obs[0, 0], None)
    if options.get("levels"):
        np.testing.assert_array_equal(out.levels, own.levels)
        own, prior, out = own.values, prior.values, out.values
    np.testing.assert_allclose(out, own + 3 * prior, rtol=1e-5)


def test_members_may_remember():
    """An ensemble of recurrent agents: each with a carry of its own, in acting and in what is replayed."""
    net = qjax.recurrent(nn.GRUCell(6), qjax.MLP(2, (5,)))
    agent = qjax.bootstrapped(qjax.recurrent_dqn(net, optax.adam(1e-3)), SIZE)
    env, memory = qjax.make(probes.Endless(box=True)), qjax.sequences(64, 8, 8)
    loop = qjax.make_loop(env, agent, qjax.greedy, memory, gamma=0.9, num_envs=2, rollout=4)
    lane = jax.jit(lambda key: loop.run(loop.init(key), clocks.at(0), 12))(KEY)
    assert lane.carry.carries.shape == (2, SIZE, 6) and jnp.isfinite(lane.stats.sums["loss"].total)


@pytest.mark.parametrize("memory", [qjax.online(), qjax.online(2)])
def test_each_member_learns_from_some_of_the_blocks_that_are_learned_once(memory):
    """With one environment: were the places of blocks the same, half of the members would never learn anything."""
    env = qjax.make(probes.Endless(box=True))
    loop = qjax.make_loop(env, qjax.bootstrapped(dqn(), SIZE), qjax.greedy, memory, gamma=0.9)
    lane = loop.init(KEY)
    learned = jax.jit(lambda lane: loop.run(lane, clocks.at(0), 30))(lane)
    before, after = (jax.tree.leaves(lane.agent.members.params) for lane in (lane, learned))
    moved = [(x != y).reshape(SIZE, -1).any(1) for x, y in zip(before, after, strict=True)]
    np.testing.assert_array_equal(np.any(moved, axis=0), True)


def test_members_that_remember_may_learn_without_it():
    """Where a memory drops what was remembered: an ensemble of ensembles does, recurrent networks say so."""
    env, memory = qjax.make(probes.Endless(box=True)), qjax.ring(8, 2)
    inner = qjax.bootstrapped(dqn(), 2)
    loop = qjax.make_loop(env, qjax.bootstrapped(inner, 3), qjax.greedy, memory, gamma=0.9)
    lane = jax.jit(lambda key: loop.run(loop.init(key), clocks.at(0), 4))(KEY)
    assert lane.carry.carries.number.shape == (1, 3)
    net = qjax.recurrent(nn.GRUCell(6), qjax.MLP(2, (5,)))
    recurrent = qjax.bootstrapped(qjax.recurrent_dqn(net, optax.adam(1e-3)), 2)
    with pytest.raises(ValueError, match=r"float32\[6\], which the memory does not store"):
        qjax.make_loop(env, recurrent, qjax.greedy, memory, gamma=0.9).init(KEY)


@pytest.mark.parametrize(
    "make",
    [
        lambda net: qjax.with_prior(net, 1.0),
        lambda net: qjax.averaged_dqn(net, optax.adam(1e-3)),
        lambda net: qjax.maxmin_dqn(net, optax.adam(1e-3), 2),
    ],
)
def test_recurrent_networks_are_for_recurrent_agents(make):
    with pytest.raises(TypeError, match=r"a recurrent network is for qjax.recurrent_dqn and qjax.recurrent_pqn"):
        make(qjax.recurrent(nn.GRUCell(6), qjax.MLP(2, (5,))))


def test_an_ensemble_of_one_is_refused():
    with pytest.raises(ValueError, match="size must be at least 2, got 1"):
        qjax.bootstrapped(dqn(), 1)
    with pytest.raises(ValueError, match=r"probability must lie in \(0, 1\], got 0"):
        qjax.bootstrapped(dqn(), 2, 0.0)
