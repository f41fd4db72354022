"""The table of runs' results: its numbers, and what is said of runs that have none."""

import functools

import numpy as np
import pytest
from command_lines import status_of
from folders import grid, written

from qjax import stats
from qjax.cli import results, studies

RETURNS = np.arange(24.0).reshape(2, 3, 4)
SCORES = np.array([[1.0, 2.0, 4.0], [10.0, 20.0, 30.0]])
COST = {"compile_s": 30.0, "run_s": 90.0}


command = functools.partial(status_of, results.main)


def rows(folder):
    found = results.rows(studies.load(folder))
    return [(name, *(cells[column] for column in results.NUMBERS if column != "diverged")) for name, cells in found]


def test_a_line_for_each_setting(tmp_path):
    swept = written(tmp_path / "swept", RETURNS, {"rate": [0.1, 0.2]}, SCORES, summary=COST)
    first, low, high = rows(swept)
    assert first == (str(swept), "", "", "", "", "", "2.0 min")
    for number, (row, places) in enumerate(((low, 2), (high, 1))):
        between = ", ".join(f"{end:.{places}f}" for end in stats.iqm_interval(SCORES[number]))
        training = stats.iqm(RETURNS[number, :, -1])
        assert row == (
            f"  rate={[0.1, 0.2][number]}", "400", "3", f"{stats.iqm(SCORES[number]):.{places}f} [{between}]",
            f"{SCORES[number].min():.{places}f}", f"{training:.{1 if training > 10 else 2}f}", "",
        )  # fmt: skip


def test_what_is_not_known_is_left_out(tmp_path):
    going_on = written(tmp_path / "run", RETURNS[:1, :, :2], log_points=4)
    assert rows(going_on) == [(str(going_on), "200 so far", "3", "", "", f"{stats.iqm(RETURNS[0, :, 1]):.2f}", "")]
    nothing = written(tmp_path / "none", np.full((1, 3, 2), np.nan), scores=SCORES[:1], agents=np.zeros(3))
    with pytest.raises(ValueError, match="has no value of mean_return"):
        rows(nothing)


def test_the_table(tmp_path, capsys):
    one = written(tmp_path / "one", RETURNS[:1], scores=SCORES[:1], summary=COST)
    other = written(tmp_path / "other", RETURNS[:1], env="Taxi-v4", scores=SCORES[:1])
    runs = {f"n={n}": {"returns": RETURNS[:1]} for n in (1, 3)}
    assert command(one, other, grid(tmp_path / "grid", {"n": [1, 3]}, runs), tmp_path / "nowhere") == 1
    said = capsys.readouterr()
    lines = [line.split() for line in said.out.splitlines() if line.strip()]
    assert [line[0] for line in lines if line[-1] == "steps"] == ["FrozenLake-v1,", "Taxi-v4,"]
    assert [str(one), "400", "3", "2.33", "[1.00,", "4.00]", "1.00", "7.00", "2.0", "min"] in lines
    assert {"n=1", "n=3", str(other)} < {line[0] for line in lines}
    assert "diverged" not in said.out
    assert said.err == f"note: passed over: {tmp_path / 'nowhere'} holds no run: there is no such folder\n"
    assert command() == 2 and "error: name at least one RUN" in capsys.readouterr().err


def test_seeds_that_diverged_are_counted(tmp_path, capsys):
    healthy = written(tmp_path / "healthy", RETURNS[:1], scores=SCORES[:1])
    lost = written(
        tmp_path / "lost", RETURNS, {"rate": [0.1, 0.2]}, SCORES, diverged=[[-1, -1, -1], [100, -1, 300]]
    )
    assert command(healthy, lost) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    found = {line[0]: line for line in lines}
    assert "diverged" in found["run"]
    assert found["rate=0.2"][-1] == "2" and found["rate=0.1"][-1] != "2" and found[str(healthy)][-1] != "2"
