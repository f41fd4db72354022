"""A run goes on to more steps than it was to make, bit for bit as if it had made them at once, or says why not."""

import functools
import itertools
import json
import os
import shutil

import compilation
import jax
import numpy as np
import optax
import pytest
import victim
from folders import contents
from probes import Walk
from victim import Crash

import qjax
from qjax.runs.checkpoint import Checkpoint
from qjax.sweeps import phases
from qjax.sweeps.described import describe
from qjax.sweeps.extending import continued
from qjax.sweeps.programs import Programs

SHORT, LONG, POINTS = 240, 480, 4


def build(kind):
    """Return a loop of two environments on the probe; nothing in it depends on the steps."""
    env = qjax.make(Walk(box=kind != "q-learning"))
    work = {"gamma": 0.9, "num_envs": 2}
    policy = qjax.epsilon_greedy(0.3)
    if kind == "q-learning":
        agent = qjax.tabular(env.num_states, 2, 0.1)
        return qjax.make_loop(env, agent, policy, qjax.online(), **work)
    network, optimizer = qjax.MLP(2, (8,)), optax.adam(1e-2)
    if kind == "pqn":
        agent = qjax.pqn(network, optimizer, minibatches=2)
        return qjax.make_loop(env, agent, policy, qjax.online(), rollout=10, **work)
    agent = qjax.dqn(network, optimizer, target=qjax.periodic(4))
    return qjax.make_loop(env, agent, policy, qjax.ring(64, 8), warmup=30, **work)


BUILDS = {kind: functools.partial(lambda kind, hyper: build(kind), kind) for kind in ("q-learning", "dqn", "pqn")}


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Chunks of few iterations, so that a crash comes between log points; nothing is compiled twice."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Programs, "compile", compilation.once(Programs.compile, BUILDS.values()))
        patch.setattr(phases, "INNER_ITERATIONS", 10)
        yield


def sweep(folder, steps, kind="q-learning", crash_after=None, arguments=None, run=None, **options):
    made = options.pop("build", BUILDS.get(kind))
    work = {"seeds": 3, "width": 2, "log_points": POINTS, "chunk_seconds": 1e-9, "checkpoint_every": 1e9}
    with qjax.Run(folder, kind, arguments or {}, resume=True, **(run or {})) as opened:
        watch = victim.crashing(crash_after)
        return qjax.sweep(made, run=opened, steps=steps, on_progress=watch, **{**work, **options})


def same(result, other):
    for a, b in zip(jax.tree.leaves(result.agents), jax.tree.leaves(other.agents), strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def same_in_all(folder, result, known_folder, known):
    same(result, known)
    for a, b in zip(result.points, known.points, strict=True):
        assert (a.updates, a.done) == (b.updates, b.done)
        for x, y in zip(jax.tree.leaves(a[:7]), jax.tree.leaves(b[:7]), strict=True):
            assert np.asarray(x).tobytes() == np.asarray(y).tobytes()
    assert (folder / "metrics.csv").read_bytes() == (known_folder / "metrics.csv").read_bytes()
    if known.best is not None:
        np.testing.assert_array_equal(result.best.env_steps, known.best.env_steps)
        same(result._replace(agents=result.best.agents), known._replace(agents=known.best.agents))


@pytest.mark.parametrize(("tick", "ended"), [(124, False), (125, True)])
def test_where_a_run_ended_it_has_a_log_point_of_its_own(tmp_path, tick, ended):
    described = describe(BUILDS["q-learning"], 1, None, 0, 600, POINTS, None)
    found = Checkpoint(tmp_path, {"tick": tick})
    grown, earlier = continued(described, {"sweep": {"steps": 250, "log_points": POINTS}}, found)
    assert earlier == [{"steps": 250, "log_points": POINTS, "ended": ended}]
    assert (250 in phases.log_steps(grown.phases, 2)) == ended


@pytest.mark.parametrize("evaluated", [False, True])
@pytest.mark.parametrize("kind", BUILDS)
def test_extended_it_is_as_if_it_had_made_all_its_steps_at_once(tmp_path, kind, evaluated):
    """Stopped in the middle or finished, and stopped again on its way."""
    more = {"evaluate_every": 2, "evaluate_episodes": 2} if evaluated else {}
    known = sweep(tmp_path / "once", LONG, kind, log_points=2 * POINTS, **more)
    finished = sweep(tmp_path / "finished", SHORT, kind, **more)
    assert len(finished.points) == POINTS and len(known.points) == 2 * POINTS
    with pytest.raises(Crash):
        sweep(tmp_path / "stopped", SHORT, kind, crash_after=3, **more)
    for name in ("finished", "stopped"):
        with pytest.raises(Crash):
            sweep(tmp_path / name, LONG, kind, crash_after=2, **more)
        result = sweep(tmp_path / name, LONG, kind, **more)
        same_in_all(tmp_path / name, result, tmp_path / "once", known)
        config = qjax.load_config(tmp_path / name)
        ended = {"steps": SHORT, "log_points": POINTS, "ended": name == "finished"}
        assert config["extended"] == [ended]
        assert (config["sweep"]["steps"], config["sweep"]["log_points"]) == (LONG, 2 * POINTS)
        found = qjax.results.load(tmp_path / name)
        assert found.complete and found.notes == () and found.env_steps.shape[-1] == 2 * POINTS
        summary = json.loads((tmp_path / name / "summary.json").read_text())
        assert summary["env_steps"] == 3 * LONG == result.env_steps
        again = sweep(tmp_path / name, LONG, kind, **more)
        same_in_all(tmp_path / name, again, tmp_path / "once", known)


@pytest.fixture(scope="module")
def finished(quick, tmp_path_factory):
    """A finished run of the short work, and one of the long work at once with its result."""
    folder = tmp_path_factory.mktemp("lake")
    sweep(folder / "short", SHORT)
    return folder / "short", folder / "long", sweep(folder / "long", LONG, log_points=2 * POINTS)


@pytest.fixture
def ended(finished, tmp_path):
    """A copy of the finished run."""
    shutil.copytree(finished[0], tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("crash_after", "steps"),
    [
        (12, [*range(10, 170, 10)]),
        (41, [*range(10, 80, 10), *range(90, 170, 10)]),
        (None, [*range(10, 80, 10), *range(84, 160, 10), 160]),
    ],
)
def test_a_number_of_steps_that_no_log_point_meets(tmp_path, crash_after, steps):
    """Intervals are 10 steps, of which the last of 84 steps has 14: stopped before and within it, and finished."""
    known = sweep(tmp_path / "once", 160, log_points=16)
    if crash_after is None:
        sweep(tmp_path / "run", 84, log_points=8)
    else:
        with pytest.raises(Crash):
            sweep(tmp_path / "run", 84, log_points=8, crash_after=crash_after)
    result = sweep(tmp_path / "run", 160, log_points=8)
    same(result, known)
    assert [int(point.env_steps[0]) for point in result.points] == steps
    assert sum(point.updates for point in result.points) == sum(point.updates for point in known.points)
    assert qjax.results.load(tmp_path / "run").complete


def test_twice_and_as_parquet(tmp_path, finished):
    pytest.importorskip("pyarrow")
    for steps in (120, SHORT, LONG):
        result = sweep(tmp_path / "run", steps, log_points=2, run={"parquet": True})
    same(result, finished[2])
    assert [own["steps"] for own in qjax.load_config(tmp_path / "run")["extended"]] == [120, SHORT]
    found, known = (qjax.results.load(path) for path in (tmp_path / "run", finished[1]))
    assert found.complete and found.metrics.keys() == known.metrics.keys()
    for name in found.metrics:
        np.testing.assert_array_equal(found[name], known[name])


def test_while_it_goes_on_it_is_no_finished_run(ended):
    with pytest.raises(Crash):
        sweep(ended, LONG, crash_after=1)
    with pytest.warns(UserWarning, match="interrupted after 4 of 8 log points"):
        assert not qjax.results.load(ended).complete
    with pytest.raises(FileNotFoundError, match="no run has finished there"):
        qjax.load_agents(ended)
    with pytest.raises(FileExistsError, match="holds an unfinished run: go on with --resume"):
        qjax.Run(ended, "q-learning", {})
    with pytest.raises(
        ValueError, match=f"holds a run of {LONG} steps: it goes on to more of them, not to {SHORT}"
    ):
        sweep(ended, SHORT)


def test_killed_within_the_switch_it_goes_on(finished, ended, tmp_path):
    """Between a finished run and one that goes on; `test_power` cuts the power after every call."""
    for number in (0, 1, 2, 4, -2, -1):
        shutil.rmtree(tmp_path / "cut", ignore_errors=True)
        shutil.copytree(ended, tmp_path / "cut")
        assert killed_at(number, tmp_path / "cut")
        result = sweep(tmp_path / "cut", LONG)
        same_in_all(tmp_path / "cut", result, *finished[1:])
        assert [own["steps"] for own in qjax.load_config(tmp_path / "cut")["extended"]] == [SHORT]


def killed_at(number, folder):
    """Extend a run, and raise at the call of this number that changes its folder in the switch; return whether.

    Negative numbers count from the last one, at which the config takes its place.
    """
    calls, real = itertools.count(), qjax.runs.lifecycle.Lifecycle.go_on

    def watched(call, *arguments, **named):
        if next(calls) == number:
            raise Crash
        return call(*arguments, **named)

    def go_on(self, *arguments):
        nonlocal number
        if number < 0:
            number += 2 + sum(1 for name in ("ended", "agents") for _ in (folder / name).rglob("*")) + 2 + 1
        with pytest.MonkeyPatch.context() as patch:
            for name in ("rename", "replace", "unlink", "rmdir"):
                patch.setattr(os, name, functools.partial(watched, getattr(os, name)))
            real(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(qjax.runs.lifecycle.Lifecycle, "go_on", go_on)
        try:
            sweep(folder, LONG)
        except Crash:
            return True
    return False


# ---- what cannot be extended


def refused(folder, message, steps=LONG, error=ValueError, **options):
    """Check that it is refused, and nothing in its folder touched."""
    before = contents(folder)
    with pytest.raises(error, match=message):
        sweep(folder, steps, **options)
    assert contents(folder) == before


def test_refusals(ended):
    refused(ended, f"holds a run of {SHORT} steps: it goes on to more of them, not to 120", steps=120)
    refused(ended, r"sweep.log_points: 4 before, 8 now", log_points=8)
    refused(ended, r"sweep.seeds: 3 before, 4 now", seeds=4)
    refused(ended, r"sweep.width: 2 before, 4 now", width=4)
    refused(ended, r"arguments.rate: nothing before, 2 now", arguments={"rate": 2})
    env = qjax.make(Walk())
    other = qjax.make_loop(
        env, qjax.tabular(env.num_states, 2, 0.2), qjax.epsilon_greedy(0.3), qjax.online(), gamma=0.9, num_envs=2
    )
    refused(ended, "written by another program", build=lambda _: other)
    (file,) = (ended / "checkpoints").glob("0*/totals_0.npz")
    content = file.read_bytes()
    file.write_bytes(content[:-1])
    refused(ended, "totals_0.npz has")
    shutil.rmtree(ended / "checkpoints")
    refused(ended, f"ended after {SHORT} steps, and its last checkpoint was not kept .* cannot go on to {LONG}")
    shutil.rmtree(ended / "ended")
    refused(ended, "its last checkpoint was not kept")


def test_a_checkpoint_is_kept_unless_it_is_not_to_be(tmp_path):
    first = sweep(tmp_path / "run", SHORT, run={"keep_checkpoint": False})
    assert not (tmp_path / "run" / "checkpoints").exists()
    refused(tmp_path / "run", "its last checkpoint was not kept")
    same(sweep(tmp_path / "run", SHORT), first)


def test_an_argument_of_steps_grows_with_the_run(tmp_path, finished):
    sweep(tmp_path / "run", SHORT, arguments={"steps": SHORT, "note": "mine"})
    refused(
        tmp_path / "run", r"arguments.steps: 240 before, 480 now", SHORT, arguments={"steps": LONG, "note": "mine"}
    )
    refused(tmp_path / "run", r"arguments.note: 'mine' before", arguments={"steps": LONG, "note": "other"})
    refused(tmp_path / "run", "not to 120", 120, arguments={"steps": 120, "note": "mine"})
    result = sweep(tmp_path / "run", LONG, arguments={"steps": LONG, "note": "mine"})
    same(result, finished[2])
    assert qjax.load_config(tmp_path / "run")["arguments"]["steps"] == LONG
    assert "steps" not in (tmp_path / "run/metrics.csv").read_text().splitlines()[0].replace("env_steps", "").split(
        ","
    )


def falling(steps, hyper=None):
    """Return epsilon that falls over half the steps."""
    return qjax.schedules.linear(1.0, 0.1, 0.5 * steps)


def test_a_schedule_that_changes_with_the_steps_is_named(tmp_path):
    """It is where it was logged; accepted, the run goes on with the other one and says so."""

    def asked(steps, logged=True):
        env = qjax.make(Walk())
        made = lambda _: qjax.make_loop(
            env, qjax.tabular(env.num_states, 2, 0.1), qjax.epsilon_greedy(falling(steps)), qjax.online(),
            gamma=0.9, num_envs=2,
        )  # fmt: skip
        return {"build": made, "schedules": {"epsilon": falling(steps)} if logged else None}

    for crash_after in (None, 2):
        folder = tmp_path / f"{crash_after}"
        if crash_after is None:
            sweep(folder, SHORT, **asked(SHORT))
        else:
            with pytest.raises(Crash):
                sweep(folder, SHORT, crash_after=crash_after * 3, **asked(SHORT))
        said = (
            "from 240 to 480 steps: the schedule 'epsilon' changes with the steps, 0.55 before, 0.775 now after 60"
        )
        refused(folder, said, **asked(LONG))
        kept = sweep(folder, LONG, **asked(SHORT))
        assert kept.points[3].values["epsilon"] == pytest.approx(0.1)
    with pytest.raises(Crash):
        sweep(tmp_path / "mute", SHORT, crash_after=6, **asked(SHORT, logged=False))
    refused(tmp_path / "mute", "written by another program", **asked(LONG, logged=False))
    sweep(tmp_path / "mute", LONG, run={"accept_program": True}, **asked(LONG, logged=False))
    assert qjax.load_config(tmp_path / "mute")["resumed"][0]["program"] is not None
