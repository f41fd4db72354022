"""A sweep that was stopped, killed or broken goes on bit for bit, or says why it cannot; nothing is lost."""

import functools
import gzip
import json
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import compilation
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import victim
from folders import contents
from victim import Crash

import qjax
from qjax.core import files, jsonfile
from qjax.runs import checkpoint, results
from qjax.runs.folder import Folder
from qjax.sweeps import phases, saving
from qjax.sweeps.programs import Programs

HERE = Path(__file__).parents[1]
STEPS = {"tabular": 200, "deep": 200}
BUILDS = {kind: functools.partial(lambda kind, hyper: victim.build(kind), kind) for kind in STEPS}
INNER_ITERATIONS = phases.INNER_ITERATIONS


def run(kind, folder, *, crash_after=None, build=None, arguments=None, resume=True, accept=False, **options):
    """Sweep in `folder`, with a checkpoint after every chunk; `crash_after` chunks raise from outside."""
    options = {"seeds": [4, 0, 9, 2, 7], "steps": STEPS[kind], "log_points": 5, "width": 2, **options}
    again = {"resume": resume, "accept_program": accept, "machine": options.pop("machine", None)}
    with qjax.Run(folder, kind, arguments or {"rate": 1}, **again) as folder_:
        return qjax.sweep(
            build or BUILDS[kind],
            run=folder_,
            chunk_seconds=1e-9,
            **{"checkpoint_every": 0.0, "on_progress": victim.crashing(crash_after), **options},
        )


def same(result, other):
    for a, b in zip(victim.leaves(result), victim.leaves(other), strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
    for a, b in zip(result.points, other.points, strict=True):
        assert (a.updates, a.done) == (b.updates, b.done)


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Chunks of ten iterations, and a checkpoint after each; what is swept again is not compiled again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Programs, "compile", compilation.once(Programs.compile, BUILDS.values()))
        patch.setattr(saving, "CHECKPOINT_SHARE", 0)
        patch.setattr(phases, "INNER_ITERATIONS", 10)
        yield


class Whole(dict):
    """Runs that nothing disturbed, by kind, each made when it is asked for."""

    def __init__(self, folders):
        super().__init__()
        self.folders = folders

    def __missing__(self, kind):
        folder = self.folders.mktemp(kind) / "run"
        self[kind] = folder, run(kind, folder, resume=False, checkpoint_every=1e9)
        return self[kind]


@pytest.fixture(scope="module")
def whole(quick, tmp_path_factory):
    return Whole(tmp_path_factory)


def killed_before(monkeypatch, step, kind, folder):
    """Run a sweep up to one of the steps with which a run ends."""
    with monkeypatch.context() as patch, pytest.raises(Crash):
        patch.setattr(f"qjax.runs.run.{step}", crash)
        run(kind, folder)


def crash(*_, **__):
    raise Crash


@pytest.fixture(scope="module")
def last(quick, tmp_path_factory):
    """A run whose last checkpoint is written, and nothing after it."""
    folder = tmp_path_factory.mktemp("last") / "run"
    killed_before(pytest.MonkeyPatch(), "Run.save_agents", "tabular", folder)
    return folder


@pytest.fixture
def broken(last, tmp_path):
    """A copy of it, whose checkpoint a test may spoil."""
    shutil.copytree(last, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture(params=STEPS)
def ended(whole, tmp_path, request):
    """A copy of a run that ended, its kind, and what its sweep returned."""
    folder, result = whole[request.param]
    shutil.copytree(folder, tmp_path / "ended")
    return tmp_path / "ended", request.param, result


@pytest.mark.parametrize("kind", STEPS)
def test_a_crashed_sweep_goes_on_bit_for_bit(whole, tmp_path, kind):
    """Crashed in the warm-up, between log points and at one; resumed on one device and on two."""
    folder, (reference, undisturbed) = tmp_path / "run", whole[kind]
    for chunks, devices in ((1, 2), (4, 1)):
        with pytest.raises(Crash):
            run(kind, folder, crash_after=chunks, devices=jax.devices()[:devices])
    result = run(kind, folder, machine={"cores": 8})
    assert (folder / "metrics.csv").read_bytes() == (reference / "metrics.csv").read_bytes()
    same(result, undisturbed)


def test_a_run_that_got_to_its_last_checkpoint_ends_from_there(whole, broken):
    result = run("tabular", broken, crash_after=1)
    same(result, whole["tabular"][1])
    assert len(list((broken / "checkpoints").iterdir())) == 1


def test_a_run_that_ended_is_returned_from_its_folder(ended, capsys):
    """As its sweep returned it, whatever runs it, and without a trace in the folder."""
    folder, kind, known = ended
    before, fed = contents(folder), []
    result = run(
        kind, folder, crash_after=1, sinks=[qjax.sinks.Sink("list", fed.append)], devices=jax.devices()[:1]
    )
    same(result, known)
    assert jax.tree.structure(result.agents) == jax.tree.structure(known.agents)
    for name in ("seeds", "settings", "diverged_at"):
        np.testing.assert_array_equal(getattr(result, name), getattr(known, name))
    for name in ("width", "env_steps", "compile_s", "run_s", "stopped"):
        assert getattr(result, name) == getattr(known, name), name
    assert contents(folder) == before and not fed and capsys.readouterr().err == ""


def test_a_sweep_finishes_its_run(ended):
    folder, _, result = ended
    assert {path.name for path in folder.iterdir()} == {
        "config.json", "metrics.csv", "timing.csv", "summary.json", "agents", "ended", "checkpoints", "lock",
    }  # fmt: skip
    found = qjax.load_agents(folder, result.agents)
    jax.tree.map(np.testing.assert_array_equal, found, result.agents)
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["seeds"], summary["width"], summary["env_steps"]) == (5, 2, result.env_steps)
    assert qjax.results.load(folder).complete


@pytest.mark.parametrize(
    "step", ["Run.save_agents", "Run.finish", pytest.param("_summary", marks=pytest.mark.slow)]
)
def test_a_run_killed_at_its_end_ends_the_same(whole, tmp_path, monkeypatch, step):
    """Before its agents are saved, before its summary is written and before that is made."""
    killed_before(monkeypatch, step, "tabular", tmp_path / "run")
    assert not (tmp_path / "run" / "summary.json").exists()
    place = Folder(tmp_path / "run", {}, {}, overwrite=False, resume=True)
    place.lock()  # others are let in at once
    place.unlock()
    with pytest.raises(FileExistsError, match="holds an unfinished run: go on with --resume"):
        run("tabular", tmp_path / "run", resume=False)
    same(run("tabular", tmp_path / "run"), whole["tabular"][1])
    assert (tmp_path / "run" / "summary.json").is_file()


def test_half_written_ends_are_none(whole, broken):
    """Killed while the agents were written, or the end; with the checkpoint beside it, it has ended."""
    (broken / "agents").mkdir()
    (broken / "ended" / checkpoint.NEW).mkdir(parents=True)
    same(run("tabular", broken), whole["tabular"][1])
    same(run("tabular", broken, crash_after=1), whole["tabular"][1])


def test_an_ended_run_of_another_work_is_refused(ended):
    folder, kind, _ = ended
    for changed, message in (
        ({"steps": 160}, "holds a run of 200 steps: it goes on to more of them, not to 160"),
        ({"width": 4}, "sweep.width: 2 before, 4 now"),
        ({"arguments": {"rate": 2}}, "arguments.rate: 1 before, 2 now"),
    ):
        refused(folder, message, kind=kind, **changed)
    if kind == "tabular":
        refused(folder, "another program", build=lambda _: other(0.25))
    for name in (
        "metrics.csv",
        next(str(p.relative_to(folder)) for p in (folder / "agents").rglob("*") if p.is_file()),
    ):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        refused(folder, f"{Path(name).name} is not what the (checkpoint|run)", kind=kind)
        (folder / name).write_bytes(content)


def test_nothing_is_added_to_an_ended_run(ended, capsys):
    folder, kind, result = ended
    before = contents(folder)
    with qjax.Run(folder, kind, {"rate": 1}, resume=True) as again:
        for add in (lambda: again.log(result.points[0], {"seed": result.seeds}), lambda: again.save_agents({})):
            with pytest.raises(FileExistsError, match="holds a run that has ended, and nothing is added to it"):
                add()
        again.finish({})
    assert contents(folder) == before and "its summary stands" in capsys.readouterr().err


def test_a_finished_run_that_no_sweep_wrote_is_refused(broken):
    shutil.rmtree(broken / "checkpoints")
    refusal = "summary.json is not what the run wrote when it ended"
    (broken / "summary.json").write_text("{}")
    refused(broken, refusal)
    (broken / "summary.json").write_text(jsonfile.text(jsonfile.sealed({})))
    refused(broken, refusal)
    (broken / "summary.json").write_text(jsonfile.text(jsonfile.sealed({"files": {}})))
    refused(broken, "holds a run that has ended.*qjax.results.load and qjax.load_agents", FileExistsError)


def test_a_run_without_a_checkpoint_begins_again_and_says_so(whole, broken, capsys):
    shutil.rmtree(broken / "checkpoints")
    same(run("tabular", broken), whole["tabular"][1])
    assert capsys.readouterr().err == f"{broken} has no checkpoint to go on from: the run begins again\n"


def test_a_summary_of_ones_own_stands(whole, tmp_path):
    """Written after the sweep, in the same block; the plain one is for where there is none."""
    for mine in ({"mine": 1}, {"mine": 2}):
        with qjax.Run(tmp_path / "run", "tabular", {"rate": 1}, resume=True) as folder:
            work = {"seeds": [4, 0, 9, 2, 7], "steps": 200, "log_points": 5, "width": 2}
            same(qjax.sweep(lambda _: victim.build("tabular"), run=folder, **work), whole["tabular"][1])
            folder.finish(mine)
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["mine"] == 1


def test_static_sweeps_take_ended_runs_from_their_folders(tmp_path):
    def folders(number):
        return qjax.Run(tmp_path / f"{number}", "static", {"number": number}, resume=True)

    def swept(settings, **options):
        work = {"seeds": 2, "steps": 100, "log_points": 1, "width": 2, "run_for": folders, **options}
        return qjax.static_sweeps(lambda _, alpha: other(alpha), [{"alpha": a} for a in settings], **work)

    first, *_ = swept([0.1])
    before = contents(tmp_path / "0")
    found = swept([0.1, 0.2])
    same(found[0], first)
    later = {path: content for path, content in contents(tmp_path).items() if path not in contents(tmp_path / "1")}
    assert later == before and (tmp_path / "1" / "summary.json").is_file()


def test_agents_with_empty_arrays_are_saved(tmp_path):
    agents = {"q": np.arange(4.0).reshape(2, 2), "none": np.zeros((2, 0), np.float32)}
    qjax.Run(tmp_path / "run", "empty", {}).save_agents(agents)
    found = qjax.load_agents(tmp_path / "run", agents)
    assert found["none"].shape == (2, 0) and found["none"].dtype == np.float32
    np.testing.assert_array_equal(found["q"], agents["q"])


def test_rows_after_the_checkpoint_are_cut_away(whole, broken):
    metrics = (broken / "metrics.csv").read_bytes()
    with (broken / "metrics.csv").open("a") as file:
        file.write("4,9999,1,0.5\n4,99")
    run("tabular", broken)
    assert (broken / "metrics.csv").read_bytes() == metrics


def test_points_come_back_from_the_tables(whole):
    folder, result = whole["deep"]
    for read, known in zip(qjax.load_points(folder), result.points, strict=True):
        for a, b in zip(jax.tree.leaves(read[:7]), jax.tree.leaves(known[:7]), strict=True):
            assert a.dtype == b.dtype and a.tobytes() == b.tobytes()


def test_checkpoint_without_a_log_point_before_it(whole, tmp_path):
    """Killed after the first rows were written, but before a checkpoint knew of them."""
    with pytest.raises(Crash):
        run("tabular", tmp_path / "run", crash_after=2, log_points=1)
    (tmp_path / "run" / "metrics.csv").write_text("half a ro")
    run("tabular", tmp_path / "run", log_points=1)
    undisturbed = run("tabular", tmp_path / "other", log_points=1, resume=False)
    assert len(undisturbed.points) == 1
    text = (tmp_path / "run" / "metrics.csv").read_text()
    assert text == (tmp_path / "other" / "metrics.csv").read_text() and text.startswith("seed,")


# ---- what cannot be resumed


def refused(folder, message, error=ValueError, kind="tabular", **arguments):
    """Check that the run is refused, and nothing in its folder touched."""
    files = contents(folder)
    with pytest.raises(error, match=message):
        run(kind, folder, **arguments)
    assert contents(folder) == files


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"steps": 160}, r"holds a run of 200 steps: it goes on to more of them, not to 160"),
        ({"seeds": [4, 0, 9, 7, 2]}, r"sweep.seeds\[3\]: 2 before, 7 now"),
        ({"width": 4}, r"sweep.width: 2 before, 4 now"),
        ({"seed": 1}, r"sweep.seed: 0 before, 1 now"),
        ({"arguments": {"rate": 2}}, r"arguments.rate: 1 before, 2 now"),
        ({"arguments": {"rat": 1}}, r"arguments.rate: 1 before, nothing now"),
        ({"arguments": {"rate": 1, "config": {"n": 3}}}, r"arguments.n: nothing before, 3 now"),
        (
            {"arguments": {"config": {"rate": 1}, "grid": {"rate": [1, 2]}}},
            r"arguments.rate: 1 before, \[1, 2\] now",
        ),
    ],
)
def test_another_config_is_refused(broken, changed, message):
    refused(broken, message, **changed)


def test_an_edited_config_is_refused(broken):
    """Whether the command line still says what it did or was changed with it: the checkpoint has its own copy."""
    config = json.loads((broken / "config.json").read_text())
    config["arguments"]["rate"] = 2
    (broken / "config.json").write_text(json.dumps(config))
    refused(broken, r"config.json.*arguments.rate: 2 before, 1 now")
    refused(broken, r"arguments.rate: 1 before, 2 now", arguments={"rate": 2})
    (broken / "config.json").write_text('{"experiment": "tab')
    refused(broken, r"config.json is damaged")


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (jax.default_matmul_precision("bfloat16"), "default_matmul_precision.*bfloat16"),
        (jax.threefry_partitionable(False), "threefry_partitionable.*False"),
    ],
)
def test_another_setting_of_jax_that_changes_numbers_is_refused(broken, setting, said):
    with setting:
        refused(broken, rf"was written by another run: sweep\.jax: .*{said}")


def other(alpha=0.1, states=None):
    env = qjax.make(victim.probes.Walk())
    # Without its `table`, which the loop would hold against the environment.
    agent = qjax.tabular(states or env.num_states, 2, alpha)._replace(table=None)
    policy = qjax.epsilon_greedy(0.3)
    return qjax.make_loop(env, agent, policy, qjax.online(), gamma=0.9, num_envs=2, warmup=20)


def test_another_constant_in_build_is_refused(whole, broken):
    refused(broken, r"another program.*0\.1.* before, .*0\.25.* now", build=lambda _: other(0.25))
    same(run("tabular", broken, build=lambda _: other()), whole["tabular"][1])


def test_another_structure_is_refused(broken):
    message = r"another structure: lane\[\d+\].shape\[0\]: 8 before, 9 now"
    refused(broken, message, build=lambda _: other(states=9))


def rewritten(folder, program=None, **versions):
    """Have a run's checkpoint say that it is of other versions, and of another program."""
    (place,) = (folder / "checkpoints").glob("0*")
    manifest = json.loads((place / "manifest.json").read_text())
    del manifest["checksum"]
    manifest["versions"] |= versions
    if program is not None:
        (place / "program.txt.gz").write_bytes(gzip.compress(program.encode()))
        manifest["files"]["program.txt.gz"] = files.digest(place / "program.txt.gz")
    (place / "manifest.json").write_text(json.dumps(jsonfile.sealed(manifest)))
    return manifest


def test_going_on_under_other_versions_is_recorded(whole, broken, monkeypatch):
    """With the same program: a warning, the same numbers, and a note for readers, once however often it stops."""
    rewritten(broken, jax="0.9.9", numpy="1.0")
    said = f"last digits may differ: jax 0.9.9 before, {jax.__version__} now, numpy 1.0 before"
    for _ in range(2):
        with pytest.warns(UserWarning, match=said):
            killed_before(monkeypatch, "Run.save_agents", "tabular", broken)
    with pytest.warns(UserWarning, match=said):
        same(run("tabular", broken), whole["tabular"][1])
    changed = {"jax": ["0.9.9", jax.__version__], "numpy": ["1.0", np.__version__]}
    assert qjax.load_config(broken)["resumed"] == [{"log_points": 5, "versions": changed, "program": None}]
    with pytest.warns(UserWarning, match=f"resumed after 5 log points: jax 0.9.9 -> {jax.__version__}, numpy 1.0"):
        assert results.load(broken).complete


def test_another_program_is_accepted_if_it_is_asked_for(whole, broken):
    """Refused it says whether the libraries are others; accepted, the config has the first difference."""
    rewritten(broken, program="{ lambda ; a:f32[]. let\n b:f32[] = add a 1.5\n in (b,) }")
    refused(broken, r"another program \(by the same versions: something in build has changed\): '{ lambda")
    rewritten(broken, jax="0.9.9")
    refused(broken, rf"another program \(jax 0.9.9 before, {jax.__version__} now\): .*accept_program=True")
    with pytest.warns(UserWarning, match="last digits may differ: jax 0.9.9 before"):
        same(run("tabular", broken, accept=True), whole["tabular"][1])
    (noted,) = qjax.load_config(broken)["resumed"]
    assert noted["program"].startswith("'{ lambda ; a:f32[]. let' before, '")
    assert noted["versions"] == {"jax": ["0.9.9", jax.__version__]}
    with pytest.warns(UserWarning, match=r"after 5 log points with another program, which was accepted: jax 0.9.9"):
        results.load(broken)


def deep(optimizer=None, hidden=16, capacity=64):
    """Build what the deep victim does, but for one part."""
    env = qjax.make(victim.probes.Walk(box=True))
    agent = qjax.dqn(qjax.MLP(2, (hidden,)), optimizer or optax.adam(1e-2), target=qjax.polyak(0.1))
    memory = qjax.ring(capacity, 16)
    return qjax.make_loop(env, agent, qjax.epsilon_greedy(0.3), memory, gamma=0.9, num_envs=2, warmup=20)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimizer": optax.sgd(1e-2)}, r"another structure: lane\[\d+\].name: '.*opt_state.* before, '.* now$"),
        ({"hidden": 17}, r"another structure: lane\[\d+\].shape\[0\]: 16 before, 17 now$"),
        ({"capacity": 128}, r"another structure: lane\[\d+\].shape\[0\]: 32 before, 64 now$"),
        ({"optimizer": optax.adam(2e-2)}, r"another program .*-0\.00999.* before, .*-0\.01999.* now; accept"),
    ],
)
def test_messages_have_the_first_difference_and_no_more(whole, change, message):
    folder = whole["deep"][0]
    with pytest.raises(ValueError, match=message) as error:
        run("deep", folder, build=lambda _: deep(**change))
    assert len(str(error.value)) < 400 + len(str(folder)) and "\n" not in str(error.value)


def test_long_arguments_are_not_written_out(tmp_path):
    """The first of ten thousand values that differs, their number, or a text around its first other letter."""
    values = list(range(10_000))
    others = {
        r"arguments.rates\[7000\]: 7000 before, -1 now$": [*values[:7000], -1, *values[7001:]],
        r"arguments.rates: 10000 entries before, 9000 now$": values[:9000],
        r"arguments.rates: \[0, 1, 2, 3, 4, 5, ...\] before, 'x+\.\.\.x+' now$": "x" * 10_000,
    }
    with qjax.Run(tmp_path / "run", "walk", {"rates": values}) as made:
        made.lifecycle.begin()
    for message, rates in others.items():
        with pytest.raises(ValueError, match=message) as error:
            qjax.Run(tmp_path / "run", "walk", {"rates": rates}, resume=True)
        assert len(str(error.value)) < 300 + len(str(tmp_path))
    with qjax.Run(tmp_path / "text", "walk", {"note": "a" * 5000 + "b" + "c" * 5000}) as made:
        made.lifecycle.begin()
    with pytest.raises(ValueError, match=r"note: '\.\.\.a+b?c+\.\.\.' before, '\.\.\.a+dc+\.\.\.' now$"):
        qjax.Run(tmp_path / "text", "walk", {"note": "a" * 5000 + "d" + "c" * 5000}, resume=True)


def test_every_truncated_or_altered_file_is_found(broken):
    folder = next((broken / "checkpoints").glob("0*"))
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content, name = path.read_bytes(), str(path.relative_to(folder))
        if not content:
            continue
        path.write_bytes(content[: len(content) // 2])
        manifest = f"{name} is damaged: " if name == checkpoint.MANIFEST else ""
        unreadable(broken, manifest or f"damaged: {name}")
        path.unlink()
        unreadable(broken, f"damaged: .*{path.name}")
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        unreadable(broken, manifest or f"damaged: {name} holds other bytes")
        if name == checkpoint.MANIFEST:  # a sweep says what `find` says
            refused(broken, manifest)
        path.write_bytes(content)
    run("tabular", broken)


def unreadable(folder, message):
    with pytest.raises(ValueError, match=message):
        checkpoint.find(folder / "checkpoints")


def test_altered_metrics_are_refused(broken):
    text = (broken / "metrics.csv").read_text()
    (broken / "metrics.csv").write_text(text.replace("4", "5", 1))
    refused(broken, "metrics.csv is not what the checkpoint")
    (broken / "metrics.csv").unlink()
    refused(broken, "metrics.csv is not what the checkpoint")


def test_a_half_written_checkpoint_is_none(whole, broken):
    """What a kill leaves behind: the next one is not whole yet, the last one stands."""
    shutil.copytree(next((broken / "checkpoints").glob("0*")), broken / "checkpoints" / checkpoint.NEW)
    (broken / "checkpoints" / checkpoint.NEW / checkpoint.MANIFEST).write_text("{")
    same(run("tabular", broken), whole["tabular"][1])


# ---- folders and disks


def test_a_finished_or_unfinished_run_is_not_begun_again(broken):
    refused(broken, "holds an unfinished run: go on with --resume", FileExistsError, resume=False)


def test_killed_while_the_config_was_written(tmp_path):
    (tmp_path / "run").mkdir()
    for name in ("lock", "config.json.new"):
        (tmp_path / "run" / name).write_text("")
    assert run("tabular", tmp_path / "run").stopped is None


def test_another_run_at_the_same_step_is_read_afresh(broken):
    """What was read of a checkpoint is not remembered for another one of the same name."""
    run("tabular", broken)
    with qjax.Run(broken, "tabular", {"rate": 1}, overwrite=True) as over:
        work = {"seeds": [4, 0, 9, 2, 7], "steps": 200, "log_points": 5, "width": 2}
        fresh = qjax.sweep(lambda _: other(0.25), run=over, **work)
    same(run("tabular", broken, build=lambda _: other(0.25)), fresh)


def test_another_array_in_build_is_refused(tmp_path):
    """An array is a constant of the program that its text does not show."""

    def build(values):
        loop = other()
        bonus = lambda key, t, q, target, time: jax.nn.one_hot((q + jnp.asarray(values)).argmax(), 2)
        agent = qjax.tabular(loop.env.num_states, 2, 0.1, target_policy=bonus)
        return qjax.make_loop(loop.env, agent, qjax.uniform, qjax.online(), gamma=0.9, num_envs=2, warmup=20)

    run("tabular", tmp_path / "run", build=lambda _: build(np.array([0.0, 1.0], np.float32)), checkpoint_every=1e9)
    message = r"another program.*constant float32\[2\]"
    refused(tmp_path / "run", message, build=lambda _: build(np.array([0.0, 2.0], np.float32)))


def test_a_hyper_named_like_a_column(tmp_path):
    with pytest.raises(ValueError, match=r"\['loss'\] have the name of another logged column"):
        run("tabular", tmp_path / "run", build=lambda h: other(h["loss"]), hypers=qjax.grid(loss=[0.1, 0.2]))
    assert not (tmp_path / "run").exists()


def test_resume_where_there_is_no_run(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    refused(tmp_path, "holds no run", FileExistsError)


def test_out_is_a_file(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(FileExistsError, match="is a file; a run needs a folder"):
        run("tabular", tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


def test_out_cannot_be_written():
    parent = Path(tempfile.mkdtemp())
    parent.chmod(0o555)
    user = os.geteuid()
    try:
        if user == 0:  # whom no permission stops
            os.seteuid(65534)
        with pytest.raises(PermissionError, match=str(parent)):
            run("tabular", parent / "out")
    finally:
        os.seteuid(user)
    assert not list(parent.iterdir())
    parent.rmdir()


def test_two_runs_in_one_folder(broken):
    first = Folder(broken, {}, {}, overwrite=False, resume=True)
    first.lock()
    refused(broken, "another process runs in", BlockingIOError)
    first.unlock()
    run("tabular", broken)


def test_a_full_disk_stops_no_training(whole, tmp_path, capsys):
    """A checkpoint that fails is reported and the last one stands; one that must not fail ends the run."""
    with pytest.raises(Crash):
        run("tabular", tmp_path / "run", crash_after=3)
    before = next((tmp_path / "run" / "checkpoints").glob("0*"))
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2048, limit[1]))
        with pytest.raises(OSError, match="no checkpoint written"):
            run("tabular", tmp_path / "run")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert "training goes on, the last checkpoint stands" in capsys.readouterr().err
    assert list((tmp_path / "run" / "checkpoints").glob("[0-9]*")) == [before]
    same(run("tabular", tmp_path / "run"), whole["tabular"][1])


# ---- real processes


def start(kind, out, job=(), **settings):
    arguments = [
        sys.executable,
        str(HERE / "victim.py"),
        kind,
        str(out),
        *(f"{k}={v}" for k, v in settings.items()),
    ]
    environment = {**os.environ, "PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parent}", **dict(job)}
    return subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(process, condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)


def wait_for_news(process, folder):
    """Wait until a folder's entries change, or the process ends."""
    before = set(folder.glob("*"))
    wait_for(process, lambda: process.poll() is not None or set(folder.glob("*")) != before)


def to_its_end(kind, out):
    """Run a victim in this process, or what is left of one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(phases, "INNER_ITERATIONS", INNER_ITERATIONS)
        victim.main(kind, out, checkpoint_every=1e9)


def check_equal(out, reference):
    assert (out / "metrics.csv").read_bytes() == (reference / "metrics.csv").read_bytes()
    found, known = np.load(out / "result.npz"), np.load(reference / "result.npz")
    assert found.files == known.files
    for name in known.files:
        assert found[name].tobytes() == known[name].tobytes(), name


@pytest.fixture(scope="module")
def undisturbed(quick, tmp_path_factory):
    """`kind -> folder` of what a victim leaves that runs to its end, in this process."""

    @functools.cache
    def made(kind):
        folder = tmp_path_factory.mktemp("undisturbed") / kind
        to_its_end(kind, folder)
        return folder

    return made


def killed_at_random(kind, out, reference, kills, seed):
    """Kill a sweep at random instants, from its start on, and resume it; then compare it with a whole one."""
    draw, met = random.Random(seed), 0
    for number in range(kills):
        process = start(kind, out, cores=number % 3 + 1)
        wait_for(process, (out / "lock").is_file)
        if number % 2:  # before or after it has gone on from where it was
            wait_for_news(process, out / "checkpoints")
        time.sleep(draw.uniform(0, 1.5))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        met += process.returncode == -signal.SIGKILL
        if process.returncode == 0:
            (out / "result.npz").unlink()
    to_its_end(kind, out)
    check_equal(out, reference)
    return met


def test_kill_9(undisturbed, tmp_path):
    assert killed_at_random("tabular", tmp_path / "out", undisturbed("tabular"), kills=2, seed=0) == 2


def killed_at_its_end(kind, last, out, reference, sign, pause):
    """Kill a sweep from its last checkpoint on, soon after a sign of its end is there, and resume it."""
    shutil.copytree(last, out)
    process = start(kind, out)
    wait_for(process, lambda: process.poll() is not None or any(out.glob(sign)))
    time.sleep(pause)
    process.send_signal(signal.SIGKILL)
    _, errors = process.communicate()
    assert process.returncode in (0, -signal.SIGKILL), errors
    to_its_end(kind, out)
    check_equal(out, reference)
    summary, agents = out / "summary.json", qjax.load_agents(out)
    assert json.loads(summary.read_text())["seeds"] == 7 and len(jax.tree.leaves(agents)[0]) == 7
    shutil.rmtree(out)
    return process.returncode == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*STEPS, "dropping"])
def test_kill_9_forty_times(undisturbed, tmp_path, monkeypatch, kind):
    """At random; while the last agents are saved, and the end; and between the summary and the clean-up."""
    met = killed_at_random(kind, tmp_path / "out", undisturbed(kind), kills=24, seed=1)
    with monkeypatch.context() as patch, pytest.raises(Crash):
        patch.setattr(phases, "INNER_ITERATIONS", INNER_ITERATIONS)
        patch.setattr(qjax.Run, "save_agents", crash)
        victim.main(kind, tmp_path / "last", checkpoint_every=1e9)
    draw = random.Random(2)
    for sign in ("agents*", "agents", "ended*", "summary.json*"):
        for _ in range(4):
            end = tmp_path / "end"
            met += killed_at_its_end(kind, tmp_path / "last", end, undisturbed(kind), sign, draw.uniform(0, 0.05))
    assert met >= 30


# ---- signals


def test_a_signal_stops_after_a_checkpoint(tmp_path, capsys):
    out, sent = tmp_path / "out", []

    def send(progress):
        if (out / "timing.csv").is_file() and not sent:
            sent.append(os.kill(os.getpid(), signal.SIGTERM))

    result = run("tabular", out, steps=50_000, log_points=50, checkpoint_every=1e9, on_progress=send)
    assert result.stopped == "SIGTERM" and "SIGTERM: stopping at the end of this chunk" in capsys.readouterr().err
    found = checkpoint.find(out / "checkpoints")
    assert 0 < found.manifest["tick"] < 25_000
    assert len(found.manifest["points"]) == (out / "timing.csv").read_text().count("\n") - 1


def test_a_second_ctrl_c_ends_at_once(tmp_path):
    """In the midst of a chunk of minutes, where Python itself would not look for signals."""
    process = start("long", tmp_path / "out", chunk_seconds=1e9)
    # One inner loop of the warm-up and one with learning tell how long a chunk should be; the third takes it all.
    folder = tmp_path / "out" / "checkpoints"
    wait_for(process, lambda: any(int(path.name) > 20 for path in folder.glob("[0-9]*")))
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and time.monotonic() - began < 5
    assert "interrupted twice" in errors


def test_a_signal_that_comes_too_late_to_stop_a_sweep_is_not_lost(whole, tmp_path):
    """Else the next one of several sweeps would begin. What was asked for is there all the same."""

    def send(progress):
        if progress.done >= 1:
            signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run("tabular", tmp_path / "run", on_progress=send)
    finally:
        signal.signal(signal.SIGINT, before)
    same(run("tabular", tmp_path / "run", crash_after=1), whole["tabular"][1])


# ---- what watches a sweep


@pytest.mark.parametrize("name", ["on_log", "on_progress"])
def test_a_watcher_that_cannot_write_is_left_out(whole, tmp_path, capsys, name):
    calls = []

    def write(news):
        calls.append(news)
        raise BrokenPipeError(32, "Broken pipe")

    same(run("tabular", tmp_path / "run", **{name: write}), whole["tabular"][1])
    said = (
        f"warning: {name} failed and is called no more: BrokenPipeError: [Errno 32] Broken pipe; training goes on"
    )
    begun = f"{tmp_path / 'run'} holds no run yet: it begins"
    assert len(calls) == 1 and capsys.readouterr().err == f"{begun}\n\n{said}\n"


@pytest.mark.parametrize("name", ["on_log", "on_progress"])
def test_a_watcher_that_ends_a_sweep_does_so_after_a_checkpoint(whole, tmp_path, name):
    with pytest.raises(Crash):
        run("tabular", tmp_path / "run", checkpoint_every=1e9, **{"on_progress": None, name: victim.crashing(3)})
    found = checkpoint.find(tmp_path / "run" / "checkpoints")
    assert found.manifest["tick"] == {"on_log": 60, "on_progress": 30}[name]
    same(run("tabular", tmp_path / "run"), whole["tabular"][1])


# ---- several hosts


def on_two_hosts(kind, out, **settings):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    job = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2"}
    settings = {"distributed": 1, "cores": 1, **settings}
    return [start(kind, out, {**job, "JAX_PROCESS_ID": str(number)}, **settings) for number in range(2)]


def test_counts_of_two_hosts_come_in_the_order_of_the_lanes(tmp_path):
    """Each writes those of its own lanes, and lanes that go on may be others."""
    for host, lanes in enumerate(([0, 3], [2, 1])):
        np.savez(tmp_path / f"totals_{host}.npz", lanes=lanes, steps=10 + np.array(lanes))
    found = checkpoint.Checkpoint(tmp_path, {"files": dict.fromkeys(("totals_0.npz", "totals_1.npz"))})
    np.testing.assert_array_equal(found.totals(np.array([1, 3]))["steps"], [11, 13])


def test_states_come_in_the_order_that_is_asked_for(monkeypatch):
    """Lanes that go on may stand in other slots than they did, in any order over the groups."""
    monkeypatch.setattr(checkpoint, "_group", lambda folder, group: [10 * group + np.arange(2)])
    found = checkpoint.Checkpoint(None, {"group_size": 2})
    slots = np.array([4, 1, 5, 2, 0, 3])
    (rows,) = found.rows(slots)
    np.testing.assert_array_equal(rows, [20, 1, 21, 10, 0, 11])


@pytest.mark.parametrize("kind", ["tabular", "dropping"])
def test_two_hosts(undisturbed, tmp_path, kind):
    """Two processes share the lanes; a signal to one stops both; they go on, and the bytes are those of one."""
    out, whole = tmp_path / "out", undisturbed(kind)
    for stop in (True, False):
        processes = on_two_hosts(kind, out, checkpoint_every=1)
        if stop:
            wait_for(processes[0], (out / "parts").is_dir)
            wait_for_news(processes[0], out / "checkpoints")
            processes[1].send_signal(signal.SIGTERM)
        said = [process.communicate(timeout=120) for process in processes]
        assert [process.returncode for process in processes] == [0, 0], said
        assert [text.split()[-1] for text, _ in said] == ["SIGTERM" if stop else "None"] * 2
        assert checkpoint.find(out / "checkpoints" if stop else out / "ended").ended == (not stop)
    assert (out / "metrics.csv").read_bytes() == (whole / "metrics.csv").read_bytes()
    # Tables, divergence and what was dropped of all lanes; the first host's points hold its own.
    found, known = (np.load(path / "result.npz") for path in (out, whole))
    assert all(found[name].tobytes() == known[name].tobytes() and len(found[name]) == 7 for name in "012")
    assert len(found["3"]) == 4


def test_a_run_with_fast_keys_goes_on_bit_for_bit(tmp_path):
    """Its keys come back as the implementation that importing qjax registers, and a run with others is refused."""
    work = {"seed": qjax.fast_key(5)}
    expected = run("deep", tmp_path / "whole", resume=False, checkpoint_every=1e9, **work)
    with pytest.raises(Crash):
        run("deep", tmp_path / "run", crash_after=9, **work)
    with pytest.raises(ValueError, match="seed"):
        run("deep", tmp_path / "run", seed=5)
    same(run("deep", tmp_path / "run", **work), expected)
    seed = qjax.load_config(tmp_path / "run")["sweep"]["seed"]
    assert seed == {"impl": "fast", "data": np.asarray(jax.random.key_data(work["seed"])).tolist()}
