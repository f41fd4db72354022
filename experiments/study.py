"""Two results that a few seeds would hide, from training to picture.

    python -m experiments.study --out runs/study

The tutorials' recipe for tabular Q-learning on the deterministic lake, with ties between equal values broken at
random and as plain `argmax` breaks them; and what the learning rate and the target's period do to DQN on CartPole,
all cells in one program. Each part is a run's folder; a study that was stopped goes on where it was.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import qjax
from experiments import frozenlake
from qjax import plot, stats
from qjax.cli import plot as pictures
from qjax.cli import train
from qjax.cli.arguments import arguments_of
from qjax.cli.command import Setting, main
from qjax.cli.grid import Several
from qjax.core.jsonfile import NUMBER
from qjax.runs.config import load_summary

TIES = {"random": "ties at random", "first": "first index (argmax)"}


@dataclass(kw_only=True)
class Arguments(Setting):
    """Break ties in two ways on the lake, and sweep DQN's learning rate and target period on CartPole."""

    seeds: int = 32
    """Seeds of each cell of the map."""
    lake_seeds: int = 512
    """Seeds of each line of the lake."""
    episodes: int = 2000
    """Episodes of each seed on the lake."""
    steps: int = 100_000
    """Environment steps of each seed on CartPole."""
    learning_rates: tuple[float, ...] = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
    target_periods: tuple[int, ...] = (10, 100, 500, 2500, 10_000)
    """Environment steps between two copies of the target; with 10 it is copied after every update."""
    accept_program: bool = False
    """Go on although a program's text is another, as with `qjax train`."""
    out: Path = Path("runs/study")
    """Folder for the runs and the pictures."""


def shared(args: Arguments) -> dict[str, Any]:
    """Return what both parts are given."""
    machine = {"cores": args.cores, "compilation_cache": args.compilation_cache}
    again = {"resume": True, "accept_program": args.accept_program}
    return {"seed": args.seed, "fast_keys": args.fast_keys, **again, **machine}


def ties(args: Arguments) -> None:
    """Train the lake with both ways to break ties, and draw how often the goal is reached."""
    lines, solved = {}, []
    for way, name in TIES.items():
        out = args.out / f"ties-{way}"
        given: dict[str, Any] = {"seeds": args.lake_seeds, "episodes": args.episodes, "ties": way}
        frozenlake.run(frozenlake.Arguments(**given, **shared(args), out=out))
        x, returns = plot.returns_by_episode(qjax.load_points(out), args.episodes)
        lines[name] = (x, returns)
        summary = load_summary(out, {"solved_fraction": NUMBER}, needs=["solved_fraction"])
        count = round(summary["solved_fraction"] * args.lake_seeds)
        low, high = stats.wilson(count, args.lake_seeds)
        solved.append(f"{name}: {count} of {args.lake_seeds} [{low:.0%}, {high:.0%}]")
    title = "\n".join(("FrozenLake 4x4, deterministic", "seeds solved, 95% Wilson interval:", *solved))
    drawn = plot.curves(lines, title, "episodes", "share of episodes that reach the goal, interquartile mean")
    plot.save(drawn, args.out / "ties")


def rates(args: Arguments) -> None:
    """Train every cell, and draw the map."""
    swept = {"learning_rate": Several(args.learning_rates), "target_period": Several(args.target_periods)}
    out = args.out / "rates"
    given: dict[str, Any] = {"name": "dqn", "seeds": args.seeds, "steps": args.steps, **swept}
    train.run(arguments_of("dqn")(**given, **shared(args), out=out))
    pictures.run(pictures.Arguments(folders=(out,), kind=("sensitivity",), out=args.out))


def run(args: Arguments) -> None:
    """Run both parts."""
    for given in (args.learning_rates, args.target_periods):
        if len(set(given)) < 2:
            raise ValueError(f"a map needs several values on each axis, got {given}")
    ties(args)
    rates(args)
    print(f"pictures in {args.out}")


if __name__ == "__main__":
    main(run, Arguments.parse)
