"""Pictures of runs for a paper, from their tables alone, whether they have ended or not.

    qjax plot runs/dqn runs/double-dqn runs/rainbow --out plots

RUN is the folder of a run, or of a grid's runs. Each picture is written as PNG and SVG, one column (3.4 inches) or
both (7 inches) wide. What is missing is told on stderr.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from qjax import plot, stats
from qjax.cli import compare, studies
from qjax.cli.command import answer
from qjax.cli.compare import DRAW, Choices, Group, Kind, Pictures
from qjax.cli.studies import Study, tell
from qjax.core.checks import check_size
from qjax.plot.reach import MEDIAN_SEEDS

KINDS = tuple(DRAW)


@dataclass(kw_only=True)
class Arguments(Choices):
    """Draw what runs' tables hold, as PNG and SVG for a two-column paper.

    A run that was interrupted is drawn as far as it goes. Of one run its settings are compared, of several runs the
    best setting of each; environments have pictures of their own.
    """

    folders: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="RUN [RUN ...]"), tyro.conf.Positional]
    """Folders of runs, or of a grid's runs."""
    kind: tuple[Kind, ...] = KINDS
    """curves: the metric against steps; efficiency: steps until levels of it are reached; sensitivity: the score
    against swept hyper-parameters; seeds: the score of every seed; profiles: the share of seeds above a score."""
    labels: tuple[str, ...] = ()
    """What the runs are called, in their order; default by experiment, or by folder where that is the same."""
    out: Path | None = None
    """Folder for the pictures; default `plots` in the first RUN."""


def run(args: Arguments) -> int:
    """Draw all pictures that the runs allow, and tell which, and what is missing; return the exit status.

    Raises:
        ValueError: nothing can be drawn, or an argument is wrong.
        OSError: no run can be read, or no picture written.

    """
    check_size("window", args.window)
    if not args.folders:
        raise ValueError("name at least one RUN")
    if args.labels and len(args.labels) != len(args.folders):
        raise ValueError(f"give one label for each RUN: {len(args.labels)} labels, {len(args.folders)} runs")
    found, lost = studies.load_all(args.folders, args.metric, args.window)
    groups = _groups(found, args)
    out = next(iter(found.values())).folder / "plots" if args.out is None else args.out
    drawn = 0
    for group in groups:
        where = f"{group.environment}{'_episodes' * (group.unit == 'episodes')}" if len(groups) > 1 else ""
        drawn += sum(_write(DRAW[kind](group), kind, out, where) for kind in args.kind)
    if len(groups) > 1 and "profiles" in args.kind:
        drawn += _write(compare.across(groups), "profiles", out, "all")
    if not drawn:
        raise ValueError("nothing could be drawn")
    return 1 if lost else 0


def _groups(found: Mapping[int, Study], args: Arguments) -> list[Group]:
    """Return the runs that can be compared, by environment; tell what is to be known when they are.

    Raises:
        ValueError: two runs of one environment have the same label, or lack the score that was chosen.

    """
    groups = []
    for kind in dict.fromkeys((study.environment, study.unit) for study in found.values()):
        own = {number: study for number, study in found.items() if (study.environment, study.unit) == kind}
        names = [args.labels[number] for number in own] if args.labels else _names(list(own.values()))
        runs = dict(zip(names, own.values(), strict=True))
        if len(runs) < len(own):
            raise ValueError(f"runs of one environment need labels of their own, got {', '.join(names)}")
        groups.append(Group(kind[0], runs, args, _score(runs, args)))
        _compare(groups[-1], args.kind)
    return groups


def _names(runs: Sequence[Study]) -> list[str]:
    """Return what runs are called: the shortest of experiment, folder and path that tells them apart."""
    kinds = (
        [run.experiment for run in runs],
        [run.folder.resolve().name for run in runs],
        [str(run.folder) for run in runs],
    )
    return next((names for names in kinds if len(set(names)) == len(runs)), kinds[-1])


def _score(runs: Mapping[str, Study], args: Arguments) -> studies.Score:
    """Return the score that was chosen, or that all runs have.

    Raises:
        ValueError: it is the evaluation, and a run has none.

    """
    score = args.score or ("evaluation" if args.metric == "mean_return" else "final")
    lacking = [name for name, run in runs.items() if any(sample.evaluation is None for sample in run.samples)]
    if score != "evaluation" or not lacking:
        return score
    ended = {name: all(sample.complete for sample in runs[name].samples) for name in lacking}
    parts = {"which has not ended": False, "which ended without one": True}
    told = {why: ", ".join(name for name in lacking if ended[name] is whether) for why, whether in parts.items()}
    none = "no evaluation of " + " and of ".join(f"{names}, {why}" for why, names in told.items() if names)
    if args.score == "evaluation":
        raise ValueError(none)
    tell(f"{none}: scores are final training returns")
    return "final"


def _compare(group: Group, kinds: Sequence[Kind]) -> None:
    """Tell what a reader should know of runs that are compared."""
    samples = [(name, sample) for name, run in group.runs.items() for sample in run.samples]
    ends = sorted({int(sample.x[-1]) for _, sample in samples})
    if len(ends) > 1:
        over = "after each run's own end" if group.score == "evaluation" else f"of the first {ends[0]:,}"
        scored = f": scores are {over}" if group.shared else ""
        tell(f"runs end after {ends[0]:,} to {ends[-1]:,} {group.unit}{scored}")
    elif len({tuple(sample.x) for _, sample in samples}) > 1:
        tell("runs have different log points: each line is drawn at its own")
    needs = {"of a mean": stats.LEAST_SEEDS} | ({"of a median": MEDIAN_SEEDS} if "efficiency" in kinds else {})
    for name, seeds in {name: len(sample.values) for name, sample in samples}.items():
        lacking = [f"{what}, which needs {least}" for what, least in needs.items() if seeds < least]
        if lacking:
            tell(f"{name} has {seeds} seed{'s' * (seeds > 1)}: no interval {', nor '.join(lacking)}")


def _write(pictures: Pictures, kind: str, out: Path, suffix: str) -> int:
    """Write pictures and tell where, or why there are none; return how many."""
    count = 0
    try:
        for name, drawn in pictures:
            out.mkdir(parents=True, exist_ok=True)
            stem = "_".join(filter(None, (name, suffix)))
            png, svg = plot.save(drawn, out / re.sub(r"[^\w.,=-]+", "-", stem))
            print(f"wrote {png} and {svg.name}")
            count += 1
    except ValueError as error:
        tell(f"no {kind}{' of ' + suffix if suffix else ''}: {error}")
    return count


def main() -> None:
    """Draw as the command line says; a run that was passed over ends with status 1."""
    answer(run, Arguments, "qjax plot")
