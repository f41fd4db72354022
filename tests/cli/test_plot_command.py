"""Pictures of runs for a paper: what is drawn, held against slow sums, and what is said of bad folders."""

import functools
import json
import subprocess
import sys

import numpy as np
import pytest
from command_lines import status_of
from folders import grid, written
from PIL import Image

import qjax
from qjax import stats
from qjax.cli import compare, plot, studies
from qjax.plot import reach

RNG = np.random.default_rng(5)

LEVEL = "threshold (0.7)"
"""Gymnasium's, of the lake."""


@pytest.fixture(autouse=True)
def seeded(monkeypatch):
    """Let no test's numbers depend on which ran before it."""
    monkeypatch.setattr(sys.modules[__name__], "RNG", np.random.default_rng(5))


command = functools.partial(status_of, plot.main)


@pytest.fixture
def drawn(monkeypatch):
    """The figures that a command would have written, by name."""
    figures = {}

    def keep(figure, stem):
        figures[stem.name] = figure
        return stem, stem

    monkeypatch.setattr(qjax.plot, "save", keep)
    return figures


def slow_iqm(values):
    kept = sorted(value for value in values if not np.isnan(value))
    cut = len(kept) // 4
    kept = kept[cut : len(kept) - cut]
    return sum(kept) / len(kept)


def lines(axes):
    return {line.get_label(): line.get_xydata() for line in axes.lines}


def returns(*shape, top=1.0):
    """Noisy curves that rise to `top`, with episodes missing here and there."""
    values = top * np.linspace(0, 1, shape[-1]) + RNG.normal(0, 0.1, shape)
    return np.where(RNG.random(shape) < 0.05, np.nan, values).astype(np.float32)


# ---- what is drawn


def test_learning_curves_are_interquartile_means(tmp_path, drawn):
    values = returns(2, 9, 6)
    folder = written(tmp_path / "run", values, {"alpha": [0.1, 0.5]}, values[..., -1], every=500)
    assert command(folder, "--kind", "curves") == 0
    (axes,) = drawn["curves"].axes
    for name, own in zip(("alpha=0.1", "alpha=0.5"), values, strict=True):
        found = lines(axes)[name]
        np.testing.assert_array_equal(found[:, 0], 500 * np.arange(1, 7))
        np.testing.assert_allclose(found[:, 1], [slow_iqm(column) for column in own.T], rtol=1e-5)
    low, high = stats.iqm_interval(values[1][:, 3])
    corners = axes.collections[1].get_paths()[0].vertices
    np.testing.assert_allclose(sorted(set(corners[corners[:, 0] == 2000, 1])), [low, high], rtol=1e-6)
    assert axes.get_xlabel() == "environment steps" and axes.get_ylabel().startswith("training return\n(mean of")


def test_of_many_settings_the_best_are_drawn_and_of_runs_the_best_setting(tmp_path, drawn):
    values = returns(8, 4, 5)
    heights = np.array([3, 1, 8, 7, 2, 6, 5, 4.0])
    one = written(tmp_path / "one", values, {"alpha": list(range(8))}, heights[:, None] + np.arange(4))
    two = written(tmp_path / "two", values[:1], None, [[1, 2, 3, 4.0]], experiment="sarsa")
    assert command(one, "--kind", "seeds") == 0
    (axes,) = drawn["seeds"].axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [f"alpha={i}" for i in (0, 2, 3, 5, 6, 7)]
    np.testing.assert_array_equal(axes.collections[1].get_offsets()[:, 0], [8, 9, 10, 11])
    assert "the best 6 of 8 settings" in drawn["seeds"].get_suptitle()
    command(one, two, "--kind", "curves", "--score", "final", "--lower")
    late = [slow_iqm(studies.held(own)[:, -1]) for own in values]
    assert list(lines(drawn["curves"].axes[0])) == [f"q-learning (alpha={np.argmin(late)})", "sarsa", LEVEL]
    assert "each run's best setting" in drawn["curves"].get_suptitle()


def test_efficiency_is_that_of_the_slow_loop(tmp_path, drawn):
    values = returns(1, 9, 20)
    command(written(tmp_path / "run", values), "--kind", "efficiency", "--threshold", 0.6)
    left, right = drawn["efficiency"].axes
    times = np.sort(qjax.plot.steps_to_reach(100 * np.arange(1, 21), values[0], np.array([0.6]))[:, 0])
    heights = [slow_iqm(column) for column in values[0].T]
    every = np.linspace(min(heights), max(heights), reach.LEVELS)
    came = [sum(np.nanmax(own) >= level for own in values[0]) >= 5 for level in every]
    levels, medians = lines(left)["q-learning"].T
    np.testing.assert_allclose(levels, every[came], rtol=1e-5)
    at = qjax.plot.steps_to_reach(100 * np.arange(1, 21), values[0], levels)
    np.testing.assert_array_equal(medians, np.sort(at, axis=0)[4])
    eighth = np.sort(at, axis=0)[7]  # of nine seeds the interval goes from the second to the eighth
    tops = left.collections[0].get_paths()[-1].vertices
    for level, when in zip(levels, eighth, strict=True):
        assert (
            tops[tops[:, 0] == level, 1].max() == (when if np.isfinite(when) else 4000)
            and left.get_ylim()[1] == 2060
        )
    for x, share in right.lines[0].get_xydata():
        assert share == (times <= x).mean()
    assert right.lines[0].get_xdata()[[0, -1]].tolist() == [0, 2000] and "reached 0.6" in right.get_title(
        loc="left"
    )


def test_axes_of_hyper_parameters_have_units(tmp_path, drawn):
    for unit, said in (("step", "environment steps"), ("episode", "episodes"), ("update", "updates")):
        swept = {"target_period": [10, 100], "gamma": [0.9, 0.99]}
        folder = written(
            tmp_path / unit, returns(2, 4, 3), swept, RNG.random((2, 4)), arguments={"target_unit": unit}
        )
        command(folder, "--kind", "sensitivity")
        axes = drawn["sensitivity_target_period_gamma"].axes[0]
        assert (axes.get_ylabel(), axes.get_xlabel()) == (f"target_period ({said})", "gamma")
        score = drawn["sensitivity_target_period_gamma"].axes[1].get_ylabel()
        assert score.replace("\n", " ") == "greedy return after 300 environment steps"
    swept = written(tmp_path / "n", returns(3, 4, 3), {"n": [1, 3, 5]}, RNG.random((3, 4)))
    command(swept, "--kind", "sensitivity")
    assert drawn["sensitivity_n"].axes[0].get_xlabel() == "n (steps)"


def test_heat_map_has_every_setting_in_its_cell(tmp_path, drawn):
    settings = [(0.5, 0.9), (0.1, 0.99), (0.1, 0.9), (0.2, 0.9), (0.5, 0.99)]  # no (0.2, 0.99)
    greedy = RNG.random((5, 8))
    columns = dict(zip(("alpha", "gamma"), map(list, zip(*settings, strict=True)), strict=True))
    command(written(tmp_path / "run", returns(5, 8, 3), columns, greedy), "--kind", "sensitivity")
    axes = drawn["sensitivity_alpha_gamma"].axes[0]
    cells = axes.images[0].get_array()
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("alpha", "gamma") and cells.shape == (3, 2)
    assert axes.get_ylim() == (-0.5, 2.5)  # it grows upwards
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0.1", "0.2", "0.5"]
    texts = {(round(t.get_position()[0]), round(t.get_position()[1])): [] for t in axes.texts}
    for text in axes.texts:
        texts[tuple(round(place) for place in text.get_position())].append(text.get_text())
    for (alpha, gamma), own in zip(settings, greedy, strict=True):
        y, x = [0.1, 0.2, 0.5].index(alpha), [0.9, 0.99].index(gamma)
        assert cells[y, x] == pytest.approx(slow_iqm(own))
        low, high = stats.iqm_interval(own)
        assert texts[x, y] == [f"{slow_iqm(own):.2f}", f"[{low:.2f}, {high:.2f}]"]
    assert np.ma.getmaskarray(cells)[1, 1] or np.isnan(cells[1, 1])


def test_sensitivity_takes_the_others_at_their_best(tmp_path, drawn):
    hypers_ = qjax.grid(lr=[1e-2, 1e-4, 1e-3], gamma=[0.9, 0.99], n=[1, 3])
    greedy = RNG.random((12, 6))
    run = written(tmp_path / "run", returns(12, 6, 3), hypers_, greedy)
    other = written(tmp_path / "other", returns(2, 6, 3), {"lr": [1e-3, 1.0]}, greedy[:2], experiment="sarsa")
    command(run, other, "--kind", "sensitivity")
    assert sorted(drawn) == ["sensitivity_gamma", "sensitivity_lr", "sensitivity_n"]
    axes = drawn["sensitivity_lr"].axes[0]
    best = [max(slow_iqm(greedy[i]) for i in np.flatnonzero(hypers_["lr"] == lr)) for lr in (1e-4, 1e-3, 1e-2)]
    first, second = (box.lines[0].get_xydata() for box in axes.containers)
    np.testing.assert_allclose(first, np.transpose([[1e-4, 1e-3, 1e-2], best]))
    np.testing.assert_allclose(second, [[1e-3, slow_iqm(greedy[0])], [1.0, slow_iqm(greedy[1])]])
    assert (
        axes.get_xscale() == "log"
        and "best value of gamma, n at each point" in drawn["sensitivity_lr"].get_suptitle()
    )


def test_scores_of_tables():
    values = np.array([[1.0, np.nan, 4, np.nan], [np.nan, 2, 3, 8]])
    sample = studies.Sample({}, np.array([10.0, 20, 30, 40]), values, None, True, 0)
    np.testing.assert_array_equal(sample.score("final", 40), [4, 8])
    np.testing.assert_array_equal(sample.score("final", 30), [4, 3])
    np.testing.assert_array_equal(sample.score("area", 40), stats.area(values, sample.x))
    np.testing.assert_array_equal(sample.score("area", 30), stats.area(values[:, :3], sample.x[:3]))
    np.testing.assert_array_equal(sample.score("final", 39), [4, 3])  # at least the last one
    with pytest.raises(ValueError, match="the first log point is at 10, after 5"):
        sample.score("final", 5)
    np.testing.assert_array_equal(studies.trailing(values, 2), [[1, 1, 4, 4], [np.nan, 2, 2.5, 5.5]])


# ---- other kinds of runs


def test_a_run_counted_in_episodes_and_lanes_that_end(tmp_path, drawn, capsys):
    """Two lanes of 20 episodes; the first needs four log points, the second two."""
    values = np.array([[[1.0, 0, 1, 1], [0.5, 1, np.nan, np.nan]]])
    reached = np.array([[[5, 10, 15, 20], [10, 20, 20, 20]]])
    folder = written(tmp_path / "run", values, episodes=20, reached=reached, ends=True)
    study = studies.load(folder)
    assert study.unit == "episodes" and study.samples[0].x.tolist() == list(range(1, 21))
    np.testing.assert_allclose(study.samples[0].values, [[1.0] * 5 + [0] * 5 + [1] * 10, [0.5] * 10 + [1] * 10])
    steps = studies.load(folder, "episodes")
    assert steps.samples[0].x.tolist() == [100, 200, 300, 400] and steps.samples[0].values[1].tolist() == [
        10,
        20,
        20,
        20,
    ]
    assert "1 of 2 lanes end before the others and keep their last value" in " ".join(steps.notes)


def test_environments_have_pictures_of_their_own(tmp_path, drawn, capsys):
    for env, top in (("CartPole-v1", 500.0), ("Acrobot-v1", -80.0)):
        for i, name in enumerate(("dqn", "pqn")):
            greedy = top + np.arange(4.0) * (i + 1)
            written(tmp_path / f"{name}-{env}", returns(1, 4, 3, top=top), None, [greedy], experiment=name, env=env)
    assert command(*sorted(tmp_path.iterdir()), "--kind", "profiles", "curves", "--out", tmp_path / "out") == 0
    assert sorted(drawn) == [
        "curves_Acrobot-v1", "curves_CartPole-v1", "profiles_Acrobot-v1", "profiles_CartPole-v1", "profiles_all",
    ]  # fmt: skip
    for tau, share in lines(drawn["profiles_all"].axes[0])["dqn"]:
        assert share == np.mean(np.arange(4) / 6 > tau)
    assert lines(drawn["curves_CartPole-v1"].axes[0])["threshold (475)"][0, 1] == 475
    assert command(tmp_path / "dqn-CartPole-v1", tmp_path / "pqn-Acrobot-v1", "--kind", "profiles") == 0
    assert "note: no profiles of all: no profile over all environments, as no name has" in capsys.readouterr().err


@pytest.mark.parametrize(("seeds", "said"), [(1, "no interval of one seed"), (2, "95% bootstrap interval")])
def test_a_profile_over_environments_says_what_its_bands_are(tmp_path, drawn, seeds, said):
    for env in ("CartPole-v1", "Acrobot-v1"):
        written(tmp_path / env, returns(1, seeds, 3), None, [np.arange(1.0 * seeds)], experiment="dqn", env=env)
    assert command(*sorted(tmp_path.iterdir()), "--kind", "profiles", "--out", tmp_path / "out") == 0
    assert drawn["profiles_all"].get_suptitle().endswith(f"performance profile, {said}")


def test_lakes_of_two_maps_are_two_environments(tmp_path):
    """Whichever program made them; and two limits are two."""
    large = "FrozenLake8x8-v1"
    of = {
        "small": {"arguments": {"env_kwargs": []}},
        "large": {"arguments": {"env_kwargs": ["is_slippery=false"]}, "env": large},
        "lake": {
            "arguments": {"env_kwargs": ["is_slippery=false", "map_name=8x8"]},
            "experiment": "frozenlake",
            "env": large,
        },
        "short": {"arguments": {"env_kwargs": ["map_name=8x8", "is_slippery=false"]}},
    }
    runs = [written(tmp_path / name, returns(1, 4, 3), **options) for name, options in of.items()]
    assert [studies.load(run).environment for run in runs] == [
        "FrozenLake-v1", f"{large} is_slippery=false", f"{large} is_slippery=false",
        "FrozenLake-v1 is_slippery=false map_name=8x8",
    ]  # fmt: skip


def test_a_grids_runs_are_one_run(tmp_path, drawn, capsys):
    alphas = {"alpha": [0.1, 0.2]}
    runs = {f"n={n}": {"returns": returns(2, 4, 3), "hypers": alphas} for n in (1, 4)}
    runs["n=4"]["scores"] = np.zeros((2, 4))
    folder = grid(tmp_path / "grid", {"n": [1, 2, 4], **alphas}, runs)
    study = studies.load(folder)
    assert study.swept == {"n": [1, 1, 4, 4], "alpha": [0.1, 0.2, 0.1, 0.2]}
    assert command(folder, "--kind", "sensitivity", "curves") == 0
    said = capsys.readouterr().err
    assert f"note: {folder}: not begun: n=2\n" in said
    assert "no evaluation of q-learning, which ended without one: scores are final training returns" in said
    assert sorted(drawn) == ["curves", "sensitivity_n_alpha"]
    with pytest.raises(ValueError, match="the folder holds several runs, n=1, n=4"):
        qjax.results.load(folder)
    (folder / "n=1" / "metrics.csv").unlink()
    assert command(folder, "--kind", "sensitivity") == 0
    assert "n=1 holds neither metrics.csv nor" in capsys.readouterr().err and "sensitivity_alpha" in drawn


# ---- what is said


def spoilt(folder, change, name="config.json"):
    text = json.loads((folder / name).read_text())
    change(text)
    (folder / name).write_text(json.dumps(text))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda run: run.rename(run.parent / "away"), "run holds no run: there is no such folder"),
        (lambda run: (run / "config.json").unlink(), "run holds no run: it has no config.json"),
        (lambda run: (run / "metrics.csv").unlink(), "run holds neither metrics.csv nor metrics.parquet"),
        (
            lambda run: (run / "metrics.csv").write_text((run / "metrics.csv").read_text().splitlines(True)[0]),
            "run holds no log point yet",
        ),
        (lambda run: (run / "summary.json").write_text("{"), "summary.json is damaged: "),
        (
            lambda run: spoilt(run, lambda config: config.pop("experiment")),
            "run is of another version: its config.json has no 'experiment'",
        ),
        (
            lambda run: (
                spoilt(run, lambda config: config["versions"].update(qjax="0.0.7")),
                (run / "metrics.csv").write_text(
                    (run / "metrics.csv").read_text().replace("mean_return", "return")
                ),
            ),
            "it was written by qjax 0.0.7, and this is qjax",
        ),
    ],
)
def test_a_run_that_cannot_be_read(tmp_path, drawn, capsys, spoil, said):
    """Alone it is an error; beside another one it is passed over."""
    run, other = (written(tmp_path / name, returns(1, 4, 3)) for name in ("run", "other"))
    spoil(run)
    assert command(run) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and said in error and error.count("\n") == 1
    assert command(run, other, "--kind", "curves") == 1
    assert f"passed over: {error.removeprefix('error: ')}" in capsys.readouterr().err and "curves" in drawn


def test_what_is_missing_is_told(tmp_path, drawn, capsys):
    cut = written(tmp_path / "cut", returns(1, 4, 3), log_points=10)
    spoilt(cut, lambda config: config["versions"].update(qjax="0.0.7"))
    one = written(tmp_path / "one", returns(1, 1, 5), None, [[1.0]])
    assert command(cut, one, "--kind", "curves", "efficiency", "sensitivity") == 0
    said = capsys.readouterr().err
    for note in (
        "/cut: interrupted after 3 of 10 log points",
        "/cut: written by qjax 0.0.7, read by",
        "no evaluation of cut, which has not ended: scores are final training returns",
        "runs end after 300 to 500 environment steps: scores are of the first 300",
        "cut has 4 seeds: no interval of a median, which needs 6",
        "one has 1 seed: no interval of a mean, which needs 2, nor of a median, which needs 6",
        "no sensitivity: nothing was swept",
    ):
        assert note in said
    assert list(lines(drawn["curves"].axes[0])) == ["cut (interrupted)", "one", LEVEL]


def test_titles_of_one_seed_claim_no_interval(tmp_path, drawn):
    for seeds, said in ((1, "no interval of one seed"), (2, "95% bootstrap interval")):
        drawn.clear()
        command(written(tmp_path / f"{seeds}", returns(2, seeds, 5), {"alpha": [0.1, 0.5]}, np.ones((2, seeds))))
        named = {name: figure.get_suptitle() for name, figure in drawn.items()}
        assert {name for name, title in named.items() if said in title} == named.keys() - {"efficiency"}


def test_a_point_that_a_kill_tore_is_left_out(tmp_path):
    cut = written(tmp_path / "cut", returns(1, 4, 3), log_points=10)
    (cut / "metrics.csv").write_text("".join((cut / "metrics.csv").read_text().splitlines(True)[:-2]))
    study = studies.load(cut)
    assert study.samples[0].x.tolist() == [100, 200] and "the last of them has 2 of 4 lanes" in study.notes[1]


def test_runs_with_different_log_points(tmp_path, drawn, capsys):
    dense, sparse = (
        written(tmp_path / str(every), returns(1, 4, 600 // every), every=every) for every in (100, 200)
    )
    assert command(dense, sparse, "--kind", "curves") == 0
    assert "runs have different log points: each line is drawn at its own" in capsys.readouterr().err
    found = lines(drawn["curves"].axes[0])
    assert found["200"][:, 0].tolist() == [200, 400, 600] and len(found["100"]) == 6


def test_runs_of_different_length_are_scored_over_the_same_steps(tmp_path, drawn, capsys):
    """One setting is better at first, the other at last."""
    crossing = np.array([np.linspace(1, 0, 10), np.linspace(0, 1, 10)])[:, None].repeat(3, axis=1)
    long = written(tmp_path / "long", crossing, {"alpha": [0.1, 0.5]})
    short = written(tmp_path / "short", crossing[:1, :, :4], experiment="sarsa")
    command(long, short, "--kind", "seeds", "--score", "final")
    (axes,) = drawn.pop("seeds").axes
    assert axes.get_yticklabels()[0].get_text() == "q-learning (alpha=0.1)"
    assert axes.collections[0].get_offsets()[0, 0] == pytest.approx(crossing[0, 0, 3])

    late = written(tmp_path / "late", crossing[:, :, 5:], {"alpha": [0.1, 0.5]}, experiment="dqn", every=500)
    assert command(late, short, "--kind", "seeds", "curves") == 0
    assert "no seeds: some runs have their first log point after others end, at 400 env" in capsys.readouterr().err
    assert list(drawn) == ["curves"] and list(lines(drawn["curves"].axes[0])) == ["dqn (alpha=0.5)", "sarsa", LEVEL]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("--metric", "mean_retrun"),
            r"has no metrics ['mean_retrun']; it has ['env_steps', 'episodes', 'mean_return'",
        ),
        (("--metric", "loss"), "run has no value of loss at any log point"),
        (("--window", 0), "window must be at least 1, got 0"),
        (("--labels", "a", "b"), "give one label for each RUN: 2 labels, 1 runs"),
        (("--kind", "sensitivity"), "error: nothing could be drawn"),
        (
            ("--score", "evaluation", "--kind", "seeds"),
            "error: no evaluation of q-learning, which ended without one",
        ),
    ],
)
def test_bad_arguments(tmp_path, drawn, capsys, words, said):
    assert command(written(tmp_path / "run", returns(1, 4, 3)), *words) == 2
    assert said in capsys.readouterr().err and not drawn


def test_the_same_run_twice_needs_labels(tmp_path, drawn, capsys):
    run = written(tmp_path / "run", returns(1, 4, 3))
    assert command(run, run, "--kind", "curves") == 2
    assert "runs of one environment need labels of their own" in capsys.readouterr().err
    assert command(run, run, "--kind", "curves", "--labels", "a", "b") == 0
    assert list(lines(drawn["curves"].axes[0])) == ["a", "b", LEVEL]


# ---- files


def test_files_are_the_same_whenever_written_and_no_device_is_needed(tmp_path, capsys):
    run = written(tmp_path / "run", returns(1, 6, 4))
    words = [run, "--kind", "curves", "efficiency", "--out"]
    assert command(*words, tmp_path / "a") == 0
    assert f"wrote {tmp_path / 'a' / 'curves.png'} and curves.svg\n" in capsys.readouterr().out
    code = """
import sys
from jax._src import xla_bridge
from qjax.cli import plot
try:
    plot.main()
except SystemExit as ended:
    sys.exit(ended.code or xla_bridge.backends_are_initialized())
"""
    subprocess.run([sys.executable, "-c", code, *map(str, words), tmp_path / "b"], check=True)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == ["curves.png", "curves.svg", "efficiency.png", "efficiency.svg"]
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    widths = [Image.open(tmp_path / "a" / name).size[0] for name in files if name.endswith("png")]
    assert widths == [3.4 * 300, 7 * 300]
    assert b"<text" not in (tmp_path / "a" / "curves.svg").read_bytes()


def test_settings_in_words():
    assert compare.describe({"learning_rate": 2.5e-4, "hidden": "64,64", "double": True}) == (
        "learning_rate=0.00025, hidden=64,64, double=True"
    )
