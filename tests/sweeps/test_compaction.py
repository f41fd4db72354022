"""Groups that lanes have left are made fewer, and nobody can tell by the numbers."""

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import jax
import numpy as np
import optax
import probes
import pytest

import qjax
from qjax.sweeps import compaction
from qjax.sweeps.groups import Groups
from qjax.sweeps.placement import EMPTY, Placement

LANES = 13  # of widths of 2 in groups of every number of devices the last one is padded
WORK = {"seeds": LANES, "steps": 210, "log_points": 7, "width": 2}


def table(hyper=None):
    """Return a table on the probe whose returns depend on luck."""
    env = qjax.make(probes.Walk())
    agent = qjax.tabular(env.num_states, env.num_actions, 0.5 if hyper is None else hyper["alpha"])
    return qjax.make_loop(env, agent, qjax.epsilon_greedy(0.3), qjax.online(), gamma=0.9)


def deep(hyper=None):
    """Return DQN, whose lanes hold keys, a ring, and an optimiser's counts."""
    env = qjax.make(probes.Walk(box=True))
    agent = qjax.dqn(qjax.MLP(2, (4,)), optax.adam(1e-2), target=qjax.polyak(0.1))
    return qjax.make_loop(env, agent, qjax.epsilon_greedy(0.3), qjax.ring(16, 4), gamma=0.9, warmup=10)


def thinning(point, number):
    """Drop other lanes at every log point, of those that are left about four in ten."""
    return np.random.default_rng(number).random(len(point.env_steps)) < 0.4


@contextmanager
def counted():
    """Yield the numbers of groups after every log point."""
    counts, compact = [], Groups.compact

    def count(self):
        compact(self)
        counts.append(self.count)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Groups, "compact", count)
        yield counts


def same(result, other):
    """Check that two results are the same bit for bit, log points included."""
    kept = lambda x: (
        x.agents, x.dropped_at, x.diverged_at, x.best, [point._replace(seconds=0.0) for point in x.points],
    )  # fmt: skip
    for a, b in zip(jax.tree.leaves(kept(result)), jax.tree.leaves(kept(other)), strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def check(devices, build, **more):
    """Sweep with and without compaction, hold one against the other, and return the counts of groups."""
    work = {**WORK, "devices": jax.devices()[:devices], "drop": thinning, **more}
    whole = qjax.sweep(build, **{**work, "drop": None})
    with counted() as counts:
        fewer = qjax.sweep(build, **work)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compaction, "SHARE", 0)
        same(fewer, qjax.sweep(build, **work))
    stayed = fewer.dropped_at == -1
    assert 0 < stayed.sum() < len(stayed)
    for a, b in zip(jax.tree.leaves(fewer.agents), jax.tree.leaves(whole.agents), strict=True):
        assert a[stayed].tobytes() == b[stayed].tobytes()
    return counts


@pytest.mark.parametrize("build", [table, deep])
def test_bits_with_and_without(build):
    """On two devices, lanes of one device go to the other."""
    more = {"drop": lambda point, number: thinning(point, number) & (number < 4) & (np.arange(LANES) != 7)}
    counts = check(2, build, **more)
    assert counts[0] < 4 and counts[-1] == 1 and counts == sorted(counts, reverse=True)


def test_settings_seeds_and_evaluations_go_with_their_lanes():
    report = lambda hyper, lane, clock, key: {"alpha_seen": hyper["alpha"], "drawn": jax.random.uniform(key)}
    more = {
        "hypers": qjax.grid(alpha=[0.5, 0.2, 0.1]), "report": report, "evaluate_every": 2, "evaluate_episodes": 3,
        "drop": lambda point, number: thinning(point, number) & (number < 3),
    }  # fmt: skip
    counts = check(1, table, **more)
    assert counts[-1] < counts[0] < 20
    result = qjax.sweep(table, **{**WORK, **more})
    for point in result.points:
        seen = point.values["alpha_seen"]
        np.testing.assert_array_equal(np.isnan(seen), ~point.changed)
        np.testing.assert_allclose(seen[point.changed], np.repeat([0.5, 0.2, 0.1], LANES)[point.changed])


@pytest.mark.slow
def test_bits_on_eight_devices():
    if len(jax.devices()) < 8:
        code = "import sys; sys.path[:0] = {!r}\nimport qjax; qjax.use_cores(8)\nimport test_compaction\n"
        code += "test_compaction.test_bits_on_eight_devices(); print('done')"
        command = [sys.executable, "-c", code.format([str(folder) for folder in Path(__file__).parents[:2]])]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.stdout.split() == ["done"], done.stderr
        return
    more = {"seeds": 50, "drop": lambda point, number: thinning(point, number) & (number < 5)}
    assert check(8, table, **more)[-1] == 1


@pytest.mark.parametrize("fails_at", [1, 3])
def test_a_run_goes_on_across_it_on_other_devices(tmp_path, fails_at):
    """Killed where groups have become fewer; on one device it goes on with as many as it needs."""
    work = {**WORK, "drop": lambda point, number: thinning(point, number) & (number < 4), "evaluate_every": 2,
            "evaluate_episodes": 2}  # fmt: skip
    expected = qjax.sweep(table, **work)

    points = []

    def fail_late(point):
        points.append(point)
        if len(points) == fails_at + 1:
            raise RuntimeError

    with pytest.raises(RuntimeError), qjax.Run(tmp_path / "run", "table", {}) as run:
        qjax.sweep(table, run=run, on_log=fail_late, devices=jax.devices()[:2], **work)
    with qjax.Run(tmp_path / "run", "table", {}, resume=True) as run:
        again = qjax.sweep(table, run=run, devices=jax.devices()[:1], **work)
    assert np.asarray(again.agents).tobytes() == np.asarray(expected.agents).tobytes()
    np.testing.assert_array_equal(again.dropped_at, expected.dropped_at)
    np.testing.assert_array_equal(again.best.agents, expected.best.agents)
    for a, b in zip(again.points, expected.points, strict=True):
        for name in ("env_steps", "mean_return", "episodes", "changed"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        np.testing.assert_array_equal(a.values["eval_return"], b.values["eval_return"])


def test_one_lane_is_left():
    """Its group is padded with what stood there, and only its device works."""
    with counted() as counts:
        result = qjax.sweep(table, drop=lambda point, number: np.arange(LANES) != 9, **WORK)
    alone = qjax.sweep(table, **{**WORK, "seeds": [9]})
    assert result.agents[9].tobytes() == alone.agents[0].tobytes() and counts == [1] * 7
    assert result.env_steps == 30 * (LANES - 1) + 210


def test_where_lanes_go():
    """In order and together; rows come from the same group or a later one, and padding stays what it was."""
    settings = np.repeat([0, 1], 8)
    seeds = np.tile(np.arange(8), 2)
    before = Placement(settings, seeds, 2, jax.devices()[:2]).without(np.array([0, 1, 4, 5, 6, 8, 10, 11, 15]))
    assert before.needed == 2 and before.count == 4
    after, source = before.compacted(2)
    assert after.slots.tolist() == [[2, 3, 7, 9], [12, 13, 14, EMPTY]] and source.tolist() == [
        2,
        3,
        7,
        9,
        12,
        13,
        14,
        7,
    ]
    assert after.settings.tolist() == [[0, 0, 0, 1], [1, 1, 1, 0]] and after.seeds.tolist() == [
        [2, 3, 7, 1],
        [4, 5, 6, 7],
    ]
    assert [busy.tolist() for busy in after.busy] == [[1, 1], [1, 1]]
    assert after.where()[[0, 2, 9, 14]].tolist() == [EMPTY, 0, 3, 6]
    assert [lanes.tolist() for lanes in after.pieces(1).values()] == [[12, 13], [14, EMPTY]]
    fewer, _ = after.without(np.array([13, 14])).compacted(2)
    assert [busy.tolist() for busy in fewer.busy] == [[1, 1], [1, 0]]
    assert (source >= np.arange(8) // 4 * 4).all()


def test_old_groups_are_let_go():
    """Leaf by leaf: a new one takes the place of the old, which nothing holds any more."""
    placement = Placement(np.zeros(8, int), np.arange(8), 2, jax.devices()[:1]).without(np.array([0, 3, 5, 6]))
    states = [
        [placement.from_local(np.arange(2.0) + 2 * g), placement.from_local(np.ones((2, 3)) * g)] for g in range(4)
    ]
    fewer, source = placement.compacted(2)
    found = compaction.moved(states, fewer, source)
    assert np.concatenate([np.asarray(leaves[0]) for leaves in found]).tolist() == [1, 2, 4, 7]
    assert np.concatenate([np.asarray(leaves[1]) for leaves in found])[:, 0].tolist() == [0, 1, 2, 3]
