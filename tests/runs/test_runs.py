"""A run's folder, and the pictures drawn from log points."""

import json
import zlib

import folders
import jax
import matplotlib.image
import numpy as np
import optax
import pytest

import qjax
from qjax import plot
from qjax.core import files, jsonfile
from qjax.runs.points import Point
from qjax.sweeps import progress
from qjax.sweeps.progress import Progress


def point(env_steps, episodes, mean_return, done, changed=None, seconds=1.0):
    seeds = len(env_steps)
    loss = np.linspace(0.1, 1, seeds, dtype=np.float32)
    return Point(
        env_steps=np.array(env_steps, np.int64),
        episodes=np.array(episodes, np.int32),
        mean_return=np.array(mean_return, np.float32),
        means={"loss": loss, "q": np.full(seeds, np.nan, np.float32)},
        values={"epsilon": np.full(seeds, 0.5, np.float32)},
        changed=np.ones(seeds, bool) if changed is None else np.array(changed),
        diverged_at=np.array([-1, 64][:seeds]),
        updates=10,
        done=done,
        seconds=seconds,
    )


SEEDS = {"seed": np.array([3, 7])}
POINTS = [
    point([100, 100], [1, 0], [20.0, np.nan], 0.5),
    point([200, 150], [3, 2], [1 / 3, 8.0], 1.0, changed=[True, False], seconds=3.0),
]


@pytest.fixture
def folder(tmp_path):
    run = qjax.Run(tmp_path / "run", "cartpole", {"seeds": 2}, machine={"out": tmp_path})
    for each in POINTS:
        run.log(each, SEEDS)
    run.save_agents({"q": np.ones((2, 3))})
    run.finish({"final_return_per_seed": np.array([1.0, 2.0]), "interval": (float("nan"), 1)})
    return run.folder


def test_metrics_are_tidy(folder):
    # A seed that did not step has no row, and a cell without a value is empty, not zero.
    assert (folder / "metrics.csv").read_text() == (
        "seed,env_steps,episodes,mean_return,loss,epsilon,mean_q,diverged_at,seeds\n"
        "3,100,1,20.0,0.1,0.5,,,2\n"
        "7,100,0,,1.0,0.5,,64,2\n"
        "3,200,3,0.33333334,0.1,0.5,,,2\n"
    )
    metrics = qjax.runs.load_metrics(folder)
    assert np.isnan(metrics["mean_return"][1])
    assert np.float32(metrics["mean_return"][2]) == np.float32(1 / 3)


def test_timing_stands_apart(folder):
    lines = (folder / "timing.csv").read_text().splitlines()
    assert lines == ["seconds,env_steps,env_steps_per_s,updates_per_s", "1.000,200,200,10", "3.000,350,75,5"]


def test_config_and_summary(folder, tmp_path):
    config = qjax.load_config(folder)
    assert config["experiment"] == "cartpole"
    assert config["arguments"] == {"seeds": 2} and config["machine"] == {"out": str(tmp_path)}
    assert config["versions"]["jax"] == jax.__version__
    summary = json.loads((folder / "summary.json").read_text())
    assert summary.items() >= {"final_return_per_seed": [1.0, 2.0], "interval": [None, 1]}.items()
    assert {"config.json", "metrics.csv", "timing.csv"} <= summary["files"].keys() and not jsonfile.broken(summary)


def test_agents_come_back_with_one_call(tmp_path):
    agent = qjax.dqn(qjax.MLP(2, (4,)), optax.adam(1e-3))
    keys = jax.random.split(jax.random.key(0), 3)
    states = jax.device_get(jax.vmap(lambda key: agent.init(key, np.zeros((1, 5), np.float32)))(keys))
    run = qjax.Run(tmp_path / "run", "cartpole", {})
    run.save_agents(states)
    for whole in (qjax.load_agents(tmp_path / "run"), qjax.load_agents(tmp_path / "run", like=states)):
        assert jax.tree.structure(whole) == jax.tree.structure(states)
        jax.tree.map(np.testing.assert_array_equal, whole, states)
    with pytest.raises(FileNotFoundError, match="no run has finished"):
        qjax.load_agents(tmp_path)


def test_a_folder_that_holds_something_is_refused(folder, tmp_path):
    (folder / "notes.txt").write_text("mine")
    (folder / "watch_3.gif").write_text("of the run before")
    before = (folder / "metrics.csv").read_text()
    with pytest.raises(FileExistsError, match="is not empty"):
        qjax.Run(folder, "cartpole", {})
    replacing = qjax.Run(folder, "cartpole", {}, overwrite=True)
    assert (folder / "metrics.csv").read_text() == before  # nothing is lost before there is something new
    replacing.log(POINTS[0], SEEDS)
    assert len((folder / "metrics.csv").read_text().splitlines()) == 3
    assert not (folder / "summary.json").exists() and not (folder / "watch_3.gif").exists()
    assert (folder / "notes.txt").read_text() == "mine"
    (tmp_path / "album").mkdir()
    (tmp_path / "album" / "holiday.png").write_text("mine")
    with pytest.raises(FileExistsError, match="holds no run"):
        qjax.Run(tmp_path / "album", "cartpole", {}, overwrite=True)
    assert (tmp_path / "album" / "holiday.png").exists()
    with pytest.raises(FileExistsError, match="is a file"):
        qjax.Run(folder / "notes.txt", "cartpole", {})


@pytest.mark.parametrize("there", [False, True])
def test_a_resumed_run_that_is_not_there_begins_and_says_so(tmp_path, there, capsys):
    """As where the path is mistyped."""
    if there:
        (tmp_path / "rnu").mkdir()
    with qjax.Run(tmp_path / "rnu", "walk", {}, resume=True) as run:
        assert run.lifecycle.open(folders.SWEEP) is None
    assert capsys.readouterr().err == f"{tmp_path / 'rnu'} holds no run yet: it begins\n"


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_run_takes_one_sweep(tmp_path, overwrite):
    """What a second one would write over is told as it is, and stands."""
    sweep, lanes = {**folders.SWEEP, "width": folders.LANES}, {"seed": np.arange(folders.LANES)}
    with qjax.Run(tmp_path / "run", "walk", {}, overwrite=overwrite) as run:
        run.lifecycle.open(sweep)
        run.log(folders.point(0), lanes)
        with pytest.raises(FileExistsError, match=r"^a sweep has begun in .*/run: give another one"):
            run.lifecycle.open(sweep)
        whole = {**folders.describe(1), "env_steps": 20, "compile_s": 1.0}
        run.save_agents({"q": np.zeros((folders.LANES, 3))})
        run.checkpoints.end(folders.groups(1), {}, "program", whole)
        before = (run.folder / "metrics.csv").read_bytes()
        with pytest.raises(FileExistsError, match=r"^a sweep has ended in .*, and its agents are saved: "):
            run.lifecycle.open(sweep)
    assert (run.folder / "metrics.csv").read_bytes() == before and qjax.results.load(run.folder).complete


def test_returns_by_episode_are_means_over_the_same_episodes():
    # Seed 0 earns 1 per episode throughout, seed 1 nothing in its first ten and 1 in its last ten.
    points = [point([10, 10], [10, 10], [1.0, 0.0], 0.5), point([30, 20], [20, 20], [1.0, 1.0], 1.0)]
    x, returns = plot.returns_by_episode(points, episodes=20, bins=4)
    np.testing.assert_allclose(x, [5, 10, 15, 20])
    np.testing.assert_allclose(returns, [[1, 1, 1, 1], [0, 0, 1, 1]])


def test_returns_by_episode_stop_where_a_seed_does():
    points = [point([10, 10], [10, 20], [1.0, 1.0], 0.5)]
    _, returns = plot.returns_by_episode(points, episodes=20, bins=2)
    np.testing.assert_allclose(returns, [[1, np.nan], [1, 1]])


@pytest.mark.parametrize("episodes", [None, 3])
def test_pictures_are_drawn(tmp_path, episodes):
    plot.learning_curve(POINTS, tmp_path / "curve.png", "title", episodes=episodes, level=5.0, level_name="solved")
    one = [
        point([steps], [ended], [returns], steps / 30) for steps, ended, returns in ((10, 0, np.nan), (30, 3, 2.0))
    ]
    plot.learning_curve(one, tmp_path / "one.png", "one seed, which has no interval", episodes=episodes)
    curves = {"task": {"one": [p._replace(values={"regret": np.ones(1)}) for p in one]}}
    plot.measures(tmp_path / "measures.png", curves, {"regret": "regret"}, "one seed")
    policies = np.full((2, 4, 4), 0.25)
    plot.lake_picture(tmp_path / "lake.png", ["SF", "HG"], policies, np.ones((2, 4)), np.ones(4), "title")
    for name in ("curve.png", "one.png", "measures.png", "lake.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_of_many_tasks_three_stand_side_by_side(tmp_path):
    values = {"regret": np.ones(1)}
    points = [
        point([10], [1], [2.0], 1.0)._replace(values=values),
        point([30], [1], [2.0], 2.0)._replace(values=values),
    ]
    for tasks, panels in ((1, (1, 1)), (3, (1, 3)), (4, (2, 3)), (7, (3, 3))):
        curves = {f"task {number}": {"one": points} for number in range(tasks)}
        plot.measures(tmp_path / "measures.png", curves, {"regret": "regret"}, "one seed")
        size = [(2.4 * panels[0] + 0.8) * plot.style.DPI, (2.6 * panels[1] + 0.8) * plot.style.DPI]
        assert np.allclose(matplotlib.image.imread(tmp_path / "measures.png").shape[:2], size, atol=1)


def test_progress_says_what_is_known(capsys):
    half = Progress(0.5, 70.0, 14_000, 700, 20.0, 0)
    with progress.show_progress("training") as show:
        show(half)  # too early for a line of its own
        show(half._replace(done=1.0, seconds=3.0, env_steps=350, updates=9, iqm_return=25 / 6, diverged=2))
    out = capsys.readouterr().out
    last = "100%, 117 env-steps/s, 3 updates/s, 0:00 left, IQM return 4.17, 2 diverged"
    assert out == f"training: compiling\ntraining: {last}\n"
    assert progress.describe(half) == "200 env-steps/s, 10 updates/s, 1:10 left, IQM return 20"
    assert progress.describe(Progress(0.0, 0.0, 0, 0, float("nan"), 0)) == (
        "? env-steps/s, ? updates/s, ? left, IQM return none yet"
    )


@pytest.mark.parametrize("length", [None, 0, 5, 2**20, 2**20 + 3])
def test_a_digest_is_that_of_the_whole_file(length, tmp_path):
    content = np.random.default_rng(0).bytes(2**21 + 7)  # more than one read
    path = tmp_path / "file"
    path.write_bytes(content)
    assert files.digest(path, length) == (len(content), zlib.crc32(content[:length]))
