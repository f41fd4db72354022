"""Sweeps: a lane's result depends on its seed and setting alone; bad values are named; evaluations are whole."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import optax
import probes
import pytest
from compilation import AS_USERS, sweeps

import qjax
from qjax.core import clock as clocks
from qjax.exploration import schedules
from qjax.machine.devices import default_width
from qjax.sweeps import phases, traced
from qjax.sweeps.groups import Groups
from qjax.sweeps.placement import Placement, devices_for
from qjax.sweeps.programs import Programs
from qjax.training.lane import Lane

WIDTH = 2  # small, so that few lanes make several groups on the two devices of the tests


def bits(tree):
    """Return a pytree's leaves as bytes, so that equal means equal in every bit, NaN included."""
    return [np.asarray(x).tobytes() for x in jax.tree.leaves(tree)]


def row(tree, i):
    return jax.tree.map(lambda x: x[i], tree)


def tabular(hyper=None, probe=probes.Walk, **kwargs):
    """Return a tabular loop whose numbers may come from `hyper`, a dictionary."""
    hyper = {"alpha": 0.5, "gamma": 0.9, "epsilon": 0.5, **(hyper or {})}
    env = qjax.make(probe())
    agent = qjax.tabular(env.num_states, env.num_actions, hyper["alpha"])
    policy = qjax.epsilon_greedy(hyper["epsilon"])
    return qjax.make_loop(env, agent, policy, qjax.online(), gamma=hyper["gamma"], **kwargs)


def deep(hyper=None, **kwargs):
    """Return a DQN loop whose numbers may come from `hyper`.

    Just large enough for roundings to show: a smaller network, or plain gradient steps, came out bit for bit alike
    even on a mesh of one device, which XLA compiles another way.
    """
    hyper = {"rate": 1e-2, "polyak": 0.1, **(hyper or {})}
    env = qjax.make(probes.Walk(box=True))
    agent = qjax.dqn(qjax.MLP(2, (16, 16)), optax.adam(hyper["rate"]), target=qjax.polyak(hyper["polyak"]))
    kwargs = {"num_envs": 2, "sync_every": 2, **kwargs}
    return qjax.make_loop(env, agent, qjax.epsilon_greedy(0.3), qjax.ring(32, 16), gamma=0.9, **kwargs)


def same_points(points, others, lane, other):
    for a, b in zip(points, others, strict=True):
        arrays = lambda p, i: row((p.env_steps, p.episodes, p.mean_return, p.means, p.values, p.changed), i)
        assert bits(arrays(a, lane)) == bits(arrays(b, other))


# ---- what a lane's result depends on


@pytest.fixture(scope="module")
def many():
    """Nine lanes, compiled as users do: three groups of two devices by two lanes, the last one padded."""
    with sweeps(AS_USERS):
        return qjax.sweep(deep, seeds=9, steps=60, log_points=3, width=WIDTH)


@pytest.mark.usefixtures("as_users")
def test_a_seed_alone_is_the_same_bit_for_bit(many):
    """On one device, that is, for which XLA by itself compiles otherwise."""
    alone = qjax.sweep(deep, seeds=[5], steps=60, log_points=3, width=WIDTH)
    assert alone.seeds.tolist() == [5]
    assert bits(row(alone.agents, 0)) == bits(row(many.agents, 5))
    same_points(alone.points, many.points, 0, 5)
    # It is not that every lane is the same: the networks of no two seeds are.
    assert len({b"".join(bits(row(many.agents.params, i))) for i in range(9)}) == 9


@pytest.mark.usefixtures("as_users")
def test_order_company_and_log_points_do_not_matter(many):
    few = qjax.sweep(deep, seeds=[7, 0, 3], steps=60, log_points=5, width=WIDTH)
    assert len(few.points) == 5 != len(many.points)
    for lane, seed in enumerate([7, 0, 3]):
        assert bits(row(few.agents, lane)) == bits(row(many.agents, seed))
        assert few.points[-1].env_steps[lane] == many.points[-1].env_steps[seed]
        assert few.points[-1].episodes[lane] == many.points[-1].episodes[seed]


def test_root_seed_changes_everything():
    kwargs = {"seeds": 2, "steps": 20, "log_points": 1, "width": WIDTH}
    tables = [qjax.sweep(tabular, seed=seed, **kwargs).agents for seed in (0, 1)]
    assert len({table.tobytes() for pair in tables for table in pair}) == 4


def test_jax_s_default_keys_do_not_matter(tmp_path):
    """Neither to the numbers, nor to the width (a key has other bytes), nor to what is compared on resume."""
    kwargs = {"seeds": 2, "steps": 20, "log_points": 1}
    found = []
    for kind in ("threefry2x32", "rbg"):
        with jax.default_prng_impl(kind), qjax.Run(tmp_path / kind, "keys", {}) as run:
            found.append(qjax.sweep(tabular, run=run, **kwargs))
    assert bits(found[0].agents) == bits(found[1].agents) and found[0].width == found[1].width
    configs = [(tmp_path / kind / "config.json").read_text() for kind in ("threefry2x32", "rbg")]
    assert configs[0] == configs[1]
    with jax.default_prng_impl("rbg"):
        program = traced.text(traced.program(tabular, None).jaxpr)
    assert program == traced.text(traced.program(tabular, None).jaxpr)


def test_seeds_differ_from_their_initialisation_on():
    # A learning rate of 0 keeps the initial networks.
    result = qjax.sweep(lambda _: deep({"rate": 0.0}), seeds=4, steps=4, log_points=1, width=WIDTH)
    kernels = result.agents.params["params"]["Dense_0"]["kernel"]
    assert kernels.shape == (4, 8, 16)
    assert all((kernels[i] != kernels[j]).all() for i in range(4) for j in range(i))


def test_a_sweep_is_its_loop_run_by_hand():
    """What stands behind the groups and devices: lane i starts from fold_in(key(seed), i), then runs to the end."""
    result = qjax.sweep(tabular, seeds=3, seed=7, steps=40, log_points=4, width=WIDTH)
    loop = tabular()

    @jax.jit
    @jax.vmap
    def trained(number):
        lane = loop.run(loop.init(jax.random.fold_in(jax.random.key(7), number)), clocks.at(0), 40)
        return qjax.training.pop_metrics(lane)

    lanes, report = trained(jnp.arange(3, dtype=jnp.uint32))
    np.testing.assert_allclose(result.agents, lanes.agent, rtol=1e-6)
    np.testing.assert_array_equal(result.points[-1].episodes, report["total_episodes"])
    # Metrics as well: the points' means, put together again, are the sums over the whole run.
    total, count, before = 0.0, 0, 0
    for point in result.points:
        ended = point.episodes - before
        total, before = total + np.where(ended > 0, point.mean_return * ended, 0), point.episodes
        count += point.means["loss"] * 10
    np.testing.assert_allclose(total, report["returns"], rtol=1e-5)
    np.testing.assert_allclose(count, report["loss"], rtol=1e-5)
    assert (report["returns"] > 0).all() and (report["loss"] > 0).all()


def test_several_inner_loops_of_rollouts_go_on_where_the_last_one_ended():
    """130 iterations make five inner loops of 26, most of them in one call of the program."""
    build = lambda hyper: tabular(rollout=3)
    result = qjax.sweep(build, seeds=2, seed=7, steps=390, log_points=1, width=1)
    loop, key = build(None), jax.random.fold_in(jax.random.key(7), 1)
    lane = jax.jit(lambda key: loop.run(loop.init(key), clocks.at(0), 130))(key)
    np.testing.assert_allclose(result.agents[1], lane.agent, rtol=1e-6)
    assert result.points[-1].episodes[1] == lane.episodes


# ---- hyper-parameters


def test_every_setting_sees_the_same_seeds():
    """Lanes are ordered by setting, then by seed; equal settings give equal lanes, bit for bit."""
    hypers = {"alpha": np.array([0.5, 0.1, 0.5]), "gamma": np.array([0.9, 0.9, 0.9])}
    result = qjax.sweep(tabular, hypers=hypers, seeds=[4, 2, 0], steps=40, log_points=2, width=WIDTH)
    assert result.settings.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert result.seeds.tolist() == [4, 2, 0] * 3
    for i in range(3):
        assert bits(result.agents[i]) == bits(result.agents[6 + i]) != bits(result.agents[3 + i])
        same_points(result.points, result.points, i, 6 + i)
    # A swept constant is the constant: tables as with the number written into the program.
    fixed = qjax.sweep(lambda _: tabular({"alpha": 0.1}), seeds=[4, 2], steps=40, log_points=2, width=WIDTH)
    np.testing.assert_allclose(result.agents[3:5], fixed.agents, rtol=1e-6)


@pytest.mark.parametrize(
    ("build", "name", "values", "message"),
    [
        (tabular, "epsilon", [0.1, 1.5], r"epsilon must lie in \[0, 1\], got 1.5"),
        (tabular, "gamma", [0.9, 2.0], r"gamma must lie in \[0, 1\], got 2.0"),
        (tabular, "alpha", [0.9, 0.0], r"alpha must lie in \(0, 1\], got 0.0"),
        (deep, "polyak", [0.1, -0.25], r"Polyak rate must lie in \(0, 1\], got -0.25"),
    ],
)
def test_swept_values_are_checked(build, name, values, message):
    # Only the second setting is wrong, and inside the program nothing could raise.
    with pytest.raises(ValueError, match=message):
        qjax.sweep(build, hypers={name: np.array(values)}, seeds=2, steps=40)


def test_swept_size(monkeypatch):
    # The annotations would complain first, in their own words, which users do not see.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)

    def build(hyper):
        env = qjax.make(probes.Walk())
        agent = qjax.dqn(qjax.table(env.num_states, 2), optax.sgd(0.1))
        return qjax.make_loop(env, agent, qjax.uniform, qjax.ring(hyper["capacity"], 2), gamma=0.9)

    with pytest.raises(TypeError, match=r"capacity is static.*cannot be swept"):
        qjax.sweep(build, hypers={"capacity": np.array([16, 32])}, seeds=2, steps=40)


@pytest.mark.parametrize("num_settings", [(2, 3), (0, 0)])
def test_hypers_of_different_lengths(num_settings):
    hypers = {"alpha": np.full(num_settings[0], 0.5), "gamma": np.full(num_settings[1], 0.5)}
    with pytest.raises(ValueError, match="same, positive number of settings") as error:
        qjax.sweep(tabular, hypers=hypers, seeds=2, steps=40)
    for name, length in zip(hypers, num_settings, strict=True):
        assert f"'{name}': {length}" in str(error.value)


@pytest.mark.parametrize("values", [[0.5, 0.1], 0.5])
def test_hypers_that_are_not_arrays(values):
    # A list is a pytree of numbers: either it is taken for an array, or the error says what hypers are.
    with pytest.raises((TypeError, ValueError), match="hypers"):
        qjax.sweep(tabular, hypers={"alpha": values}, seeds=2, steps=20)


def deep_with_period(period):
    env = qjax.make(probes.Walk())
    agent = qjax.dqn(qjax.table(env.num_states, 2), optax.sgd(0.1), target=qjax.periodic(period))
    return qjax.make_loop(env, agent, qjax.uniform, qjax.ring(32, 4), gamma=0.9, num_envs=2, sync_every=2)


def test_period_shorter_than_sync_every():
    with pytest.raises(ValueError, match="a period of 2 steps is shorter than the 4 between two syncs"):
        qjax.sweep(lambda _: deep_with_period(2), seeds=2, steps=8, width=WIDTH)


def test_swept_period_shorter_than_sync_every():
    build = lambda hyper: deep_with_period(hyper["period"])
    with pytest.raises(ValueError, match="a period of 2 steps is shorter than the 4 between two syncs"):
        qjax.sweep(build, hypers={"period": np.array([100, 2])}, seeds=2, steps=8, width=WIDTH)


# ---- seeds and steps


def test_seeds_twice():
    with pytest.raises(ValueError, match=r"more than once: \[1, 3\]"):
        qjax.sweep(tabular, seeds=[3, 1, 2, 3, 1], steps=40)


@pytest.mark.parametrize(("seeds", "message"), [([], "at least one seed, got none"), (0, "at least 1, got 0")])
def test_no_seeds(seeds, message):
    with pytest.raises(ValueError, match=message):
        qjax.sweep(tabular, seeds=seeds, steps=40)


def test_negative_seed():
    with pytest.raises(ValueError, match="a seed must be at least 0, got -1"):
        qjax.sweep(tabular, seeds=[0, -1], steps=40)


def test_seeds_beyond_32_bits():
    with pytest.raises(ValueError, match="4294967297"):
        qjax.sweep(tabular, seeds=[1, 2**32 + 1], steps=20, log_points=1, width=WIDTH)
    with pytest.raises(
        ValueError, match="seed must be at most 4294967295, got 4294967296"
    ):  # the root would be that of seed 0
        qjax.sweep(tabular, seeds=2, seed=2**32, steps=20, log_points=1, width=WIDTH)


@pytest.mark.parametrize("steps", [5, 8])
def test_steps_that_end_before_warm_up(steps):
    # 4 iterations of 2 environments: nothing would be learned.
    with pytest.raises(ValueError, match=f"{steps} steps end before the warm-up of 8 steps"):
        qjax.sweep(lambda _: deep(warmup=4), seeds=2, steps=steps)


def test_no_steps_and_no_episodes():
    with pytest.raises(ValueError, match="steps are needed"):
        qjax.sweep(tabular, seeds=2)


@pytest.mark.parametrize(("name", "value"), [("log_points", 0), ("width", 0), ("steps", 0)])
def test_other_sizes(name, value):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        qjax.sweep(tabular, **{"seeds": 2, "steps": 40, name: value})


def test_steps_are_run_and_logged(many):
    """All of them, by every lane at every point, with an update for each iteration."""
    assert [point.env_steps.tolist() for point in many.points] == [[n] * 9 for n in (20, 40, 60)]
    assert many.env_steps == 9 * 60
    assert [point.updates for point in many.points] == [9 * 10] * 3
    assert [point.done for point in many.points] == pytest.approx([1 / 3, 2 / 3, 1])
    assert all(point.changed.all() for point in many.points)


def test_steps_are_rounded_up_to_multiples_of_sync_every():
    # 3 iterations of warm-up, then 3 more would do for 11 steps, but targets follow every second one.
    result = qjax.sweep(
        lambda _: tabular(num_envs=2, sync_every=2, warmup=3), seeds=1, steps=11, log_points=1, width=WIDTH
    )
    assert result.points[-1].env_steps.tolist() == [14]
    assert result.points[-1].updates == 4


def test_on_log_is_called_with_every_point():
    seen = []
    result = qjax.sweep(tabular, seeds=3, steps=50, log_points=5, width=WIDTH, on_log=seen.append)
    assert len(seen) == 5
    assert all(a is b for a, b in zip(seen, result.points, strict=True))
    assert [point.env_steps.tolist() for point in seen] == [[n] * 3 for n in (10, 20, 30, 40, 50)]
    seconds = [point.seconds for point in seen]
    assert seconds == sorted(seconds) and seconds[0] > 0 and result.run_s == seconds[-1]


def test_logged_schedules():
    """By steps, episodes and updates of each lane: lanes differ in episodes alone."""
    logged = {
        "epsilon": schedules.linear(1.0, 0.1, 30),
        "halves": schedules.geometric(1.0, 0.5, 0.0, unit="episode"),
        "rate": schedules.linear(0.0, 1.0, 100, unit="update"),
    }
    build = lambda _: tabular(warmup=10, updates=2)
    result = qjax.sweep(build, seeds=4, steps=40, log_points=4, width=WIDTH, schedules=logged)
    for number, point in enumerate(result.points):
        steps = 10 * (number + 1)
        np.testing.assert_allclose(point.values["epsilon"], [1 - 0.9 * min(steps / 30, 1)] * 4, rtol=1e-6)
        np.testing.assert_allclose(point.values["halves"], 0.5 ** point.episodes.astype(float), rtol=1e-6)
        np.testing.assert_allclose(point.values["rate"], [2 * (steps - 10) / 100] * 4, rtol=1e-6)
    assert len(set(result.points[-1].episodes.tolist())) > 1
    # During warm-up there is a return to report, but no loss.
    assert np.isnan(result.points[0].means["loss"]).all()
    assert not np.isnan(result.points[1].means["loss"]).any()


# ---- a number of episodes


def test_a_sweep_by_episodes_stops_by_itself():
    """Without steps it ends with its slowest lane, and counts what each lane did until its last episode ended."""
    build = lambda _: tabular({"epsilon": 1.0}, probe=Paid, episodes=5)
    result = qjax.sweep(build, seeds=6, log_points=10, width=WIDTH)
    # Reward 1 at each step: the returns of the five episodes add up to the steps they took.
    lengths, before = np.zeros(6), 0
    for point in result.points:
        ended = point.episodes - before
        lengths += np.where(ended > 0, np.rint(point.mean_return.astype(float) * ended), 0)
        before = point.episodes
    last = result.points[-1]
    assert last.episodes.tolist() == [5] * 6 and last.done == 1
    np.testing.assert_array_equal(last.env_steps, lengths)
    assert result.env_steps == lengths.sum()
    # One update for each step, and none once a lane is done.
    assert sum(point.updates for point in result.points) == lengths.sum()
    assert len(set(lengths.tolist())) > 1
    # It stopped early: all episodes at their limit would take 30 steps, in ten intervals.
    assert len(result.points) < 10
    for previous, point in zip(result.points, result.points[1:], strict=False):
        np.testing.assert_array_equal(point.changed, previous.episodes < 5)


class Paid(probes.Walk):
    """`Walk` with reward 1 at every step."""

    def move(self, where, action):
        after, _, terminated = super().move(where, action)
        return after, 1.0, terminated


def test_episodes_and_steps():
    """Where both are given, a lane stops at its episodes (four of three steps each) and the run at its steps."""
    build = lambda _: tabular(probe=probes.Endless, episodes=4)
    assert qjax.sweep(build, seeds=2, steps=100, log_points=10, width=WIDTH).env_steps == 24
    assert qjax.sweep(build, seeds=2, steps=10, log_points=1, width=WIDTH).env_steps == 20


# ---- devices


def test_use_cores_too_late():
    assert len(jax.devices()) == 2
    with pytest.raises(RuntimeError, match=r"JAX has already started with 2 CPU device\(s\), too late for 3"):
        qjax.use_cores(3)
    qjax.use_cores(2)  # as many as there are already: nothing is too late
    assert len(jax.devices()) == 2


def test_use_cores_of_no_core():
    with pytest.raises(ValueError, match="count must be at least 1, got 0"):
        qjax.use_cores(0)


# ---- evaluation


COUNTDOWN = qjax.make(probes.Countdown())
LOOKUP = qjax.tabular(7, 2, 0.5)


def by_hand(table, start, limit=probes.Countdown.limit):
    """Return what a greedy episode from `start` gives, in plain Python."""
    where, total, length = start, 0, 0
    while where > 0 and length < limit:
        total, length, where = total + where, length + 1, where - 1 - int(np.argmax(table[where]))
    return total, length, where <= 0


def policy_tables():
    # Always one down, always two down, and mixed: the action must be read from the table at every step.
    return [np.eye(2)[[0] * 7], np.eye(2)[[1] * 7], np.eye(2)[[0, 0, 1, 0, 0, 1, 1]]]


@pytest.mark.parametrize("table", policy_tables())
def test_evaluate_equals_a_loop_by_hand(table):
    table = jnp.asarray(table, jnp.float32)
    found = qjax.evaluate(COUNTDOWN, LOOKUP, table, jax.random.key(0), 40)
    expected = {by_hand(table, start) for start in range(1, 7)}
    episodes = list(zip(found.returns.tolist(), found.lengths.tolist(), found.ended.tolist(), strict=True))
    # Every start is among 40 episodes, every one is whole and all are counted, short ones once only.
    assert len(episodes) == 40 and set(episodes) == expected
    assert all(ended for *_, ended in episodes)


def test_evaluate_does_not_favour_short_episodes():
    """Starts are uniform, so each length has its share; first-come counting would prefer the short."""
    table = jnp.asarray(policy_tables()[0], jnp.float32)
    lengths = qjax.evaluate(COUNTDOWN, LOOKUP, table, jax.random.key(1), 3000).lengths
    shares = np.bincount(lengths, minlength=7)[1:] / 3000
    # Three thousand draws: a standard deviation of 0.007 about a sixth.
    np.testing.assert_allclose(shares, 1 / 6, atol=0.03)


def test_evaluate_follows_its_policy():
    table = jnp.asarray(policy_tables()[0], jnp.float32)
    always_two = lambda q, time: jnp.array([0.0, 1.0])
    found = qjax.evaluate(COUNTDOWN, LOOKUP, table, jax.random.key(0), 40, policy=always_two)
    expected = {by_hand(policy_tables()[1], start)[:2] for start in range(1, 7)}
    assert set(zip(found.returns.tolist(), found.lengths.tolist(), strict=True)) == expected


def test_evaluate_cuts_at_max_steps():
    """Given by the caller: what ran out of it says so, and its return is that of the steps taken."""
    table = jnp.asarray(policy_tables()[0], jnp.float32)
    found = qjax.evaluate(COUNTDOWN, LOOKUP, table, jax.random.key(0), 40, max_steps=3)
    expected = {by_hand(table, start, limit=3) for start in range(1, 7)}
    assert set(zip(found.returns.tolist(), found.lengths.tolist(), found.ended.tolist(), strict=True)) == expected
    assert not found.ended.all() and found.ended.any()


def test_evaluate_counts_a_truncated_episode_as_ended():
    env = qjax.make(probes.Endless())
    found = qjax.evaluate(env, qjax.tabular(1, 2, 0.5), jnp.zeros((1, 2)), jax.random.key(0), 5)
    assert (found.returns.tolist(), found.lengths.tolist()) == ([3.0] * 5, [3] * 5)
    assert found.ended.all()


def test_evaluate_needs_a_limit():
    env = qjax.make(probes.OneStep())
    agent, state = qjax.tabular(1, 2, 0.5), jnp.zeros((1, 2))
    with pytest.raises(ValueError, match="OneStep has no limit on an episode's steps: give max_steps"):
        qjax.evaluate(env, agent, state, jax.random.key(0), 4)
    assert qjax.evaluate(env, agent, state, jax.random.key(0), 4, max_steps=9).lengths.tolist() == [1] * 4


def test_evaluate_checks_its_arguments():
    table = jnp.zeros((7, 2))
    with pytest.raises(ValueError, match="episodes must be at least 1, got 0"):
        qjax.evaluate(COUNTDOWN, LOOKUP, table, jax.random.key(0), 0)
    with pytest.raises(TypeError, match=r"jax\.random\.key"):
        qjax.evaluate(COUNTDOWN, LOOKUP, table, jax.random.PRNGKey(0), 4)


def test_evaluate_the_agents_of_a_sweep():
    """vmap over the stacked agents, as the documentation says."""
    result = qjax.sweep(lambda _: tabular(probe=probes.TwoSteps), seeds=3, steps=200, log_points=1, width=WIDTH)
    loop = tabular(probe=probes.TwoSteps)

    def one(table, key):
        return qjax.evaluate(loop.env, loop.agent, table, key, 4, max_steps=5).returns

    returns = jax.vmap(one)(result.agents, jax.random.split(jax.random.key(0), 3))
    # The second step pays 1 for the better action, which greedy tables have found.
    assert one(result.agents[0], jax.random.key(0)).tolist() == [1.0] * 4  # NumPy's array as it is
    assert returns.tolist() == [[1.0] * 4] * 3


# ---- devices and widths


BITS = """
import sys, jax, numpy as np, jax.numpy as jnp
sys.path.insert(0, {folder!r})
import qjax
qjax.use_cores({cores})
import victim
report = lambda _, lane, clock, key: {{"ones": jnp.zeros(3).at[:].set(1.0).sum()}}
asked = {{"seeds": [4, 1, 11, 0, 7], "steps": 200, "log_points": 2, "width": 2}}
result = qjax.sweep(lambda _: victim.build("deep"), report=report, **asked)
print("".join(x.tobytes().hex() for x in victim.leaves(result)))
"""


def test_bits_do_not_depend_on_the_number_of_devices():
    """One and four CPU devices: five lanes, two on each, in three groups, or in one of three devices.

    What is reported sets a whole axis, which jax 0.11.2 does not survive on several devices.
    """
    folder, as_users = str(Path(__file__).parents[1]), {**os.environ, "XLA_FLAGS": ""}
    code = [BITS.format(folder=folder, cores=cores) for cores in (1, 4)]
    start = lambda text: subprocess.Popen(
        [sys.executable, "-c", text], env=as_users, stdout=subprocess.PIPE, text=True
    )
    said = [process.communicate(timeout=300)[0].split() for process in map(start, code)]
    assert len(said[0][0]) > 1000
    assert said[0] == said[1]


@pytest.mark.slow
def test_eight_devices_full():
    """Seventeen lanes: all eight devices work, in two groups; each lane is what it is alone."""
    if len(jax.devices()) < 8:
        code = "import sys; sys.path[:0] = {!r}\nimport qjax; qjax.use_cores(8)\nimport test_sweep\n"
        code += "test_sweep.test_eight_devices_full(); print('done')"
        command = [sys.executable, "-c", code.format([str(folder) for folder in Path(__file__).parents[:2]])]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.stdout.split() == ["done"], done.stderr
        return
    whole = qjax.sweep(tabular, seeds=17, steps=40, log_points=2, width=1)
    alone = qjax.sweep(tabular, seeds=[16], steps=40, log_points=2, width=1)
    assert bits(whole.agents[16]) == bits(alone.agents[0])
    same_points(alone.points, whole.points, 0, 16)


def shapes(floats):
    """Return a lane's shapes, as far as a width depends on them."""
    return Lane(**dict.fromkeys(Lane._fields))._replace(agent=jax.ShapeDtypeStruct((floats,), jnp.float32))


def cpus(count):
    return [SimpleNamespace(platform="cpu")] * count


@pytest.mark.parametrize(
    ("floats", "widths"),
    [
        # A network of CleanRL's size: few lanes are shared out over four cores, many in eights.
        (44_000, {1: 1, 2: 2, 3: 3, 4: 2, 8: 2, 10: 3, 16: 4, 20: 5, 33: 7, 64: 8, 65: 8}),
        # A small table: hundreds run side by side for little more than one of them alone.
        (64, {1: 1, 2: 2, 16: 16, 300: 300, 512: 256, 513: 257, 1024: 256, 2048: 512, 2049: 410}),
    ],
)
def test_the_default_width_follows_from_the_work_alone(floats, widths):
    lane = shapes(floats)
    for lanes, width in widths.items():
        assert {default_width(lane, lanes, cpus(count)) for count in (1, 2, 4, 64)} == {width}
    for lanes in range(1, 2_000, 7):  # evenly: every width but the last is full, and that one lacks little
        width = default_width(lane, lanes, cpus(1))
        pieces = -(-lanes // width)
        assert pieces * width - lanes < pieces
        assert lanes // pieces <= width


def test_on_a_gpu_a_device_has_its_lanes_in_one_group():
    lane = shapes(64)
    for devices, lanes, width in ((1, 1, 1), (1, 5_000, 5_000), (4, 5_000, 1_250), (4, 5, 2)):
        assert default_width(lane, lanes, [SimpleNamespace(platform="gpu")] * devices) == width


def test_the_width_is_kept_in_the_config_and_by_a_resumed_run(tmp_path):
    work = {"seeds": 3, "steps": 20, "log_points": 2}
    with qjax.Run(tmp_path / "run", "walk", {}) as run:
        assert qjax.sweep(tabular, run=run, **work).width == 3
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["sweep"]["width"] == 3 and config["versions"]["default_width"] == "by the work"
    with qjax.Run(tmp_path / "run", "walk", {}, resume=True) as run:
        assert run.lifecycle.width == 3


def test_padding_is_no_work():
    """Seven lanes in threes on two devices: the fourth three of them is padding alone, and makes no step."""
    loop = tabular()
    placement = Placement(np.zeros(7, int), np.arange(7), 3, jax.devices()[:2])
    groups = Groups(Programs(lambda _: loop, None, jax.random.key(0), placement).compile({True: 5}))
    assert (placement.count, placement.mesh.size, placement.size) == (2, 2, 6)
    groups.start()
    groups.run(0, 2, True)
    steps = [np.asarray(state.stats.steps).tolist() for state in groups.states]
    assert steps == [[10] * 6, [10] * 3 + [0] * 3]
    assert groups.read_metrics()["steps"].tolist() == [10] * 7


@pytest.mark.parametrize(
    ("pieces", "devices", "used"), [(1, 4, 1), (3, 4, 3), (5, 4, 3), (6, 4, 3), (7, 4, 4), (9, 8, 5), (2, 1, 1)]
)
def test_a_sweep_uses_the_devices_that_leave_the_least_padding(pieces, devices, used):
    """As many groups as all devices would make, and no more devices than those need."""
    found = [SimpleNamespace(process_index=0, id=i) for i in range(devices)]
    assert len(devices_for(found, pieces)) == used
    assert -(-pieces // used) == -(-pieces // devices)


@pytest.mark.parametrize(
    ("pieces", "hosts", "devices", "used"),
    [(2, 2, 4, 1), (3, 2, 4, 2), (5, 2, 2, 2), (9, 2, 4, 3), (3, 3, 4, 1), (4, 3, 4, 1)],
)
def test_every_host_has_lanes_of_its_own(pieces, hosts, devices, used):
    """As many devices of each host are used, and the last host has more than padding in the first group."""
    found = [SimpleNamespace(process_index=host) for host in range(hosts) for _ in range(devices)]
    share = devices_for(found, pieces)
    assert [device.process_index for device in share] == [host for host in range(hosts) for _ in range(used)]
    assert pieces > (hosts - 1) * used
    with pytest.raises(ValueError, match=f"lanes of 1 widths leave one of {hosts} hosts without any"):
        devices_for(found, 1)


def test_another_width_agrees_over_the_first_updates(many):
    """Sums in another order round otherwise: within 1e-5 of the parameters' size after 30 updates."""
    other = qjax.sweep(deep, seeds=4, steps=60, log_points=3, width=8)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b[:4], rtol=1e-4, atol=1e-5), other.agents, many.agents)


# ---- lanes that diverge


def explosive(hyper):
    """A lane whose learning rate is too large for plain gradient steps."""
    env = qjax.make(Paid())
    agent = qjax.dqn(qjax.table(env.num_states, 2), optax.sgd(hyper["rate"]), target=qjax.polyak(1.0))
    return qjax.make_loop(env, agent, qjax.uniform, qjax.online(), gamma=0.9, num_envs=2)


RATES = {"rate": np.array([0.1, 30.0])}


def test_a_lane_that_diverges_is_flagged_and_harms_nobody(tmp_path):
    with qjax.Run(tmp_path / "run", "explosion", {}) as run:
        result = qjax.sweep(explosive, hypers=RATES, seeds=[3, 8], steps=400, log_points=4, width=WIDTH, run=run)
    assert result.stopped is None
    assert (result.diverged_at[:2] == -1).all() and (result.diverged_at[2:] > 0).all()
    # The others are what they are alone.
    calm = qjax.sweep(
        explosive, hypers={"rate": np.array([0.1])}, seeds=[3, 8], steps=400, log_points=4, width=WIDTH
    )
    assert bits(calm.agents) == bits(jax.tree.map(lambda x: x[:2], result.agents))
    # To the update: run again by hand, update by update, for the first loss that is not finite.
    loop = explosive({"rate": 30.0})
    lane, losses = loop.init(jax.random.fold_in(jax.random.key(0), 3)), []
    iterate = jax.jit(lambda lane, clock: qjax.training.pop_metrics(loop.run(lane, clock, 1)))
    while not losses or np.isfinite(losses[-1]):
        lane, report = iterate(lane, clocks.at(len(losses)))
        losses.append(float(report["loss"]))
    assert result.diverged_at[2] == 2 * len(losses)
    # The table names seed, hyper-parameter and step, from the log point on at which it was seen.
    table = qjax.runs.load_metrics(tmp_path / "run")
    flagged = ~np.isnan(table["diverged_at"])
    assert set(zip(table["seed"][flagged], table["rate"][flagged], strict=True)) == {(3, 30.0), (8, 30.0)}
    first = np.flatnonzero(flagged & (table["seed"] == 3))[0]
    assert table["diverged_at"][first] == result.diverged_at[2]
    assert table["env_steps"][first] - 100 < result.diverged_at[2] <= table["env_steps"][first]


def test_parameters_that_are_not_finite_are_seen_without_a_loss():
    """The table holds an infinity where nobody looks."""

    def build(_):
        loop = tabular()
        spoilt = lambda key, obs: loop.agent.init(key, obs).at[-1, 0].set(jnp.inf)
        agent = loop.agent._replace(init=spoilt)
        return qjax.make_loop(loop.env, agent, qjax.argmax, qjax.online(), gamma=0.9)

    result = qjax.sweep(build, seeds=2, steps=40, log_points=4, width=WIDTH)
    assert result.diverged_at.tolist() == [10, 10]
    assert not np.isnan(result.points[-1].means["loss"]).any()


def test_stop_on_nan(tmp_path, monkeypatch):
    """It stops within a chunk of the first one, says so in the table, and goes on without a trace of that."""
    monkeypatch.setattr(phases, "INNER_ITERATIONS", 5)
    work = {"hypers": RATES, "seeds": [3, 8], "steps": 400, "log_points": 2, "width": WIDTH, "chunk_seconds": 1e-9}
    with qjax.Run(tmp_path / "run", "explosion", {}) as run:
        stopped = qjax.sweep(explosive, run=run, stop_on_nan=True, **work)
    first = stopped.diverged_at[stopped.diverged_at > 0].min()
    assert stopped.stopped == "nan" and first <= stopped.env_steps / 4 < first + 10 + 1
    table = qjax.runs.load_metrics(tmp_path / "run")
    assert set(table["diverged_at"][~np.isnan(table["diverged_at"])]) == set(stopped.diverged_at) - {-1}
    with qjax.Run(tmp_path / "run", "explosion", {}, resume=True) as run:
        qjax.sweep(explosive, run=run, **work)
    with qjax.Run(tmp_path / "whole", "explosion", {}) as run:
        qjax.sweep(explosive, run=run, **work)
    assert (tmp_path / "run" / "metrics.csv").read_bytes() == (tmp_path / "whole" / "metrics.csv").read_bytes()


# ---- the clock


@pytest.mark.parametrize("boundary", [2**24, 2**31, 2**32, 10**12, 2**40])
def test_a_sweep_crosses_every_boundary_of_the_clock(boundary):
    """Started just before it: the ring, the schedules and the counts go on as plain integers say."""
    env = qjax.make(probes.Counter())
    agent = qjax.tabular(env.num_states, 2, 0.5)
    loop = qjax.make_loop(env, agent, qjax.uniform, qjax.ring(12, 1), gamma=0.9)
    placement = Placement(np.zeros(3, int), np.arange(3), WIDTH, jax.devices())
    programs = Programs(lambda _: loop, None, jax.random.key(0), placement).compile({True: 4})
    groups = Groups(programs)
    groups.start()
    begin = boundary - 8
    groups.run(begin, 4, True)
    # Row r mod 12 holds the observation of the r-th step from `begin`.
    expected = np.zeros(12, int)
    for step in range(16):
        expected[(begin + step) % 12] = step
    for state in groups.states:
        np.testing.assert_array_equal(
            state.memory.unpacked().obs[:, :, 0], np.tile(expected, (len(state.episodes), 1))
        )
    # Chunks of other lengths draw the same random numbers.
    again = Groups(programs)
    again.start()
    for number in range(4):
        again.run(begin + 4 * number, 1, True)
    assert bits([s.agent for s in again.states]) == bits([s.agent for s in groups.states])
