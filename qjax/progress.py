"""Progress of a sweep: a bar on a terminal, elsewhere a plain line now and then."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from qjax.sweep import Point

LINE_EVERY = 10.0
"""Seconds between plain lines."""


@contextmanager
def show_progress(description: str) -> Iterator[Callable[[Point], None]]:
    """Yield a function that shows a sweep's log points: share done, env-steps/s, time left, mean return."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn

    console = Console()
    if not console.is_terminal:
        yield _lines(description)
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, TextColumn("{task.fields[state]}"), console=console) as bar:
        task = bar.add_task(description, total=1.0, state="compiling")
        yield lambda point: bar.update(task, completed=point.done, state=describe(point))


def describe(point: Point) -> str:
    """Return a log point in one line: `81k env-steps/s, 0:42 left, mean return 123.4`."""
    rate = point.env_steps.sum() / point.seconds
    left = point.seconds * (1 / point.done - 1) if point.done > 0 else float("nan")
    ended = point.mean_return[~np.isnan(point.mean_return)]
    mean = f"{ended.mean():.3g}" if ended.size else "none yet"
    clock = f"{int(left // 60)}:{int(left % 60):02d}" if np.isfinite(left) else "?"
    return f"{rate:,.0f} env-steps/s, {clock} left, mean return {mean}"


def _lines(description: str) -> Callable[[Point], None]:
    last = time.monotonic()

    def show(point: Point) -> None:
        nonlocal last
        if point.done >= 1 or time.monotonic() - last >= LINE_EVERY:
            last = time.monotonic()
            print(f"{description}: {point.done:4.0%}, {describe(point)}", flush=True)

    return show
