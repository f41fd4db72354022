"""A run's tables as they grow: the rows of every log point, by every process.

`metrics.csv` (or `metrics.parquet`) is tidy, one row per lane and log point, and holds nothing that depends on the
clock on the wall; that stands in `timing.csv`. Both are cut back to the checkpoint when a run is resumed.

On several hosts each process writes the rows of its own lanes, and the first joins those of CSV at every
checkpoint.
"""

import csv
import io
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import jax
import numpy as np

from qjax.machine import hosts
from qjax.runs import tables
from qjax.runs.folder import PARTS
from qjax.runs.tables import METRICS, TIMING, Table


class Recorder:
    """Writes rows into the tables of a run's folder."""

    def __init__(self, folder: Path, parquet: bool):
        """Write nothing yet; `parquet` says which kind of table."""
        self.folder, self.parquet, self.number = folder, parquet, 0
        """The number of the next log point."""
        self._last = (0.0, 0)
        self._digests: dict[str, list[int]] = {}

    def start(self) -> None:
        """Begin this process's part of the table, where several write one of CSV."""
        if hosts.alone() or self.parquet:
            return

        def make() -> None:
            (self.folder / PARTS).mkdir(exist_ok=True)
            self._part().write_text("")

        hosts.agreed(make)

    def cut(self, kept: Mapping[str, Sequence[int]]) -> None:
        """Cut the tables back to those of a checkpoint; the first process calls."""
        tables.cut(self.folder, kept)
        shutil.rmtree(self.folder / PARTS, ignore_errors=True)

    def go_on(self, parquet: bool, points: Sequence[Sequence[float]]) -> None:
        """Stand behind the log points that a checkpoint notes, in a table of the kind that there is."""
        self.parquet = parquet
        if points:
            _, _, seconds, env_steps = points[-1]
            self._last, self.number = (seconds, int(env_steps)), len(points)
        self.start()

    def add(self, table: Table, number: int, lanes: np.ndarray) -> None:
        """Add the rows of a log point's number; `lanes` are whose they are."""
        self.number = number + 1
        if self.parquet:
            tables.write_part(self.folder, number, jax.process_index(), table)
        elif jax.process_count() > 1:
            ids = [[str(number), str(lane)] for lane in lanes.tolist()]
            rows = [[*of, *row] for of, row in zip(ids, tables.cells(table), strict=True)]
            self._append(self._part(), rows)
        else:
            self._append(self.folder / METRICS, tables.cells(table), table)
        if hosts.is_first() and not self.parquet and not (self.folder / METRICS).is_file():
            self._append(self.folder / METRICS, [], table)

    def time(self, now: float, env_steps: int, updates: int) -> None:
        """Add a row of timing; the first process calls."""
        (before, steps_before), self._last = self._last, (now, env_steps)
        seconds = max(now - before, 1e-9)
        rates = (f"{(env_steps - steps_before) / seconds:.0f}", f"{updates / seconds:.0f}")
        header = ("seconds", "env_steps", "env_steps_per_s", "updates_per_s")
        self._append(self.folder / TIMING, [(f"{now:.3f}", str(env_steps), *rates)], header)

    def join(self) -> None:
        """Move what the processes wrote since the last checkpoint into metrics.csv, by log point and lane.

        Files of Parquet stand where they belong; then the processes only wait for each other.
        """
        if hosts.alone():
            return
        hosts.gather({})
        if self.parquet:
            return

        def move() -> None:
            if not hosts.is_first():
                return
            text = "".join(path.read_text() for path in sorted((self.folder / PARTS).glob("metrics_*.csv")))
            rows = sorted(csv.reader(io.StringIO(text)), key=lambda row: (int(row[0]), int(row[1])))
            if rows:  # the first one, at the first log point, has written the header
                self._append(self.folder / METRICS, [row[2:] for row in rows])

        hosts.agreed(move)
        self._part().write_text("")

    def digests(self) -> dict[str, list[int]]:
        """Sync the tables; return length and CRC-32 of each file."""
        self._digests = tables.digests(self.folder, self._digests)
        return self._digests

    def _part(self) -> Path:
        return self.folder / PARTS / f"metrics_{jax.process_index():05d}.csv"

    def _append(self, path: Path, rows: Sequence[Sequence[str]], header: Iterable[str] = ()) -> None:
        """Add rows to a table, below its header where it is new; whole rows reach the file at once."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if header and not path.is_file():
            writer.writerow(header)
        writer.writerows(rows)
        with path.open("a", newline="") as file:
            file.write(text.getvalue())
