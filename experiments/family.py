"""The tabular family on one page: how far every algorithm is from the exact solution, and what it would do.

python -m experiments.family --seeds 256 --out runs/tabular-family

Each of `qjax.algorithms.TABULAR` on both lakes of both kinds, CliffWalking and Taxi, with one protocol: alpha
0.1, gamma 0.99, epsilon from 1 to 0.05 in the first half of the steps. Each is a run in a folder of its own, so a
page that was stopped goes on where it was.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

import qjax
from qjax import algorithms, plot
from qjax.cli.command import Setting, end_if_stopped, main
from qjax.cli.exact import report_of, table_of
from qjax.core.checks import check_size
from qjax.mdp.lakes import lake_map


class Task(NamedTuple):
    """An environment of the page."""

    title: str
    make: Callable[[], qjax.Env]
    steps: int
    arrows: tuple[tuple[int, int], ...] | None
    """The moves of its actions on a grid; None where it is none."""


def lake(name: str, slippery: bool) -> Callable[[], qjax.Env]:
    """Return what makes a lake."""
    return lambda: qjax.make(name, is_slippery=slippery)


CLIFF = ["F" * 12] * 3 + ["S" + "C" * 10 + "G"]
"""CliffWalking's map."""

CLIFF_ARROWS = ((0, -1), (1, 0), (0, 1), (-1, 0))
"""(x, y) of CliffWalking's moves: up, right, down, left; y grows downwards."""

TASKS = {
    "lake-4x4": Task("FrozenLake 4x4, deterministic", lake("FrozenLake-v1", False), 20_000, plot.ARROWS),
    "lake-4x4-slippery": Task("FrozenLake 4x4, slippery", lake("FrozenLake-v1", True), 100_000, plot.ARROWS),
    "lake-8x8": Task("FrozenLake 8x8, deterministic", lake("FrozenLake8x8-v1", False), 100_000, plot.ARROWS),
    "lake-8x8-slippery": Task("FrozenLake 8x8, slippery", lake("FrozenLake8x8-v1", True), 300_000, plot.ARROWS),
    "cliff": Task("CliffWalking", lambda: qjax.make("CliffWalking-v1"), 50_000, CLIFF_ARROWS),
    "taxi": Task("Taxi", lambda: qjax.make("Taxi-v4"), 200_000, None),
}
MEASURES = {"weighted_distance": "value error at optimal states", "regret": "regret of the greedy policy"}


@dataclass(kw_only=True)
class Arguments(Setting):
    """Train every tabular algorithm on six environments, and hold them against the exact solutions."""

    seeds: int = 256
    tasks: tuple[str, ...] = tuple(TASKS)
    """Which of lake-4x4, lake-4x4-slippery, lake-8x8, lake-8x8-slippery, cliff and taxi."""
    names: tuple[str, ...] = tuple(algorithms.TABULAR)
    """Which algorithms."""
    shorten: int = 1
    """Divides the steps: for a quick look."""
    log_points: int = 40
    accept_program: bool = False
    """Go on although a program's text is another, as with `qjax train`."""
    out: Path = Path("runs/tabular-family")
    """Folder for the runs, one for each environment and algorithm, and the pictures."""


def trained(args: Arguments, key: str, name: str, env: qjax.Env) -> tuple[list[qjax.Point], np.ndarray]:
    """Return the log points of one algorithm in one environment, and its last tables `[seeds, S, A]`."""
    steps = TASKS[key].steps // args.shorten
    config = algorithms.config(name, steps=steps)
    loop = algorithms.make(name, env, config)
    given = {"task": key, "name": name, "seeds": args.seeds, "seed": args.seed, "shorten": args.shorten}
    title = f"{name}, {TASKS[key].title}"
    out, accepts = args.out / key / name, args.accept_program
    folder = qjax.Run(out, "family", given, resume=True, accept_program=accepts)
    with folder as run:
        result = qjax.sweep(
            lambda _: loop,
            seeds=args.seeds,
            seed=args.root,
            steps=steps,
            log_points=args.log_points,
            report=report_of(lambda _: loop, config.gamma),
            run=run,
            progress=title,
        )
    end_if_stopped(result, title)
    tables = jax.jit(jax.vmap(lambda state: table_of(loop.agent, state, env.num_states or 0)))(result.agents)
    return result.points, np.asarray(tables)


def run(args: Arguments) -> None:
    """Train what is not trained yet, and draw the page and the maps."""
    for given, known in ((args.tasks, TASKS), (args.names, algorithms.TABULAR)):
        if unknown := [x for x in given if x not in known]:
            raise ValueError(f"{unknown} is none of {', '.join(known)}")
    check_size("shorten", args.shorten)
    curves: dict[str, dict[str, list[qjax.Point]]] = {}
    for key in args.tasks:
        task, env = TASKS[key], TASKS[key].make()
        found = {name: trained(args, key, name, env) for name in args.names}
        curves[task.title] = {name: points for name, (points, _) in found.items()}
        if task.arrows is not None:
            policies = {name: np.asarray(greedy_policies(tables)).mean(0) for name, (_, tables) in found.items()}
            plot.policy_maps(
                args.out / f"policies-{key}.png", tiles_of(key, env), policies, task.arrows, task.title
            )
    plot.measures(args.out / "family.png", curves, MEASURES, f"{args.count} each")
    print(f"pictures in {args.out}")


greedy_policies = jax.jit(jax.vmap(jax.vmap(qjax.greedy)))


def tiles_of(key: str, env: qjax.Env) -> list[str]:
    """Return the map of one of the page's grids, in the letters of gymnasium's lakes, C for a cliff."""
    return CLIFF if key == "cliff" else lake_map(env.unwrapped)


if __name__ == "__main__":
    main(run, Arguments.parse)
