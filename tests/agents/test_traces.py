"""Traces equal a slow loop over recorded transitions; the textbook's loops stand in replay/test_delayed.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_delayed import blocks_of, driven, episodes, schedule
from test_tabular import ACTIONS, KEY, START, STATES, batch_of, record, run

import qjax
from qjax.agents.traces import eligible_error

ALPHA, LAM = 0.3, 0.8
FIRST = qjax.action_taken(qjax.argmax)
KINDS = {"watkins": {}, "sarsa": {"target_policy": FIRST, "cut": qjax.never_cut}}


def average(errors, traces):
    """Return the change of a table: the environments' mean error, weighted by traces, times the largest."""
    total = traces.sum(0)
    return (errors[:, None, None] * traces).sum(0) / np.where(total > 0, total, 1) * traces.max(0)


def slow(data, steps, kind, replacing, power):
    """Return tables and traces after each block, learned by a slow loop; with a power alpha falls with visits."""
    envs = data.last.shape[1]
    table, trace, found = np.zeros((STATES, ACTIONS)), np.zeros((envs, STATES, ACTIONS)), []
    visits = np.zeros((STATES, ACTIONS))
    for learned in schedule(data.last, steps, 1):
        for row, who in learned:
            errors, factors = np.zeros(envs), np.ones(envs)
            for env in who:
                s, a, successor = data.obs[row, env], data.action[row, env], data.next_obs[row, env]
                last = data.last[row, env]
                best = table[successor].max()
                following = table[successor].argmax() if last else data.action[row + 1, env]
                value = best if kind == "watkins" else table[successor, following]
                errors[env] = data.reward[row, env] + data.discount[row, env] * value - table[s, a]
                trace[env, s, a] = 1 if replacing else trace[env, s, a] + 1
                goes_on = not last and (kind == "sarsa" or table[successor, following] == best)
                factors[env] = data.discount[row, env] * LAM * goes_on
            for entry in {(data.obs[row, env], data.action[row, env]) for env in who}:
                visits[entry] += 1
            alpha = ALPHA if power is None else ALPHA / np.maximum(visits, 1) ** power
            table = table + alpha * average(errors[who], trace[who])
            trace *= factors[:, None, None]
        found.append((table, trace.copy()))
    return tuple(map(np.array, zip(*found, strict=True)))


@pytest.mark.parametrize(
    ("steps", "envs", "replacing", "power"),
    [(1, 1, False, None), (1, 3, True, 0.7), (3, 2, False, None), (4, 1, True, 1.0)],
)
@pytest.mark.parametrize("kind", KINDS)
def test_traces_equal_the_slow_loop(kind, steps, envs, replacing, power):
    alpha = ALPHA if power is None else qjax.visit_count(power, ALPHA)
    agent = qjax.traces(STATES, ACTIONS, alpha, LAM, replacing=replacing, **KINDS[kind])
    for seed in range(3):
        data = episodes(24, envs, seed)
        _, states = driven(qjax.with_next_action(), agent)(blocks_of(data, steps))
        tables, trace = slow(data, steps, kind, replacing, power)
        np.testing.assert_allclose(states.table, tables, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(states.trace, trace, rtol=1e-4, atol=1e-6)
        assert (trace > 0).sum((2, 3)).max() > (1 if kind == "watkins" else 3)  # some last


@pytest.mark.parametrize("envs", [1, 4])
def test_without_lambda_it_is_the_plain_table(envs):
    blocks = [record(2, envs, seed)._replace(next_action=np.zeros((2, envs), np.int32)) for seed in range(40)]
    weights = [(np.random.default_rng(s).random((2, envs)) < 0.8).astype(np.float32) for s in range(40)]
    plain, _ = run(qjax.tabular(STATES, ACTIONS, 0.3, initial=1.0), blocks, weights)
    state, _ = run(qjax.traces(STATES, ACTIONS, 0.3, 0.0, initial=1.0), blocks, weights)
    np.testing.assert_allclose(state.table, plain, rtol=1e-5, atol=1e-6)


def row_of(obs, action, reward, next_obs, next_action, discount=0.5, last=False):
    cell = lambda x, dtype: np.array([[x]], dtype)
    data = record(1, 1)._replace(
        obs=cell(obs, np.int32),
        action=cell(action, np.int32),
        reward=cell(reward, np.float32),
        discount=cell(discount, np.float32),
        next_obs=cell(next_obs, np.int32),
        last=cell(last, bool),
        next_action=cell(next_action, np.int32),
    )
    return batch_of(data)


@pytest.mark.parametrize(
    ("next_action", "cut", "left"),
    [(1, qjax.watkins, 1), (2, qjax.watkins, 1), (0, qjax.watkins, 0), (0, qjax.never_cut, 1)],
)
def test_watkins_cuts_where_the_next_action_is_not_greedy_and_ties_are(next_action, cut, left):
    agent = qjax.traces(3, 3, 0.5, 0.5, cut=cut)
    state = agent.init(KEY, jnp.zeros(1, jnp.int32))
    state = state._replace(table=state.table.at[1].set(jnp.array([1.0, 4.0, 4.0])))
    state, _ = agent.learn(KEY, state, row_of(0, 0, 1.0, 1, next_action), START)
    assert state.table[0, 0] == 0.5 * (1 + 0.5 * 4)
    assert state.trace[0, 0, 0] == 0.25 * left and state.trace.sum() == 0.25 * left


@pytest.mark.parametrize("cut", [qjax.watkins, qjax.never_cut])
def test_a_cut_episode_bootstraps_and_then_its_traces_end(cut):
    agent = qjax.traces(3, 3, 0.5, 1.0, cut=cut)
    state = agent.init(KEY, jnp.zeros(1, jnp.int32))
    state = state._replace(
        table=state.table.at[1].set(jnp.array([1.0, 4.0, 4.0])), trace=state.trace.at[0, 2, 2].set(0.5)
    )
    state, _ = agent.learn(KEY, state, row_of(0, 0, 1.0, 1, -1, last=True), START)
    assert state.table[0, 0] == 0.5 * (1 + 0.5 * 4) and state.table[2, 2] == 0.5 * 0.5 * 3
    assert not state.trace.any()


@pytest.mark.parametrize(("envs", "alpha"), [(1, 0.5), (3, qjax.visit_count())])
def test_weight_zero_everywhere_changes_nothing(envs, alpha):
    agent = qjax.traces(STATES, ACTIONS, alpha, 0.9)
    rng = np.random.default_rng(0)
    state = agent.init(KEY, jnp.zeros(envs, jnp.int32))
    state = jax.tree.map(lambda x: jnp.asarray(10 * rng.random(x.shape), x.dtype), state)
    data = record(2, envs)._replace(next_action=np.zeros((2, envs), np.int32))
    after, _ = jax.jit(agent.learn)(KEY, state, batch_of(data, np.zeros((2, envs))), START)
    jax.tree.map(np.testing.assert_array_equal, after, state)


def test_a_trace_that_has_faded_does_not_count_as_half_of_a_mean():
    delta, trace = jnp.array([1.0, 9.0]), jnp.zeros((2, 1, 3)).at[:, 0].set(jnp.array([[1.0, 1, 1], [0, 1e-9, 1]]))
    np.testing.assert_allclose(eligible_error(delta, trace)[0], [1, 1, 5], rtol=1e-6)


def test_lambda_may_be_swept_and_lies_in_the_unit_interval():
    def trace(lam):
        agent = qjax.traces(3, 3, 0.5, lam, cut=qjax.never_cut)
        state = agent.init(KEY, jnp.zeros(1, jnp.int32))
        return agent.learn(KEY, state, row_of(0, 0, 1.0, 1, 0), START)[0].trace[0, 0, 0]

    assert jax.vmap(trace)(jnp.array([0.0, 0.5, 1.0])).tolist() == [0, 0.25, 0.5]
    for lam in (-0.1, 1.1):
        with pytest.raises(ValueError, match=rf"lambda must lie in \[0, 1\], got {lam}"):
            qjax.traces(3, 3, 0.5, lam)


def test_bad_input():
    with pytest.raises(ValueError, match=r"alpha must lie in \(0, 1\], got 1.5"):
        qjax.traces(3, 3, 1.5, 0.5)
    with pytest.raises(ValueError, match=r"initial values of shape \(2, 2\) for a table of shape \(3, 3\)"):
        qjax.traces(3, 3, 0.5, 0.5, initial=np.zeros((2, 2)))
    agent = qjax.traces(STATES, ACTIONS, 0.5, 0.5)
    with pytest.raises(TypeError, match=r"needs integer scalar observations, got float32\[4\]"):
        agent.init(KEY, jnp.zeros((1, 4)))
    with pytest.raises(TypeError, match=r"no executed next action: take qjax.with_next_action\(\)"):
        agent.learn(KEY, agent.init(KEY, jnp.zeros(1, jnp.int32)), batch_of(record(1, 1)), START)
