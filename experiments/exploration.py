"""What explores a table: exact regret of five agents on DeepSea and RiverSwim, where chance finds nothing.

python -m experiments.exploration --seeds 64 --out runs/exploration

Steps are learned from once, as they come; alpha is 1 on DeepSea, which is deterministic, and falls with the visits
on RiverSwim. beta, initial values and epsilon were chosen on other seeds (`--seed 1`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import qjax
from experiments.records import keep
from qjax import plot
from qjax.cli.command import Setting, main
from qjax.cli.exact import report_of
from qjax.mdp import TabularMDP, deep_sea, river_swim


class Task(NamedTuple):
    """An environment of the page."""

    mdp: TabularMDP
    steps: int
    gamma: float
    highest: float
    """Value that none exceeds: what MBIE-EB starts with."""
    initial: float
    """What optimistic tables start with."""
    alpha: Any
    """Their step size."""
    betas: tuple[float, float]
    """Of MBIE-EB and of the bonus on a table's rewards."""
    max_steps: int | None = None


def sea(size: int, episodes: int) -> Task:
    """Return DeepSea for so many episodes."""
    return Task(deep_sea(size), size * episodes, 0.99, highest=1.0, initial=1.0, alpha=1.0, betas=(0.01, 0.01))


def river() -> Task:
    """Return RiverSwim, begun anew after 50 steps."""
    alpha, betas = qjax.visit_count(0.6), (2_000.0, 300.0)
    return Task(river_swim(), 20_000, 0.95, 10_000 / 0.05, initial=10_000, alpha=alpha, betas=betas, max_steps=50)


TASKS: dict[str, Callable[[], Task]] = {
    "DeepSea 10": lambda: sea(10, episodes=1_000),
    "DeepSea 14": lambda: sea(14, episodes=1_000),
    "RiverSwim": river,
}


def agents(task: Task) -> dict[str, tuple[qjax.Agent, Any]]:
    """Return an agent and its policy, by name."""
    states, actions = task.mdp.successor.shape[:2]
    plain = qjax.tabular(states, actions, task.alpha)
    optimistic = qjax.tabular(states, actions, task.alpha, initial=task.initial)
    return {
        "MBIE-EB": (qjax.mbie_eb(states, actions, task.betas[0], task.highest), qjax.greedy),
        "count bonus": (qjax.count_bonus(optimistic, task.betas[1]), qjax.greedy),
        "optimism": (optimistic, qjax.greedy),
        "epsilon-z-greedy": (plain, qjax.epsilon_z_greedy(0.1)),
        "epsilon-greedy": (plain, qjax.epsilon_greedy(0.1)),
    }


@dataclass(kw_only=True)
class Arguments(Setting):
    """Explore DeepSea and RiverSwim with five tabular agents, and hold them against the exact solutions."""

    seeds: int = 64
    log_points: int = 50
    out: Path = Path("runs/exploration")
    """Folder for the picture, and a JSON file with every seed's regret at the end, and when it lost it."""


def trained(args: Arguments, task: Task, agent: qjax.Agent, policy: Any) -> list[qjax.Point]:
    """Return the log points of one agent."""
    env = qjax.make(task.mdp, max_steps_in_episode=task.max_steps)
    loop = qjax.make_loop(env, agent, policy, qjax.online(), gamma=task.gamma)
    result = qjax.sweep(
        lambda _: loop,
        seeds=args.seeds,
        seed=args.root,
        steps=task.steps,
        log_points=args.log_points,
        report=report_of(lambda _: loop, task.gamma),
    )
    return result.points


NONE = 0.01
"""A regret below this is none."""


def ended(points: list[qjax.Point]) -> dict[str, list[Any]]:
    """Return every seed's regret at the end, and the steps of the log point from which it has none, or None."""
    regret = np.stack([point.values["regret"] for point in points], 1)
    steps = np.stack([point.env_steps for point in points], 1)
    since = [np.flatnonzero(each >= NONE).max(initial=-1) + 1 for each in regret]
    without = [int(each[at]) if at < len(each) else None for each, at in zip(steps, since, strict=True)]
    return {"regret": [float(f"{x:.4g}") for x in regret[:, -1]], "steps_until_none": without}


def run(args: Arguments) -> None:
    """Train, say the regret at the end, and draw it."""
    args.out.mkdir(parents=True, exist_ok=True)
    curves: dict[str, dict[str, list[qjax.Point]]] = {}
    for title, make in TASKS.items():
        task = make()
        curves[title] = {name: trained(args, task, *pieces) for name, pieces in agents(task).items()}
        for name, points in curves[title].items():
            last = points[-1].values["regret"]
            print(f"{title:12} {name:17} regret {np.mean(last):9.3g}, none in {np.mean(last < NONE):.2f} of seeds")
    kept = {task: {name: ended(points) for name, points in each.items()} for task, each in curves.items()}
    keep(args.out / "exploration.json", kept)
    measures = {"regret": "regret of the greedy policy"}
    plot.measures(args.out / "exploration.png", curves, measures, f"{args.count} each")


if __name__ == "__main__":
    main(run, Arguments.parse)
