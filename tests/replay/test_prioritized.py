"""Prioritized replay draws, weighs and writes as published; priorities that are no numbers flag their lane."""

import math

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import optax
import probes
import pytest
from compilation import FUSED
from scipy import stats
from test_loop import MOVES, big_instructions
from test_memory import TIME, block_of, check_batch, scalars

import qjax
from qjax.core import clock as clocks
from qjax.exploration import schedules

MIN_PRIORITY = 1e-6


@pytest.fixture
def own_messages(monkeypatch):
    """Switch the suite's type checker off: it would answer before the package's own checks."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def filled(memory, rows, envs=1, extra=0):
    """Return a state into which `rows + extra` rows of one step were written, with their clock."""
    state, add = memory.init(scalars(1, envs)), jax.jit(memory.add)
    for i in range(rows + extra):
        state = add(state, scalars(1, envs), clocks.at(i))
    return state, clocks.at(rows + extra)


def leaves(state):
    return np.asarray(state.tree[0])


# ---- priorities


def test_new_transitions_have_the_largest_priority_so_far():
    """At first 1; that of a transition that is no longer stored counts, too."""
    alpha = 0.5
    memory = qjax.prioritized(6, 2, alpha, 0.4, branching=2)
    add, update = jax.jit(memory.add), jax.jit(memory.update)
    state = add(memory.init(scalars(2, 1)), scalars(2, 1), clocks.at(0))
    assert leaves(state)[:6].tolist() == [1, 1, 0, 0, 0, 0]
    state = update(state, jnp.array([0, 1]), jnp.array([0.25, 0.09]))
    np.testing.assert_allclose(leaves(state)[:2], (np.array([0.25, 0.09]) + MIN_PRIORITY) ** alpha, rtol=1e-6)
    state = add(state, scalars(2, 1), clocks.at(2))
    assert leaves(state)[2:4].tolist() == [1, 1]  # smaller ones do not lower it
    state = update(state, jnp.array([3, 1]), jnp.array([9.0, 4.0]))
    for i in (2, 3, 4):
        state = add(state, scalars(2, 1), clocks.at(2 * i))
        row = 2 * i % 6
        np.testing.assert_allclose(leaves(state)[row : row + 2], (9 + MIN_PRIORITY) ** alpha, rtol=1e-6)


def test_rows_that_wait_have_no_mass_and_then_the_largest():
    rows, envs, window = 7, 2, 3
    memory = qjax.prioritized(rows * envs, 4, 1.0, 0.4, window=window, branching=3)
    state, add, update = memory.init(scalars(1, envs)), jax.jit(memory.add), jax.jit(memory.update)
    expected = np.zeros((rows, envs))
    for i in range(3 * rows):
        state = add(state, scalars(1, envs), clocks.at(i))
        expected[i % rows] = 0
        if i >= window - 1:
            expected[(i - window + 1) % rows] = i + 1.0
        np.testing.assert_allclose(leaves(state)[: rows * envs].reshape(rows, envs), expected, rtol=1e-5)
        # From now on i + 2 is the largest; the slot that has it is that of the newest complete window.
        slot = jnp.full(4, (i - window + 1) % rows * envs, jnp.int32)
        state = update(state, slot, jnp.full(4, i + 2.0))
        if i >= window - 1:
            expected[(i - window + 1) % rows, 0] = i + 2.0
        else:  # nothing is there yet, so there is no larger one either
            state = state._replace(max_priority=jnp.float32(i + 2.0))
    assert not leaves(state)[rows * envs :].any()


def test_an_update_gives_no_mass_where_nothing_may_be_drawn():
    memory = qjax.prioritized(8, 3, 1.0, 0.4, window=2, branching=2)
    state, _ = filled(memory, 4)
    after = memory.update(state, jnp.array([1, 3, 6]), jnp.array([2.0, 50.0, 60.0]))  # 3 waits, 6 is not written
    np.testing.assert_allclose(leaves(after), [1, 2, 1, 0, 0, 0, 0, 0], rtol=1e-5)
    np.testing.assert_allclose(after.max_priority, 2, rtol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, -1e-3])
@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_a_priority_that_is_no_number_changes_nothing(bad, alpha):
    memory = qjax.prioritized(4, 4, alpha, 0.4, branching=2)
    state, _ = filled(memory, 4)
    state = memory.update(state, jnp.arange(4), jnp.arange(1.0, 5.0))
    after = memory.update(state, jnp.array([0, 1, 2]), jnp.array([7.0, bad, 8.0]))
    expected = (np.array([7.0, 2.0, 8.0, 4.0]) + MIN_PRIORITY) ** alpha
    np.testing.assert_allclose(leaves(after), expected, rtol=1e-5)
    np.testing.assert_allclose(after.tree[-1].sum(), expected.sum(), rtol=1e-5)
    np.testing.assert_allclose(after.max_priority, 8, rtol=1e-5)


def test_huge_and_tiny_priorities_keep_the_sum_finite_and_every_slot_possible():
    memory = qjax.prioritized(4, 4, 4.0, 1.0, min_priority=1e-30)
    state, clock = filled(memory, 4)
    state = memory.update(state, jnp.arange(4), jnp.array([0.0, 3e38, 1e30, 1.0]))
    assert np.isfinite(state.tree[-1]).all() and (leaves(state)[:4] > 0).all()
    batch = memory.sample(jax.random.key(0), state, clock, TIME)
    assert np.isfinite(batch.weight).all() and batch.weight.max() == 1


def test_a_slot_that_occurs_twice_has_the_larger_priority():
    memory = qjax.prioritized(4, 4, 1.0, 0.4, branching=2)
    state, _ = filled(memory, 4)
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        slot, priority = np.array([2, 2, 3])[order], np.array([5.0, 3.0, 0.5])[order]
        after = memory.update(state, jnp.asarray(slot), jnp.asarray(priority))
        np.testing.assert_allclose(leaves(after), [1, 1, 5, 0.5], rtol=1e-5)


# ---- draws and weights


def prepared(alpha, beta, batch_size, rows=37, envs=3, min_priority=MIN_PRIORITY):
    """Return a memory that wrapped around, and its state and priorities p, of every size."""
    rng = np.random.default_rng(1)
    memory = qjax.prioritized(rows * envs, batch_size, alpha, beta, min_priority=min_priority, branching=4)
    state, clock = filled(memory, rows, envs, extra=5)
    priority = np.exp(rng.normal(0, 2, rows * envs)).astype(np.float32)
    state = jax.jit(memory.update)(state, jnp.asarray(rng.permutation(rows * envs)), jnp.zeros(rows * envs))
    return (
        memory,
        jax.jit(memory.update)(state, jnp.arange(rows * envs), jnp.asarray(priority)),
        clock,
        priority + min_priority,
    )


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("batch_size", [1, 32])
def test_frequencies_are_the_priorities(alpha, batch_size):
    memory, state, clock, p = prepared(alpha, 0.4, batch_size)
    sample = jax.jit(jax.vmap(lambda key: memory.sample(key, state, clock, TIME).slot))
    slot = np.asarray(sample(jax.random.split(jax.random.key(3), 64_000 // batch_size))).ravel()
    expected = p.astype(np.float64) ** alpha
    expected *= slot.size / expected.sum()
    often = expected > 5
    counts = np.bincount(slot, minlength=p.size)
    found = np.append(counts[often], counts[~often].sum() + 1)
    wanted = np.append(expected[often], expected[~often].sum() + 1)
    assert stats.chisquare(found, wanted * found.sum() / wanted.sum()).pvalue > 1e-3
    # The same draws are far from other exponents.
    other = p.astype(np.float64) ** (alpha + 0.15)
    other *= slot.size / other.sum()
    assert stats.chisquare(counts[often], other[often] * counts[often].sum() / other[often].sum()).pvalue < 1e-9


def test_one_is_drawn_from_each_segment_of_the_sum():
    size = 50
    memory, state, clock, p = prepared(0.6, 0.4, size)
    ends = np.cumsum(p.astype(np.float64) ** 0.6)
    sample = jax.jit(jax.vmap(lambda key: memory.sample(key, state, clock, TIME).slot))
    slot = np.asarray(sample(jax.random.split(jax.random.key(0), 200)))
    begin, end = np.append(0, ends)[slot] / ends[-1], ends[slot] / ends[-1]
    segment = np.arange(size)
    assert (begin <= (segment + 1) / size + 1e-3).all() and (end >= segment / size - 1e-3).all()


@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("alpha", [0.0, 0.6])
def test_weights_are_those_of_the_paper(alpha, beta):
    memory, state, clock, p = prepared(alpha, beta, 32)
    batch = jax.jit(memory.sample)(jax.random.key(0), state, clock, TIME)
    probability = p.astype(np.float64) ** alpha / (p.astype(np.float64) ** alpha).sum()
    weight = (p.size * probability[np.asarray(batch.slot)]) ** -beta
    np.testing.assert_allclose(batch.weight[0], weight / weight.max(), rtol=1e-4)
    assert batch.weight.max() == 1


def test_beta_may_be_a_schedule():
    rising = schedules.linear(0.0, 1.0, 10, "update")
    memory, state, clock, p = prepared(1.0, rising, 16)
    sample = jax.jit(memory.sample)
    for update in (0, 5, 10, 20):
        batch = sample(jax.random.key(0), state, clock, TIME._replace(update=jnp.float32(update)))
        chosen = p[np.asarray(batch.slot)]
        np.testing.assert_allclose(batch.weight[0], (chosen.min() / chosen) ** min(update / 10, 1), rtol=1e-4)


@pytest.mark.parametrize("window", [1, 3])
def test_there_is_nothing_to_learn_before_a_window_is_written(window):
    memory = qjax.prioritized(12, 4, 0.6, 0.4, window=window)
    state, sample = memory.init(scalars(1, 2)), jax.jit(memory.sample)
    for i in range(window + 1):
        batch = sample(jax.random.key(i), state, clocks.at(i), TIME)
        assert (batch.weight == (i >= window)).all()
        assert (batch.slot < 2).all() and (batch.slot >= 0).all()
        after = memory.update(state, batch.slot, jnp.full(4, 9.0))
        assert (leaves(after) == leaves(state)).all() == (i < window)
        state = memory.add(state, scalars(1, 2), clocks.at(i))


# ---- shapes


def test_state_and_batch_keep_their_structure():
    memory, block = qjax.prioritized(60, 7, 0.6, 0.4, window=2, branching=4), block_of(np.arange(6).reshape(2, 3))
    state = memory.init(block)
    describe = lambda tree: (jax.tree.structure(tree), [(x.shape, x.dtype) for x in jax.tree.leaves(tree)])
    added = memory.add(state, block, clocks.at(0))
    batch = memory.sample(jax.random.key(0), added, clocks.at(2), TIME)
    updated = memory.update(added, batch.slot, jnp.ones(7))
    assert describe(state) == describe(added) == describe(updated)
    check_batch(batch, 2, 7, block)
    # The loop has no block yet where it makes the memory.
    assert describe(memory.init(jax.eval_shape(lambda: block))) == describe(state)


def test_what_is_drawn_is_what_is_stored():
    memory = qjax.prioritized(12, 12, 0.6, 0.4)
    ids = np.random.default_rng(0).permutation(np.arange(1, 25)).reshape(4, 2, 3)
    state, add = memory.init(block_of(ids[0])), jax.jit(memory.add)
    for i in range(4):
        state = add(state, block_of(ids[i]), clocks.at(2 * i))
    batch = jax.jit(memory.sample)(jax.random.key(0), state, clocks.at(8), TIME)
    found = np.asarray(batch.data.reward)[0].astype(int)
    jax.tree.map(np.testing.assert_array_equal, batch.data, block_of(found[None]))
    assert found.tolist() == ids[2:].ravel()[np.asarray(batch.slot)].tolist()
    assert batch.env.tolist() == [np.argwhere(ids == x)[0][2] for x in found]


# ---- the compiled program

LANES, ROWS, ENVS = 7, 211, 3


def compiled(function, *arguments):
    return jax.jit(function, donate_argnums=0).lower(*arguments).compile(FUSED).as_text()


@pytest.mark.parametrize(("window", "steps"), [(1, 1), (3, 1), (3, 2)])
def test_a_block_is_written_by_slices_in_every_level(window, steps):
    memory = qjax.prioritized(ROWS * ENVS * steps, 6, 0.6, 0.4, window=window, branching=5)
    block = jax.eval_shape(lambda: jax.tree.map(lambda x: jnp.stack([x] * LANES), scalars(steps, ENVS)))
    lanes = jax.eval_shape(jax.vmap(memory.init), block)

    def run(lanes, block, clock):
        add = jax.vmap(memory.add, in_axes=(0, 0, None))
        return jax.lax.fori_loop(0, 9, lambda i, lanes: add(lanes, block, clocks.plus(clock, i)), lanes)

    text = compiled(run, lanes, block, clocks.at(0))
    arrays = [lanes.store.rows, *lanes.tree]
    for array in arrays:
        found = [x[0] for x in big_instructions(text, {math.prod(array.shape)})]
        assert not [x for x in found if x in MOVES], (array.shape, found)
        assert "dynamic-update-slice" in found, (array.shape, found)
    assert "scatter(" not in text and "while(" in text


def test_the_loop_moves_neither_ring_nor_tree():
    """In a whole iteration the update alone scatters into the leaves and their sums, and nothing copies them."""
    env = qjax.make(probes.Walk(box=True))
    memory = qjax.n_step(qjax.prioritized(ROWS * ENVS, 6, 0.6, 0.4, window=3, branching=5), 3)
    agent = qjax.dqn(qjax.MLP(2, (5,)), optax.adam(1e-2))
    loop = qjax.make_loop(env, agent, qjax.epsilon_greedy(0.1), memory, gamma=0.9, num_envs=ENVS, updates=2)
    lanes = jax.eval_shape(jax.vmap(loop.init), jax.eval_shape(lambda: jax.random.split(jax.random.key(0), LANES)))
    text = compiled(jax.vmap(lambda lane, clock: loop.run(lane, clock, 20), in_axes=(0, None)), lanes, clocks.at(0))
    arrays = [lanes.memory.store.rows, *lanes.memory.tree[:2]]
    for array, scatters in zip(arrays, (0, 2, 1), strict=True):
        found = [x[0] for x in big_instructions(text, {math.prod(array.shape)})]
        assert "dynamic-update-slice" in found and found.count("scatter") == scatters, (array.shape, found)
        assert not [x for x in found if x in MOVES - {"scatter"}], (array.shape, found)


# ---- in a loop


def learner(hyper, memory=None, poison=None):
    """Return a loop of three-step, prioritized DQN; `poison(priority, update)` spoils what the agent reports."""
    env = qjax.make(probes.Walk(box=True))
    plain = qjax.dqn(qjax.MLP(2, (4,)), optax.adam(1e-2))

    def learn(key, state, batch, time):
        state, info = plain.learn(key, state, batch, time)
        return state, {**info, "priority": poison(info["priority"], time.update)}

    agent = plain if poison is None else plain._replace(learn=learn)
    if memory is None:
        replay = qjax.prioritized(
            24, 4, hyper["alpha"], hyper["beta"], window=3, min_priority=hyper["min_priority"], branching=3
        )
        memory = qjax.n_step(replay, 3)
    return qjax.make_loop(env, agent, qjax.epsilon_greedy(0.5), memory, gamma=hyper["gamma"], warmup=4)


VALUES = {"alpha": [0.6, 1.0], "beta": [0.4, 1.0], "min_priority": [1e-3, 1.0], "gamma": [0.9, 0.5]}


def test_all_exponents_are_swept_in_one_program():
    """One setting for the first values, one for each value changed: no two learn the same network."""
    columns = {name: [first] for name, (first, _) in VALUES.items()}
    for changed, (_, second) in VALUES.items():
        for name, column in columns.items():
            column.append(second if name == changed else column[0])
    result = qjax.sweep(learner, hypers=qjax.zipped(**columns), seeds=[3], steps=64, log_points=1, width=2)
    kernels = result.agents.params["params"]["Dense_0"]["kernel"]
    assert len({row.tobytes() for row in kernels}) == len(VALUES) + 1 == len(kernels)
    assert (result.diverged_at == -1).all()


BAD = [1.0, np.nan, np.inf, -1.0]


def poisoned(hyper, memory=None):
    """From the sixth update on one priority of the batch is replaced."""

    def poison(priority, update):
        return priority.at[1].set(jnp.where(update >= 5, hyper["bad"], priority[1]))

    return learner({name: first for name, (first, _) in VALUES.items()}, memory, poison)


def test_a_priority_that_is_no_number_flags_its_lane():
    build = lambda hyper: poisoned({"bad": jnp.array(BAD)[hyper["which"]]})
    result = qjax.sweep(build, hypers=qjax.grid(which=range(4)), seeds=[3, 8], steps=40, log_points=2, width=2)
    # 4 iterations of warm-up; the sixth update comes after the tenth step.
    assert result.diverged_at.tolist() == [-1] * 2 + [10] * 6
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(result.agents))


def test_a_priority_that_is_no_number_harms_neither_tree_nor_neighbour():
    def run(bad, key):
        loop = poisoned({"bad": bad})
        lane = loop.run(loop.init(key), clocks.at(0), 4, learning=False)
        return loop.run(lane, clocks.at(4), 30)

    run = jax.jit(jax.vmap(run))
    keys = jax.random.split(jax.random.key(0), len(BAD))
    found, calm = run(jnp.array(BAD), keys), run(jnp.ones(len(BAD)), keys)
    assert found.stats.diverged_at.tolist() == [0, 10, 10, 10] and (found.stats.updates == 30).all()
    for i in range(len(BAD)):
        mass = np.asarray(found.memory.tree[0])[i]
        assert np.isfinite(mass).all() and (mass[:24] > 0).sum() == 22 and np.isfinite(found.memory.max_priority[i])
        np.testing.assert_allclose(found.memory.tree[-1][i].sum(), mass.sum(), rtol=1e-5)
    first = lambda lane: jax.tree.leaves(jax.tree.map(lambda x: np.asarray(x)[0], (lane.agent, lane.memory)))
    for x, y in zip(first(found), first(calm), strict=True):
        np.testing.assert_array_equal(x, y)


def test_uniform_replay_does_not_look_at_priorities():
    for memory in (qjax.ring(24, 4), qjax.n_step(qjax.ring(24, 4, window=3), 3)):
        loop = poisoned({"bad": jnp.nan}, memory)
        start = jax.jit(lambda key, loop=loop: loop.run(loop.init(key), clocks.at(0), 4, learning=False))
        lane = jax.jit(loop.learn)(start(jax.random.key(0)), clocks.at(9))
        assert lane.stats.updates == 1 and lane.stats.diverged_at == 0


# ---- bad input


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"alpha": -0.5}, r"alpha must lie in \[0, inf\), got -0.5$"),
        ({"alpha": np.nan}, r"alpha must lie in \[0, inf\), got nan$"),
        ({"beta": 1.5}, r"beta must lie in \[0, 1\], got 1.5$"),
        ({"beta": -0.1}, r"beta must lie in \[0, 1\], got -0.1$"),
        (
            {"beta": schedules.linear(0.4, 1.2, 100)},
            r"beta at the end of its schedule must lie in \[0, 1\], got 1.2",
        ),
        ({"min_priority": 0.0}, r"min_priority must lie in \(0, inf\), got 0.0$"),
        ({"batch_size": 9}, "batch_size 9 exceeds capacity 8$"),
        ({"capacity": 0}, "capacity must be at least 1, got 0$"),
        ({"window": 0}, "window must be at least 1, got 0$"),
    ],
)
def test_values_out_of_range(changed, message):
    with pytest.raises(ValueError, match=message):
        qjax.prioritized(**{"capacity": 8, "batch_size": 2, "alpha": 0.6, "beta": 0.4, **changed})


def test_a_node_has_at_least_two_children():
    with pytest.raises(ValueError, match=r"branching must be at least 2, got 1$"):
        qjax.prioritized(8, 2, 0.6, 0.4, branching=1)


def test_exponents_are_numbers(own_messages):
    with pytest.raises(TypeError, match="alpha must be a number, got 'much'"):
        qjax.prioritized(8, 2, "much", 0.4)


def test_swept_settings_are_checked_on_the_host():
    hypers = {name: np.array([first, first]) for name, (first, _) in VALUES.items()}
    with pytest.raises(ValueError, match=r"alpha must lie in \[0, inf\), got -1.0"):
        qjax.sweep(learner, hypers={**hypers, "alpha": np.array([0.6, -1.0])}, seeds=1, steps=20)


def test_a_capacity_that_is_no_multiple_of_a_block():
    message = "capacity 10 is not a multiple of a block: 2 steps x 3 environments = 6$"
    with pytest.raises(ValueError, match=message):
        qjax.prioritized(10, 2, 0.6, 0.4).init(scalars(2, 3))


def test_legacy_keys(own_messages):
    memory = qjax.prioritized(8, 2, 0.6, 0.4)
    with pytest.raises(TypeError, match="expected a typed key"):
        memory.sample(jax.random.PRNGKey(0), memory.init(scalars(1, 1)), clocks.at(1), TIME)
