"""Where log points go beside the run's own tables: TensorBoard, Weights & Biases, or a function of yours.

A sweep feeds its sinks between chunks, after the rows are in the tables; on several hosts each process feeds the
rows of its own lanes. A sink begins clean: a sweep that is resumed starts it anew and writes all its points again,
from the tables, so that nothing is there twice, and what is not in the tables any more is gone. A sink that fails
is told of once and then left out: training and tables go on.
"""

import contextlib
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from qjax.core.checks import check_listed, check_path, check_record, check_text
from qjax.core.distribution import needs
from qjax.core.text import failure, shown
from qjax.machine.streams import tell
from qjax.runs.tables import Table, missing

__all__ = ["Sink", "Start", "tensorboard", "wandb"]

SLOW_SECONDS, SLOW_SHARE = 10.0, 0.1
"""Sinks that took that long, and that share of the run time, are told of once."""


class Start(NamedTuple):
    """What a sink is told before its first rows."""

    folder: Path | None
    """The run's folder, where it has one."""
    columns: Mapping[str, np.ndarray]
    """Of the lanes it will get: `seed`, and where something is swept `setting` and its values, `[lanes]` each."""
    arguments: Mapping[str, Any]
    """Those of the run's config, side by side."""


class Sink(NamedTuple):
    """Functions that a sweep calls with its log points; `write` alone is enough."""

    name: str
    """How it is called in messages."""
    write: Callable[[Table], None]
    """Called with the rows of every log point (`qjax.runs.tables.rows`), one for each lane that stepped."""
    start: Callable[[Start], None] = lambda start: None
    """Called before the first rows, and when a sweep is resumed: forget what an earlier one wrote."""
    close: Callable[[], None] = lambda: None
    """Called when the sweep ends, however it does."""
    in_run: bool = False
    """Whether it writes into the run's folder, and so needs one."""


class Feed:
    """The sinks of a sweep under way."""

    def __init__(self, sinks: Sequence[Sink], start: Start):
        """Call nothing yet: a sweep that fails before its first log point leaves nothing."""
        self._left, self._start, self._started = list(sinks), start, False
        self._spent, self._told = 0.0, False

    def __bool__(self) -> bool:
        """Return whether there is a sink left."""
        return bool(self._left)

    def write(self, rows: Table, run_s: float = np.inf) -> None:
        """Give every sink a log point's rows; `run_s` is the sweep's run time so far."""
        began = time.perf_counter()
        if not self._started:
            self._started = True
            self._each(lambda sink: sink.start(self._start))
        self._each(lambda sink: sink.write(rows))
        if run_s == np.inf:
            return
        self._spent += time.perf_counter() - began
        if self._spent > max(SLOW_SECONDS, SLOW_SHARE * run_s) and not self._told:
            self._told = True
            names = [sink.name for sink in self._left]
            took = f"the sinks {names} took {self._spent:.0f} s beside a run of {run_s:.0f} s"
            _warn(f"{took}: fewer log points would be faster")

    def close(self) -> None:
        """End every sink that was started."""
        if self._started:
            self._each(lambda sink: sink.close())

    def _each(self, call: Callable[[Sink], None]) -> None:
        """Call every sink that is left, and leave out those that fail."""
        for sink in tuple(self._left):
            try:
                call(sink)
            except Exception as error:
                self._left.remove(sink)
                _warn(
                    f"the sink {sink.name} failed and gets no more of this run: {failure(error)};"
                    " tables and training go on, and a resumed run gives it all points again"
                )
                with contextlib.suppress(Exception):
                    sink.close()


def check_sinks(sinks: Sequence[Sink], has_run: bool) -> None:
    """Raise where something is no sink, or a sink writes into a run's folder, and there is none."""
    for sink in check_listed("sinks", sinks, "sinks"):
        check_record("sinks (each)", sink, Sink)
    homeless = [sink.name for sink in sinks if sink.in_run]
    if homeless and not has_run:
        raise ValueError(f"sinks {homeless} write into a run's folder: give a run, or a folder of their own")


def tensorboard(folder: str | Path | None = None) -> Sink:
    """Return a sink that writes event files for TensorBoard, one run for each seed and setting.

    Each has a folder of its own, `setting0_seed3` for instance, with its hyper-parameters for the tab of that name,
    and scalars by environment steps. Files are open only while rows are added to them, so there may be many.

    Args:
        folder: where they go, one for each sweep; default `tensorboard` in the run's folder.

    Raises:
        ImportError: tensorboard is not installed.
        TypeError: `folder` is no path.

    """
    if folder is not None:
        check_path("folder", folder)
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb
        from tensorboard.summary.writer.record_writer import RecordWriter
    except ImportError as error:
        raise ImportError(needs("the sink", "tensorboard", "tensorboard")) from error
    paths: dict[str, Path] = {}

    def append(path: Path, *events: Any) -> None:
        with path.open("ab") as file:
            for event in events:
                RecordWriter(file).write(event.SerializeToString())

    def start(begin: Start) -> None:
        now = time.time()
        for lane, hypers in _lanes(begin):
            own = _place(folder, begin, "tensorboard") / lane
            own.mkdir(parents=True, exist_ok=True)
            for path in own.glob("events.out.tfevents.*"):
                path.unlink()
            paths[lane] = own / f"events.out.tfevents.{int(now)}.qjax"
            plain = {k: v for k, v in hypers.items() if isinstance(v, bool | int | float | str)}
            first = Event(wall_time=now, file_version="brain.Event:2")
            append(paths[lane], first, Event(wall_time=now, summary=hparams_pb(plain)))

    def write(rows: Table) -> None:
        now = time.time()
        for lane, step, scalars in _scalars(rows):
            values = [Summary.Value(tag=name, simple_value=value) for name, value in scalars.items()]
            append(paths[lane], Event(wall_time=now, step=step, summary=Summary(value=values)))

    return Sink("tensorboard", write, start, in_run=folder is None)


def wandb(project: str = "qjax", folder: str | Path | None = None, mode: str = "offline") -> Sink:
    """Return a sink that feeds Weights & Biases, one run for each seed and setting, grouped by the run's folder.

    Each run has the lane's hyper-parameters and the run's arguments as its config, and metrics by environment
    steps. Its id stands in the lane's folder, `setting0_seed3/id` for instance. A sweep that is resumed offline
    replaces what was not sent (`wandb sync`) yet; online it goes on where the server stands. Every run stays open
    until the sweep ends: for some hundreds of lanes, not for thousands.

    Args:
        project: its name.
        folder: for ids and files, one for each sweep; default `wandb` in the run's folder.
        mode: "offline", or "online", which needs an account.

    Raises:
        ImportError: wandb is not installed.
        TypeError: `project` is no text, or `folder` no path.
        ValueError: another mode.

    """
    check_text("project", project)
    if folder is not None:
        check_path("folder", folder)
    if not isinstance(mode, str) or mode not in ("offline", "online"):
        raise ValueError(f"mode must be 'offline' or 'online', got {shown(mode)}")
    try:
        import wandb as library
    except ImportError as error:
        raise ImportError(needs("the sink", "wandb", "wandb")) from error
    runs: dict[str, Any] = {}

    def start(begin: Start) -> None:
        settings = library.Settings(silent=True, console="off", x_disable_stats=True)
        for lane, hypers in _lanes(begin):
            own = _place(folder, begin, "wandb") / lane
            own.mkdir(parents=True, exist_ok=True)
            if not (own / "id").exists():
                (own / "id").write_text(secrets.token_hex(6))
            if mode == "offline":
                shutil.rmtree(own / "wandb", ignore_errors=True)
            runs[lane] = library.init(
                project=project, group=None if begin.folder is None else begin.folder.name, name=lane, dir=own,
                id=(own / "id").read_text(), resume="allow", reinit="create_new", mode=cast("Any", mode),
                config=hypers, settings=settings,
            )  # fmt: skip

    def write(rows: Table) -> None:
        for lane, step, scalars in _scalars(rows):
            if step >= runs[lane].step:  # the server has what is before
                runs[lane].log(scalars, step=step)

    def close() -> None:
        while runs:
            runs.popitem()[1].finish()

    return Sink("wandb", write, start, close, in_run=folder is None)


def _place(folder: str | Path | None, begin: Start, name: str) -> Path:
    if folder is not None:
        return Path(folder)
    assert begin.folder is not None
    return begin.folder / name


def _name(columns: Mapping[str, np.ndarray], row: int) -> str:
    setting = f"setting{columns['setting'][row]}_" if "setting" in columns else ""
    return f"{setting}seed{columns['seed'][row]}"


def _lanes(begin: Start) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each lane's name, and its hyper-parameters with the run's arguments as plain values."""
    for i in range(len(begin.columns["seed"])):
        own = {name: column[i].item() for name, column in begin.columns.items()}
        yield _name(begin.columns, i), {**begin.arguments, **own}


def _scalars(rows: Table) -> Iterator[tuple[str, int, dict[str, float]]]:
    """Yield the name, the environment steps and the numbers of each row; empty cells are left out."""
    names = [name for name in rows if name not in ("seed", "setting", "env_steps")]
    there = {name: ~missing(name, rows[name]) for name in names}
    for i, step in enumerate(rows["env_steps"].tolist()):
        yield _name(rows, i), step, {name: float(rows[name][i]) for name in names if there[name][i]}


def _warn(message: str) -> None:
    tell(f"\nwarning: {message}")
