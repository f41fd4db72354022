"""What the experiments' command lines share: their common arguments, and running a sweep into a folder."""

import dataclasses
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np
import tyro

import qjax
from qjax import stats
from qjax.loop import Loop
from qjax.progress import show_progress
from qjax.types import Schedule


@dataclass(kw_only=True)
class Common:
    """Arguments of every experiment."""

    seeds: int
    """Number of seeds, trained side by side."""
    seed: int = 0
    """Root of all randomness."""
    out: Path
    """Folder for the results; refused if it holds something."""
    overwrite: bool = False
    """Replace what an earlier run left in the folder."""
    width: int | None = None
    """Lanes that run side by side on one device; default by the size of the agent."""
    cores: int | None = None
    """CPU devices to shard the seeds over; default one per core."""


Arguments = TypeVar("Arguments", bound=Common)


def main(run: Callable[[Arguments], None], arguments: type[Arguments]) -> None:
    """Parse the command line and run; a bad argument ends with one line and exit status 2, Ctrl-C with 130."""
    args = tyro.cli(arguments)
    try:
        qjax.use_cores(args.cores)
        run(args)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        _stop("interrupted")


def train(
    args: Common,
    experiment: str,
    build: Callable[[Any], Loop],
    epsilon: Schedule,
    steps: int | None = None,
    log_points: int = 100,
) -> tuple[qjax.Run, qjax.Result]:
    """Run the experiment's sweep into a new folder, with progress; return the folder and the result."""
    folder = qjax.Run(args.out, experiment, dataclasses.asdict(args), args.overwrite)
    seeds = np.arange(args.seeds)
    try:
        with show_progress(f"{experiment}, {args.seeds} seeds") as show:

            def on_log(point: qjax.Point) -> None:
                folder.log(point, seeds)
                show(point)

            result = qjax.sweep(
                build,
                seeds=args.seeds,
                seed=args.seed,
                steps=steps,
                log_points=log_points,
                width=args.width,
                schedules={"epsilon": epsilon},
                on_log=on_log,
            )
    except KeyboardInterrupt:
        kept = f"what was logged so far stands in {folder.folder}" if folder.begun else "nothing was written"
        _stop(f"interrupted; {kept}")
    return folder, result


def summarise(experiment: str, result: qjax.Result, scores: np.ndarray, solved: np.ndarray) -> dict[str, Any]:
    """Return what every experiment's summary holds, from its final scores and solved flags `[seeds]`."""
    return {
        "experiment": experiment,
        "seeds": len(scores),
        "width": result.width,
        "env_steps": result.env_steps,
        "compile_s": result.compile_s,
        "run_s": result.run_s,
        "env_steps_per_s": result.env_steps / result.run_s,
        "solved_fraction": solved.mean(),
        "final_return_mean": scores.mean(),
        "final_return_iqm": stats.iqm(scores),
        "final_return_per_seed": scores,
    }


def _stop(message: str) -> NoReturn:
    """End at once: a program may still run on the devices, and an orderly exit under it would abort."""
    print(f"\n{message}", file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(130)
