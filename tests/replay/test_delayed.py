"""Rows that wait: each is learned once and in order, and SARSA and n-step Q equal slow loops and the textbook's."""

import functools

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from test_tabular import ACTIONS, GAMMA, KEY, START, STATES, batch_of, record

import qjax
from qjax.core import clock as clocks

ROWS = 24


def episodes(rows, envs, seed):
    """Return recorded transitions whose successors are the next observations, but where an episode ended."""
    data = record(rows, envs, seed)
    terminated, cut = np.random.default_rng(seed).random((2, rows, envs)) < 0.08
    follow = np.concatenate([data.obs[1:], data.obs[:1]])
    last = terminated | cut
    return data._replace(
        next_obs=np.where(last, data.next_obs, follow).astype(np.int32),
        discount=np.where(terminated, 0, GAMMA).astype(np.float32),
        last=last,
    )


def blocks_of(data, steps):
    return jax.tree.map(lambda x: x.reshape(-1, steps, *x.shape[1:]), data)


@functools.cache
def driven(memory, agent=None):
    """Return a program: `(blocks) -> batches`, and what the agent has learned after each of them."""

    def run(blocks):
        first = jax.tree.map(lambda x: x[0], blocks)
        count, steps = blocks.reward.shape[:2]

        def body(carry, xs):
            held, state = carry
            block, number, key = xs
            begun = clocks.plus(clocks.at(0), number * steps)
            held = memory.add(held, block, begun)
            batch = memory.sample(key, held, clocks.plus(begun, steps), START)
            if agent is not None:
                state, _ = agent.learn(key, state, batch, START)
            return (held, state), (batch, state)

        state = () if agent is None else agent.init(KEY, first.obs[0])
        start = memory.init(first), state
        return jax.lax.scan(body, start, (blocks, jnp.arange(count), jax.random.split(KEY, count)))[1]

    return jax.jit(run)


def due(last, row, env, newest, wait):
    """Return whether a row is learned by the time `newest` is known: `wait` rows later, or at its episode's end."""
    return newest >= row + wait or last[row : newest + 1, env].any()


def schedule(last, steps, wait):
    """Return for every block the rows learned after it: lists of `(row, environments)` in order."""
    rows, envs = last.shape
    found = []
    for newest in range(steps - 1, rows, steps):
        now = []
        for row in range(newest + 1):
            before = newest - steps
            who = [e for e in range(envs) if due(last, row, e, newest, wait) and not (
                row <= before and due(last, row, e, before, wait))]  # fmt: skip
            now += [(row, who)] if who else []
        found.append(now)
    return found


def fold(data, row, env, n):
    """Return reward, discount, successor and the last row of an n-step transition."""
    total, discount = 0.0, 1.0
    for k in range(row, row + n):
        total += discount * float(data.reward[k, env])
        discount *= float(data.discount[k, env])
        if data.last[k, env]:
            break
    return total, discount, data.next_obs[k, env], k


def slow(data, steps, n, sarsa, alpha=0.3):
    """Return the tables after each block, learned by slow loops; where there is no next action, the first best."""
    table, found = np.zeros((STATES, ACTIONS)), []
    for learned in schedule(data.last, steps, n if sarsa else n - 1):
        for row, who in learned:
            errors = {}
            for env in who:
                reward, discount, successor, end = fold(data, row, env, n)
                action = table[successor].argmax()
                if sarsa and not data.last[end, env]:
                    action = data.action[end + 1, env]
                entry = data.obs[row, env], data.action[row, env]
                errors.setdefault(entry, []).append(reward + discount * table[successor, action] - table[entry])
            for entry, deltas in errors.items():
                table[entry] += alpha * np.mean(deltas)
        found.append(table.copy())
    return np.array(found)


SHAPES = [(1, 1), (1, 3), (4, 1), (3, 2)]
SARSA = qjax.tabular(STATES, ACTIONS, 0.3, target_policy=qjax.action_taken(qjax.argmax))
Q = qjax.tabular(STATES, ACTIONS, 0.3)
CASES = {
    "sarsa": (qjax.with_next_action(), SARSA, 1, True),
    "3-step": (qjax.online(3), Q, 3, False),
    "5-step": (qjax.online(5), Q, 5, False),
    "2-step-sarsa": (qjax.with_next_action(2), SARSA, 2, True),
}


@pytest.mark.parametrize(("steps", "envs"), SHAPES)
@pytest.mark.parametrize("case", CASES)
def test_what_is_learned_equals_the_slow_loop(case, steps, envs):
    memory, agent, n, sarsa = CASES[case]
    for seed in range(3):
        data = episodes(ROWS, envs, seed)
        _, tables = driven(memory, agent)(blocks_of(data, steps))
        np.testing.assert_allclose(tables, slow(data, steps, n, sarsa), rtol=1e-4, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_each_row_is_learned_once_in_order_whatever_the_episodes(given_data):
    steps, envs = given_data.draw(st.sampled_from([(1, 1), (3, 2)]))
    case = given_data.draw(st.sampled_from(list(CASES)))
    memory, _, n, sarsa = CASES[case]
    kinds = np.array(given_data.draw(st.lists(st.sampled_from([0, 0, 0, 1, 2]), min_size=ROWS * envs,
                                              max_size=ROWS * envs))).reshape(ROWS, envs)  # fmt: skip
    number = np.arange(ROWS * envs, dtype=np.int32).reshape(ROWS, envs)
    data = record(ROWS, envs)._replace(
        obs=number,
        next_obs=number + 1000,
        discount=np.where(kinds == 1, 0, 0.9).astype(np.float32),
        last=kinds > 0,
    )
    batches, _ = driven(memory)(blocks_of(data, steps))
    weight = np.asarray(batches.weight)
    assert set(np.unique(weight)) <= {0, 1}
    for block, learned in enumerate(schedule(data.last, steps, n if sarsa else n - 1)):
        for env in range(envs):
            at = np.flatnonzero(weight[block, :, env])
            wanted = [row for row, who in learned if env in who]
            got = jax.tree.map(lambda x, at=at, env=env, block=block: np.asarray(x[block])[at, env], batches.data)
            assert got.obs.tolist() == [number[row, env] for row in wanted]
            for i, row in enumerate(wanted):
                reward, discount, successor, end = fold(data, row, env, n)
                np.testing.assert_allclose(got.reward[i], reward, rtol=1e-4, atol=1e-5)
                np.testing.assert_allclose(got.discount[i], discount, rtol=1e-5)
                assert got.action[i] == data.action[row, env] and got.next_obs[i] == successor
                assert got.last[i] == data.last[end, env]
                if sarsa:
                    following = -1 if data.last[end, env] else data.action[end + 1, env]
                    assert got.next_action[i] == following
    assert (batches.env == np.arange(envs)).all()
    assert len(np.unique(batches.slot)) == batches.slot.size  # no block has the slots of another


def test_one_step_is_latest():
    data = blocks_of(episodes(ROWS, 2, 0), 4)
    jax.tree.map(np.testing.assert_array_equal, driven(qjax.online(1))(data), driven(qjax.online())(data))


@pytest.mark.parametrize("memory", [qjax.with_next_action(), qjax.online(3)])
def test_rows_from_before_the_start_do_not_count(memory):
    # A wrapper that holds rows back sets the clock back; its first rows are padding.
    data = jax.tree.map(jnp.asarray, episodes(4, 1, 0)._replace(last=np.ones((4, 1), bool)))
    state = jax.jit(memory.add)(memory.init(data), data, clocks.minus(clocks.at(0), 3))
    weight = jax.jit(memory.sample)(KEY, state, clocks.at(1), START).weight
    assert weight[-4:, 0].tolist() == [0, 0, 0, 1] and weight.sum() == 1


# ---- the executed action


@pytest.mark.parametrize(("discount", "last", "drawn"), [(0.5, True, True), (0.5, False, False)])
def test_a_cut_episode_draws_its_next_action_at_the_true_successor(discount, last, drawn):
    # The error shows which next action counted: the values of the successor are 1, 2 and 4, all else is 0.
    envs = 3000
    agent = qjax.tabular(2, 3, 0.1, target_policy=qjax.action_taken(qjax.epsilon_greedy(0.6)))
    table = jnp.array([[0.0, 0.0, 0.0], [1.0, 2.0, 4.0]])
    data = record(1, envs)._replace(
        obs=np.zeros((1, envs), np.int32),
        next_obs=np.ones((1, envs), np.int32),
        reward=np.zeros((1, envs), np.float32),
        discount=np.full((1, envs), discount, np.float32),
        last=np.full((1, envs), last),
        next_action=np.full((1, envs), -1 if last else 1, np.int32),
    )
    _, info = jax.jit(agent.learn)(KEY, table, batch_of(data), START)
    counts = np.array([(info["priority"] == value).sum() for value in (0.5, 1, 2)])
    assert counts.sum() == envs
    if drawn:
        assert stats.chisquare(counts, envs * np.array([0.2, 0.2, 0.6])).pvalue > 1e-3
    else:
        assert counts.tolist() == [0, envs, 0]


def test_sarsa_needs_the_next_action():
    with pytest.raises(TypeError, match=r"no executed next action: take qjax.with_next_action\(\) for the memory"):
        SARSA.learn(KEY, jnp.zeros((STATES, ACTIONS)), batch_of(record(1, 1)), START)


def test_rows_are_a_static_whole_number(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    for memory in (qjax.online, qjax.with_next_action):
        with pytest.raises(ValueError, match="n must be at least 1, got 0"):
            memory(0)
        with pytest.raises(TypeError, match="n is static"):
            jax.jit(memory)(3)


# ---- the textbook, trajectory for trajectory

# Powers of two, so that no product is rounded, and the loops agree bit for bit.
HALF, EPSILON, TICKS = np.float32(0.5), 0.25, 3000
MAP = "SFFFFHFHFFFHHFFG"
MOVES = [(0, -1), (1, 0), (0, 1), (-1, 0)]


def move(state, action):
    row, column = divmod(state, 4)
    down, right = MOVES[action]
    state = min(max(row + down, 0), 3) * 4 + min(max(column + right, 0), 3)
    return state, np.float32(MAP[state] == "G"), MAP[state] in "GH"


def chosen(q, u):
    best = (q == q.max()).astype(np.float32)
    probabilities = np.float32(EPSILON / 4) + np.float32(1 - EPSILON) * (best / best.sum())
    return int((np.cumsum(probabilities) > u).argmax())


def textbook(uniforms, update):
    """Return states, actions and Q of the loop of Sutton and Barto 2018, section 6.4, and its kin.

    `update(q, trace, state, action, reward, following, next_action)` changes q and trace in place; no `following`
    where the episode terminated.
    """
    q, trace, visited = np.zeros((16, 4), np.float32), np.zeros((16, 4), np.float32), []
    state, action = 0, chosen(np.zeros(4, np.float32), uniforms[0])
    for u in uniforms[1:]:
        visited.append((state, action))
        following, reward, over = move(state, action)
        if over:
            update(q, trace, state, action, reward, None, None)
            trace[:] = 0
            state, action = 0, chosen(q[0], u)
        else:
            next_action = chosen(q[following], u)
            update(q, trace, state, action, reward, following, next_action)
            state, action = following, next_action
    return np.array(visited), q


def sarsa(q, trace, state, action, reward, following, next_action):
    value = 0 if following is None else q[following, next_action]
    q[state, action] += HALF * (reward + HALF * value - q[state, action])


def sarsa_lambda(q, trace, state, action, reward, following, next_action):
    value = 0 if following is None else q[following, next_action]
    delta = reward + HALF * value - q[state, action]
    trace[state, action] += 1
    q += HALF * delta * trace
    trace *= HALF * HALF


def watkins(q, trace, state, action, reward, following, next_action):
    value = 0 if following is None else q[following].max()
    delta = reward + HALF * value - q[state, action]
    trace[state, action] += 1
    greedy = following is not None and q[following, next_action] == value
    q += HALF * delta * trace
    trace *= HALF * HALF if greedy else 0


POLICY = qjax.epsilon_greedy(EPSILON)
TEXTBOOK = {
    "sarsa": (qjax.tabular(16, 4, 0.5, target_policy=qjax.action_taken(POLICY)), sarsa),
    "sarsa-lambda": (qjax.traces(16, 4, 0.5, 0.5, qjax.action_taken(POLICY), cut=qjax.never_cut), sarsa_lambda),
    "q-lambda": (qjax.traces(16, 4, 0.5, 0.5), watkins),
}


@pytest.mark.parametrize("name", TEXTBOOK)
def test_the_loop_is_the_textbooks(name):
    agent, update = TEXTBOOK[name]
    env = qjax.make("FrozenLake-v1", is_slippery=False, max_steps_in_episode=10**6)
    loop = qjax.make_loop(env, agent, POLICY, qjax.with_next_action(), gamma=0.5)

    def tick(lane, number):
        now = clocks.plus(clocks.at(0), number)
        # The one number that chooses the action, as the loop draws it.
        act_key = jax.random.split(jax.random.split(clocks.fold(lane.key, now), 2)[1], 3)[0]
        after = loop.run(lane, now, 1)
        newest = jax.tree.map(lambda x: x[-1, 0], after.memory.rows)
        return after, (newest.obs, newest.action, jax.random.uniform(act_key, (1,))[0])

    lane, (states, actions, uniforms) = jax.jit(lambda key: jax.lax.scan(tick, loop.init(key), jnp.arange(TICKS)))(
        jax.random.key(3)
    )
    visited, q = textbook(np.asarray(uniforms), update)
    np.testing.assert_array_equal(np.stack([states, actions], 1)[: TICKS - 1], visited)
    table = lane.agent if name == "sarsa" else lane.agent.table
    np.testing.assert_array_equal(table, q)
    assert (q != 0).sum() > 20
