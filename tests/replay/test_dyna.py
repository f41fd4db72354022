"""Dyna's model is the last outcome of every visited pair, and planning draws from them alike."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from test_delayed import blocks_of, driven
from test_tabular import ACTIONS, KEY, START, STATES, record, reference

import qjax
from qjax.core import clock as clocks

ROWS, PLANNING = 24, 3
SHAPES = [(1, 1), (1, 3), (4, 2)]


@functools.cache
def memory():
    return qjax.dyna(STATES, ACTIONS, PLANNING)


@functools.cache
def filler(steps):
    """Return a program: `(blocks) -> states` of the memory after each block."""

    def run(blocks):
        def body(held, xs):
            held = memory().add(held, xs[0], clocks.plus(clocks.at(0), xs[1] * steps))
            return held, held

        start = memory().init(jax.tree.map(lambda x: x[0], blocks))
        return jax.lax.scan(body, start, (blocks, jnp.arange(len(blocks.reward))))[1]

    return jax.jit(run)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_the_model_is_what_a_dictionary_would_hold(drawn):
    steps, envs = drawn.draw(st.sampled_from(SHAPES))
    number = STATES * ACTIONS
    pairs = drawn.draw(st.lists(st.integers(0, number - 1), min_size=ROWS * envs, max_size=ROWS * envs))
    pairs = np.array(pairs, np.int32).reshape(ROWS, envs)
    data = record(ROWS, envs, seed=1)._replace(obs=pairs // ACTIONS, action=pairs % ACTIONS)
    states = jax.tree.map(np.asarray, filler(steps)(blocks_of(data, steps)))
    held, order = {}, []
    for row in range(ROWS):
        for env in range(envs):
            pair = pairs[row, env]
            order += [] if pair in held else [pair]
            held[pair] = (data.reward[row, env], data.discount[row, env], data.next_obs[row, env])
        if (row + 1) % steps == 0:
            state = jax.tree.map(lambda x, i=row // steps: x[i], states)
            assert state.visited[: state.number].tolist() == order
            assert set(np.flatnonzero(state.seen).tolist()) == set(order)
            for pair, outcome in held.items():
                assert (state.reward[pair], state.discount[pair], state.next_obs[pair]) == outcome


@pytest.mark.parametrize(("steps", "envs"), SHAPES)
def test_dyna_q_equals_the_loop(steps, envs):
    agent = qjax.tabular(STATES, ACTIONS, 0.3)
    data = record(ROWS, envs, seed=2)
    batches, tables = driven(memory(), agent)(blocks_of(data, steps))
    model, table = {}, np.zeros((STATES, ACTIONS), np.float32)
    for i in range(ROWS // steps):
        batch = jax.tree.map(lambda x, i=i: np.asarray(x[i]), batches)
        assert batch.weight.shape == (steps * (1 + PLANNING), envs) and (batch.weight == 1).all()
        for row in range(i * steps, (i + 1) * steps):
            for env in range(envs):
                pair = data.obs[row, env], data.action[row, env]
                model[pair] = (data.reward[row, env], data.discount[row, env], data.next_obs[row, env])
        for t in range(steps):  # the real rows come first, as they are
            real = jax.tree.map(lambda x, t=t: x[t], batch.data)
            jax.tree.map(np.testing.assert_array_equal, real, jax.tree.map(lambda x: x[i * steps + t], data))  # noqa: B023
        for t, env in np.ndindex(steps * PLANNING, envs):
            planned = jax.tree.map(lambda x, t=t, env=env: x[steps + t, env], batch.data)
            assert model[planned.obs, planned.action] == (planned.reward, planned.discount, planned.next_obs)
            assert planned.last
        table, *_ = reference(table, batch.data, batch.weight, 0.3)
        np.testing.assert_allclose(tables[i], table, rtol=1e-4, atol=1e-5)


def test_planning_draws_visited_pairs_alike():
    many = qjax.dyna(STATES, ACTIONS, 20_000)
    state, add = many.init(record(1, 1)), jax.jit(many.add)
    entries = [(0, 1), (3, 2), (5, 0), (0, 1), (0, 1), (2, 2), (3, 2)]  # however often they were visited
    for tick, (obs, action) in enumerate(entries):
        block = record(1, 1)._replace(obs=np.full((1, 1), obs, np.int32), action=np.full((1, 1), action, np.int32))
        state = add(state, jax.tree.map(jnp.asarray, block), clocks.at(tick))
    data = many.sample(KEY, state, clocks.at(7), START).data
    found = np.asarray(data.obs * ACTIONS + data.action)[1:, 0]
    pairs, counts = np.unique(found, return_counts=True)
    assert pairs.tolist() == sorted({obs * ACTIONS + action for obs, action in entries})
    assert stats.chisquare(counts).pvalue > 1e-3
    # One draw says nothing about the next.
    joint = np.histogram2d(found[:-1:2], found[1::2], bins=[np.append(pairs, 99)] * 2)[0]
    assert stats.chi2_contingency(joint).pvalue > 1e-3


def test_rows_from_before_the_start_are_neither_learned_nor_remembered():
    data = jax.tree.map(jnp.asarray, record(4, 1))
    start, add, sample = memory().init(data), jax.jit(memory().add), jax.jit(memory().sample)
    state = add(start, data, clocks.minus(clocks.at(0), 4))
    assert state.number == 0 and not sample(KEY, state, clocks.at(0), START).weight.any()
    state = add(start, data, clocks.minus(clocks.at(0), 3))
    assert state.number == 1 and state.visited[0] == data.obs[3, 0] * ACTIONS + data.action[3, 0]
    weight = sample(KEY, state, clocks.at(1), START).weight
    assert weight[:4, 0].tolist() == [0, 0, 0, 1] and (weight[4:] == 1).all()


def test_small_observations():
    # What holds a state need not hold the number of a pair.
    big = qjax.dyna(200, 4, 5)
    cell = lambda x, dtype: jnp.full((1, 1), x, dtype)
    block = jax.tree.map(jnp.asarray, record(1, 1))
    block = block._replace(obs=cell(199, jnp.uint8), action=cell(3, jnp.int32), next_obs=cell(7, jnp.uint8))
    state = jax.jit(big.add)(big.init(block), block, clocks.at(0))
    data = jax.jit(big.sample)(KEY, state, clocks.at(1), START).data
    assert (data.obs == 199).all() and (data.action == 3).all() and (data.next_obs == 7).all()
    assert data.obs.dtype == data.next_obs.dtype == jnp.uint8


def test_a_stochastic_outcome_counts_by_how_long_it_stays_the_last():
    """From 0 a fair coin leads back to 0, unpaid, or away for nine steps, paid 1: Q(0) is not 1/2 at gamma 0.

    That outcome stays ten times as long. Ten planned steps among ten pairs replay each pair once a step,
    so with its own step an outcome is learned 1 + 1 or 1 + 10 times before the next.
    """
    away, planning = 9, 10
    successor = np.array([[0, 1]] + [[s % away + 1, s % away + 1] for s in range(1, away + 1)])[:, None]
    successor[-1] = 0
    probability = np.full(successor.shape, 0.5)
    reward, ends = np.zeros(successor.shape), np.zeros(successor.shape, bool)
    reward[0, 0, 1] = 1
    model = qjax.mdp.from_outcomes(successor, probability, reward, ends, np.eye(away + 1)[0])
    agent = qjax.tabular(away + 1, 1, qjax.visit_count())
    memory = qjax.dyna(away + 1, 1, planning)
    loop = qjax.make_loop(qjax.make(model), agent, qjax.greedy, memory, gamma=0.0)
    lanes = jax.vmap(loop.init)(jax.random.split(KEY, 8))
    lanes = jax.jit(jax.vmap(lambda lane: loop.run(lane, clocks.at(0), 2_000)))(lanes)
    found = np.asarray(lanes.agent.table)[:, 0, 0]
    assert found.mean() == pytest.approx(11 / 13, abs=0.02) and abs(found.mean() - 0.5) > 0.3


def test_without_planning_it_is_latest():
    data = blocks_of(record(8, 2), 2)
    found, _ = driven(qjax.dyna(STATES, ACTIONS, 0))(data)
    jax.tree.map(np.testing.assert_array_equal, found, driven(qjax.online())(data)[0])


def test_bad_input():
    with pytest.raises(ValueError, match="planning must be at least 0, got -1"):
        qjax.dyna(4, 2, -1)
    with pytest.raises(ValueError, match=r"65536 states x 65536 actions make 4294967296 pairs, not below 2\*\*31"):
        qjax.dyna(65536, 65536, 1)
    block = record(1, 1)
    with pytest.raises(TypeError, match=r"dyna needs integer scalar observations, got float32\[4\]"):
        qjax.dyna(4, 2, 1).init(block._replace(obs=np.zeros((1, 1, 4), np.float32)))
