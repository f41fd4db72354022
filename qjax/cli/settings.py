"""How a command with several settings ends: a score for each of them and each seed, one table, one picture."""

import operator
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.table import Column, Table

import qjax
from qjax import plot
from qjax.cli.command import THRESHOLDS, cost, describe_interval, digits, greedy_scores, outcome, outcome_of_best
from qjax.cli.grid import label
from qjax.core.jsonfile import RECORD, list_of
from qjax.core.random import root_key
from qjax.core.text import joined
from qjax.runs.config import load_summary
from qjax.runs.points import Point, of_lanes
from qjax.sweeps import hyperparameters, traced
from qjax.sweeps.hyperparameters import Build
from qjax.training.carry import values_of_one

KEPT = ("final", "solved", "diverged", "dropped", "best")
"""What the names of a setting's outcome begin with."""

CURVES = len(plot.COLOURS)
"""So many settings are drawn at most: those with the best final scores."""


def play(build: Build, swept: Any, result: qjax.Result, root: Any, episodes: int) -> np.ndarray:
    """Return the greedy score of every final agent, its mean return over so many episodes, `[lanes]`.

    Where the agents act alike in all settings they are evaluated together, else (a swept support) one setting after
    another; every setting meets the same episodes' keys, seed by seed.
    """
    scores = np.zeros(len(result.seeds))
    numbers = range(result.settings.max() + 1)
    for group in [list(numbers)] if _alike(build, swept, result.agents) else [[number] for number in numbers]:
        lanes = np.flatnonzero(np.isin(result.settings, group))
        loop, agents = (
            build(hyperparameters.setting(swept, group[0])),
            jax.tree.map(operator.itemgetter(lanes), result.agents),
        )
        scores[lanes] = greedy_scores(loop, agents, result.seeds[lanes], root, episodes)
    return scores


def _alike(build: Build, swept: Any, agents: Any) -> bool:
    """Return whether the values that agents act on depend on nothing swept."""
    loop = build(hyperparameters.setting(swept, 0))
    lane = jax.eval_shape(loop.init, root_key(0))
    one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), (lane.obs, agents))

    def values(hyper: Any, obs: Any, agent: Any) -> Any:
        return values_of_one(build(hyper).agent, root_key(0), agent, obs)

    jaxpr = jax.make_jaxpr(values)(hyperparameters.setting(swept, 0), *one)
    return traced.unused(jaxpr, swept) == hyperparameters.names(swept)


def conclude(
    args: Any, title: str, build: Build, swept: Mapping[str, np.ndarray], trained: tuple[qjax.Run, qjax.Result]
) -> None:
    """Evaluate a sweep's final agents greedily, draw and print how its settings compare, write its summary.

    Args:
        args: those of `qjax train`, resolved.
        title: of the picture and the table.
        build: returns the loop of a setting.
        swept: the settings.
        trained: what `qjax.cli.command.train` returned.

    """
    folder, result = trained
    scores, threshold = play(build, swept, result, args.root, args.eval_episodes), THRESHOLDS.get(args.task)
    again = None
    if result.best is not None:
        again = play(build, swept, result._replace(agents=result.best.agents), args.root, args.eval_episodes)
    settings = []
    for number in range(result.settings.max() + 1):
        own = scores[result.settings == number]
        solved = None if threshold is None else own >= threshold
        values = {name: column[number] for name, column in swept.items()}
        ended = {"final_return_iqm_interval": describe_interval(own)[0], **outcome(result, own, solved, number)}
        if again is not None:
            ended |= outcome_of_best(result, again[result.settings == number], number)
        settings.append({"setting": values, **ended})
    show(settings, title, args.task)
    draw(settings, curves(folder.folder), folder.folder, title, args.task)
    summary = {**cost(args.name, result, args.seeds), "environment": args.task, "settings": settings}
    folder.finish(summary)
    print(f"results in {folder.folder}")


def join(run: qjax.Run, folders: Mapping[str, Mapping[str, Any]], args: Any, title: str) -> None:
    """Write the summary of several finished runs, one for each static setting, and print and draw how they compare.

    Args:
        run: the folder that holds them.
        folders: the static setting of each, by the name of its folder.
        args: those of `qjax train`, resolved.
        title: of the picture and the table.

    """
    settings: list[dict[str, Any]] = []
    lines: list[tuple[dict[str, Any], list[Point]]] = []
    total = {"env_steps": 0, "compile_s": 0.0, "run_s": 0.0}
    for name, static in folders.items():
        summary = load_summary(run.folder / name, {"settings": list_of(RECORD)}, needs=total)
        total = {key: value + summary[key] for key, value in total.items()}
        kept = {key: value for key, value in summary.items() if key.startswith(KEPT)}
        found = summary.get("settings", [{"setting": {}, **kept}])
        for each, (_, points) in zip(found, curves(run.folder / name), strict=True):
            settings.append({**each, "run": name, "setting": {**static, **each["setting"]}})
            lines.append((settings[-1]["setting"], points))
    show(settings, title, args.task)
    draw(settings, lines, run.folder, title, args.task)
    run.finish(
        {"experiment": args.name, "seeds": args.seeds, **total, "environment": args.task, "settings": settings}
    )
    print(f"results in {run.folder}, one folder for each run")


def curves(folder: Path) -> list[tuple[dict[str, Any], list[Point]]]:
    """Return every setting of a run with its log points."""
    points, sweep = qjax.load_points(folder), qjax.load_config(folder)["sweep"]
    columns = sweep["hypers"]
    settings = len(next(iter(columns.values()))) if columns else 1
    seeds = len(points[0].env_steps) // settings
    return [
        (
            {name: column[number] for name, column in columns.items()},
            [of_lanes(point, np.arange(number * seeds, (number + 1) * seeds)) for point in points],
        )
        for number in range(settings)
    ]


def show(settings: Sequence[Mapping[str, Any]], title: str, env: str) -> None:
    """Print a line for each setting."""
    names = list(settings[0]["setting"])
    level = [f"solved ({THRESHOLDS[env]:g})"] if env in THRESHOLDS else []
    lost = ["diverged"] * any(each.get("diverged") for each in settings)
    folded = (Column(name, overflow="fold") for name in names)
    columns = ("IQM [95% interval]", "mean", "worst seed", *level, *lost)
    table = Table(*folded, *columns, title=f"greedy return, {title}")
    places = digits(np.array([each["final_return_per_seed"] for each in settings]))
    for each in settings:
        scores = np.asarray(each["final_return_per_seed"])
        table.add_row(
            *(joined(each["setting"][name]) for name in names),
            f"{float(each['final_return_iqm']):z.{places}f} {describe_interval(scores, places)[1]}",
            f"{scores.mean():z.{places}f}",
            f"{scores.min():z.{places}f}",
            *(f"{each['solved_fraction']:.0%}" for _ in level),
            *(f"{each['diverged']} of {len(scores)}" for _ in lost),
        )
    Console().print(table)


def draw(
    settings: Sequence[Mapping[str, Any]],
    lines: Sequence[tuple[Mapping[str, Any], list[Point]]],
    folder: Path,
    title: str,
    env: str,
) -> None:
    """Draw the learning curves of the settings, the best ones where they are many."""
    order = np.argsort([-float(each["final_return_iqm"]) for each in settings], kind="stable")
    best = sorted(order[:CURVES].tolist())
    shown = {label(lines[number][0]): lines[number][1] for number in best}
    if len(shown) < len(settings):
        title += f"\nthe best {len(shown)} of {len(settings)} settings"
    threshold = THRESHOLDS.get(env)
    name = "" if threshold is None else f"solved ({threshold:g})"
    plot.learning_curves(shown, folder / "learning_curve.png", title, level=threshold, level_name=name)
