"""Pictures of runs for a paper, from their tables alone, whether they have ended or not.

    qjax plot runs/dqn runs/double-dqn runs/rainbow --out plots

RUN is the folder of a run, or of a grid's runs. Each picture is written as PNG and SVG, one column (3.4 inches) or
both (7 inches) wide. What is missing is told on stderr.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from qjax import plot
from qjax.cli import compare, grouping, studies
from qjax.cli.command import answer
from qjax.cli.compare import DRAW, Choices, Kind, Pictures
from qjax.cli.studies import tell
from qjax.core.checks import check_size

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
    groups, notes = grouping.groups(found, args, args.labels, args.kind)
    for note in notes:
        tell(note)
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
