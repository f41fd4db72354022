"""What a sweep returns: as arrays, as a frame, as curves, shown while it runs; and the same of its folder."""

import sys
from types import SimpleNamespace

import numpy as np
import pandas
import probes
import pytest

import qjax
from qjax.sweeps import progress
from qjax.sweeps.progress import Progress

ALPHAS = [0.25, 0.5]


def build(hyper):
    env = qjax.make(probes.Walk())
    agent = qjax.tabular(env.num_states, env.num_actions, hyper["alpha"])
    return qjax.make_loop(env, agent, qjax.uniform, qjax.online(), gamma=0.9)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A result, its run's folder, and what was shown."""
    folder, said = tmp_path_factory.mktemp("runs") / "run", []
    with pytest.MonkeyPatch.context() as patch, qjax.Run(folder, "walk", {"gamma": 0.9}) as run:
        patch.setattr(sys, "stdout", SimpleNamespace(write=said.append, flush=lambda: None, encoding="utf-8"))
        work = {"seeds": [4, 7, 9], "steps": 40, "log_points": 4, "width": 3}
        result = qjax.sweep(build, hypers=qjax.grid(alpha=ALPHAS), run=run, progress=True, **work)
    return result, folder, "".join(said)


def test_a_result_is_its_tables(swept):
    result, folder, _ = swept
    table, loaded = result.table(), qjax.results.load(folder)
    assert table.env_steps.shape == (2, 3, 4) and table.seeds.tolist() == [4, 7, 9]
    assert table.hypers["alpha"].tolist() == ALPHAS and (table["env_steps"][..., -1] == 40).all()
    assert table.metrics.keys() == loaded.metrics.keys()
    for name in ("env_steps", *table.metrics):
        np.testing.assert_array_equal(table[name], loaded[name])
    with pytest.raises(ValueError, match="the sweep has no metrics"):
        table["los"]
    pandas.testing.assert_frame_equal(result.frame(), loaded.frame(arguments=False))
    assert list(loaded.frame())[-1] == "gamma"


def test_a_result_without_a_table(swept):
    result, _, _ = swept
    with pytest.raises(ValueError, match="the sweep has no log point yet"):
        result._replace(points=[]).table()
    with pytest.raises(ValueError, match="log points of 6 of 8 lanes, for every host has its own"):
        result._replace(seeds=np.arange(8), settings=np.repeat([0, 1], 4)).frame()


def lines(figure):
    return {line.get_label(): line.get_xydata() for line in figure.axes[0].lines}


def test_a_result_is_drawn_as_it_is(swept):
    result, folder, _ = swept
    drawn = lines(qjax.plot.curves(result, resamples=50))
    assert list(drawn) == ["alpha=0.25", "alpha=0.5"]
    table = result.table()
    for number, line in enumerate(drawn.values()):
        assert line[:, 0].tolist() == [10, 20, 30, 40]
        np.testing.assert_allclose(line[:, 1], qjax.stats.iqm(table["mean_return"][number], axis=0))
    loaded = lines(qjax.plot.curves(qjax.results.load(folder), resamples=50))
    named = qjax.plot.curves({"now": result, "then": qjax.results.load(folder)}, metric="mean_q", resamples=50)
    assert all((loaded[name] == line).all() for name, line in drawn.items())
    assert list(lines(named)) == [f"{name}, alpha={alpha}" for name in ("now", "then") for alpha in ALPHAS]
    assert named.axes[0].get_ylabel() == "mean_q"
    with pytest.raises(ValueError, match=r"has no metrics \['los'\]"):
        qjax.plot.curves(result, metric="los")


def test_a_sweep_shows_how_far_it_is(swept):
    _, _, said = swept
    assert said.startswith("Walk, 2 settings x 3 seeds: compiling\n") and said.endswith("\n")
    assert "100%, " in said.splitlines()[-1]


def test_a_bar_in_a_notebook_takes_the_place_of_the_last_one(monkeypatch):
    said = []
    stream = type("OutStream", (), {"__module__": "ipykernel.iostream", "encoding": "utf-8"})()
    stream.write, stream.flush = said.append, lambda: None
    monkeypatch.setattr(sys, "stdout", stream)
    with progress.show_progress("walk") as show:
        show(Progress(0.5, 1.0, 10, 1, float("nan"), 0))
        show(Progress(1.0, 2.0, 20, 2, 3.0, 0))
    first, compiling, half, whole = "".join(said).split("\r")
    assert (first, compiling) == ("", f"walk [{' ' * 20}]   0% compiling")
    assert half.startswith(f"walk [{'#' * 10}{' ' * 10}]  50% 10 env-steps/s") and "\n" not in half
    assert whole.startswith(f"walk [{'#' * 20}] 100% 10 env-steps/s") and whole.endswith("\n")
    assert len(whole) - 1 == len(half)  # nothing of a longer line is left
