"""What resets are worth when a network learns many times from each step: replay ratios from 1 to 16 on CartPole.

    python -m experiments.plasticity --out runs/plasticity

A replay ratio is the updates after each environment step. Each cell is a run of `qjax train` in a folder of its
own, so what was stopped goes on where it was; plasticity.json has what is drawn, of each seed, and the commands.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import qjax
from experiments.memory import greedy_returns
from experiments.offline import draw_panel
from experiments.records import command, keep
from qjax import plot
from qjax.cli import train
from qjax.cli.arguments import arguments_of
from qjax.cli.command import Setting, main
from qjax.core.checks import check_listed, check_size
from qjax.plot.style import legend, paper, titled

STEPS, EVERY = 10_000, 2_500
"""Environment steps of a seed, and between two resets."""
SHARED: dict[str, Any] = {
    "env": "CartPole-v1", "num_envs": 1, "rollout": 1, "hidden": (64, 64), "batch_size": 32, "learning_rate": 1e-3,
    "capacity": 10_000, "warmup": 500, "target_period": 100, "target_unit": "step", "log_points": 20,
}  # fmt: skip


def lines(ratio: int) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return by name an algorithm and its own constants; periods are of updates, and so grow with the ratio."""
    return {
        "no resets": ("dqn", {}),
        "whole network": ("dqn", {"reset_period": EVERY * ratio}),
        "ReDo": ("redo-dqn", {"reset_period": 500 * ratio}),
    }


@dataclass(kw_only=True)
class Arguments(Setting):
    """Train DQN at several replay ratios, with resets and without, and draw what it gets to."""

    seeds: int = 32
    ratios: tuple[int, ...] = (1, 4, 16)
    """Updates after each environment step."""
    shorten: int = 1
    """Divides the steps: for a quick look."""
    out: Path = Path("runs/plasticity")
    """Folder for the runs, a picture and a JSON file."""


def trained(args: Arguments, ratio: int) -> dict[str, Path]:
    """Train what is not trained yet at one replay ratio; return the folders by their name in the picture."""
    folders = {}
    for line, (algorithm, constants) in lines(ratio).items():
        folders[line] = args.out / f"{ratio}" / line.replace(" ", "-")
        given: dict[str, Any] = {**SHARED, **constants, "updates": ratio, "steps": STEPS // args.shorten}
        given |= {"seeds": args.seeds, "seed": args.seed, "fast_keys": args.fast_keys, "cores": args.cores}
        train.run(arguments_of(algorithm)(name=algorithm, out=folders[line], resume=True, **given))
    return folders


def draw(found: dict[str, dict[str, list[float]]]) -> Any:
    """Return the picture of greedy returns by replay ratio."""
    scores = next(iter(found.values()))
    seeds = len(next(iter(scores.values())))
    title = f"DQN on CartPole after {STEPS:,} steps, last parameters\n{seeds} seeds, IQM and 95% bootstrap interval"
    with paper():
        drawn, axes = titled(title, scores)
        draw_panel(axes, found, "updates after each environment step", "mean greedy return")
        legend(drawn, axes)
    return drawn


def run(args: Arguments) -> None:
    """Train what is not trained yet; draw it, and write what is drawn, after each ratio."""
    check_size("shorten", args.shorten)
    for ratio in check_listed("ratios", args.ratios, "whole numbers"):
        check_size("ratios", ratio)
    found: dict[str, dict[str, list[float]]] = {}
    commands: list[str] = []
    for ratio in args.ratios:
        folders = trained(args, ratio)
        found[f"{ratio}"] = {line: greedy_returns(folder) for line, folder in folders.items()}
        commands += [command(qjax.load_config(x)["arguments"], str(x)) for x in folders.values()]
        keep(args.out / "plasticity.json", {"commands": commands, "seeds": found})
        plot.save(draw(found), args.out / "plasticity")
    print(f"a picture, and what it shows, in {args.out}")


if __name__ == "__main__":
    main(run, Arguments.parse)
