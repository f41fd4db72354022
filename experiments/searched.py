"""What searching the settings is worth: the default against what a search finds, on seeds that it never saw.

    python -m experiments.searched --out runs/searched

DQN and PQN on CartPole, Acrobot and MountainCar, and on two of MinAtar's games where they are asked for. Each is a
`qjax search`, so what was stopped goes on where it was; searched.json has what is drawn, and the commands.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from experiments.records import keep
from qjax import plot, stats
from qjax.cli import search, space
from qjax.cli.command import Setting, main
from qjax.core import jsonfile
from qjax.core.checks import check_size
from qjax.searches.search import SEARCH

SHARED = ("lr=log:1e-4:1e-2", "epsilon_end=uniform:0:0.1", "gamma=uniform:0.95:0.999")
SPACES = {"dqn": (*SHARED, "target_period=log-int:50:5000"), "pqn": (*SHARED, "lam=uniform:0:1")}
"""Of each algorithm what is searched; the rest stays as it is by default."""


class Task(NamedTuple):
    """An environment, and how long an algorithm is trained there."""

    env: str
    steps: int
    """Of each seed that goes to the end."""
    words: tuple[str, ...] = ()
    """Further arguments of the command."""


TASKS = {
    "cartpole": Task("CartPole-v1", 200_000),
    "acrobot": Task("Acrobot-v1", 200_000),
    "mountaincar": Task("MountainCar-v0", 500_000),
    "breakout": Task("Breakout-MinAtar", 500_000),
    "asterix": Task("Asterix-MinAtar", 500_000),
}


@dataclass(kw_only=True)
class Arguments(Setting):
    """Search the settings of DQN and PQN, and draw the winner beside the default on fresh seeds."""

    seeds: int = 64
    """Fresh seeds of the winner and of the default."""
    tasks: tuple[str, ...] = ("cartpole", "acrobot", "mountaincar")
    """Which of cartpole, acrobot, mountaincar, breakout and asterix."""
    algorithms: tuple[str, ...] = tuple(SPACES)
    """Which of dqn and pqn."""
    settings: int = 27
    """Settings that a search begins with, the default among them."""
    tuning_seeds: int = 5
    """Seeds by which it judges them."""
    rungs: int = 2
    """At which it does: with 3 the first comes when DQN has hardly begun to learn."""
    shorten: int = 1
    """Divides the steps: for a quick look."""
    out: Path = Path("runs/searched")
    """Folder for the searches, a picture and a JSON file."""


def command(args: Arguments, algorithm: str, task: Task, out: Path) -> list[str]:
    """Return the words of one search."""
    words = [
        algorithm,
        "--env",
        task.env,
        "--space",
        *SPACES[algorithm],
        "--steps",
        f"{task.steps // args.shorten}",
    ]
    words += ["--settings", f"{args.settings}", "--tuning-seeds", f"{args.tuning_seeds}"]
    words += ["--rungs", f"{args.rungs}"]
    words += ["--fresh-seeds", f"{args.seeds}", "--score", "eval_return", "--evaluate-every", "10"]
    words += ["--eval-episodes", "10", *task.words, "--seed", f"{args.seed}"]
    return [*words, *["--fast-keys"] * args.fast_keys, "--out", str(out)]


def kept(folder: Path, words: list[str]) -> dict[str, Any]:
    """Return what is drawn and told of a finished search."""
    found = jsonfile.read(folder / SEARCH, {})
    return {
        "command": shlex.join(["qjax", "search", *words]),
        "rungs": [{"steps": rung["steps"], "settings": _alive(rung)} for rung in found["brackets"][0]["rungs"]],
        **{name: found[name] for name in ("winner", "default", "comparison", "tuning_score", "env_steps")},
    }


def _alive(rung: Any) -> int:
    """Return how many settings were judged at a rung."""
    (scores,) = rung["scores"].values()
    return sum(any(score is not None for score in own) for own in scores)


def scores_of(record: Any, name: str) -> np.ndarray:
    """Return the scores of the winner or the default on fresh seeds, `[seeds]`."""
    (own,) = record[name]["scores"].values()
    return np.array([np.nan if score is None else float(score) for score in own])


def draw(records: dict[str, dict[str, Any]], out: Path) -> None:
    """Write a picture of each task: winner and default of each algorithm, every seed."""
    for task, own in records.items():
        lines = {
            f"{algorithm}, {name}": scores_of(record, who)
            for algorithm, record in own.items()
            for who, name in (("default", "default"), ("winner", "searched"))
        }
        count = len(next(iter(lines.values())))
        title = f"{TASKS[task].env}, last evaluation, {count} fresh seeds"
        plot.save(plot.distribution(lines, title, "mean greedy return"), out / f"searched-{task}")


def show(records: dict[str, dict[str, Any]]) -> None:
    """Print a row for each search."""
    table = Table("", "default", "searched", "P(searched is better)", "search, steps", "grid, steps")
    for task, own in records.items():
        for algorithm, record in own.items():
            (compared,) = record["comparison"].values()
            ends = [_interval(scores_of(record, name)) for name in ("default", "winner")]
            chance = "{:.2f} [{:.2f}, {:.2f}]".format(*compared["improvement"])
            steps = [f"{record['env_steps'][name] / 1e6:.1f} M" for name in ("tuning", "grid")]
            table.add_row(f"{algorithm}, {TASKS[task].env}", *ends, chance, *steps)
    Console(width=160).print(table)


def _interval(scores: np.ndarray) -> str:
    low, high = stats.iqm_interval(scores)
    return f"{float(stats.iqm(scores)):.1f} [{low:.1f}, {high:.1f}]"


def run(args: Arguments) -> None:
    """Search what is not searched yet; draw and write what is known after each."""
    for what, given, known in (("tasks", args.tasks, TASKS), ("algorithms", args.algorithms, SPACES)):
        for name in given:
            if name not in known:
                raise ValueError(f"{name!r} is none of the {what} {', '.join(known)}")
    check_size("shorten", args.shorten)
    records: dict[str, dict[str, Any]] = {}
    for task in args.tasks:
        for algorithm in args.algorithms:
            folder = args.out / task / algorithm
            words = command(args, algorithm, TASKS[task], folder)
            search.run(*space.read([*words, "--resume"]))
            records.setdefault(task, {})[algorithm] = kept(folder, words)
            keep(args.out / "searched.json", records)
            draw(records, args.out)
    show(records)
    print(f"pictures, and what they show, in {args.out}")


if __name__ == "__main__":
    main(run, Arguments.parse)
