"""A run's tables: a log point as rows, and those rows as CSV or Parquet, written and read back.

A table is tidy, one row for every lane that stepped in the interval. As CSV it is one file that grows,
`metrics.csv`. As Parquet it is a folder, `metrics.parquet`, with a file for each log point and process, written
beside its place and moved there whole; readers of Parquet take the folder for one table. A sweep that is resumed
drops what its checkpoint does not know of: the end of the one, files of the other.
"""

import csv
import os
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from qjax.core.checks import check_path
from qjax.core.distribution import needs
from qjax.core.text import short, shown
from qjax.runs.config import lane_seeds
from qjax.runs.ended import tell_of_altered
from qjax.runs.files import digest, make, put, sync
from qjax.runs.points import NEVER, Point

METRICS, PARQUET, TIMING = "metrics.csv", "metrics.parquet", "timing.csv"
LAST = "diverged_at"
"""Last column of what was measured; the run's arguments follow, the same in every row."""

COLUMNS = {"loss": "loss", "q": "mean_q"}
"""Names in the table of the means that every agent reports; others keep their own."""

Table = dict[str, np.ndarray]
"""Columns `[rows]`; what is missing is NaN, or `NEVER` for `diverged_at`."""


def rows(point: Point, columns: Mapping[str, np.ndarray]) -> Table:
    """Return a log point's rows, one for every lane that stepped.

    Args:
        point: of some lanes.
        columns: what identifies the lanes, `seed` first, arrays `[lanes]`.

    """
    means = {COLUMNS.get(name, name): column for name, column in point.means.items()}
    nothing = np.full(len(point.env_steps), np.nan)
    table = {
        "seed": columns["seed"],
        "env_steps": point.env_steps,
        "episodes": point.episodes,
        "mean_return": point.mean_return,
        "loss": means.pop("loss", nothing),
        **point.values,
        "mean_q": means.pop("mean_q", nothing),
        **means,
        **{name: column for name, column in columns.items() if name != "seed"},
        LAST: point.diverged_at,
    }
    return {name: column[point.changed] for name, column in table.items()}


def constants(arguments: Mapping[str, Any], table: Table) -> Table:
    """Return a run's arguments as columns for the end of a table, so that tables of several runs can be joined.

    Those without a value are left out, lists are text, and one that has the name of another column, such as `loss`,
    is `loss_argument`.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    plain = {name: str(value) if isinstance(value, list | dict) else value for name, value in given.items()}
    count = len(next(iter(table.values())))
    return {argument(name, table): np.broadcast_to(value, count) for name, value in plain.items()}


def argument(name: str, others: Collection[str]) -> str:
    """Return what an argument is called beside other columns."""
    return name + "_argument" * (name in others)


def missing(name: str, column: np.ndarray) -> np.ndarray:
    """Return which cells of a column hold nothing, bool `[rows]`: NaN, and a divergence that never came."""
    if np.issubdtype(column.dtype, np.floating):
        return np.isnan(column)
    return (column == NEVER) if name == LAST else np.zeros(len(column), bool)


def cells(table: Table) -> list[list[str]]:
    """Return a table's rows as text: numbers in the fewest digits that read back as the same bits."""
    shown = []
    for name, column in table.items():
        own = column[:1] if column.strides == (0,) else column  # one value in all rows is written out once
        numbers = own.astype(int) if own.dtype == bool else own
        empty = missing(name, own).tolist()
        text = ["" if none else str(value) for value, none in zip(numbers, empty, strict=True)]
        shown.append(text * (len(column) // max(len(text), 1)))
    return [list(row) for row in zip(*shown, strict=True)]


def arrow() -> Any:
    """Return pyarrow with its Parquet module.

    Raises:
        ImportError: it is not installed; the message names the extra.

    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(needs("a Parquet table", "pyarrow", "parquet")) from error
    return pyarrow


def write_part(folder: Path, number: int, process: int, table: Table) -> None:
    """Write one process's rows of one log point as a file of `metrics.parquet`, whole at every instant."""
    pa = arrow()
    path = folder / PARQUET / f"{number:06d}-{process:05d}.parquet"
    make(path.parent)
    arrays = {name: pa.array(column, mask=missing(name, column)) for name, column in table.items()}
    new = path.parent / f".{path.name}.new"  # readers of Parquet pass over hidden files
    pa.parquet.write_table(pa.table(arrays), new, compression="zstd")
    sync(new)
    put(new, path)


def files(folder: Path) -> list[str]:
    """Return the names of the tables' files that are there, relative to the folder."""
    parts = [f"{PARQUET}/{path.name}" for path in _parts(folder)]
    return [name for name in (METRICS, TIMING, *parts) if (folder / name).is_file()]


def digests(folder: Path, known: Mapping[str, list[int]]) -> dict[str, list[int]]:
    """Sync the tables; return length and CRC-32 of each file. Those of Parquet never change: `known` are kept."""
    found = {}
    for name in files(folder):
        if name.startswith(PARQUET) and name in known:
            found[name] = known[name]
        else:
            sync(folder / name)
            found[name] = list(digest(folder / name))
    sync(folder)
    return found


def cut(folder: Path, kept: Mapping[str, Sequence[int]]) -> None:
    """Cut the tables back to what they were: `kept` holds the length of each file that there was."""
    for path in (folder / PARQUET).glob(".*.new"):
        path.unlink()
    for name in files(folder):
        if name in kept:
            os.truncate(folder / name, kept[name][0])
        else:
            (folder / name).unlink()


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


def points(folder: Path, sweep: Mapping[str, Any], notes: Sequence[Sequence[float]] | None = None) -> list[Point]:
    """Return log points `[lanes]` from a run's table.

    Args:
        folder: the run's.
        sweep: what its config says of the sweep.
        notes: updates, share done and seconds of each log point, from a checkpoint; default 0, NaN and what
            `timing.csv` says of as many as the table has.

    Raises:
        ValueError: the table is damaged, or has other columns than the sweep.

    """
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


def _parts(folder: Path) -> list[Path]:
    return sorted((folder / PARQUET).glob("[0-9]*.parquet"))


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


COUNTED = {"seed": 0, "setting": 0, "env_steps": 1, "episodes": 0, LAST: 0}
"""Columns of whole numbers, and the least of each; the last one may have empty cells."""


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
    pa, parts = arrow(), _parts(folder)
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

    Lanes come in their order, each with more steps than before, and one that has ended stays away.
    """
    point = np.cumsum(np.diff(lane, prepend=-1) <= 0) if number is None else number
    order = np.lexsort((point, lane))
    here, at = lane[order], point[order]
    same = np.diff(here, prepend=-1) == 0
    wrong = np.where(same, np.diff(at, prepend=0) != 1, at != 0)
    for name in ("env_steps", "episodes"):
        if name in table:
            grown = np.diff(table[name][order], prepend=0)
            wrong |= same & (grown <= 0 if name == "env_steps" else grown < 0)
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
