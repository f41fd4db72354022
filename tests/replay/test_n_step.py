"""Windows of rows never cross the write head, and fold as a slow loop does, up to the end of an episode."""

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import optax
import probes
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_memory import TIME, assert_same, scalars

import qjax
from qjax.core import clock as clocks
from qjax.types import Transition

GAMMA = 0.9


@pytest.fixture
def own_messages(monkeypatch):
    """Switch the suite's type checker off: it would answer before the package's own checks."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def transitions(kinds, rewards):
    """Return transitions of steps that go on (0), terminate (1) or are cut (2), each told by its observation."""
    kinds = np.asarray(kinds)
    number = np.arange(kinds.size).reshape(kinds.shape)
    image = np.stack([number, -number], -1)
    return Transition(
        obs={"index": jnp.asarray(number, jnp.int32), "image": jnp.asarray(image, jnp.int32)},
        action=jnp.asarray(number % 5, jnp.int32),
        reward=jnp.asarray(rewards, jnp.float32),
        discount=jnp.asarray(GAMMA * (kinds != 1), jnp.float32),
        next_obs={"index": jnp.asarray(number + 1000), "image": jnp.asarray(image + 1000)},
        last=jnp.asarray(kinds > 0),
    )


def slow_fold(kinds, rewards):
    """Return (return, discount, number of steps) of one window."""
    total, discount, steps = 0.0, 1.0, 0
    for kind, reward in zip(kinds, rewards, strict=True):
        total += discount * float(reward)
        discount *= 0.0 if kind == 1 else GAMMA
        steps += 1
        if kind > 0:
            break
    return total, discount, steps


def assert_folded(found, kinds, rewards, number):
    """Check one folded transition against a window whose rows have these numbers."""
    total, discount, steps = slow_fold(kinds, rewards)
    np.testing.assert_allclose(found.reward, total, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.discount, discount, rtol=1e-6)
    first, final = number[0], number[steps - 1]
    assert found.obs["index"] == first and found.obs["image"].tolist() == [first, -first]
    assert found.action == first % 5
    assert found.next_obs["index"] == final + 1000
    assert found.next_obs["image"].tolist() == [1000 + final, 1000 - final]
    assert bool(found.last) == (kinds[steps - 1] > 0)


# ---- one window


STEPS = st.tuples(st.sampled_from([0, 0, 0, 1, 2]), st.floats(-10, 10, width=32))


@settings(max_examples=80, deadline=None)
@given(st.lists(STEPS, min_size=1, max_size=6))
def test_a_window_folds_to_its_n_step_return(steps):
    kinds, rewards = zip(*steps, strict=True)
    assert_folded(qjax.n_step_transition(transitions(kinds, rewards)), kinds, rewards, range(len(kinds)))


@pytest.mark.parametrize(("kind", "discount"), [(1, 0.0), (2, GAMMA**2)])
def test_a_cut_episode_bootstraps_from_its_own_successor_and_an_ended_one_does_not(kind, discount):
    found = qjax.n_step_transition(transitions([0, kind, 0, 0], [1.0, 2.0, np.nan, np.inf]))
    np.testing.assert_allclose(found.reward, 1 + GAMMA * 2, rtol=1e-6)  # what comes later is not even multiplied
    np.testing.assert_allclose(found.discount, discount, rtol=1e-6)
    assert found.next_obs["index"] == 1001 and found.last


def test_one_row_folds_to_itself():
    window = transitions([2], [1.5])
    assert_same(qjax.n_step_transition(window), jax.tree.map(lambda x: x[0], window))


def test_the_next_action_is_that_of_the_last_row_used():
    window = transitions([0, 0, 2, 0], [1.0] * 4)._replace(next_action=jnp.array([7, 8, -1, 9]))
    assert qjax.n_step_transition(window).next_action == -1
    whole = jax.tree.map(lambda x: x[:2], window)
    assert qjax.n_step_transition(whole).next_action == 8


def test_gamma_may_be_swept():
    """It stands in the stored discount: the derivative is that of 1 + g 2 + g^2 3, and of g^3."""

    def returns(gamma):
        window = transitions([0, 0, 0], [1.0, 2.0, 3.0])
        found = qjax.n_step_transition(window._replace(discount=jnp.full(3, gamma)))
        return found.reward, found.discount

    values, slopes = jax.vmap(lambda g: jax.jvp(returns, (g,), (1.0,)))(jnp.array([0.5, 0.9]))
    for i, g in enumerate([0.5, 0.9]):
        np.testing.assert_allclose([x[i] for x in values], [1 + 2 * g + 3 * g**2, g**3], rtol=1e-6)
        np.testing.assert_allclose([x[i] for x in slopes], [2 + 6 * g, 3 * g**2], rtol=1e-6)


# ---- windows of a memory


def prioritized(capacity, batch_size, window):
    return qjax.prioritized(capacity, batch_size, 0.6, 0.4, window=window, branching=3)


MEMORIES = {"ring": qjax.ring, "prioritized": prioritized}
SIZES = [  # steps, envs, rows, window
    (1, 1, 7, 1),
    (1, 2, 7, 3),
    (1, 3, 4, 4),  # a single window fits
    (2, 1, 10, 2),
    (3, 2, 9, 2),  # shorter than a block
    (2, 2, 10, 6),  # longer than two
    (5, 2, 5, 3),  # a block fills it
    (4, 1, 8, 8),
]


@pytest.mark.parametrize("name", MEMORIES)
@pytest.mark.parametrize(("steps", "envs", "rows", "window"), SIZES)
def test_windows_never_cross_the_write_head(name, steps, envs, rows, window):
    """At every clock, over three rounds: all windows of stored rows are drawn, and no other."""
    capacity = rows * envs
    memory = MEMORIES[name](capacity, capacity, window)
    blocks = 3 * rows // steps + 2
    number = 1 + np.arange(blocks * steps * envs).reshape(blocks, steps, envs)  # 0 is what an unwritten row shows
    block = lambda i: scalars(steps, envs)._replace(reward=jnp.asarray(number[i], jnp.float32))
    state, add = memory.init(block(0)), jax.jit(memory.add)
    many = lambda keys, *rest: jax.lax.map(lambda key: memory.sample(key, *rest), keys)
    sample, keys = jax.jit(many), jax.random.split(jax.random.key(0), 800 // capacity + 40)
    for i in range(blocks):
        state = add(state, block(i), clocks.at(i * steps))
        written = (i + 1) * steps
        batch = sample(keys, state, clocks.at(written), TIME)
        if written < window:
            assert not batch.weight.any()
            continue
        assert (batch.weight == 1).all()  # all have the same priority
        found = np.asarray(batch.data.reward)  # [keys, window, B]
        assert (np.diff(found, axis=1) == envs).all()
        starts = np.arange(max(written - rows, 0), written - window + 1)
        wanted = {(row * envs + env + 1, row % rows * envs + env, env) for row in starts for env in range(envs)}
        triples = np.stack([found[:, 0].ravel(), np.ravel(batch.slot), np.ravel(batch.env)], axis=1)
        assert set(map(tuple, triples.astype(int))) == wanted


@pytest.mark.parametrize("name", MEMORIES)
def test_windows_go_on_across_the_32_bit_word(name):
    # Rows that divide no power of two: a cursor from the low word alone would jump there.
    rows, window = 7, 3
    memory = MEMORIES[name](rows, rows, window)
    begin = (2**32 // rows - 2) * rows
    block = lambda i: scalars(1, 1)._replace(reward=jnp.full((1, 1), i, jnp.float32))
    state, add, sample = memory.init(block(0)), jax.jit(memory.add), jax.jit(memory.sample)
    for i in range(30):
        state = add(state, block(i), clocks.at(begin + i))
        batch = sample(jax.random.key(i), state, clocks.at(begin + i + 1), TIME)
        if i >= rows:  # before that, the clock says full and rows are unwritten
            first = np.asarray(batch.data.reward[0])
            assert (np.diff(batch.data.reward, axis=0) == 1).all()
            assert first.min() >= i + 1 - rows and first.max() <= i - window + 1


@pytest.mark.parametrize("name", MEMORIES)
@pytest.mark.parametrize("back", [1, 2, 3, 4, 9])
def test_rows_from_before_the_start_do_not_count(name, back):
    # A wrapper that holds rows back sets the clock back; its first rows are padding.
    memory = MEMORIES[name](8, 8, 2)
    state, add = memory.init(scalars(4, 1)), jax.jit(memory.add)
    for i in range(2):
        number = jnp.arange(4 * i, 4 * i + 4.0)[:, None] - back
        begin = clocks.minus(clocks.at(4 * i), back) if back > 4 * i else clocks.at(4 * i - back)
        state = add(state, scalars(4, 1)._replace(reward=number), begin)
    batch = jax.jit(memory.sample)(jax.random.key(0), state, clocks.plus(begin, 4), TIME)
    known = 8 - back
    assert (batch.weight == (known >= 2)).all()
    if known >= 2 and back % 4 == 0:  # whole blocks: others would not fit in
        first = np.asarray(batch.data.reward[0])
        assert set(first.tolist()) <= set(range(known - 1))


# ---- n-step


@pytest.mark.parametrize("name", MEMORIES)
@pytest.mark.parametrize(("steps", "envs", "rows", "n"), [(1, 2, 9, 3), (4, 3, 12, 5), (2, 1, 16, 1)])
def test_batches_fold_whatever_episodes_are_stored(name, steps, envs, rows, n):
    rng = np.random.default_rng(n)
    blocks = 3 * rows // steps
    kinds = rng.choice([0, 1, 2], p=[0.7, 0.15, 0.15], size=(blocks * steps, envs))
    rewards = rng.normal(size=kinds.shape).astype(np.float32)
    everything = transitions(kinds, rewards)
    block = lambda i: jax.tree.map(lambda x: x[i * steps : (i + 1) * steps], everything)
    memory = qjax.n_step(MEMORIES[name](rows * envs, 16, window=n), n)
    state, add, sample = memory.init(block(0)), jax.jit(memory.add), jax.jit(memory.sample)
    for i in range(blocks):
        state = add(state, block(i), clocks.at(i * steps))
        if (i + 1) * steps < n:
            continue
        batch = sample(jax.random.key(i), state, clocks.at((i + 1) * steps), TIME)
        assert batch.weight.shape == batch.data.reward.shape == (1, 16)
        assert batch.slot.shape == batch.env.shape == (16,)
        for j in range(16):
            found = jax.tree.map(lambda x, j=j: np.asarray(x[0, j]), batch.data)
            row, env = divmod(int(found.obs["index"]), envs)
            number = np.arange(row, row + n) * envs + env
            assert_folded(found, kinds[row : row + n, env], rewards[row : row + n, env], number)
            assert batch.env[j] == env and batch.slot[j] == row % rows * envs + env


@pytest.mark.parametrize("name", MEMORIES)
def test_one_step_is_plain(name):
    plain, one = MEMORIES[name](24, 16, 1), qjax.n_step(MEMORIES[name](24, 16, 1), 1)
    block = transitions(np.arange(6).reshape(2, 3) % 3, np.arange(6.0).reshape(2, 3))
    both = jax.jit(lambda *x: (one.sample(*x), plain.sample(*x)))
    state = jax.jit(plain.add)(plain.init(block), block, clocks.at(0))
    for i in range(5):
        found, expected = both(jax.random.key(i), state, clocks.at(2), TIME)
        assert_same(found, expected)


def test_updates_go_to_the_first_row_of_a_window():
    rows, envs, n = 6, 2, 3
    memory = qjax.n_step(prioritized(rows * envs, 12, window=n), n)
    state, add = memory.init(scalars(1, envs)), jax.jit(memory.add)
    for i in range(8):  # past the end: the newest rows are 6 and 7, at 0 and 1
        state = add(state, scalars(1, envs), clocks.at(i))
    batch = jax.jit(memory.sample)(jax.random.key(0), state, clocks.at(8), TIME)
    slots = set(np.asarray(batch.slot).tolist())
    assert slots <= {2 * row + env for row in (2, 3, 4, 5) for env in range(envs)}
    after = memory.update(state, batch.slot, jnp.full(12, 7.0))
    changed = np.flatnonzero(np.asarray(after.tree[0] != state.tree[0]))
    assert set(changed.tolist()) == slots
    np.testing.assert_allclose(np.asarray(after.tree[0])[changed], (7 + 1e-6) ** 0.6, rtol=1e-5)


def test_uniform_replay_has_nothing_to_update():
    assert qjax.n_step(qjax.ring(8, 2, window=2), 2).update is qjax.ring(8, 2).update


# ---- bad input


@pytest.mark.parametrize("name", MEMORIES)
@pytest.mark.parametrize(("capacity", "envs", "n", "rows"), [(10, 2, 6, 5), (4, 1, 5, 4)])
def test_a_window_longer_than_the_ring(name, capacity, envs, n, rows):
    message = rf"window \(n\) {n} exceeds the {rows} rows that capacity {capacity} makes of {envs} environments$"
    with pytest.raises(ValueError, match=message):
        qjax.n_step(MEMORIES[name](capacity, 1, window=n), n).init(scalars(1, envs))


@pytest.mark.parametrize(("window", "n"), [(1, 3), (3, 2), (3, 1)])
def test_a_window_of_another_length(window, n):
    memory = qjax.n_step(qjax.ring(8, 2, window=window), n)
    message = f"n_step takes windows of {n} rows, the memory's have {window}: give it window={n}"
    env = qjax.make(probes.Walk())
    loop = qjax.make_loop(env, qjax.tabular(env.num_states, 2, 0.5), qjax.uniform, memory, gamma=0.9)
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(loop.init, jax.random.key(0))


def test_sizes_are_whole_positive_numbers(own_messages):
    for make in (lambda n: qjax.ring(8, 2, window=n), lambda n: qjax.n_step(qjax.online(), n)):
        with pytest.raises(ValueError, match=r"must be at least 1, got 0$"):
            make(0)
        with pytest.raises(TypeError, match=r"must be a whole number, got 1.5$"):
            make(1.5)
    with pytest.raises(TypeError, match="n is static"):
        jax.jit(lambda n: qjax.n_step(qjax.online(), n))(3)


# ---- what counts single steps


def windows(n):
    return qjax.n_step(qjax.ring(8, 2, window=n), n)


WALK = qjax.make(probes.Walk())
STATES = WALK.num_states
SINGLE = {
    "Munchausen's bonus": lambda: qjax.dqn(qjax.table(STATES, 2), optax.sgd(0.1), **qjax.munchausen()),
    "another bonus": lambda: qjax.dqn(qjax.table(STATES, 2), optax.sgd(0.1), reward=lambda *_: jnp.float32(0)),
    "Munchausen's bonus of quantiles": lambda: qjax.dqn(
        qjax.MLP(2, atoms=3), optax.sgd(0.1), head=qjax.quantile(), **qjax.munchausen()
    ),
    "traces": lambda: qjax.traces(STATES, 2, 0.1, 0.9),
    "lambda-returns": lambda: qjax.pqn(qjax.table(STATES, 2), optax.sgd(0.1)),
}


@pytest.mark.parametrize("memory", [windows, qjax.online, qjax.with_next_action])
@pytest.mark.parametrize("agent", SINGLE)
def test_what_counts_single_steps_is_refused_with_several(agent, memory):
    def loop(n):
        return qjax.make_loop(WALK, SINGLE[agent](), qjax.uniform, memory(n), gamma=0.9)

    with pytest.raises(ValueError, match="learns from single steps; the memory's transitions are of 3 steps"):
        loop(3)
    if agent != "traces" or memory is not windows:
        loop(1)


@pytest.mark.parametrize("memory", [windows(1), qjax.prioritized(8, 2, 0.5, 0.5), qjax.dyna(STATES, 2, 5)])
def test_traces_are_refused_where_steps_are_replayed(memory):
    with pytest.raises(ValueError, match="an agent with eligibility traces learns each step once, in order"):
        qjax.make_loop(WALK, SINGLE["traces"](), qjax.uniform, memory, gamma=0.9)


def test_n_steps_of_munchausen_dqn_are_refused():
    with pytest.raises(ValueError, match="an agent with a reward with a bonus learns from single steps"):
        qjax.algorithms.make("munchausen-dqn", WALK, qjax.algorithms.MunchausenDQN(n=3))
