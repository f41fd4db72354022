"""Agents kept at chosen steps: at the first log point at or after them, in memory and in a run, bit for bit."""

import json

import jax
import numpy as np
import pytest
import victim
from probes import Walk
from victim import Crash

import qjax
from qjax.sweeps import phases

WORK = {"seeds": 3, "log_points": 4, "width": 2, "chunk_seconds": 1e-9}
ASKED = [150, 60, 61]


def build(hyper=None, episodes=None):
    """Return a table on the probe."""
    env = qjax.make(Walk())
    agent = qjax.tabular(env.num_states, 2, 0.5)
    return qjax.make_loop(env, agent, qjax.epsilon_greedy(0.3), qjax.online(), gamma=0.9, episodes=episodes)


def bytes_of(agents):
    return [np.asarray(x).tobytes() for x in jax.tree.leaves(agents)]


@pytest.fixture(scope="module")
def ends():
    """The last agents of runs of so many steps, with log points as far apart."""
    made = {
        steps: qjax.sweep(build, steps=steps, **{**WORK, "log_points": steps // 60}) for steps in (60, 120, 180)
    }
    return {steps: bytes_of(result.agents) for steps, result in made.items()}


@pytest.mark.parametrize("folder", [False, True])
def test_they_are_the_agents_of_the_first_log_point_at_or_after_them(ends, tmp_path, folder):
    """Log points are at 60, 120, 180 and 240 steps."""
    run = qjax.Run(tmp_path / "run", "walk", {}) if folder else None
    result = qjax.sweep(build, steps=240, snapshots=ASKED, run=run, **WORK)
    assert {step: bytes_of(agents) for step, agents in result.snapshots.items()} == {
        60: ends[60], 61: ends[120], 150: ends[180],
    }  # fmt: skip
    plain = qjax.sweep(build, steps=240, **WORK)
    assert bytes_of(plain.agents) == bytes_of(result.agents) and plain.snapshots == {}
    assert jax.tree.structure(result.snapshots[60]) == jax.tree.structure(result.agents)
    if run is not None:
        run.finish({})
        assert bytes_of(qjax.load_agents(tmp_path / "run", which=61)) == ends[120]
        written = json.loads((tmp_path / "run" / "summary.json").read_text())["files"]
        assert {f"agents_at/{step}/structure.json" for step in ASKED} <= written.keys()


def swept(folder, steps=240, crash_after=None, snapshots=ASKED):
    with qjax.Run(folder, "walk", {}, resume=True) as run:
        watch = victim.crashing(crash_after)
        return qjax.sweep(build, steps=steps, snapshots=snapshots, run=run, on_progress=watch, **WORK)


def test_a_run_that_goes_on_has_those_that_it_would_have_had(ends, tmp_path, monkeypatch):
    """Killed with one of them kept, and at a second one; extended it may be asked for more."""
    monkeypatch.setattr(phases, "INNER_ITERATIONS", 10)
    for chunks in (8, 4):
        with pytest.raises(Crash):
            swept(tmp_path / "run", crash_after=chunks)
    assert bytes_of(qjax.load_agents(tmp_path / "run", which=60)) == ends[60]
    with pytest.raises(FileNotFoundError, match="kept no agents at 150 steps; those at 60, 61 are there"):
        qjax.load_agents(tmp_path / "run", which=150)
    for _ in range(2):  # gone on with, and returned
        result = swept(tmp_path / "run")
        assert [bytes_of(result.snapshots[step]) for step in (60, 61, 150)] == [ends[n] for n in (60, 120, 180)]
    longer = swept(tmp_path / "run", 480, snapshots=[60, 300, 480])
    assert [*longer.snapshots] == [60, 300, 480]
    assert bytes_of(longer.snapshots[480]) == bytes_of(longer.agents)
    again = swept(tmp_path / "run", 480, snapshots=[61])
    assert bytes_of(again.snapshots[61]) == ends[120]
    with pytest.raises(FileNotFoundError, match="kept no agents at 200 steps; those at 60, 61, 150, 300, 480"):
        swept(tmp_path / "run", 480, snapshots=[200])
    with pytest.raises(
        ValueError, match=r"has made 480 steps and kept no agents at 200; .*\[60, 61, 150, 300, 480\]"
    ):
        swept(tmp_path / "run", 600, snapshots=[200])


def test_of_lanes_that_end_before_they_are_the_last(tmp_path):
    result = qjax.sweep(lambda _: build(episodes=2), snapshots=[10**9], **WORK)
    assert bytes_of(result.snapshots[10**9]) == bytes_of(result.agents)


def test_altered_ones_are_refused(tmp_path):
    swept(tmp_path / "run", snapshots=[60])
    (tmp_path / "run/agents_at/60/structure.json").write_text("{}")
    with pytest.raises(ValueError, match="is damaged"):
        qjax.load_agents(tmp_path / "run", which=60)
    assert qjax.load_agents(tmp_path / "run").shape[0] == 3


def test_bad_input(tmp_path):
    for snapshots, message in (
        ([0], "snapshots .each. must be .* got 0"),
        ([60, 60], "snapshots must be different steps, got 60 twice"),
        ([241], "snapshots must be at most the 240 steps of the run, got 241"),
    ):
        with pytest.raises(ValueError, match=message):
            qjax.sweep(build, steps=240, snapshots=snapshots, **WORK)
    with pytest.raises(TypeError, match="snapshots"):
        qjax.sweep(build, steps=240, snapshots=60, **WORK)
    swept(tmp_path / "run", snapshots=[])
    with pytest.raises(FileNotFoundError, match="kept no agents at 60 steps, nor any"):
        qjax.load_agents(tmp_path / "run", which=60)
