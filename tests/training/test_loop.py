"""The loop of one lane: chunks, limits, time and statistics are exact, and the compiled program copies no ring."""

import functools
import math
import re

import chex
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import optax
import probes
import pytest
from compilation import FUSED, sweeps

import qjax
from qjax.core import clock as clocks
from qjax.exploration import schedules
from qjax.sweeps.placement import Placement
from qjax.sweeps.programs import Programs


def bits(tree):
    """Return a pytree's leaves as bytes, so that equal means equal in every bit, NaN and -0 included."""
    keys = lambda x: jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
    return [np.asarray(jax.random.key_data(x) if keys(x) else x).tobytes() for x in jax.tree.leaves(tree)]


pop_metrics = jax.jit(jax.vmap(qjax.training.pop_metrics))


def start(loop, lanes, seed=0):
    return jax.jit(jax.vmap(loop.init))(jax.random.split(jax.random.key(seed), lanes))


def trained(loop, lanes, iterations, warmup=0):
    """Return lanes that ran from the start, in a single program."""

    def one(key):
        lane = loop.init(key)
        if warmup:
            lane = loop.run(lane, clocks.at(0), warmup, False)
        return loop.run(lane, clocks.at(warmup * loop.rollout), iterations)

    return jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), lanes))


def runner(loop):
    """Return `(lanes, clock, iterations, learning) -> lanes`, compiled once per number of iterations."""
    return jax.jit(jax.vmap(loop.run, in_axes=(0, None, None, None)), static_argnums=(2, 3))


def make(kind, **kwargs):
    """Return a loop that is small, but in which everything is at work: ends of episodes, exploration, targets."""
    env = qjax.make(probes.Walk(box=kind == "dqn"))
    policy = qjax.epsilon_greedy(schedules.linear(1.0, 0.2, 40))
    if kind == "tabular":
        agent, memory = qjax.tabular(env.num_states, env.num_actions, 0.3), qjax.online()
    else:
        agent = qjax.dqn(qjax.MLP(2, (4,)), optax.adam(1e-2), target=qjax.periodic(40))
        memory = qjax.ring(24, 4)
    return qjax.make_loop(env, agent, policy, memory, gamma=0.9, **{"num_envs": 2, **kwargs})


def small(env, **kwargs):
    """Return a loop, of a tabular agent and a uniform policy where not told otherwise."""
    rest = {"policy": qjax.uniform, "memory": qjax.online(), "gamma": 0.9, **kwargs}
    if "agent" not in rest:
        rest["agent"] = qjax.tabular(env.num_states, env.num_actions, 0.5)
    return qjax.make_loop(env, rest.pop("agent"), **rest)


def one_action(choose):
    """Return the policy that surely takes action `choose(time)`: recorded actions then tell the time it saw."""
    return lambda q, time: jax.nn.one_hot(choose(time), q.shape[-1])


def mostly_on(q, time):
    """Rarely end an episode of `Walk`, so that the time limit does, too."""
    return jnp.array([0.8, 0.2])


def recording(memory, rows_times_envs):
    """Return the memory with every transition kept beside it; its state is `(memory's state, rows)`."""
    kept = qjax.ring(rows_times_envs, 1)
    return qjax.Memory(
        init=lambda block, carry: (memory.init(block, carry), kept.init(block)),
        add=lambda state, block, clock, carry: (
            memory.add(state[0], block, clock, carry),
            kept.add(state[1], block, clock),
        ),
        sample=lambda key, state, clock, time: memory.sample(key, state[0], clock, time),
    )


# ---- one long run, chunks, and step by step


# Every pair of values of rollout, updates and sync_every rather than all combinations: each costs two compilations.
CHUNKED = [
    ("tabular", 1, 1, 1),
    ("tabular", 4, 2, 5),
    ("dqn", 1, 2, 5),
    ("dqn", 4, 2, 1),
]


@functools.cache
def whole(kind, rollout, updates, sync_every):
    """Return the loop, its compiled run, the lanes at the start and after 20 iterations at once."""
    loop = make(kind, rollout=rollout, updates=updates, sync_every=sync_every)
    run, lanes = runner(loop), start(loop, 3)
    return loop, run, lanes, run(lanes, clocks.at(0), 20, True)


@pytest.mark.parametrize(("kind", "rollout", "updates", "sync_every"), CHUNKED)
def test_chunks_equal_one_run(kind, rollout, updates, sync_every):
    _, run, lanes, expected = whole(kind, rollout, updates, sync_every)
    reports = []
    for chunk in range(2):  # of two syncs at least: of a scan of length 1 XLA makes another program
        lanes = run(lanes, clocks.at(chunk * 10 * rollout), 10, True)
        lanes, report = pop_metrics(lanes)
        reports.append(report)
    assert bits(lanes._replace(stats=None)) == bits(expected._replace(stats=None))
    # `pop_metrics` in between splits the sums and loses nothing; they add up in another order.
    _, total = pop_metrics(expected)
    np.testing.assert_array_equal(reports[-1].pop("total_episodes"), total.pop("total_episodes"))
    for name, value in total.items():
        summed = np.sum([report[name] for report in reports], axis=0)
        np.testing.assert_allclose(summed, value, rtol=1e-5, err_msg=name)
    # All of it has happened: episodes ended, the agent learned, and the three lanes differ.
    assert (total["episodes"] > 0).all() and (total["loss"] != 0).all()
    assert len(set(np.asarray(total["loss"]).tolist())) == 3


@pytest.mark.parametrize(("kind", "rollout", "updates", "sync_every"), CHUNKED[1:3])
def test_step_and_learn_by_hand_equal_run(kind, rollout, updates, sync_every):
    """The public pieces are what `run` is made of: with them a researcher's own loop gives the same result."""
    loop, _, lanes, expected = whole(kind, rollout, updates, sync_every)

    step, learn = (jax.jit(jax.vmap(f, in_axes=(0, None))) for f in (loop.step, loop.learn))
    axes = qjax.Time(None, 0, None, None)
    sync = jax.jit(jax.vmap(loop.agent.sync, in_axes=(0, 0, axes)))
    for i in range(20 // sync_every):
        before = lanes.episodes
        for j in range(sync_every):
            now = clocks.at((i * sync_every + j) * rollout)
            lanes = learn(step(lanes, now), now)
        elapsed = qjax.Time(sync_every * rollout * loop.num_envs, lanes.episodes - before, sync_every * updates)
        lanes = lanes._replace(agent=sync(lanes.key, lanes.agent, elapsed))
    # XLA rounds otherwise where other operations stand beside, so what is computed from values is only close.
    exact, close = ("env", "obs", "episodes", "episode_return", "episode_length"), ("agent", "memory", "stats")
    for name in exact:
        assert bits(getattr(lanes, name)) == bits(getattr(expected, name)), name
    for name in close:
        chex.assert_trees_all_close(getattr(lanes, name), getattr(expected, name), rtol=1e-5, atol=1e-6)


# ---- a number of episodes


@pytest.mark.parametrize(("kind", "sync_every", "num_envs"), [("tabular", 1, 1), ("tabular", 1, 2), ("dqn", 3, 2)])
def test_a_finished_lane_does_not_change(kind, sync_every, num_envs):
    loop = make(kind, episodes=3, sync_every=sync_every, num_envs=num_envs)
    run, lanes = runner(loop), start(loop, 2, seed=1)
    history = [lanes]
    for i in range(24 // sync_every):
        history.append(run(history[-1], clocks.at(i * sync_every), sync_every, True))
    history = [jax.device_get(lanes._replace(memory=None, key=None)) for lanes in history]
    ended = []
    for lane in range(2):
        states = [jax.tree.map(lambda x, lane=lane: x[lane], lanes) for lanes in history]
        end = next(i for i, state in enumerate(states) if state.episodes >= 3)
        for i in range(1, len(states)):
            if i <= end:
                assert bits(states[i].agent) != bits(states[i - 1].agent)
            else:
                assert bits(states[i]) == bits(states[end])
        ended.append(end)
        # Only the steps up to the last end of an episode count, and the updates with them.
        steps, updates = states[-1].stats.steps, states[-1].stats.updates
        assert steps == updates * num_envs
        assert end - 1 < updates / sync_every <= end
        if num_envs == 1:
            assert steps == states[-1].stats.lengths
    assert len(set(ended)) == 2 and max(ended) < len(history) - 1  # they ended apart, and before the comparison


def test_lanes_that_finish_apart_do_not_disturb_each_other():
    loop = make("tabular", episodes=2)
    run, lanes = runner(loop), start(loop, 2, seed=1)
    pairs = [jax.tree.map(lambda x, i=i, j=j: x[jnp.array([i, j])], lanes) for i, j in ((0, 1), (0, 0), (1, 1))]
    mixed, first, second = (run(pair, clocks.at(0), 15, True)._replace(memory=None) for pair in pairs)
    assert mixed.stats.steps[0] != mixed.stats.steps[1]
    row = lambda lanes, i: jax.tree.map(lambda x: x[i], lanes)
    assert bits(row(mixed, 0)) == bits(row(first, 0))
    assert bits(row(mixed, 1)) == bits(row(second, 1))


def test_the_last_transition_is_learned():
    # One episode of one step: if the lane stopped before its update, the table would stay empty.
    env = qjax.make(probes.OneStep())
    loop = small(env, agent=qjax.tabular(1, 2, alpha=1.0), episodes=1)
    lanes = trained(loop, 4, 5)
    assert np.sort(lanes.agent[:, 0], axis=-1).tolist() == [[0.0, 1.0]] * 4
    assert lanes.stats.updates.tolist() == [1] * 4


def test_a_limit_changes_nothing_before_it():
    env = qjax.make(probes.Walk())
    free, limited = (trained(small(env, num_envs=2, episodes=episodes), 2, 12) for episodes in (None, 1000))
    # Two programs may round differently; uniform actions do not depend on what was learned.
    np.testing.assert_allclose(free.agent, limited.agent, rtol=1e-6)
    rest = [lanes._replace(agent=None, stats=lanes.stats._replace(sums=None)) for lanes in (free, limited)]
    assert bits(rest[0]) == bits(rest[1])
    assert free.agent.any() and free.episodes.all()


# ---- compiled once, whatever the values


class Wide(probes.Counter):
    """So many actions that uniform exploration shows."""

    num_states, num_actions = 32, 64


def test_one_compilation_for_all_clocks_and_hypers():
    env = qjax.make(Wide())

    def build(hyper):
        network = qjax.table(env.num_states, env.num_actions)
        agent = qjax.dqn(network, optax.sgd(hyper["rate"]), target=qjax.periodic(hyper["period"]))
        # Without chance it takes action 0, so any other among the stored actions is exploration.
        explore = schedules.linear(hyper["start"], hyper["end"], 8)
        policy = qjax.epsilon_greedy(explore, base=one_action(lambda time: 0))
        return qjax.make_loop(env, agent, policy, qjax.ring(64, 4), gamma=hyper["gamma"], num_envs=2)

    chex.clear_trace_counter()

    @jax.jit
    @chex.assert_max_traces(n=1)
    def run(hypers, lanes, clock):
        one = lambda hyper, lane: build(hyper).run(lane, clock, 8)
        return jax.vmap(one)(hypers, lanes)

    hypers = {
        "rate": jnp.array([0.0, 0.1, 0.2]),
        "gamma": jnp.array([0.0, 0.5, 1.0]),
        "start": jnp.array([0.0, 1.0, 0.0]),
        "end": jnp.array([0.0, 0.0, 1.0]),
        "period": jnp.array([1, 1000, 16]),
    }
    lanes = jax.vmap(lambda hyper, key: build(hyper).init(key))(hypers, jax.random.split(jax.random.key(0), 3))
    # Values to learn from: the reward of `Counter` is 0.
    params = jnp.broadcast_to(jnp.arange(64.0) + 1, lanes.agent.params.shape)
    lanes = lanes._replace(agent=lanes.agent._replace(params=params))
    first = run(hypers, lanes, clocks.at(0))
    second = run(hypers, first, clocks.at(8))
    run(jax.tree.map(lambda x: x[::-1], hypers), lanes, clocks.at(2**32 - 4))  # a second trace would raise

    stored = second.memory.unpacked()
    # Each lane used its own value: gamma in the stored discounts,
    assert [set(row) for row in stored.discount[:, :16].reshape(3, -1).tolist()] == [{0.0}, {0.5}, {1.0}]
    # the learning rate in what changed,
    assert bits(second.agent.params[0]) == bits(params[0])
    assert all(bits(second.agent.params[i]) != bits(params[i]) for i in (1, 2))
    # the schedule's ends in the actions, with its 8 steps over after 4 ticks of 2 environments,
    explored = stored.action[:, :16].astype(bool)
    assert not explored[0].any()
    assert explored[1, :4].any() and not explored[1, 4:].any()
    assert not explored[2, 0].any() and explored[2, 4:].any()
    # the period in steps: at every sync, never, and at tick 8 and 16 of 2 steps each.
    target = second.agent.target_params
    assert bits(target[0]) == bits(second.agent.params[0])
    assert not target[1].any()
    assert bits(target[2]) == bits(second.agent.params[2])
    assert bits(first.agent.target_params[2]) == bits(first.agent.params[2])


# ---- the compiled program


def big_instructions(text, sizes):
    """Return (opcode, dtype, dims) of every instruction whose result has as many elements as a ring's array.

    Counted in elements rather than compared by shape, so that a reshaped copy is found, too.
    """
    found = []
    for match in re.finditer(r"= (\w+)\[([\d,]+)\]\S* ([\w-]+)\(", text):
        dtype, dims, opcode = match.groups()
        if math.prod(map(int, dims.split(","))) in sizes:
            found.append((opcode, dtype, tuple(map(int, dims.split(",")))))
    return found


def conditionals(text):
    """Return how many branches a program has: on a GPU each waits for the host."""
    return len(re.findall(r"= \S.* conditional\(", text))


MOVES = {"select", "copy", "scatter", "transpose"}

# Primes, so that no other array of the program has as many elements as a ring: 7 lanes of 11 rows x 3 environments.
LANES, ROWS, ENVS = 7, 11, 3


def ringed(rollout=1, sync_every=1, episodes=None):
    """Return a DQN loop, and the shapes of its lanes."""
    env = qjax.make(probes.Walk(box=True))
    agent = qjax.dqn(qjax.MLP(2, (5,)), optax.adam(1e-2))
    ring = qjax.ring(ROWS * ENVS * rollout, 6)
    kwargs = {"num_envs": ENVS, "rollout": rollout, "sync_every": sync_every, "episodes": episodes}
    loop = qjax.make_loop(env, agent, qjax.epsilon_greedy(0.1), ring, gamma=0.9, **kwargs)
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), LANES))
    return loop, jax.eval_shape(jax.vmap(loop.init), keys)


@pytest.mark.parametrize(("rollout", "sync_every", "episodes"), [(2, 1, None), (1, 5, 4)])
def test_compiled_program_moves_no_ring(rollout, sync_every, episodes):
    """The ring is most of a lane: one copy or select of it per iteration would cost more than all the rest."""
    loop, lanes = ringed(rollout, sync_every, episodes)
    run = jax.vmap(lambda lane, clock: loop.run(lane, clock, 20), in_axes=(0, None))
    # Unused arguments are kept so that leaf i is parameter i.
    lowered = jax.jit(run, donate_argnums=0, keep_unused=True).lower(lanes, clocks.at(0))
    text = lowered.compile(FUSED).as_text()

    arrays = jax.tree.leaves(lanes.memory)
    shapes = {x.shape for x in arrays}
    assert shapes == {(LANES, ROWS * rollout, ENVS, 2 * 8 + 4)}  # one array holds all fields
    found = big_instructions(text, {math.prod(shape) for shape in shapes})
    assert not [x for x in found if x[0] in MOVES]
    assert not conditionals(text)

    # Written in place, by one slice.
    written = [x[1:] for x in found if x[0] == "dynamic-update-slice"]
    assert set(written) == {("u32", x.shape) for x in arrays}

    # And into the caller's own buffers.
    aliases = re.search(r"input_output_alias=\{(.*?)\}, entry_computation_layout", text)[1]
    aliased = {(int(i), int(j)) for i, j in re.findall(r"\{(\d+)\}: \((\d+), \{\}", aliases)}
    held = [i for i, (path, _) in enumerate(jax.tree_util.tree_leaves_with_path(lanes)) if path[0].name == "memory"]
    assert len(held) == len(arrays) == 1
    assert {(i, i) for i in held} <= aliased


@pytest.mark.parametrize("frames", [None, qjax.Frames(50)])
def test_the_programs_of_a_sweep_move_no_ring(frames):
    """The same of the programs that a sweep really runs, warm-up and what fetches the sums among them."""
    env = qjax.make(probes.Walk(box=True, limit=50))
    agent = qjax.dqn(qjax.MLP(2, (5,)), optax.adam(1e-2))
    ring = qjax.ring(ROWS * ENVS, 6, frames=frames)
    loop = qjax.make_loop(
        env, agent, qjax.epsilon_greedy(0.1), ring, gamma=0.9, num_envs=ENVS, warmup=5, sync_every=5
    )
    lanes, root = LANES * jax.device_count(), jax.random.key(0)
    programs = Programs(
        lambda _: loop, None, root, Placement(np.zeros(lanes, int), np.arange(lanes), LANES, jax.devices())
    )
    with sweeps(FUSED):
        programs.compile({False: 5, True: 5})
    held = programs.shapes.memory if frames is None else programs.shapes.memory.rows
    shape = (LANES, *held.rows.shape[1:])
    assert set(programs.names) == {"init", "pop_metrics", "warm up", "learn"}
    for name in ("pop_metrics", "warm up", "learn"):
        program = programs.compiled[name]
        found = big_instructions(program.as_text(), {math.prod(shape)})
        assert not [x for x in found if x[0] in MOVES], name
        assert not conditionals(program.as_text()), name
        # Every byte of the lanes comes back in the buffer that it came in, and a ring more is nowhere.
        memory, held = program.memory_analysis(), sum(x.size * x.dtype.itemsize for x in plain(programs.shapes))
        assert memory.alias_size_in_bytes >= held / jax.device_count(), name
        assert memory.temp_size_in_bytes < 4 * math.prod(shape), name
    written = [x for x in big_instructions(programs.compiled["learn"].as_text(), {math.prod(shape)})]
    assert ("dynamic-update-slice", "u32", shape) in written


def plain(tree):
    """Return a pytree's leaves as shapes, keys as their words."""
    leaves = jax.tree.leaves(tree)
    is_key = lambda x: jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
    return [jax.eval_shape(jax.random.key_data, x) if is_key(x) else x for x in leaves]


@pytest.mark.parametrize("episodes", [None, 4])
def test_compiled_program_moves_no_table(episodes):
    """A table is read, and one entry of it written, whether lanes come to an end or not."""
    states = 101  # a size that nothing else has; the loop would refuse it
    agent = qjax.tabular(states, 2, 0.1)._replace(table=None)
    env = qjax.make(probes.Walk())
    loop = qjax.make_loop(env, agent, qjax.epsilon_greedy(0.1), qjax.online(), gamma=0.9, episodes=episodes)
    lanes = jax.eval_shape(jax.vmap(loop.init), jax.eval_shape(lambda: jax.random.split(jax.random.key(0), LANES)))
    run = jax.vmap(lambda lane, clock: loop.run(lane, clock, 20), in_axes=(0, None))
    text = jax.jit(run, donate_argnums=0).lower(lanes, clocks.at(0)).compile(FUSED).as_text()
    found = [x[0] for x in big_instructions(text, {LANES * states * 2})]
    assert not conditionals(text)
    assert found.count("scatter") == 1
    assert not [x for x in found if x in MOVES - {"scatter"}], found


@pytest.mark.parametrize(("bad", "found"), [("condition", "select"), ("clock", "scatter")])
def test_the_search_finds_moves(bad, found):
    """The two mistakes that the lane's layout is there to avoid: a condition on the ring, a clock in every lane."""
    loop, lanes = ringed()

    def run(lane, clock):
        if bad == "clock":
            return loop.run(lane, clock, 20)
        body = lambda i, lane: jax.lax.cond(
            lane.episodes < 4, lambda lane: loop.step(lane, clocks.plus(clock, i)), lambda lane: lane, lane
        )
        return jax.lax.fori_loop(0, 20, body, lane)

    axis = 0 if bad == "clock" else None
    clock = jax.tree.map(lambda x: jnp.zeros((LANES,), x.dtype) if bad == "clock" else x, clocks.at(0))
    lowered = jax.jit(jax.vmap(run, in_axes=(0, axis)), donate_argnums=0).lower(lanes, clock)
    text = lowered.compile(FUSED).as_text()
    shape = lanes.memory.rows.shape
    assert (found, "u32", shape) in big_instructions(text, {math.prod(shape)})


def test_the_search_finds_conditionals():
    """A copy of the target that depends on the clock, as plain loops write it."""
    loop, lanes = ringed()

    def run(lane, clock):
        def body(i, lane):
            now = clocks.plus(clock, i)
            agent = jax.lax.cond(
                now.low % 5 == 0, lambda x: x._replace(target_params=x.params), lambda x: x, lane.agent
            )
            return loop.learn(loop.step(lane._replace(agent=agent), now), now)

        return jax.lax.fori_loop(0, 20, body, lane)

    lowered = jax.jit(jax.vmap(run, in_axes=(0, None)), donate_argnums=0).lower(lanes, clocks.at(0))
    assert conditionals(lowered.compile(FUSED).as_text()) == 1


# ---- statistics


def test_statistics_equal_a_recomputation():
    """Every sum that `pop_metrics` returns, from the recorded transitions in plain Python."""
    env, alpha, ticks, envs, updates = qjax.make(probes.Walk()), 0.5, 24, 2, 2
    agent = qjax.tabular(env.num_states, 2, alpha)
    memory = recording(qjax.online(), ticks * envs)
    kwargs = {"num_envs": envs, "rollout": 4, "updates": updates}
    loop = qjax.make_loop(env, agent, mostly_on, memory, gamma=0.9, **kwargs)
    lanes = trained(loop, 2, ticks // 4)
    _, reports = pop_metrics(lanes)
    for lane in range(2):
        rows = jax.device_get(jax.tree.map(lambda x, lane=lane: x[lane], lanes.memory[1].unpacked()))
        returns, lengths, episodes, running = 0.0, 0, 0, [[0.0, 0] for _ in range(envs)]
        for t in range(ticks):
            for n in range(envs):
                running[n] = [running[n][0] + rows.reward[t, n], running[n][1] + 1]
                if rows.last[t, n]:
                    returns, lengths, episodes = returns + running[n][0], lengths + running[n][1], episodes + 1
                    running[n] = [0.0, 0]
        table, loss, q = np.zeros((env.num_states, 2)), 0.0, 0.0
        for first in range(0, ticks, 4):
            for _ in range(updates):
                deltas, values = [], []
                for t in range(first, first + 4):
                    s, a, after = rows.obs[t], rows.action[t], rows.next_obs[t]
                    target = rows.reward[t] + rows.discount[t] * table[after].max(axis=1)
                    delta = target - table[s, a]
                    deltas.append(delta)
                    values.append(table[s, a])
                    new = table.copy()
                    for entry in set(zip(s.tolist(), a.tolist(), strict=True)):
                        # The two environments may stand at the same entry: their mean error counts.
                        hit = [d for d, x in zip(delta, zip(s, a, strict=True), strict=True) if x == entry]
                        new[entry] += alpha * np.mean(hit)
                    table = new
                loss, q = loss + np.mean(np.square(deltas)), q + np.mean(values)
        report = {name: np.asarray(value)[lane] for name, value in reports.items()}
        assert episodes > 3
        assert (report["returns"], report["lengths"]) == (returns, lengths)
        assert report["episodes"] == report["total_episodes"] == episodes
        assert (report["steps"], report["updates"]) == (ticks * envs, ticks // 4 * updates)
        np.testing.assert_allclose([report["loss"], report["q"]], [loss, q], rtol=1e-5)
        np.testing.assert_allclose(lanes.agent[lane], table, rtol=1e-5)
        np.testing.assert_array_equal(lanes.episode_return[lane], [x for x, _ in running])
        np.testing.assert_array_equal(lanes.episode_length[lane], [x for _, x in running])


def test_take_empties_the_sums_only():
    loop = make("tabular")
    lanes = trained(loop, 2, 12)
    taken, report = pop_metrics(lanes)
    assert not any(np.any(x) for x in jax.tree.leaves(taken.stats))
    assert bits(taken._replace(stats=None)) == bits(lanes._replace(stats=None))
    assert report["total_episodes"].tolist() == lanes.episodes.tolist() and (lanes.episodes > 0).all()


def test_recorded_transitions_are_what_the_environment_does():
    """Discount 0 only where terminated; the successor follows; and what is learned from is what was acted on."""
    env = qjax.make(probes.Walk())
    loop = small(env, policy=mostly_on, memory=recording(qjax.online(), 60), num_envs=2)
    lanes = trained(loop, 1, 30)
    rows = jax.device_get(jax.tree.map(lambda x: x[0], lanes.memory[1].unpacked()))
    np.testing.assert_array_equal(rows.reward, rows.obs + 1)
    np.testing.assert_array_equal(rows.next_obs, rows.obs + 1)
    terminated, truncated = rows.action == 1, rows.next_obs == probes.Walk.limit
    np.testing.assert_array_equal(rows.last, terminated | truncated)
    np.testing.assert_allclose(rows.discount, 0.9 * ~terminated)
    # The next row starts where this one led, or at the reset.
    np.testing.assert_array_equal(rows.obs[1:], np.where(rows.last, 0, rows.next_obs)[:-1])
    assert terminated.any() and (rows.last & ~terminated).any()


# ---- warm-up and time


@pytest.mark.parametrize("kind", ["tabular", "dqn"])
def test_warm_up_leaves_the_agent_alone(kind):
    loop = make(kind, sync_every=5, warmup=7)
    lanes = start(loop, 2)
    # 7 is no multiple of sync_every: warm-up does not sync.
    warm = runner(loop)(lanes, clocks.at(0), 7, False)
    assert bits(warm.agent) == bits(lanes.agent)
    assert warm.stats.updates.tolist() == [0, 0]
    assert warm.stats.steps.tolist() == [14, 14]
    assert bits(warm.memory) != bits(lanes.memory)


# What a policy sees is written down as the one action that it takes, in a number system of mixed bases.
BASES = {"step": 40, "env": 2, "episode": 10, "quarters": 48, "tenths": 11}


class Clockwork(probes.Endless):
    """Ends every third step, with an action for every number that the policy below may write."""

    num_actions = math.prod(BASES.values())


@functools.cache
def seen(rollout, warmup=0, updates=1):
    """Return what a policy saw in 12 ticks of 2 environments, each `[ticks, envs]`."""
    epsilon = schedules.linear(1.0, 0.0, 20)

    def written(time):
        values = (time.step, time.env, time.episode, 4 * time.update, jnp.round(10 * epsilon(time)))
        number = jnp.int32(0)
        for value, base in zip(values, BASES.values(), strict=True):
            number = number * base + jnp.asarray(value, jnp.int32)
        return number

    ticks = 12
    memory = recording(qjax.online(), ticks * 2)
    kwargs = {"num_envs": 2, "rollout": rollout, "warmup": warmup, "updates": updates}
    loop = small(qjax.make(Clockwork()), policy=one_action(written), memory=memory, **kwargs)
    rest, digits = (
        np.asarray(trained(loop, 1, ticks // rollout - warmup, warmup).memory[1].unpacked().action[0]),
        {},
    )
    for name, base in reversed(BASES.items()):
        rest, digits[name] = np.divmod(rest, base)
    return digits


TICK = np.arange(12)[:, None]


@pytest.mark.parametrize("rollout", [1, 4])
def test_step_and_env_a_policy_sees(rollout):
    """Environment steps of the lane before this tick, and the environment's own index."""
    np.testing.assert_array_equal(seen(rollout)["step"], np.repeat(2 * TICK, 2, axis=1))
    np.testing.assert_array_equal(seen(rollout)["env"], [[0, 1]] * 12)


@pytest.mark.parametrize("rollout", [1, 4])
def test_episode_a_policy_sees(rollout):
    """Episodes of all environments: both end every third tick, and the next tick knows, within a rollout, too."""
    np.testing.assert_array_equal(seen(rollout)["episode"], np.repeat(TICK // 3 * 2, 2, axis=1))


@pytest.mark.parametrize("rollout", [1, 4])
def test_epsilon_a_policy_sees(rollout):
    """Exploration by a schedule over 20 steps of 2 environments each: 1 at the first tick, a tenth less at each."""
    np.testing.assert_array_equal(seen(rollout)["tenths"], np.repeat(10 - np.minimum(TICK, 10), 2, axis=1))


def test_update_a_policy_sees():
    """None while warming up, then as many as were made."""
    expected = [0] * 9 + [2, 4, 6]
    np.testing.assert_array_equal(seen(1, 8, 2)["quarters"], np.repeat(4 * np.array(expected)[:, None], 2, axis=1))


def test_update_a_policy_sees_within_a_rollout():
    """No update is made between the ticks of a rollout, so their count stands still."""
    np.testing.assert_array_equal(seen(4)["quarters"], np.repeat(TICK // 4 * 4, 2, axis=1))


@pytest.mark.parametrize(("rollout", "updates"), [(1, 1), (2, 3)])
def test_time_the_learner_sees(rollout, updates):
    """Updates are numbered one by one, steps are those of the iteration; the memory knows its newest row."""

    def sample(key, state, clock, time):
        # The clock a memory samples at, handed on where the weights would be.
        batch = qjax.online().sample(key, state, clock, time)
        return batch._replace(weight=jnp.full(batch.weight.shape, clocks.as_float(clock)))

    def learn(key, state, batch, time):
        seen = (time.step, time.episode, time.update, batch.weight[0, 0])
        row = jnp.stack([jnp.asarray(x, jnp.float32) for x in seen])
        count, log = state
        info = {"loss": jnp.float32(0), "priority": jnp.zeros(2)}
        return (count + 1, jax.lax.dynamic_update_slice_in_dim(log, row[None], count, 0)), info

    iterations = 6
    recorder = qjax.Agent(
        init=lambda key, obs: (jnp.int32(0), jnp.zeros((iterations * updates, 4))),
        act=qjax.memoryless(lambda noise, state, obs: jnp.zeros(2)),
        learn=learn,
    )
    env = qjax.make(probes.Endless())
    memory = qjax.online()._replace(sample=sample)
    loop = small(env, agent=recorder, memory=memory, num_envs=2, rollout=rollout, updates=updates, warmup=2)
    lanes = trained(loop, 1, iterations, warmup=2)
    count, log = lanes.agent
    assert count.tolist() == [iterations * updates]
    step, episode, update, rows = np.asarray(log[0]).T
    np.testing.assert_array_equal(update, np.arange(iterations * updates))
    iteration = 2 + np.arange(iterations).repeat(updates)
    np.testing.assert_array_equal(step, iteration * rollout * 2)
    np.testing.assert_array_equal(episode, (iteration + 1) * rollout // 3 * 2)
    np.testing.assert_array_equal(rows, (iteration + 1) * rollout)


def test_elapsed_time_a_sync_sees():
    """Differences since the last sync: of all environments, rollouts and updates between two."""

    def sync(key, state, elapsed):
        return state + jnp.asarray([elapsed.step, elapsed.episode, elapsed.update, 1], jnp.int32)

    counter = qjax.Agent(
        init=lambda key, obs: jnp.zeros(4, jnp.int32),
        act=qjax.memoryless(lambda noise, state, obs: jnp.zeros(2)),
        learn=lambda key, state, batch, time: (state, {"loss": jnp.float32(0), "priority": jnp.zeros(2)}),
        sync=sync,
    )
    env = qjax.make(probes.Endless())
    loop = small(env, agent=counter, num_envs=2, rollout=3, updates=4, sync_every=5)
    lanes = trained(loop, 1, 10)
    # 10 iterations of 3 ticks and 2 environments, an episode every 3 ticks; synced twice.
    assert lanes.agent.tolist() == [[60, 20, 40, 2]]


# ---- randomness


def test_no_key_is_spent_twice(monkeypatch):
    """Every function that takes a key gets one of its own, in every tick, update and environment; so does JAX."""
    seen = {}

    def note(name, key):
        jax.debug.callback(
            lambda data: seen.setdefault(name, []).append(tuple(data.tolist())), jax.random.key_data(key)
        )

    def noting(name, function):
        def noted(key, *arguments, **options):
            note(name, key)
            return function(key, *arguments, **options)

        return noted

    def values(noise, state, obs):
        if noise is not None:
            note("shared", noise.shared)
            note("per_sample", noise.per_sample)
        return jnp.zeros(2)

    env, agent, memory = qjax.make(probes.Endless()), qjax.tabular(1, 2, 0.5), qjax.ring(24, 4)
    env = env._replace(reset=noting("reset", env.reset), step=noting("step", env.step))
    agent = agent._replace(
        init=noting("init", agent.init), act=qjax.memoryless(values), learn=noting("learn", agent.learn)
    )
    memory = memory._replace(sample=noting("sample", memory.sample))
    for name in ("split", "uniform", "bits"):
        monkeypatch.setattr(jax.random, name, noting(name, getattr(jax.random, name)))
    # As many updates as ticks, so that keys split alike from one parent would meet.
    loop = small(env, agent=agent, memory=memory, num_envs=2, rollout=3, updates=3)
    jax.block_until_ready(jax.jit(lambda key: loop.run(loop.init(key), clocks.at(0), 4))(jax.random.key(0)))
    jax.effects_barrier()

    split, drawn = seen.pop("split"), seen.pop("uniform") + seen.pop("bits")
    assert len(drawn) == len(set(drawn)) >= 12 + 12 and not set(drawn) & set(split)
    assert len(split) == len(set(split)) + 4  # an iteration's own: `step` and `learn` take each their part of it
    # The environments of a tick share one on purpose, and each has one besides.
    counts = {"reset": 2, "init": 1, "shared": 12, "per_sample": 24, "step": 24, "sample": 12, "learn": 12}
    assert {name: len(keys) for name, keys in seen.items()} == counts
    assert len({key for keys in seen.values() for key in keys}) == sum(counts.values())


# ---- a clock beyond one word


@pytest.mark.parametrize("rollout", [1, 2])
def test_clock_beyond_32_bits(rollout):
    """Rows go on where the ticks say, across the carry: 2**32 is no multiple of the ring's 14 rows."""
    rows = 14
    loop = small(qjax.make(probes.Counter()), memory=qjax.ring(rows * 2, 4), num_envs=2, rollout=rollout)
    run, lanes = runner(loop), start(loop, 1)
    # The carry falls into the first call, and then between the two.
    for begin in (2**32 - 4, 2**32 - 10):
        one = run(lanes, clocks.at(begin), 10 // rollout, True)
        two = run(one, clocks.plus(clocks.at(begin), 10), 10 // rollout, True)
        expected = np.full(rows, -1)
        for tick in range(20):
            expected[(begin + tick) % rows] = tick
        np.testing.assert_array_equal(two.memory.unpacked().obs[0], np.repeat(expected[:, None], 2, axis=1))
        assert two.stats.updates.tolist() == [20 // rollout]


def test_other_ticks_give_other_randomness():
    """The high word counts, too: the same low word a whole turn later draws other actions."""
    loop = small(qjax.make(probes.Counter()), memory=recording(qjax.online(), 32))
    run, lanes = runner(loop), start(loop, 1)
    actions = [
        run(lanes, clocks.at(t), 32, True).memory[1].unpacked().action.tolist() for t in (0, 0, 2**32, 2**33)
    ]
    assert actions[0] == actions[1]
    assert actions[0] != actions[2] != actions[3] != actions[0]


# ---- bad input


@pytest.mark.parametrize("gamma", [-0.1, 1.01, float("nan")])
def test_gamma_outside_its_range(gamma):
    with pytest.raises(ValueError, match=rf"gamma must lie in \[0, 1\], got {gamma}"):
        small(qjax.make(probes.OneStep()), gamma=gamma)


@pytest.mark.parametrize("name", ["num_envs", "rollout", "updates", "sync_every", "episodes"])
@pytest.mark.parametrize("value", [0, -3])
def test_sizes_that_are_not_positive(name, value):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got {value}"):
        small(qjax.make(probes.OneStep()), **{name: value})


@pytest.mark.parametrize("name", ["num_envs", "rollout", "updates", "sync_every", "episodes", "warmup"])
def test_sizes_that_are_truth_values(name):
    # True would silently mean 1.
    with pytest.raises(TypeError, match=f"{name} must be a whole number, got True"):
        small(qjax.make(probes.OneStep()), **{name: True})


def test_negative_warm_up():
    with pytest.raises(ValueError, match="warmup must be at least 0, got -1"):
        small(qjax.make(probes.OneStep()), warmup=-1)


def test_a_replay_ratio():
    """Updates per environment step, where they make a whole number of an iteration's."""
    build = lambda ratio, **sizes: small(qjax.make(probes.Walk()), num_envs=4, replay_ratio=ratio, **sizes)
    assert build(0.25).updates == 1 and build(0.5, rollout=2).updates == 4 and build(1).updates == 4
    for ratio, made in ((0.1, "0.4"), (0.3, "1.2")):
        with pytest.raises(ValueError, match=rf"ratio of {ratio} makes {made} updates of an iteration's 1 x 4 = 4"):
            build(ratio)
    with pytest.raises(ValueError, match="got 3 updates and a ratio of 1"):
        build(1, updates=3)
    with pytest.raises(ValueError, match="replay_ratio must lie in"):
        build(-1)


@pytest.mark.parametrize("name", ["num_envs", "rollout", "updates", "sync_every", "episodes", "warmup"])
def test_traced_size(name, monkeypatch):
    # The annotations would complain first, in their own words, which users do not see.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(TypeError, match=rf"{name} is static: .* cannot be swept"):
        jax.eval_shape(lambda n: small(qjax.make(probes.OneStep()), **{name: n}).num_envs, 2)


def test_iterations_that_sync_every_does_not_divide():
    loop = make("tabular", sync_every=5)
    with pytest.raises(ValueError, match="7 iterations are not a multiple of sync_every, 5"):
        jax.eval_shape(lambda key: loop.run(loop.init(key), clocks.at(0), 7), jax.random.key(0))


@pytest.mark.parametrize("width", [1, 3])
def test_network_of_the_wrong_width(width):
    env = qjax.make(probes.Walk(box=True))
    agent = qjax.dqn(qjax.MLP(width, (4,)), optax.sgd(0.1))
    loop = qjax.make_loop(env, agent, qjax.greedy, qjax.ring(4, 2), gamma=0.9)
    with pytest.raises(ValueError, match=rf"values float32\[{width}\].*Walk has 2 actions"):
        jax.eval_shape(loop.init, jax.random.key(0))


def test_table_of_the_wrong_width():
    env = qjax.make(probes.Walk())
    agent = qjax.tabular(env.num_states, 3, 0.1)
    with pytest.raises(ValueError, match="an agent for 8 states and 3 actions; Walk has 8 states and 2 actions"):
        small(env, agent=agent)
    with pytest.raises(ValueError, match=r"values float32\[3\].*Walk has 2 actions"):
        small(env, agent=agent._replace(table=None)).init(jax.random.key(0))


@pytest.mark.parametrize("key", [jax.random.PRNGKey(0), 0])
def test_legacy_keys(key):
    with pytest.raises(TypeError, match=r"jax\.random\.key"):
        make("tabular").init(key)


def test_several_keys_where_one_is_meant():
    with pytest.raises(TypeError, match=r"one key, got an array of keys of shape \(2,\)"):
        make("tabular").init(jax.random.split(jax.random.key(0)))


def test_table_on_vectors():
    env = qjax.make(probes.Walk(box=True))
    with pytest.raises(TypeError, match=r"integer scalar observations, got float32\[(1, )?8\]"):
        small(env, agent=qjax.tabular(8, 2, 0.1)).init(jax.random.key(0))


def test_ring_that_a_block_does_not_divide():
    with pytest.raises(ValueError, match="capacity 10 is not a multiple of a block: 2 steps x 3 environments = 6"):
        small(qjax.make(probes.Walk()), memory=qjax.ring(10, 2), rollout=2, num_envs=3).init(jax.random.key(0))


def test_learn_by_hand_from_observations_of_the_wrong_shape():
    env = qjax.make(probes.Walk(box=True))
    agent = qjax.dqn(qjax.encoded(qjax.MLP(2, (4,)), env.encode), optax.sgd(0.1))
    state = jax.eval_shape(agent.init, jax.random.key(0), jnp.zeros((1, 8)))

    def batch(width):
        zeros, obs = jnp.zeros((1, 3)), jnp.zeros((1, 3, width))
        action, index = jnp.zeros((1, 3), jnp.int32), jnp.zeros(3, jnp.int32)
        data = qjax.Transition(obs, action, zeros, zeros, obs, zeros.astype(bool))
        return qjax.Batch(data, zeros + 1, index, index)

    time = qjax.Time(jnp.float32(0), jnp.int32(0), jnp.float32(0), jnp.int32(0))
    jax.eval_shape(agent.learn, jax.random.key(1), state, batch(8), time)  # the right width passes
    with pytest.raises(ValueError, match=r"Walk gives observations float32\[8\], got float32\[7\]"):
        jax.eval_shape(agent.learn, jax.random.key(1), state, batch(7), time)


def changed(env, first=lambda x: x, then=lambda x: x, final=lambda x: x, state=lambda x: x, **fields):
    """Return an environment that gives something else than it says."""

    def reset(key):
        obs, own = env.reset(key)
        return first(obs), own

    def step(key, own, action):
        made = env.step(key, own, action)
        return made._replace(obs=then(made.obs), final_obs=final(made.final_obs), state=state(made.state))

    return env._replace(reset=reset, step=step, **fields)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"first": lambda x: x[:2], "then": lambda x: x[:2], "final": lambda x: x[:2]}, "reset gives observations"),
        ({"then": lambda x: x[:2], "final": lambda x: x[:2]}, "step gives observations"),
        ({"final": lambda x: x.astype(jnp.float16)}, "step gives as final_obs"),
        ({"state": lambda x: (x, x)}, "step gives a state"),
    ],
)
def test_an_environment_that_does_not_keep_its_shapes(changes, said):
    env = changed(qjax.make(probes.Walk(box=True)), **changes)
    agent = qjax.dqn(qjax.MLP(2, (4,)), optax.sgd(0.1))
    with pytest.raises(ValueError, match=rf"Walk: {said} .*expected is ") as caught:
        small(env, agent=agent, memory=qjax.ring(8, 2)).init(jax.random.key(0))
    assert "\n" not in str(caught.value)


def test_a_mask_of_another_length():
    env = qjax.make(probes.Walk(box=True))._replace(legal=lambda obs: jnp.ones(3, bool))
    with pytest.raises(ValueError, match=r"Walk: legal\(obs\) must be bool\[2\]"):
        small(env, agent=qjax.dqn(qjax.masked(qjax.MLP(2, (4,)), env.legal), optax.sgd(0.1)))
