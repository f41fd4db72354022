"""Tabular learning equals a plain NumPy loop over the recorded transitions."""

import itertools
import re

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from scipy import stats

import qjax
from qjax.exploration import schedules
from qjax.types import Batch, Time, Transition

STATES, ACTIONS, GAMMA = 6, 3, 0.9
KEY = jax.random.key(0)
START = Time(jnp.float32(0), jnp.int32(0), jnp.float32(0))


def record(rows, envs, seed=0, states=STATES):
    """Random transitions `[rows, envs]`; episodes end both ways, and environments often hit the same entry."""
    rng = np.random.default_rng(seed)
    shape = (rows, envs)
    obs, next_obs = rng.integers(0, states, (2, *shape)).astype(np.int32)
    action = rng.integers(0, ACTIONS, shape).astype(np.int32)
    # On half of the ticks all environments but the last meet in one entry, with different errors.
    meet = (np.arange(rows) % 2 == 0)[:, None] & (np.arange(envs) < max(envs - 1, 1))
    obs, action = np.where(meet, obs[:, :1], obs), np.where(meet, action[:, :1], action)
    terminated, truncated = rng.random((2, *shape)) < 0.2
    return Transition(
        obs,
        action,
        rng.normal(size=shape).astype(np.float32),
        (GAMMA * (1 - terminated)).astype(np.float32),
        next_obs,
        terminated | truncated,
    )


def batch_of(data, weight=None):
    rows, envs = data.reward.shape
    weight = np.ones((rows, envs)) if weight is None else weight
    streams = np.arange(envs, dtype=np.int32)
    return jax.device_put(Batch(data, np.asarray(weight, np.float32), streams, streams))


def single(obs, action, reward, discount, next_obs, last):
    """One transition as a batch."""
    cell = lambda x, dtype: np.array([[x]], dtype)
    return batch_of(
        Transition(
            cell(obs, np.int32),
            cell(action, np.int32),
            cell(reward, np.float32),
            cell(discount, np.float32),
            cell(next_obs, np.int32),
            cell(last, bool),
        )
    )


def greedy_value(q, tick):
    return q.max()


def reference(table, data, weight, alpha, value=greedy_value):
    """The definition, one transition at a time; environments of a tick share the table as it was before it."""
    table = table.copy()
    deltas, chosen = np.zeros((2, *data.reward.shape), np.float32)
    for t in range(data.reward.shape[0]):
        errors = {}
        for n in range(data.reward.shape[1]):
            s, a = data.obs[t, n], data.action[t, n]
            y = data.reward[t, n] + data.discount[t, n] * np.float32(value(table[data.next_obs[t, n]], t))
            deltas[t, n], chosen[t, n] = y - table[s, a], table[s, a]
            if weight[t, n]:
                errors.setdefault((s, a), []).append(deltas[t, n])
        for entry, found in errors.items():
            table[entry] += np.float32(alpha) * np.mean(found)
    return table, deltas, chosen


def run(agent, blocks, weights, times=None):
    """Learn from a sequence of blocks in one compiled scan."""
    batches = [batch_of(data, weight) for data, weight in zip(blocks, weights, strict=True)]
    stacked = jax.device_put(jax.tree.map(lambda *x: np.stack(x), *batches))
    times = jax.tree.map(lambda x: jnp.broadcast_to(x, len(blocks)), START) if times is None else times
    state = agent.init(KEY, stacked.data.obs[0, 0])

    def body(state, xs):
        batch, key, time = xs
        return agent.learn(key, state, batch, time)

    keys = jax.random.split(KEY, len(blocks))
    return jax.jit(lambda state: jax.lax.scan(body, state, (stacked, keys, times)))(state)


# Against the loop --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("envs", [1, 5])
@pytest.mark.parametrize("rows", [1, 4])
def test_q_learning_equals_the_loop(rows, envs):
    rng = np.random.default_rng(1)
    blocks = [record(rows, envs, seed) for seed in range(200 // rows)]
    weights = [(rng.random((rows, envs)) < 0.8).astype(np.float32) for _ in blocks]
    table, info = run(qjax.tabular(STATES, ACTIONS, 0.3, initial=0.5), blocks, weights)

    expected = np.full((STATES, ACTIONS), 0.5, np.float32)
    for number, (data, weight) in enumerate(zip(blocks, weights, strict=True)):
        expected, delta, q = reference(expected, data, weight, 0.3)
        left = max(weight.sum(), 1)
        np.testing.assert_allclose(info["loss"][number], (weight * delta**2).sum() / left, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(info["q"][number], (weight * q).sum() / left, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(info["priority"][number], np.abs(delta).max(0), rtol=1e-4, atol=1e-5)
    assert table.dtype == jnp.float32
    np.testing.assert_allclose(table, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("envs", [1, 5])
def test_expected_sarsa_equals_the_loop(envs):
    # The policy anneals, so the expectation must be taken under epsilon at the time of learning.
    blocks = [record(1, envs, seed) for seed in range(100)]
    epsilons = np.linspace(1.0, 0.1, 101)
    policy = qjax.epsilon_greedy(schedules.linear(1.0, 0.1, 100))
    agent = qjax.tabular(STATES, ACTIONS, 0.3, target_policy=qjax.expected(policy))
    ticks = np.arange(100, dtype=np.int32)
    times = Time(ticks.astype(np.float32), ticks * 0, np.float32(ticks * 0), ticks * 0)
    table, _ = run(agent, blocks, [None] * 100, times)

    expected = np.zeros((STATES, ACTIONS), np.float32)
    for tick, data in enumerate(blocks):
        mixed = lambda q, _, e=epsilons[tick]: (1 - e) * q[q == q.max()].mean() + e * q.mean()
        expected, *_ = reference(expected, data, np.ones((1, envs)), 0.3, mixed)
    np.testing.assert_allclose(table, expected, rtol=1e-5, atol=1e-6)


def test_expected_reads_each_streams_own_environment():
    # Under a ladder every environment has its own epsilon; the streams say which environment they come from.
    policy = qjax.epsilon_greedy(schedules.ladder(3))
    agent = qjax.tabular(2, 2, 1.0, target_policy=qjax.expected(policy))
    table = jnp.array([[0.0, 0.0], [0.0, 1.0]])
    data = record(1, 3)._replace(
        obs=np.zeros((1, 3), np.int32),
        next_obs=np.ones((1, 3), np.int32),
        reward=np.zeros((1, 3), np.float32),
        discount=np.ones((1, 3), np.float32),
    )
    batch = batch_of(data)._replace(env=jnp.array([2, 0, 1], jnp.int32))
    _, info = jax.jit(agent.learn)(KEY, table, batch, START)
    epsilon = np.array([0.4**8, 0.4, 0.4**4.5])
    np.testing.assert_allclose(info["priority"], 1 - epsilon / 2, rtol=1e-5)


def test_sampled_draws_next_actions_from_the_policy():
    # The error shows which next action was drawn: the values of the successor are 1, 2 and 4, all else is 0.
    policy = qjax.epsilon_greedy(0.6)
    agent = qjax.tabular(2, 3, 0.1, target_policy=qjax.sampled(policy))
    table = jnp.array([[0.0, 0.0, 0.0], [1.0, 2.0, 4.0]])
    envs, calls = 1000, 20
    data = record(1, envs)._replace(
        obs=np.zeros((1, envs), np.int32),
        next_obs=np.ones((1, envs), np.int32),
        reward=np.zeros((1, envs), np.float32),
        discount=np.ones((1, envs), np.float32),
    )
    batch = batch_of(data)
    draws = jax.jit(lambda key: agent.learn(key, table, batch, START)[1]["priority"])
    found = np.concatenate([draws(key) for key in jax.random.split(KEY, calls)])
    counts = np.array([(found == value).sum() for value in (1, 2, 4)])
    assert counts.sum() == envs * calls
    assert stats.chisquare(counts, envs * calls * np.array([0.2, 0.2, 0.6])).pvalue > 1e-3


def test_rows_draw_independently():
    # One key for all rows of a block would repeat the same draws row after row.
    agent = qjax.tabular(2, 2, 0.1, target_policy=qjax.sampled(qjax.uniform))
    table = jnp.array([[0.0, 0.0], [0.0, 1.0]])
    zeros = np.zeros((20, 50))
    data = Transition(np.int32(zeros), np.int32(zeros), np.float32(zeros), np.float32(zeros + 1), None, zeros > 0)
    data = data._replace(next_obs=np.int32(zeros + 1))
    _, info = jax.jit(agent.learn)(KEY, table, batch_of(data, zeros), START)
    # The priority is the largest error over the rows: 20 independent draws all miss action 1 once in a million.
    assert (info["priority"] == 1).all()


# By hand -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("discount", "last", "target"),
    [(0.9, False, 1 + 0.9 * 5), (0.0, True, 1), (0.9, True, 1 + 0.9 * 5)],
    ids=["running", "terminated", "truncated"],
)
def test_terminated_does_not_bootstrap_and_truncated_does(discount, last, target):
    agent = qjax.tabular(3, 2, 0.5)
    table = jnp.array([[0.0, 2.0], [5.0, 3.0], [9.0, 9.0]])
    after, info = jax.jit(agent.learn)(KEY, table, single(0, 1, 1.0, discount, 1, last), START)
    expected = np.array(table)
    expected[0, 1] += 0.5 * (target - 2)
    np.testing.assert_allclose(after, expected, rtol=1e-6)
    np.testing.assert_allclose(info["loss"], (target - 2) ** 2, rtol=1e-6)
    np.testing.assert_allclose(info["priority"], [abs(target - 2)], rtol=1e-6)
    assert info["q"] == 2


def test_rows_are_learned_in_order():
    # The second row bootstraps from what the first has just learned; all at once would leave Q(0, 0) at 0.
    data = Transition(
        np.array([[1], [0]], np.int32),
        np.zeros((2, 1), np.int32),
        np.array([[8.0], [0.0]], np.float32),
        np.array([[0.0], [0.5]], np.float32),
        np.array([[2], [1]], np.int32),
        np.array([[True], [False]]),
    )
    learn = jax.jit(qjax.tabular(3, 1, 0.5).learn)
    table, _ = learn(KEY, jnp.zeros((3, 1)), batch_of(data), START)
    assert table.tolist() == [[1.0], [4.0], [0.0]]


def test_errors_on_one_entry_are_averaged():
    # Three environments in one entry and one elsewhere: a sum would triple the step size.
    table = qjax.tabular_update(
        jnp.zeros((2, 2)),
        obs=jnp.array([0, 0, 0, 1]),
        action=jnp.array([1, 1, 1, 1]),
        delta=jnp.array([1.0, 2.0, 6.0, 8.0]),
        alpha=0.5,
        weight=jnp.ones(4),
    )
    assert table.tolist() == [[0.0, 1.5], [0.0, 4.0]]


def test_weighted_errors_are_averaged_and_weight_zero_leaves_out():
    table = qjax.tabular_update(
        jnp.zeros((2, 1)),
        obs=jnp.array([0, 0, 0, 1]),
        action=jnp.array([0, 0, 0, 0]),
        delta=jnp.array([1.0, 5.0, 100.0, 100.0]),
        alpha=0.5,
        weight=jnp.array([3.0, 1.0, 0.0, 0.0]),
    )
    assert table.tolist() == [[0.5 * (3 * 1 + 1 * 5) / 2], [0.0]]


@pytest.mark.parametrize("envs", [1, 5])
def test_weight_zero_everywhere_changes_nothing(envs):
    agent, data = qjax.tabular(STATES, ACTIONS, 0.5), record(3, envs)
    table = jnp.asarray(np.random.default_rng(0).normal(size=(STATES, ACTIONS)), jnp.float32)
    after, info = jax.jit(agent.learn)(KEY, table, batch_of(data, np.zeros((3, envs))), START)
    np.testing.assert_array_equal(after, table)
    assert info["loss"] == info["q"] == 0


def test_a_weight_means_the_same_for_one_environment_and_for_several():
    # `Batch.weight` multiplies each transition's loss (importance weights of prioritized replay are below 1).
    update = lambda obs, weight: qjax.tabular_update(
        jnp.zeros((2, 1)), obs, jnp.zeros_like(obs), jnp.ones(obs.size), 0.5, weight
    )
    alone = update(jnp.array([0]), jnp.array([0.5]))
    beside_another = update(jnp.array([0, 1]), jnp.array([0.5, 0.5]))
    assert alone[0, 0] == beside_another[0, 0]


# Step size ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", ["step", "episode", "update"])
def test_alpha_follows_its_schedule(unit):
    agent = qjax.tabular(2, 1, schedules.linear(1.0, 0.5, 10, unit=unit))
    batch, learn = single(0, 0, 8.0, 0.0, 1, True), jax.jit(agent.learn)
    for now, alpha in [(0, 1.0), (5, 0.75), (10, 0.5), (1000, 0.5)]:
        table, _ = learn(KEY, jnp.zeros((2, 1)), batch, START._replace(**{unit: jnp.float32(now)}))
        np.testing.assert_allclose(table[0, 0], 8 * alpha, rtol=1e-6)


def test_alpha_may_be_swept():
    batch, alphas = single(0, 0, 8.0, 0.0, 1, True), jnp.array([0.125, 0.5, 1.0])
    learn = lambda alpha: qjax.tabular(2, 1, alpha).learn(KEY, jnp.zeros((2, 1)), batch, START)[0]
    assert jax.jit(jax.vmap(learn))(alphas)[:, 0, 0].tolist() == [1.0, 4.0, 8.0]


# Visit counts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("envs", [1, 5])
def test_a_visit_count_falls_with_the_updates_of_an_entry(envs):
    rng = np.random.default_rng(1)
    blocks = [record(2, envs, seed) for seed in range(60)]
    weights = [(rng.random((2, envs)) < 0.8).astype(np.float32) for _ in blocks]
    state, _ = run(qjax.tabular(STATES, ACTIONS, qjax.visit_count(0.7, 0.5)), blocks, weights)
    table, visits = np.zeros((STATES, ACTIONS)), np.zeros((STATES, ACTIONS), int)
    for data, weight in zip(blocks, weights, strict=True):
        for t in range(2):
            row = jax.tree.map(lambda x, t=t: x[t : t + 1], data)
            target, *_ = reference(table, row, weight[t : t + 1], 1.0)  # errors of this row, averaged
            hit = {(row.obs[0, n], row.action[0, n]) for n in range(envs) if weight[t, n]}
            for entry in hit:
                visits[entry] += 1
                table[entry] += 0.5 / visits[entry] ** 0.7 * (target[entry] - table[entry])
    np.testing.assert_array_equal(state.visits, visits)
    np.testing.assert_allclose(state.table, table, rtol=1e-4, atol=1e-5)


def test_the_first_power_gives_the_average_of_the_targets():
    rewards = np.random.default_rng(0).normal(size=50).astype(np.float32)
    blocks = [single(0, 1, r, 0.0, 0, True).data for r in rewards]
    state, _ = run(qjax.tabular(1, 2, qjax.visit_count(), initial=7.0), blocks, [None] * 50)
    np.testing.assert_allclose(state.table[0], [7.0, rewards.mean()], rtol=1e-5)
    assert state.visits.tolist() == [[0, 50]]


@pytest.mark.parametrize("name", ["power", "scale"])
def test_a_visit_count_lies_in_the_half_open_unit_interval(name):
    for value in (0.0, 1.5):
        with pytest.raises(ValueError, match=rf"{name} must lie in \(0, 1\], got {value}"):
            qjax.visit_count(**{name: value})


# Two tables --------------------------------------------------------------------------------------------------


def double_updates(tables, data, t, coins, alpha):
    """Return both tables after one row, the coins given; environments share the tables as they were before it."""
    errors, after = {}, tables.copy()
    for n, coin in enumerate(coins):
        s, a, successor = data.obs[t, n], data.action[t, n], data.next_obs[t, n]
        best = tables[coin][successor].argmax()
        y = data.reward[t, n] + data.discount[t, n] * tables[1 - coin][successor, best]
        errors.setdefault((coin, s, a), []).append(y - tables[coin][s, a])
    for entry, found in errors.items():
        after[entry] += alpha * np.mean(found)
    return after


@pytest.mark.parametrize("envs", [1, 3])
def test_double_q_learning_equals_the_loop_for_some_coins(envs):
    """After each row one choice of the coins explains both tables, and the coins are fair and independent."""
    rows, agent = 400, qjax.tabular(STATES, ACTIONS, 0.3, tables=2)
    data = record(rows, envs)
    batches = jax.tree.map(lambda *x: np.stack(x), *[
        batch_of(jax.tree.map(lambda x, t=t: x[t : t + 1], data)) for t in range(rows)
    ])  # fmt: skip
    rng = np.random.default_rng(2)
    start = rng.normal(size=(2, STATES, ACTIONS)).astype(np.float32)

    def body(tables, xs):
        tables, info = agent.learn(xs[1], tables, xs[0], START)
        return tables, (tables, info["priority"])

    keys = jax.random.split(KEY, rows)
    _, (after, _) = jax.jit(lambda x: jax.lax.scan(body, x, (batches, keys)))(jnp.asarray(start))
    before, found = start, []
    for t, tables in enumerate(np.asarray(after)):
        fits = [
            coins
            for coins in itertools.product((0, 1), repeat=envs)
            if np.allclose(double_updates(before, data, t, coins, 0.3), tables, rtol=1e-4, atol=1e-5)
        ]
        assert fits
        found += fits if len(fits) == 1 else []
        before = tables
    assert len(found) > 0.9 * rows
    kinds = [found.count(coins) for coins in itertools.product((0, 1), repeat=envs)]
    assert stats.chisquare(kinds).pvalue > 1e-3
    flips = np.abs(np.diff(np.array(found)[:, 0])).sum()
    assert stats.binomtest(int(flips), len(found) - 1).pvalue > 1e-3


def test_two_tables_act_on_their_mean_and_count_apart():
    agent = qjax.tabular(3, 2, qjax.visit_count(), tables=2, initial=np.ones((3, 2)))
    state = agent.init(KEY, jnp.zeros(1, jnp.uint8))
    assert state.table.shape == state.visits.shape == (2, 3, 2)
    tables = state.table.at[1, 2].set(jnp.array([3.0, 5.0]))
    assert agent.values(None, state._replace(table=tables), jnp.uint8(2)).tolist() == [2, 3]
    data = record(1, 1)._replace(obs=np.full((1, 1), 2, np.uint8), next_obs=np.full((1, 1), 1, np.uint8))
    learn = jax.jit(agent.learn)
    for key in jax.random.split(KEY, 9):
        state, _ = learn(key, state, batch_of(data), START)
    counts = np.asarray(state.visits)[:, 2, data.action[0, 0]]
    assert counts.sum() == 9 and (counts > 0).all() and np.asarray(state.visits).sum() == 9


def test_one_table_by_default_takes_the_maximum_and_two_take_double():
    # Table 0 prefers action 0, table 1 action 1; each evaluates the other's choice at 0.
    tables = jnp.array([[[0.0, 0.0], [4.0, 0.0]], [[0.0, 0.0], [0.0, 4.0]]])
    batch = single(0, 0, 1.0, 1.0, 1, False)
    error = lambda **kwargs: qjax.tabular(2, 2, 0.5, tables=2, **kwargs).learn(KEY, tables, batch, START)[1]["loss"]
    assert error() == 1
    assert error(target_policy=qjax.maximum) == 25


# State and values --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [jnp.int32, jnp.uint8, jnp.int8])
def test_init_and_values(dtype):
    agent = qjax.tabular(4, 2, 0.1, initial=1.5)
    table = agent.init(KEY, jnp.zeros(3, dtype))
    assert (table.shape, table.dtype) == ((4, 2), jnp.float32)
    assert (table == 1.5).all()
    table = table.at[3].set(jnp.array([7.0, 8.0]))
    assert agent.values(None, table, jnp.array(3, dtype)).tolist() == [7, 8]


def test_there_is_no_target_to_sync():
    agent = qjax.tabular(4, 2, 0.1)
    table = agent.init(KEY, jnp.zeros(3, jnp.int32))
    assert agent.sync(KEY, table, Time(1, 0, 1)) is table


@pytest.mark.parametrize("tables", [1, 2])
def test_initial_values_may_differ(tables):
    initial = np.arange(8.0).reshape(4, 2)
    agent = qjax.tabular(4, 2, 0.1, initial=initial, tables=tables)
    table = agent.init(KEY, jnp.zeros(3, jnp.int32))
    assert agent.values(None, table, jnp.int32(2)).tolist() == [4, 5]
    swept = jax.vmap(lambda x: qjax.tabular(4, 2, 0.1, initial=x).init(KEY, jnp.zeros(3, jnp.int32)))
    assert swept(jnp.array([1.0, 2.0]))[:, 3, 1].tolist() == [1, 2]


# Bad input ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("obs", "named"),
    [
        (jnp.zeros(3), r"float32\[\]"),
        (jnp.zeros((3, 2), jnp.int32), r"int32\[2\]"),
        (jnp.zeros((3, 4)), r"float32\[4\]"),
        (jnp.zeros(3, bool), r"bool\[\]"),
        ((jnp.zeros(3, jnp.int32), jnp.zeros(3)), r"\(int32\[\], float32\[\]\)"),
    ],
)
def test_observations_must_be_integer_scalars(obs, named):
    agent = qjax.tabular(4, 2, 0.1)
    message = f"needs integer scalar observations, got {named}$"
    with pytest.raises(TypeError, match=message):
        agent.init(KEY, obs)
    one = jax.tree.map(lambda x: x[0], obs)
    with pytest.raises(TypeError, match="needs integer scalar observations"):
        agent.values(None, jnp.zeros((4, 2)), one)
    data = jax.tree.map(jnp.asarray, record(1, 3)._replace(obs=None, next_obs=None))
    data = data._replace(obs=jax.tree.map(lambda x: x[None], obs), next_obs=jax.tree.map(lambda x: x[None], obs))
    streams = jnp.arange(3, dtype=jnp.int32)
    with pytest.raises(TypeError, match="needs integer scalar observations"):
        agent.learn(KEY, jnp.zeros((4, 2)), Batch(data, jnp.ones((1, 3)), streams, streams), START)


@pytest.mark.parametrize(
    ("alpha", "named"), [(0, "0"), (0.0, "0.0"), (-0.5, "-0.5"), (1.5, "1.5"), (np.nan, "nan")]
)
def test_alpha_lies_in_the_half_open_unit_interval(alpha, named):
    with pytest.raises(ValueError, match=rf"alpha must lie in \(0, 1\], got {named}$"):
        qjax.tabular(4, 2, alpha)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (schedules.linear(0.5, -0.5, 100), r"alpha at the end of its schedule .*\[0, 1\], got -0.5$"),
        (schedules.linear(1.5, 0.0, 100), r"alpha at the start of its schedule .*\[0, 1\], got 1.5$"),
    ],
)
def test_a_schedule_of_alpha_is_checked_at_both_ends(schedule, message):
    with pytest.raises(ValueError, match=message):
        qjax.tabular(4, 2, schedule)


@pytest.mark.parametrize(
    ("size", "error"), [(0, ValueError), (-3, ValueError), (4.0, TypeError), (True, TypeError)]
)
def test_sizes_must_be_positive_whole_numbers(size, error, monkeypatch):
    # Without the suite's type checker, which would answer before the package's own checks.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(error, match=f"num_states must be .*got {size}$"):
        qjax.tabular(size, 2, 0.1)
    with pytest.raises(error, match=f"num_actions must be .*got {size}$"):
        qjax.tabular(4, size, 0.1)


def test_tables_of_another_shape():
    for shape in ((2, 4), (4,), (2, 4, 2)):
        message = f"initial values of shape {shape} for a table of shape (4, 2)"
        with pytest.raises(ValueError, match=re.escape(message)):
            qjax.tabular(4, 2, 0.1, initial=np.zeros(shape), tables=2)
    agent, other = qjax.tabular(4, 2, 0.1), jnp.zeros((16, 4))
    message = re.escape("a table of shape (16, 4) for an agent with tables of shape (4, 2)")
    with pytest.raises(ValueError, match=message):
        agent.values(None, other, jnp.int32(0))
    with pytest.raises(ValueError, match=message):
        agent.learn(KEY, other, batch_of(record(1, 1)), START)


def test_there_are_one_or_two_tables():
    with pytest.raises(ValueError, match="tables must be 1 or 2, got 3"):
        qjax.tabular(4, 2, 0.1, tables=3)


@pytest.mark.parametrize(
    "make",
    [
        lambda *sizes: qjax.tabular(*sizes, 0.1),
        lambda *sizes: qjax.traces(*sizes, 0.1, 0.9),
        lambda *sizes: qjax.dyna(*sizes, 5),
        qjax.table,
        lambda *sizes: qjax.tabular(sizes[0], sizes[1] // 2, 0.1, tables=2),
    ],
)
def test_a_table_that_no_int32_can_count_is_refused(make):
    with pytest.raises(ValueError, match=r"2147483647 states x .* make \d+ pairs, not below 2\*\*31$"):
        make(2**31 - 1, 2)


def test_an_mdp_that_no_int32_can_count_is_refused():
    with pytest.raises(ValueError, match=r"2147483647 states x 2 actions x branching 1 make 4294967294 outcomes"):
        qjax.mdp.garnet(jax.random.key(0), 2**31 - 1, 2, 1)
