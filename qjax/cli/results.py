"""What runs came to, a table for each environment: how they act after training, and how they did while learning.

    qjax results runs/dqn runs/rates

RUN is the folder of a run, or of a grid's runs; a line stands for a setting. What is missing is told on stderr.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table

from qjax import stats
from qjax.cli import studies
from qjax.cli.command import answer, describe_interval, digits
from qjax.cli.studies import Sample, Study
from qjax.core.jsonfile import NUMBER
from qjax.runs.config import load_summary

NUMBERS = ("until", "seeds", "greedy\n[95% interval]", "worst\nseed", "training", "diverged", "time")


@dataclass(kw_only=True)
class Arguments:
    """Show what runs came to, a line for each setting; a run that was interrupted is shown as far as it goes.

    Greedy is the interquartile mean over seeds of each seed's mean return after training, training that of the
    returns at the log points in the last tenth of the steps. Seeds that diverged count in both as they are.
    """

    folders: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="RUN [RUN ...]"), tyro.conf.Positional]
    """Folders of runs, or of a grid's runs."""


def run(args: Arguments) -> int:
    """Print a table for each environment; return the exit status, 1 where a run was passed over.

    Raises:
        ValueError: no run is named, or none can be read.
        OSError: no run can be read.

    """
    if not args.folders:
        raise ValueError("name at least one RUN")
    found, lost = studies.load_all(args.folders)
    for environment, unit in dict.fromkeys((study.environment, study.unit) for study in found.values()):
        own = [study for study in found.values() if (study.environment, study.unit) == (environment, unit)]
        known = any(sample.diverged for study in own for sample in study.samples)
        names = [name for name in NUMBERS if known or name != "diverged"]
        numbers = (Column(name, justify="right", no_wrap=True) for name in names)
        look: dict[str, Any] = {"box": SIMPLE_HEAD, "padding": (0, 1, 0, 0), "pad_edge": False}
        table = Table(Column("run", overflow="fold"), *numbers, title=f"{environment}, by {unit}", **look)
        for study in own:
            for name, cells in rows(study):
                table.add_row(name, *(cells[column] for column in names))
        Console().print(table)
    return 1 if lost else 0


def rows(study: Study) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield name and numbers of each setting of a run, below those of the folder where there are several."""
    took, several = _seconds(study.folder), len(study.samples) > 1
    if several:
        yield str(study.folder), {**dict.fromkeys(NUMBERS, ""), "time": took}
    for sample in study.samples:
        setting = " ".join(f"{name}={value}" for name, value in sample.setting.items())
        name = f"  {setting}" if several else str(study.folder)
        until = f"{sample.x[-1]:,.0f}" + " so far" * (not sample.complete)
        lost = str(sample.diverged) if sample.diverged else ""
        cells = (until, str(len(sample.values)), *scores(sample), lost, "" if several else took)
        yield name, dict(zip(NUMBERS, cells, strict=True))


def scores(sample: Sample) -> tuple[str, str, str]:
    """Return a setting's greedy scores and its training returns, in words; of what there is none, nothing."""
    late = sample.score("final", float(sample.x[-1]))
    training = stats.iqm(late[~np.isnan(late)]) if not np.isnan(late).all() else np.nan
    shown = "" if np.isnan(training) else f"{training:.{digits(np.atleast_1d(training))}f}"
    greedy = sample.evaluation
    if greedy is None or np.isnan(greedy).any():
        return "", "", shown
    places = digits(greedy)
    whole = f"{float(stats.iqm(greedy)):z.{places}f} {describe_interval(greedy, places)[1]}"
    return whole, f"{greedy.min():z.{places}f}", shown


def _seconds(folder: Path) -> str:
    """Return what a finished run took, compilation included; of others nothing."""
    try:
        summary = load_summary(folder, {"compile_s": NUMBER, "run_s": NUMBER}, needs=["compile_s", "run_s"])
    except (OSError, ValueError):
        return ""
    seconds = summary["compile_s"] + summary["run_s"]
    return f"{seconds:.0f} s" if seconds < 60 else f"{seconds / 60:.1f} min"


def main() -> None:
    """Show what the command line names."""
    answer(run, Arguments, "qjax results")
