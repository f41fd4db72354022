"""A run's tables read back, and everything in them checked."""

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from qjax.core.checks import check_path
from qjax.core.distribution import VERSION
from qjax.core.text import short, shown
from qjax.runs.config import lane_seeds, load_config, load_sweep
from qjax.runs.ended import tell_of_altered
from qjax.runs.points import EVALUATED, NEVER, Point
from qjax.runs.tables import COLUMNS, LAST, METRICS, PARQUET, TIMING, Table, arrow, parquet_files

COUNTED = {"seed": 0, "setting": 0, "env_steps": 1, "episodes": 0, LAST: 0}
"""Columns of whole numbers, and the least of each; the last one may have empty cells."""


def load_metrics(folder: str | Path) -> dict[str, np.ndarray]:
    """Return the columns of a run's table up to `diverged_at`, float64 `[rows]`; empty cells are NaN.

    A last row of `metrics.csv` that a kill left half written is passed over.

    Raises:
        FileNotFoundError: there is no table: no run got as far as its first log point here.
        ValueError: the table is damaged; the file and the line are named.
        ImportError: it is one of Parquet, and pyarrow is not installed.

    """
    check_path("folder", folder)
    tell_of_altered(Path(folder))
    table, number = _load(Path(folder))
    if "seed" in table:
        _numbered(Path(folder), table, _lanes_by_first(table["seed"], table.get("setting")), number)
    return table


def points(folder: Path, notes: Sequence[Sequence[float]] | None = None) -> list[Point]:
    """Return log points `[lanes]` from a run's table.

    Args:
        folder: the run's.
        notes: updates, share done and seconds of each log point, from a checkpoint; default 0, NaN and what
            `timing.csv` says of as many as the table has.

    Raises:
        FileNotFoundError: as `load_points`.
        ValueError: the config or the table is damaged, or the table has other columns than the sweep.

    """
    sweep = load_sweep(folder)
    if notes is not None and not notes:
        return []
    table, number = _load(folder)
    seeds = lane_seeds(sweep)
    _check_columns(folder, table, sweep)
    lane = _lanes(folder, table["seed"], table.get("setting"), seeds, sweep["lanes"])
    number = _numbered(folder, table, lane, number)
    count = int(number.max(initial=-1)) + 1
    if count and sweep["lanes"] > (number == 0).sum():
        rows = f"{sweep['lanes']} lanes, and its first log point has rows of {(number == 0).sum()}"
        raise ValueError(f"the table in {folder} is damaged, or hardly begun: the sweep has {rows}")
    if notes is None:
        notes = _timed(folder, count)
    elif len(notes) != count:
        raise ValueError(
            f"the table in {folder} is damaged: it has {count} log points, its checkpoint {len(notes)}"
        )
    return _points(table, number, lane, sweep, notes)


def _points(
    table: Table, number: np.ndarray, lane: np.ndarray, sweep: Mapping[str, Any], notes: Sequence[Sequence[float]]
) -> list[Point]:
    """Return log points `[lanes]` from a table's columns, its rows being of these log points and lanes."""
    for name in ("seed", "setting"):
        table.pop(name, None)
    shape = (len(notes), sweep["lanes"])

    def spread(name: str, empty: float) -> np.ndarray:
        column = np.full(shape, float(empty))
        column[number, lane] = table.pop(name)
        return column

    def counts(name: str, empty: int) -> np.ndarray:
        return np.maximum.accumulate(np.nan_to_num(spread(name, empty), nan=empty), 0).astype(np.int64)

    changed = np.zeros(shape, bool)
    changed[number, lane] = True
    steps, episodes, diverged = counts("env_steps", 0), counts("episodes", 0), counts("diverged_at", NEVER)
    for name in sweep["columns"]:
        del table[name]
    columns = {name: spread(name, np.nan).astype(np.float32) for name in list(table)}
    returns = columns.pop("mean_return")
    values = {name: columns.pop(name) for name in sweep["logged"]}
    plain = {shown: name for name, shown in COLUMNS.items()}
    return [
        Point(
            env_steps=steps[i],
            episodes=episodes[i],
            mean_return=returns[i],
            means={plain.get(name, name): column[i] for name, column in columns.items()},
            values={name: column[i] for name, column in values.items()},
            changed=changed[i],
            diverged_at=diverged[i],
            updates=int(updates),
            done=done,
            seconds=seconds,
        )
        for i, (updates, done, seconds, *_) in enumerate(notes)
    ]


def load_points(folder: str | Path) -> list[Point]:
    """Return the log points of a run so far, of all its lanes, from its tables.

    Where a lane did not step it keeps its counts and has no means. `updates` and `done` are not in the tables: 0
    and NaN.

    Raises:
        FileNotFoundError: there is no run or no table.
        ValueError: a table is damaged, or none that a sweep wrote.

    """
    check_path("folder", folder)
    tell_of_altered(Path(folder))
    return read_points(folder)


def read_points(folder: str | Path) -> list[Point]:
    """Do as `load_points`, without a warning of a finished run's files that were altered since."""
    try:
        return points(Path(folder))
    except ValueError as error:
        written, here = load_config(folder).get("versions", {}).get("qjax"), VERSION
        if written == here:
            raise
        raise ValueError(f"{error}; it was written by qjax {written}, and this is qjax {here}") from error


def _load(folder: Path) -> tuple[Table, np.ndarray | None]:
    """Return a table's columns up to `LAST`, float64, and the log point of each row where its files say that."""
    if (folder / PARQUET).is_dir():
        table, number = _load_parquet(folder)
    elif (folder / METRICS).is_file():
        table, number = _load_csv(folder / METRICS), None
    else:
        raise FileNotFoundError(f"{folder} holds neither {METRICS} nor {PARQUET}: no run has logged anything there")
    for name, least in COUNTED.items():
        if name in table:
            _check_whole(folder, name, table[name], least)
    return table, number


def _check_whole(folder: Path, name: str, column: np.ndarray, least: int) -> None:
    whole = (column >= least) & (column < 2**63) & (np.floor(column) == column)
    wrong = ~(whole | np.isnan(column) if name == LAST else whole)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise ValueError(
            f"the table in {folder} is damaged: row {row + 1} has {column[row]:g} for {name}, no whole number"
            f" from {least}"
        )


def _load_csv(path: Path) -> Table:
    header, found = read_csv(path)
    names = _measured(header)
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{path} is damaged: it has columns {shown(twice)} twice")
    columns = list(zip(*(row[: len(names)] for row in found), strict=True)) if found else [()] * len(names)
    return {name: _numbers(path, name, column) for name, column in zip(names, columns, strict=True)}


def _measured(names: Sequence[str]) -> list[str]:
    """Return the columns of a table but for the run's arguments at its end."""
    return list(names[: names.index(LAST) + 1 if LAST in names else None])


def _numbers(path: Path, name: str, column: Sequence[str]) -> np.ndarray:
    """Return a column of text as float64; empty cells are NaN."""
    try:
        return np.array([float(cell) if cell else np.nan for cell in column])
    except ValueError:
        for line, cell in enumerate(column, 2):
            try:
                float(cell or "nan")
            except ValueError:
                raise ValueError(
                    f"{path} is damaged: line {line} has {shown(cell)} for {short(name)}, no number"
                ) from None
        raise AssertionError from None


def _load_parquet(folder: Path) -> tuple[Table, np.ndarray]:
    pa, parts = arrow(), parquet_files(folder)
    if not parts:
        raise FileNotFoundError(f"{folder / PARQUET} is empty: no run has logged anything there")
    points = _check_parts(parts)
    read = []
    for path in parts:
        try:
            # One file at a time: a folder's name of the form key=value would make a column.
            part = pa.parquet.ParquetFile(path).read()
            names = _measured(part.column_names)
            read.append({name: part[i].to_numpy().astype(np.float64) for i, name in enumerate(names)})
        except (pa.ArrowException, OSError, ValueError, TypeError) as error:
            raise ValueError(f"{path} is damaged: {short(str(error))}") from error
        if len(read[-1]) < len(names) or list(read[-1]) != list(read[0]):
            raise ValueError(f"{path} has columns {shown(names)}, {parts[0]} {shown(list(read[0]))}")
    number = np.repeat(points, [len(next(iter(part.values()), ())) for part in read])
    return {name: np.concatenate([part[name] for part in read]) for name in read[0]}, number


def _check_parts(parts: Sequence[Path]) -> list[int]:
    """Return the log point of each of Parquet's files; there is none without any."""
    points = []
    for path in parts:
        name = re.fullmatch(r"(\d{6,18})-\d{5,}", path.stem)
        if not name:
            raise ValueError(
                f"{path} is none of the table's files, which are called 000000-00000.parquet and so on"
            )
        points.append(int(name[1]))
    for number, point in enumerate(sorted(set(points))):
        if point != number:
            raise ValueError(f"{parts[0].parent} is damaged: log point {number} has no file")
    return points


def read_csv(path: Path) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of a table, without a last line that is not whole.

    Raises:
        ValueError: it is no CSV, or a row has another number of cells than the header; its line is named.

    """
    try:
        text = path.read_text("utf-8")
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {short(str(error))}") from None
    reader = csv.reader(text[: text.rfind("\n") + 1].splitlines(), strict=True)
    try:
        header, *found = reader
    except csv.Error as error:
        raise ValueError(f"{path} is damaged: line {reader.line_num}: {error}") from None
    except ValueError:
        raise ValueError(f"{path} is damaged: it has no header") from None
    for line, row in enumerate(found, 2):
        if len(row) != len(header):
            raise ValueError(f"{path} is damaged: line {line} has {len(row)} cells, the header {len(header)}")
    return header, found


def _numbered(folder: Path, table: Table, lane: np.ndarray, number: np.ndarray | None) -> np.ndarray:
    """Return the log point of each row, `[rows]`; check that no row is missing, there twice, or in another's place.

    Lanes come in their order, each with more steps than before, and one that has ended stays away; but where lanes
    are evaluated one that has its episodes waits for its last evaluation.
    """
    point = np.cumsum(np.diff(lane, prepend=-1) <= 0) if number is None else number
    order = np.lexsort((point, lane))
    here, at = lane[order], point[order]
    same = np.diff(here, prepend=-1) == 0
    wrong = np.where(same, np.diff(at, prepend=0) != 1, at != 0)
    least = {"env_steps": np.ones(len(order)), "episodes": np.zeros(len(order))}
    if EVALUATED in table:
        least["env_steps"] = np.where(np.isnan(table["mean_return"][order]), 0, 1)
    for name in least.keys() & table.keys():
        wrong |= same & (np.diff(table[name][order], prepend=0) < least[name])
    if wrong.any():
        row = int(order[wrong].min())
        raise ValueError(
            f"the table in {folder} is damaged: at row {row + 1} a row of its lane is missing, there twice, or not"
            " in its place"
        )
    return point


def _lanes_by_first(seed: np.ndarray, setting: np.ndarray | None) -> np.ndarray:
    """Return the lane of each row where no sweep says their order: that in which they come first."""
    seeds, own = np.unique(seed, return_inverse=True)
    if setting is not None:
        own = own + np.unique(setting, return_inverse=True)[1] * len(seeds)
    _, first, lane = np.unique(own, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[lane]


def _check_columns(folder: Path, table: Table, sweep: Mapping[str, Any]) -> None:
    wanted = ["seed", "env_steps", "episodes", "mean_return", "diverged_at", *sweep["columns"], *sweep["logged"]]
    if lacking := [name for name in wanted if name not in table]:
        raise ValueError(f"the table in {folder} has no columns {shown(lacking)}, only {shown(list(table))}")


def _lanes(
    folder: Path, seed: np.ndarray, setting: np.ndarray | None, seeds: Sequence[int], lanes: int
) -> np.ndarray:
    """Return the lane of each row: settings in order, and the seeds of each in theirs."""
    known, first = np.unique(seed.astype(np.int64), return_inverse=True)
    if isinstance(seeds, range):
        places = np.where(known < len(seeds), known, -1)
    else:
        there = {number: place for place, number in enumerate(seeds)}
        places = np.array([there.get(number, -1) for number in known.tolist()], np.int64)
    place = places[first]
    lane = place + (0 if setting is None else setting.astype(np.int64) * len(seeds))
    strange = (place < 0) | (lane >= lanes)
    if strange.any():
        row = int(np.flatnonzero(strange)[0])
        where = "" if setting is None else f" of setting {setting[row]:g}"
        raise ValueError(
            f"the table in {folder} is damaged: row {row + 1} has seed {seed[row]:g}{where}, none of the sweep's"
        )
    return lane


def _timed(folder: Path, count: int) -> list[tuple[float, ...]]:
    """Return notes of the first log points: their times, NaN where a kill came between the two tables."""
    path = folder / TIMING
    header, found = read_csv(path) if path.is_file() else (["seconds"], [])
    if "seconds" not in header:
        raise ValueError(f"{path} is damaged: it has no column 'seconds', only {shown(header)}")
    seconds = _numbers(path, "seconds", [row[header.index("seconds")] for row in found])
    if not (np.diff(seconds, prepend=0) >= 0).all() or not np.isfinite(seconds).all():
        raise ValueError(f"{path} is damaged: its seconds do not grow from 0")
    known = seconds[:count].tolist()
    return [(0, np.nan, now, 0) for now in [*known, *[np.nan] * (count - len(known))]]
