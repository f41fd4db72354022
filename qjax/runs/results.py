"""Results of runs as arrays, read from their tables alone; and several runs on one axis.

A run may still go on, or have been interrupted or killed: what is there is returned, and `Results.notes` says what
is not. Nothing here needs a device.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from qjax.core import jsonfile
from qjax.core.checks import check_flag, check_listed, check_path, check_record, check_text
from qjax.core.distribution import needs
from qjax.core.text import brief, short, shown
from qjax.runs.checkpoint import KINDS, MANIFEST
from qjax.runs.config import CONFIG, flat, lane_seeds, load_config
from qjax.runs.ended import WHEN_ENDED, altered, has_ended
from qjax.runs.folder import CHECKPOINTS
from qjax.runs.points import DROPPED, NEVER, Point
from qjax.runs.reading import read_csv, read_points
from qjax.runs.tables import COLUMNS, TIMING, argument


@dataclass(frozen=True, repr=False)
class Table:
    """What was logged, as arrays. S settings, N seeds of each, P log points."""

    hypers: Mapping[str, np.ndarray]
    """The swept hyper-parameters, `[S]` each; empty where nothing was swept."""
    seeds: np.ndarray
    """The seeds, `[N]`."""
    env_steps: np.ndarray
    """Environment steps since the start, int64 `[S, N, P]`; a lane that has ended keeps its count."""
    metrics: Mapping[str, np.ndarray]
    """`[S, N, P]` each: `episodes` (since the start), `mean_return`, `loss`, `mean_q`, and what else was logged:
    means over the interval that ends at the log point, NaN where there is none."""
    diverged_at: np.ndarray
    """Environment steps at which each lane diverged, -1 where it has not, `[S, N]`."""
    dropped_at: np.ndarray
    """Environment steps at which each lane was dropped before its end, -1 where it was not, `[S, N]`."""
    lengths: np.ndarray
    """Log points until a lane's last row, `[S, N]`; fewer than P where it ended before, or the run was cut off."""
    seconds: np.ndarray
    """Run time at each log point, compilation left out, `[P]`."""

    __repr__ = brief

    @classmethod
    def of_points(cls, points: Sequence[Point], seeds: np.ndarray, hypers: Mapping[str, np.ndarray]) -> "Table":
        """Return log points as arrays.

        Args:
            points: of all lanes, in order.
            seeds: of each setting, `[N]`.
            hypers: the swept hyper-parameters, `[S]` each.

        Raises:
            ValueError: there is no log point, or not one of every lane.

        """
        if not points:
            raise ValueError("the sweep has no log point yet")
        shape = (len(next(iter(hypers.values()))) if hypers else 1, len(seeds))
        if (lanes := len(points[0].env_steps)) != shape[0] * shape[1]:
            raise ValueError(
                f"there are log points of {lanes} of {shape[0] * shape[1]} lanes, for every host has its own ones;"
                " qjax.results.load reads all from the run's folder"
            )
        found = {name: np.stack(column, -1).reshape(*shape, -1) for name, column in _columns(points).items()}
        changed, env_steps = found.pop("changed"), found.pop("env_steps")
        dropped = found.pop(DROPPED, np.zeros(shape)[..., None]) == 1
        return Table(
            hypers=hypers,
            seeds=seeds,
            env_steps=env_steps,
            metrics=found,
            diverged_at=points[-1].diverged_at.reshape(shape),
            dropped_at=np.where(dropped, env_steps, NEVER).max(-1),
            lengths=changed.shape[-1] - changed[..., ::-1].argmax(-1),
            seconds=np.array([point.seconds for point in points]),
        )

    @property
    def name(self) -> str:
        """What holds it."""
        return "the sweep"

    def __getitem__(self, name: str) -> np.ndarray:
        """Return a metric or `env_steps`, `[S, N, P]`.

        Raises:
            ValueError: there is none of that name; those that there are are named.

        """
        if name == "env_steps":
            return self.env_steps
        _check_names(self.name, [name], self.metrics)
        return self.metrics[name]

    def frame(self) -> Any:
        """Return a tidy pandas DataFrame, one row for every lane and log point until the lane's last.

        Its columns are `setting`, `seed`, every hyper-parameter, `point`, `env_steps` and the metrics.

        Raises:
            ImportError: pandas is not installed.

        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError(needs("a frame", "pandas", "pandas")) from error
        shape = self.env_steps.shape
        setting, seed, point = (index.reshape(-1) for index in np.indices(shape))
        there = (np.arange(shape[2]) < self.lengths[..., None]).reshape(-1)
        columns: dict[str, Any] = {"setting": setting, "seed": self.seeds[seed]}
        columns |= {name: values[setting] for name, values in self.hypers.items()}
        columns |= {"point": point, "env_steps": self.env_steps.reshape(-1)}
        columns |= {name: values.reshape(-1) for name, values in self.metrics.items()}
        return pandas.DataFrame({name: column[there] for name, column in columns.items()})


@dataclass(frozen=True, kw_only=True, repr=False)
class Results(Table):
    """What a run's tables hold."""

    folder: Path
    """The run's folder."""
    experiment: str
    """What its config says was run."""
    arguments: Mapping[str, Any]
    """The arguments it was started with, as its config has them."""
    complete: bool
    """Whether the run had ended."""
    notes: tuple[str, ...]
    """What is missing, or was altered since, in words; empty for a run that is whole."""

    @property
    def name(self) -> str:
        """What holds it: the folder."""
        return str(self.folder)

    def frame(self, arguments: bool = True) -> Any:
        """Return a tidy pandas DataFrame, one row for every lane and log point until the lane's last.

        Its columns are `setting`, `seed`, every hyper-parameter (the swept ones, and with `arguments` those that
        were the same for all lanes), `point`, `env_steps` and the metrics. An argument that has the name of another
        column, such as `loss`, is `loss_argument`.

        Raises:
            ImportError: pandas is not installed.

        """
        frame = super().frame()
        same = {name: value for name, value in flat(self.arguments).items() if name not in self.hypers}
        fixed = {argument(name, set(frame)): value for name, value in same.items()} if arguments else {}
        plain = {name: str(v) if isinstance(v, list | dict) else v for name, v in fixed.items()}
        return frame.assign(**plain)


def load(run: str | Path, metrics: Sequence[str] | None = None) -> Results:
    """Return the results of a run's folder.

    A run that has not ended is returned as far as its tables go, and one whose files were altered since it ended as
    they are now; that is warned of once and stands in the notes.

    Args:
        run: the folder.
        metrics: which of the metrics; default all of them.

    Raises:
        FileNotFoundError: there is no such folder, or no run or no table in it.
        ValueError: it holds no log point yet, is damaged, is of another version of qjax that wrote other columns
            (both are named), or has no metric of that name (those that it has are named).
        ImportError: its table is one of Parquet, and pyarrow is not installed.

    """
    check_path("run", run)
    if metrics is not None:
        for name in check_listed("metrics", metrics, "names"):
            check_text("metrics (each)", name)
    folder = Path(run)
    config, points = load_config(folder), read_points(folder)
    if lacking := [name for name in ("experiment", "arguments") if name not in config]:
        raise ValueError(f"{folder} is of another version: its {CONFIG} has no {', '.join(map(repr, lacking))}")
    if not points:
        raise ValueError(f"{folder} holds no log point yet: its table has no rows")
    sweep = config["sweep"]
    hypers = {name: np.array(column) for name, column in sweep["hypers"].items()}
    found = Table.of_points(points, np.array(lane_seeds(sweep)), hypers)
    changed = np.stack([point.changed for point in points], -1).reshape(found.env_steps.shape)
    there = found.metrics
    if metrics is not None:
        _check_names(folder, metrics, there)
        there = {name: there[name] for name in metrics if name != "env_steps"}
    cut = _cut(folder, len(points))
    complete = not cut and _complete(folder, sweep, changed)
    wrong = [f"{name} {WHEN_ENDED}" for name in altered(folder)]
    notes = (
        *wrong,
        *_dropped(found),
        *map(_elsewhere, config.get("resumed", [])),
        *(() if complete else [cut] if cut else _missing(sweep, changed)),
    )
    if notes:
        warnings.warn(f"{folder}: {'; '.join(notes)}", stacklevel=2)
    return Results(
        **{**vars(found), "metrics": there},
        folder=folder,
        experiment=config["experiment"],
        arguments=config["arguments"],
        complete=complete,
        notes=notes,
    )


def aligned(*runs: Results, interpolate: bool = False) -> tuple[np.ndarray, list[Results]]:
    """Return environment steps `[points]` that all runs were logged at, and the runs at those points alone.

    A run's log points are those of its lane that is furthest. Where one run's are the first ones of another's,
    because it was interrupted, both are cut to them, with a warning. With `interpolate`, runs whose log points
    differ are put on those of the run that has the fewest, within the steps that all of them cover: each lane's
    metrics are interpolated linearly between its log points that have a value. A metric is a mean over an interval:
    interpolated ones are good enough to draw, and no substitute for runs with the same log points.

    Raises:
        ValueError: there is no run, the log points differ and are not to be interpolated (the runs and where they
            differ are named), or the runs have no steps in common.

    """
    interpolate = check_flag("interpolate", interpolate)
    for run in runs:
        check_record("runs (each)", run, Results)
    if not runs:
        raise ValueError("aligned needs at least one run, got none")
    axes = [run.env_steps.max((0, 1)) for run in runs]
    short = min(axes, key=len)
    for run, axis in zip(runs, axes, strict=True):
        if not interpolate and (axis[: len(short)] != short).any():
            shortest = runs[[len(a) for a in axes].index(len(short))]
            at = int(np.flatnonzero(axis[: len(short)] != short)[0])
            raise ValueError(
                f"{shortest.folder} and {run.folder} have different log points: {len(short)} and {len(axis)} of"
                f" them, and number {at + 1} at {short[at]} and {axis[at]} env-steps; interpolate, or run them with"
                " the same steps and log points"
            )
    if not interpolate:
        longest = max(map(len, axes))
        if longest > len(short):
            warnings.warn(f"only the first {len(short)} of {longest} log points are in all runs", stacklevel=2)
        return short, [_at(run, np.arange(len(short))) for run in runs]
    steps = short[(short >= max(axis[0] for axis in axes)) & (short <= min(axis[-1] for axis in axes))]
    if not len(steps):
        ranges = {str(run.folder): (int(axis[0]), int(axis[-1])) for run, axis in zip(runs, axes, strict=True)}
        raise ValueError(f"the runs have no environment steps in common: {ranges}")
    return steps, [_interpolated(run, axis, steps) for run, axis in zip(runs, axes, strict=True)]


def _check_names(folder: str | Path, names: Sequence[str], there: Mapping[str, Any]) -> None:
    if strange := [name for name in names if name not in there and name != "env_steps"]:
        raise ValueError(
            f"{folder} has no metrics {shown(strange)}; it has {short(str(['env_steps', *there]), 300)}"
        )


def _columns(points: Sequence[Point]) -> dict[str, list[np.ndarray]]:
    """Return a list of arrays `[lanes]` for each column of the table."""
    shown = {name: COLUMNS.get(name, name) for name in points[0].means}
    columns = {name: [getattr(point, name) for point in points] for name in ("changed", "env_steps", "episodes")}
    columns["mean_return"] = [point.mean_return for point in points]
    columns |= {shown[name]: [point.means[name] for point in points] for name in points[0].means}
    return columns | {name: [point.values[name] for point in points] for name in points[0].values}


def _complete(folder: Path, sweep: Mapping[str, Any], changed: np.ndarray) -> bool:
    """Return whether a run has ended: it says so, or its checkpoint or its points do; `changed` is `[S, N, P]`."""
    if has_ended(folder):
        return True
    for path in sorted((folder / CHECKPOINTS).glob(f"[0-9]*/{MANIFEST}"))[-1:]:
        try:
            manifest = jsonfile.read(path, KINDS, needs=["points", "config"])
        except (OSError, ValueError):
            continue
        if manifest["config"].get("sweep", {}).get("steps") != sweep.get("steps"):
            return False  # it was extended, and stands where it did before
        noted = manifest["points"]
        # A run that was resumed after its end would find nothing to do.
        return bool(noted) and noted[-1][1] >= 1
    counted = sweep.get("steps") is not None and changed.shape[-1] >= sweep.get("log_points", np.inf)
    return counted and bool(changed[..., -1].all())


def _elsewhere(resumed: Mapping[str, Any]) -> str:
    """Return what to say of a run that went on elsewhere than it had stopped."""
    changed = ", ".join(f"{name} {old} -> {new}" for name, (old, new) in resumed["versions"].items())
    program = "" if resumed["program"] is None else " with another program, which was accepted"
    return f"resumed after {resumed['log_points']} log points{program}{changed and ': '}{changed}"


def _dropped(found: Table) -> list[str]:
    """Return what to say of lanes that were dropped: their last rows are no full run's."""
    count = int((found.dropped_at != NEVER).sum())
    return [f"{count} of {found.dropped_at.size} lanes were dropped before their end"] if count else []


def _cut(folder: Path, points: int) -> str:
    """Return what to say of a run that has ended and whose table has fewer log points than were timed."""
    if not (has_ended(folder) and (folder / TIMING).is_file()):
        return ""
    timed = len(read_csv(folder / TIMING)[1])
    return f"the run has ended, but its table holds {points} of {timed} log points" if timed > points else ""


def _missing(sweep: Mapping[str, Any], changed: np.ndarray) -> list[str]:
    """Return what a run that has not ended lacks; `changed` is `[S, N, P]`."""
    points = changed.shape[-1]
    of = f" of {sweep['log_points']}" if "log_points" in sweep and sweep.get("steps") is not None else ""
    notes = [f"interrupted after {points}{of} log points"]
    last, before = changed[..., -1].sum(), changed[..., -2].sum() if points > 1 else changed[..., -1].size
    if last < before:
        notes.append(f"the last of them has {last} of {before} lanes")
    return notes


def _at(run: Results, index: np.ndarray) -> Results:
    """Return a run at some of its log points."""
    return replace(
        run,
        env_steps=run.env_steps[..., index],
        metrics={name: column[..., index] for name, column in run.metrics.items()},
        lengths=(index < run.lengths[..., None]).sum(-1),
        diverged_at=_until(run.diverged_at, run.env_steps[..., index[-1]]),
        dropped_at=_until(run.dropped_at, run.env_steps[..., index[-1]]),
        seconds=run.seconds[index],
    )


def _until(happened: np.ndarray, steps: Any) -> np.ndarray:
    """Return at which environment steps something happened, `NEVER` where it was after so many."""
    return np.where(happened > steps, NEVER, happened)


def _interpolated(run: Results, axis: np.ndarray, steps: np.ndarray) -> Results:
    """Return a run at other steps."""
    if np.isin(steps, axis).all():
        return _at(run, np.searchsorted(axis, steps))

    def lane(own: np.ndarray, values: np.ndarray) -> np.ndarray:
        fresh = np.diff(own, prepend=-1) > 0
        known = fresh & ~np.isnan(values)
        if not known.any():
            return np.full(len(steps), np.nan)
        return np.interp(steps, own[known], values[known], left=np.nan, right=np.nan)

    def every(column: np.ndarray) -> np.ndarray:
        flat = zip(run.env_steps.reshape(-1, len(axis)), column.reshape(-1, len(axis)), strict=True)
        return np.stack([lane(own, values) for own, values in flat]).reshape(*column.shape[:2], -1)

    ends = run.env_steps[..., -1:]
    return replace(
        run,
        env_steps=np.minimum(steps, ends),
        metrics={name: every(column) for name, column in run.metrics.items()},
        lengths=(steps <= ends).sum(-1),
        diverged_at=_until(run.diverged_at, steps[-1]),
        dropped_at=_until(run.dropped_at, steps[-1]),
        seconds=np.interp(steps, axis, run.seconds),
    )
