"""A run's tables: a log point as rows, and those rows as CSV or Parquet, written and read back.

A table is tidy, one row for every lane that stepped in the interval. As CSV it is one file that grows,
`metrics.csv`. As Parquet it is a folder, `metrics.parquet`, with a file for each log point and process, written
beside its place and moved there whole; readers of Parquet take the folder for one table. A sweep that is resumed
drops what its checkpoint does not know of: the end of the one, files of the other.
"""

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from qjax.core.distribution import needs
from qjax.core.files import digest, make, put, sync
from qjax.runs.points import NEVER, Point

METRICS, PARQUET, TIMING = "metrics.csv", "metrics.parquet", "timing.csv"
LAST = "diverged_at"
"""Last column of what was measured; the run's arguments follow, the same in every row."""

KNOWN = ("seed", "setting", "env_steps", "episodes", "mean_return", "loss", "mean_q", "diverged_at")
"""Columns of every table."""

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
    parts = [f"{PARQUET}/{path.name}" for path in parquet_files(folder)]
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


def parquet_files(folder: Path) -> list[Path]:
    """Return the files of `metrics.parquet`, in their order."""
    return sorted((folder / PARQUET).glob("[0-9]*.parquet"))
