"""The experiment on what a search is worth: its commands, what it keeps of them, its pictures."""

import json

import pytest

from experiments import searched
from qjax.cli import search, space


@pytest.mark.parametrize("algorithm", searched.SPACES)
@pytest.mark.parametrize("task", searched.TASKS)
def test_every_search_can_be_prepared(task, algorithm, tmp_path):
    """Two thirds of the settings leave at a third of the steps."""
    own = searched.TASKS[task]
    words = searched.command(searched.Arguments(seeds=7), algorithm, own, tmp_path / "x")
    made, args, work = search.prepared(*space.read(words))
    assert (args.name, args.env, args.given["steps"]) == (algorithm, own.env, own.steps)
    (bracket,) = made.brackets
    assert (bracket.settings, *bracket.kept) == (27, 9, 1) and len(made.fresh) == 7
    assert bracket.rungs[0] == pytest.approx(own.steps / 3, abs=1) and bracket.rungs[1] == own.steps
    assert made.default.keys() == made.space.keys() and work["evaluate_every"] == 10


def record(winner, default):
    return {
        "score": {"metric": "eval_return", "kind": "final", "lower": False},
        "brackets": [
            {
                "rungs": [
                    {"steps": 100, "scores": {"": [[1.0, 2.0], [3.0, None], [0.0, 0.0]]}},
                    {"steps": 300, "scores": {"": [[1.0, 2.0], [None, None], [None, None]]}},
                ]
            }
        ],
        "winner": {"setting": {"lr": 0.1}, "scores": {"": winner}, "env_steps": 4},
        "default": {"setting": {"lr": 0.2}, "scores": {"": default}, "env_steps": 4},
        "comparison": {"": {"difference": [1.0, 0.5, 1.5], "improvement": [0.75, 0.5, 1.0]}},
        "tuning_score": 9.0,
        "env_steps": {"tuning": 2_000_000, "grid": 7_000_000, "fresh": 1_000_000},
    }


def test_a_search_is_kept_drawn_and_told_after_it_ended(monkeypatch, tmp_path, capsys):
    begun = []

    def ended(flags, args):
        begun.append(args.out)
        assert args.resume and flags.fresh_seeds == 3
        args.out.mkdir(parents=True)
        (args.out / "search.json").write_text(json.dumps(record([400.0, 450.0, 500.0], [100.0, 150.0, 200.0])))

    monkeypatch.setattr(search, "run", ended)
    out = tmp_path / "found"
    searched.run(searched.Arguments(tasks=("cartpole",), seeds=3, out=out))
    assert begun == [out / "cartpole" / "dqn", out / "cartpole" / "pqn"]
    kept = json.loads((out / "searched.json").read_text())["cartpole"]
    assert kept["dqn"]["rungs"] == [{"steps": 100, "settings": 3}, {"steps": 300, "settings": 1}]
    assert kept["pqn"]["command"].startswith("qjax search pqn --env CartPole-v1 --space lr=log:1e-4:1e-2")
    assert (out / "searched-cartpole.png").stat().st_size > 5_000
    told = capsys.readouterr().out
    assert "450.0 [4" in told and "150.0 [1" in told and "0.75 [0.50, 1.00]" in told and "2.0 M" in told


def test_what_is_not_known_is_named():
    with pytest.raises(ValueError, match="'pong' is none of the tasks cartpole, acrobot"):
        searched.run(searched.Arguments(tasks=("pong",)))
    with pytest.raises(ValueError, match="'c51' is none of the algorithms dqn, pqn"):
        searched.run(searched.Arguments(algorithms=("c51",)))
