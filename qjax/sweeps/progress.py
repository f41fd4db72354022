"""Progress of a sweep: a bar on a terminal and in a notebook, elsewhere a plain line now and then."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from qjax.core.checks import check_flag, check_record, check_text
from qjax.machine.streams import Forgiving

LINE_EVERY = 10.0
"""Seconds between plain lines."""

BAR = 20
"""Letters of a notebook's bar."""


class Progress(NamedTuple):
    """Where a sweep stands at the end of a chunk: all lanes of all hosts together."""

    done: float
    """Share of the work done, in [0, 1]."""
    seconds: float
    """Run time since the start, compilation left out."""
    env_steps: int
    """Environment steps."""
    updates: int
    """Learner updates."""
    iqm_return: float
    """Interquartile mean over lanes of the last mean returns they logged; NaN before the first episode ended. On
    several hosts, over this one's lanes."""
    diverged: int
    """Lanes whose loss or parameters are no longer finite."""
    iqm_evaluation: float = float("nan")
    """Interquartile mean over lanes of their last evaluations while training; NaN before the first. On several
    hosts, over this one's lanes."""


@contextmanager
def show_progress(description: str, shown: bool = True) -> Iterator[Callable[[Progress], None]]:
    """Yield a function that shows where a sweep stands, and say that it compiles; what cannot be shown is left out.

    Nothing is shown where it is not to be `shown`.
    """
    check_text("description", description)
    if not check_flag("shown", shown):
        yield lambda progress: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, SpinnerColumn, TaskProgressColumn, TextColumn
    from rich.progress import Progress as Bar

    output: Any = Forgiving(sys.stdout)
    if _in_notebook(sys.stdout):
        try:
            yield _line(description, output)
        finally:
            print(file=output, flush=True)
        return
    console = Console(file=output)
    if not console.is_terminal:
        print(f"{description}: compiling", file=output, flush=True)
        yield _lines(description, output)
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Bar(*columns, TextColumn("{task.fields[state]}"), console=console) as bar:
        task = bar.add_task(description, total=1.0, state="compiling")
        yield lambda progress: bar.update(task, completed=progress.done, state=describe(progress))


def describe(progress: Progress) -> str:
    """Return it in one line: `81k env-steps/s, 8.1k updates/s, 0:42 left, IQM return 123`."""
    check_record("progress", progress, Progress)
    seconds, done = progress.seconds, progress.done
    rates = [f"{count / seconds:,.0f}" if seconds > 0 else "?" for count in (progress.env_steps, progress.updates)]
    left = seconds * (1 / done - 1) if done > 0 else None
    clock = "?" if left is None else f"{int(left // 60)}:{int(left % 60):02d}"
    known = progress.iqm_return == progress.iqm_return  # not NaN
    mean = f"{progress.iqm_return:.3g}" if known else "none yet"
    text = f"{rates[0]} env-steps/s, {rates[1]} updates/s, {clock} left, IQM return {mean}"
    if progress.iqm_evaluation == progress.iqm_evaluation:
        text += f" (greedy {progress.iqm_evaluation:.3g})"
    return text + (f", {progress.diverged} diverged" if progress.diverged else "")


def _in_notebook(stream: Any) -> bool:
    """Return whether a stream is a notebook's, where a carriage return begins the last line anew."""
    return type(stream).__module__.partition(".")[0] == "ipykernel"


def _line(description: str, output: Any) -> Callable[[Progress], None]:
    """Return what writes a bar in the place of the last one, and write an empty one."""
    longest = 0

    def write(done: float, state: str) -> None:
        nonlocal longest
        text = f"{description} [{'#' * round(BAR * done):<{BAR}}] {done:4.0%} {state}"
        longest = max(longest, len(text))
        print(f"\r{text:<{longest}}", end="", file=output, flush=True)

    write(0.0, "compiling")
    return lambda progress: write(progress.done, describe(progress))


def _lines(description: str, output: Any) -> Callable[[Progress], None]:
    last = time.monotonic()

    def show(progress: Progress) -> None:
        nonlocal last
        if progress.done >= 1 or time.monotonic() - last >= LINE_EVERY:
            last = time.monotonic()
            print(f"{description}: {progress.done:4.0%}, {describe(progress)}", file=output, flush=True)

    return show
