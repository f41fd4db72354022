"""A memory over recorded data: what it hands on, and that it is there once."""

from collections import Counter
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import victim
from recorded_data import at_random

import qjax
from qjax.core import clock as clocks
from qjax.datasets import Dataset
from qjax.sweeps import compiler, programs
from qjax.sweeps.sweep import Sweep
from qjax.types import Time

CARTPOLE = qjax.make("CartPole-v1")
KEY, NOW = jax.random.key(0), Time(jnp.float32(0), jnp.int32(0), jnp.float32(0))
ROWS, STREAMS, BATCH, GAMMA = 9, 2, 500, 0.9
DATA = at_random(CARTPOLE, ROWS, STREAMS)


def sample(memory, key=KEY, clock=0):
    return memory.sample(key, (), clocks.at(clock), NOW)


@pytest.mark.parametrize("window", [1, 4, ROWS + 2])
def test_batches_are_rows_of_the_data(window):
    """From a row of a stream on; behind its last one, which ends an episode, nothing counts."""
    batch = sample(qjax.recorded(DATA, GAMMA, BATCH, window))
    assert batch.weight.shape == (window, BATCH) and batch.carry == ()
    for stream in range(BATCH):
        row, env = divmod(int(batch.slot[stream]), STREAMS)
        there = min(window, ROWS - row)
        assert env == batch.env[stream]
        np.testing.assert_array_equal(batch.weight[:, stream], np.arange(window) < there)
        of = {name: getattr(DATA, name)[row : row + there, env] for name in ("terminated", "truncated")}
        found = jax.tree.map(lambda x, stream=stream, there=there: x[:there, stream], batch.data)
        for name in ("obs", "action", "reward", "next_obs", "probability"):
            np.testing.assert_array_equal(getattr(found, name), getattr(DATA, name)[row : row + there, env])
        last = of["terminated"] | of["truncated"] | (np.arange(row, row + there) == ROWS - 1)
        np.testing.assert_array_equal(found.last, last)
        np.testing.assert_array_equal(found.discount, np.float32(GAMMA) * ~of["terminated"])


@pytest.mark.parametrize("window", [1, 4])
def test_every_transition_is_drawn_alike(window):
    starts = ROWS * STREAMS
    batch = sample(qjax.recorded(DATA, GAMMA, 3_000 * starts, window))
    counts = Counter(np.asarray(batch.slot).tolist())
    assert set(counts) == set(range(starts))
    # Each count is binomial: within five standard deviations of its mean.
    assert all(abs(count - 3_000) < 5 * 3_000**0.5 for count in counts.values())


def test_nothing_that_is_seen_is_drawn():
    """The batch depends on the key alone: not on the clock, and not on blocks that are added."""
    memory = qjax.recorded(DATA, GAMMA, BATCH)
    block = jax.tree.map(lambda x: jnp.full((1, 1, *x.shape[2:]), 7, x.dtype), sample(memory).data)
    state = memory.init(block)
    assert jax.tree.leaves(memory.add(state, block, clocks.at(0))) == []
    jax.tree.map(np.testing.assert_array_equal, sample(memory), sample(memory, clock=100))
    assert (sample(memory).slot != sample(memory, jax.random.key(1)).slot).any()


def test_burn_in_has_no_weight():
    batch = sample(qjax.recorded(DATA, GAMMA, BATCH, window=4, burn_in=3))
    learned = (np.arange(4)[:, None] == 3) & (np.asarray(batch.slot) // STREAMS + 3 < ROWS)
    np.testing.assert_array_equal(batch.weight, learned)


def test_n_step_targets_are_those_of_its_rows():
    folded = sample(qjax.n_step(qjax.recorded(DATA, GAMMA, BATCH, window=3), 3))
    for stream in range(BATCH):
        row, env = divmod(int(folded.slot[stream]), STREAMS)
        reward, discount = 0.0, 1.0
        for later in range(row, min(row + 3, ROWS)):
            reward += discount * DATA.reward[later, env]
            discount *= GAMMA * (1 - DATA.terminated[later, env])
            if DATA.terminated[later, env] or DATA.truncated[later, env]:
                break
        np.testing.assert_allclose(folded.data.reward[0, stream], reward, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(folded.data.discount[0, stream], discount, rtol=1e-5)


def build(data, hyper=None):
    agent = qjax.dqn(qjax.encoded(qjax.MLP(2, (4,)), CARTPOLE.encode), optax.adam(1e-2), target=qjax.periodic(4))
    return qjax.make_loop(CARTPOLE, agent, qjax.greedy, qjax.recorded(data, GAMMA, 8), gamma=GAMMA, updates=2)


LARGE = at_random(CARTPOLE, 5_000)
LARGE_BYTES = sum(x.nbytes for x in jax.tree.leaves((LARGE.obs, LARGE.next_obs)))  # those of 64 KiB and more


def swept(data, seeds, steps=20):
    """Return the agents of a sweep."""
    return qjax.sweep(partial(build, data), seeds=seeds, steps=steps, width=2).agents


def test_lanes_share_one_copy():
    """Whatever their number, no lane holds any of it, and no program: it is an argument."""
    assert sum(x.nbytes for x in jax.tree.leaves(LARGE.obs)) >= compiler.LARGE
    plan = qjax.sweep.plan(partial(build, LARGE), seeds=64, steps=20, width=2)
    assert plan.total_bytes == plan.state_bytes + plan.copied_bytes + plan.temp_bytes
    assert plan.shared_bytes == LARGE_BYTES and "one copy for a device's lanes" in str(plan)
    small = qjax.sweep.plan(partial(build, at_random(CARTPOLE, 40)), seeds=2, steps=20, width=2)
    assert small.shared_bytes == 0 and small.lane_bytes == plan.lane_bytes < 2_000 and "one copy" not in str(small)


def test_several_programs_share_it_too():
    """Measures at log points draw a batch as well."""
    one = partial(build, LARGE)
    described = Sweep(one, 2, None, 0, 20, 2, 2, None, report=qjax.network_measures(one))
    assert described.compile().plan.shared_bytes == LARGE_BYTES


def test_a_program_with_an_argument_computes_what_one_with_a_constant_does(monkeypatch):
    taken = swept(LARGE, 4)
    monkeypatch.setattr(compiler, "LARGE", 10 * LARGE_BYTES)
    jax.tree.map(np.testing.assert_array_equal, taken, swept(LARGE, 4))


def test_mapped_files_are_read_where_they_are(tmp_path, monkeypatch):
    """Not one copy: what the device reads is the file's memory, so data may be larger than the machine's."""
    mapped, made = {}, []
    for name, x in LARGE._asdict().items():
        if isinstance(x, np.ndarray):
            np.save(tmp_path / f"{name}.npy", x)
            mapped[name] = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
    everywhere = programs.Programs._everywhere
    monkeypatch.setattr(programs.Programs, "_everywhere", lambda *a: made.append(everywhere(*a)) or made[-1])
    jax.tree.map(np.testing.assert_array_equal, swept(Dataset(**(LARGE._asdict() | mapped)), 4), swept(LARGE, 4))
    plan = qjax.sweep.plan(partial(build, Dataset(**(LARGE._asdict() | mapped))), seeds=2, steps=20)
    assert (plan.shared_bytes, plan.copied_bytes) == (LARGE_BYTES, 0)
    pieces = [{shard.data.unsafe_buffer_pointer() for shard in x.addressable_shards} for x in made[:2]]
    assert pieces == [{mapped[name].ctypes.data} for name in ("next_obs", "obs")]


def test_a_run_goes_on_with_its_own_data_alone(tmp_path):
    """Bit for bit; data of which one number differs are refused, in a program or beside it."""

    def run(folder, data, stops=False):
        options = {"seeds": 2, "steps": 20, "width": 2, "log_points": 4, "checkpoint_every": 0.0}
        on_progress = victim.crashing(2 if stops else None)
        with qjax.Run(folder, "recorded", {}, resume=True) as run:
            return qjax.sweep(partial(build, data), run=run, chunk_seconds=1e-9, on_progress=on_progress, **options)

    for name, data in (("large", LARGE), ("small", at_random(CARTPOLE, 40))):
        with pytest.raises(victim.Crash):
            run(tmp_path / name, data, stops=True)
        obs = data.obs.copy()
        obs[7, 0, 1] += 1
        with pytest.raises(ValueError, match="another program"):
            run(tmp_path / name, data._replace(obs=obs))
        jax.tree.map(np.testing.assert_array_equal, run(tmp_path / name, data).agents, swept(data, 2))


def test_a_lane_alone_learns_as_in_a_sweep():
    one = jax.tree.map(lambda x: x[2:3], swept(LARGE, 4))
    jax.tree.map(np.testing.assert_array_equal, one, swept(LARGE, [2]))


def test_gamma_may_be_swept():
    def sweep_of(hyper):
        agent = qjax.dqn(qjax.encoded(qjax.MLP(2, (4,)), CARTPOLE.encode), optax.adam(1e-2))
        memory = qjax.recorded(DATA, hyper["gamma"], 8)
        return qjax.make_loop(CARTPOLE, agent, qjax.greedy, memory, gamma=hyper["gamma"])

    found = qjax.sweep(sweep_of, seeds=1, hypers={"gamma": np.array([0.5, 0.9])}, steps=10, width=1).agents
    alone = qjax.sweep(sweep_of, seeds=1, hypers={"gamma": np.array([0.9])}, steps=10, width=1).agents
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(x[1], y[0]), found, alone)


def test_a_table_learns_what_the_data_say():
    """Of every transition of a deterministic lake it learns the optimal values, wherever its environment goes."""
    env = qjax.make("FrozenLake-v1", is_slippery=False)
    mdp = jax.tree.map(np.asarray, qjax.mdp.from_env(env))
    state, action = np.divmod(np.arange(16 * 4), 4)
    outcome = mdp.probability.argmax(-1)[state, action]
    successor, reward, terminated = (
        getattr(mdp, name)[state, action, outcome][:, None] for name in ("successor", "reward", "terminated")
    )
    held = [x[:, None].astype(np.int32) for x in (state, action)]
    data = Dataset(*held, reward, terminated, np.zeros_like(terminated), successor, 4)
    memory = qjax.recorded(data, GAMMA, 64)
    loop = qjax.make_loop(env, qjax.tabular(16, 4, 0.1), qjax.greedy, memory, gamma=GAMMA, updates=100)
    lane = jax.jit(loop.run, static_argnums=2)(loop.init(KEY), clocks.at(0), 20)
    known = qjax.solve.value_iteration(qjax.mdp.from_env(env), GAMMA)
    lives = ~mdp.terminated.all((1, 2))
    np.testing.assert_allclose(lane.agent[lives], known[lives], atol=1e-4)


def test_recurrent_networks_learn_from_windows():
    net = qjax.recurrent(nn.GRUCell(4), qjax.MLP(2, (4,)), qjax.MLP(None, (4,)))
    agent = qjax.recurrent_dqn(qjax.encoded(net, CARTPOLE.encode), optax.adam(1e-2), n=2, stored_state=False)
    memory = qjax.recorded(DATA, GAMMA, 4, window=6, burn_in=2)
    loop = qjax.make_loop(CARTPOLE, agent, qjax.greedy, memory, gamma=GAMMA, num_envs=2)
    begun = loop.init(KEY)
    lane = jax.jit(loop.run, static_argnums=2)(begun, clocks.at(0), 10)
    assert lane.stats.diverged_at == 0 and lane.stats.updates == 10
    before, after = (jax.tree.leaves(each.agent.params) for each in (begun, lane))
    assert all((x != y).any() for x, y in zip(before, after, strict=True))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"window": 2, "burn_in": 2}, "a burn_in of 2 rows leaves none of a window's 2"),
        ({"gamma": 1.5}, "gamma must lie in"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        qjax.recorded(**({"data": DATA, "gamma": GAMMA, "batch_size": 8} | arguments))


def agent_for(env):
    return qjax.dqn(qjax.encoded(qjax.MLP(env.num_actions, (4,)), env.encode), optax.adam(1e-2))


LAKES = qjax.make("FrozenLake-v1"), qjax.make("FrozenLake8x8-v1")
OF_LARGE_LAKE = Dataset(
    *(x[:, None] for x in (np.array([3, 40], np.int32), np.array([0, 1], np.int32), np.zeros(2, np.float32))),
    *(np.zeros((2, 1), bool),) * 2, np.array([[4], [41]], np.int32), 4,
)  # fmt: skip


@pytest.mark.parametrize(
    ("env", "data", "message"),
    [
        (
            "Acrobot-v1",
            DATA._replace(env="CartPole-v1"),
            r"observations of CartPole-v1 float32\[4\]; those of Acro",
        ),
        ("CartPole-v1", DATA._replace(num_actions=3), "data holds data with 3 actions; CartPole-v1 has 2"),
        (
            "FrozenLake-v1",
            OF_LARGE_LAKE,
            "obs is no state of FrozenLake-v1, which has 16 in 1 places, the first is",
        ),
    ],
)
def test_another_environment_is_refused(env, data, message):
    env = qjax.make(env)
    with pytest.raises(ValueError, match=message):
        qjax.make_loop(env, agent_for(env), qjax.greedy, qjax.recorded(data, GAMMA, 8), gamma=GAMMA)
    made = qjax.recorded(OF_LARGE_LAKE, GAMMA, 8)
    qjax.make_loop(LAKES[1], agent_for(LAKES[1]), qjax.greedy, made, gamma=GAMMA)


def test_probabilities_that_are_missing_are_named():
    trace = qjax.retrace(1.0)
    agent = qjax.dqn(qjax.encoded(qjax.MLP(2, (4,)), CARTPOLE.encode), optax.adam(1e-2), trace=trace)
    for data, wanted in ((DATA, True), (DATA._replace(probability=()), False)):
        loop = qjax.make_loop(CARTPOLE, agent, qjax.greedy, qjax.recorded(data, GAMMA, 8, 3), gamma=GAMMA)
        if wanted:
            assert np.isfinite(loop.learn(loop.init(KEY), clocks.at(0)).stats.sums["loss"].total)
            continue
        with pytest.raises(ValueError, match="learns from probabilities of actions, and the data have none"):
            loop.init(KEY)
