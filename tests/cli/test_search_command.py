"""`qjax search`: its flags and those of `qjax train`, what is wrong with them, a small search from end to end."""

import json
import sys

import numpy as np
import pytest

import qjax
from qjax import searches
from qjax.cli import reading, search, space, studies, train, watch

TABLE = "q-learning --env FrozenLake-v1 --env-kwargs is_slippery=false --steps 900 --log-points 9 --width 2"
SMALL = "--settings 4 --eta 2 --rungs 2 --tuning-seeds 2 --fresh-seeds 2 --sensitivity 3"


def read(line):
    return space.read([*line.split(), "--out", "nowhere"])


def prepared(line):
    return search.prepared(*read(line))


def test_flags_are_those_of_the_search_and_of_the_training():
    made, plain, _ = prepared(f"{TABLE} {SMALL} --space alpha=log:1e-3:1 epsilon_end=uniform:0:0.3 --gamma 0.9")
    assert made.space == {"alpha": searches.log_uniform(1e-3, 1.0), "epsilon_end": searches.uniform(0.0, 0.3)}
    assert (len(made.tuning), len(made.fresh), made.brackets[0]) == (2, 2, (4, (450, 900), (2, 1)))
    assert plain.constants.gamma == 0.9 and made.default == {"alpha": plain.constants.alpha, "epsilon_end": 0.05}


def test_several_values_are_choices_and_static_ones_a_loop():
    line = f"dqn --steps 30000 {SMALL} --lr 1e-4 1e-3 --hidden 64,64 128 --space target_period=int:100:500"
    made, _, _ = prepared(line)
    assert made.space["learning_rate"] == searches.choices([1e-4, 1e-3])
    assert made.statics == [{"hidden": (64, 64)}, {"hidden": (128,)}]
    assert made.default == {"learning_rate": 1e-4, "target_period": 500, "hidden": (64, 64)}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (f"{TABLE} --space alpha=1:2", "--space takes NAME=KIND:LOW:HIGH"),
        (f"{TABLE} --space alpha=log:0:1", r"--space alpha=log:0:1: log_uniform: low must lie in \(0"),
        (f"{TABLE} --space alpha=uniform:1:0.1", "low must be below high, got 1 and 0.1"),
        (f"{TABLE} --space alfa=log:1e-3:1", "has no alfa; did you mean alpha"),
        (
            "dqn --steps 30000 --space batch_size=int:32:64",
            "batch_size shapes the program; give its values",
        ),
        (f"{TABLE} --space alpha=log:1e-3:1 --alpha 0.1 0.2", "--alpha has several values, and --space a range"),
        (f"{TABLE} --space alpha=log:1e-3:1 --score regret", "no score 'regret' is logged"),
        (f"{TABLE} --space alpha=log:1e-3:1 --seeds 4", "a search has no --seeds; it has --tuning-seeds"),
        ("dqn --steps 9 --space lr=log:1e-3:1 --measures", "a search has no --measures"),
        (f"{TABLE} --space alpha=log:1e-3:1 --eta 1", "eta must be at least 2, got 1"),
        (f"{TABLE} --space alpha=log:1e-3:1 --tuning-seeds 1", "tuning_seeds must be at least 2, got 1"),
        (TABLE, "space is empty"),
        (f"{TABLE} --space alpha=log:1e-3:1 --settins 3", "no flag --settins"),
        ("dqn --envs A B --env A", "give either --env or --envs, got both: --envs A B"),
        ("dqn --steps 9 --space lr=log:1e-3:1 --envs Acrobot-v1 Acrobot-v1", "--envs has Acrobot-v1 twice"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(line, told):
    with pytest.raises(ValueError, match=told):
        prepared(line)


def test_a_search_from_the_command_line(tmp_path, monkeypatch, capsys):
    """Its plan first, rungs as they go, a table at the end; its fresh runs are those of `qjax train`."""
    out = tmp_path / "run"
    words = f"{TABLE} {SMALL} --space alpha=log:1e-2:1 --no-compilation-cache --cores 2".split()

    def call(*more):
        monkeypatch.setattr(sys, "argv", ["qjax search", *words, "--out", str(out), *more])
        search.main()
        return capsys.readouterr().out

    assert "bracket 0: 4 until 500, 2 until 900 env-steps, 2 seeds each" in (told := call("--dry-run"))
    assert "5,600 env-steps where the grid of these settings takes 7,200 (1.3 times as many)" in told
    assert not out.exists()
    told = call()
    assert "bracket_0 at 500 env-steps: 2 of 4 settings go on" in told and "P(winner is better)" in told
    written = json.loads((out / "search.json").read_text())
    loop, agents = train.load(out / "fresh_winner")
    assert loop.env.name == "FrozenLake-v1" and np.shape(agents)[0] == 2
    config = qjax.load_config(out / "fresh_winner")["arguments"]["config"]
    assert config["alpha"] == written["winner"]["setting"]["alpha"]
    assert (out / "fresh.png").is_file() and (out / "sensitivity_alpha.svg").is_file()
    assert len(written["sensitivity"]["alpha"]["values"]) in (3, 4) and "alpha" in told
    assert "has ended; its results stand" in call("--resume")


def test_one_setting_for_several_environments():
    line = (
        "q-learning --steps 900 --log-points 9 --envs FrozenLake-v1 CliffWalking-v1 --reference FrozenLake-v1=0,1"
    )
    made, _, _ = prepared(f"{line} CliffWalking-v1=-1000,-13 {SMALL} --space alpha=log:1e-2:1")
    assert list(made.builds) == ["FrozenLake-v1", "CliffWalking-v1"] and "one setting for FrozenLake" in str(made)
    assert made.reference == {"FrozenLake-v1": (0.0, 1.0), "CliffWalking-v1": (-1000.0, -13.0)}
    assert [made.build(env, {})({"alpha": 0.1}).env.name for env in made.builds] == list(made.builds)


def test_the_words_that_make_it_again_are_kept():
    line = "dqn --lr 1e-3 --resume --out runs/x --settings 3 --dry-run --overwrite"
    found, _ = space.read(line.split())
    assert found.words == ("dqn", "--lr", "1e-3", "--settings", "3")


def test_a_search_is_no_run(tmp_path, monkeypatch):
    """Its folder and its sweeps say what to name instead."""
    with qjax.Run(tmp_path / "found", "search", {"name": "q-learning"}) as run:
        run.lifecycle.begin()
    with pytest.raises(ValueError, match="holds a search: see it whole by qjax report"):
        studies.load(tmp_path / "found")
    for name in ("bracket_0", "fresh_winner"):
        with qjax.Run(tmp_path / "found" / name, "q-learning", {"sweep": name}) as run:
            run.lifecycle.begin()
    for load in (studies.load, lambda folder: watch.load(folder, 0)):
        with pytest.raises(ValueError, match=r"name one of its runs, \S+/found/fresh_winner, or see it whole"):
            load(tmp_path / "found")
    with pytest.raises(ValueError, match="holds settings that a search drew"):
        reading.read_back(tmp_path / "found" / "bracket_0")
