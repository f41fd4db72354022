"""A run's folder: config.json, its tables, summary.json, the final agents, and the last checkpoint.

A sweep that ends writes its last checkpoint, the agents, then `ended` (that checkpoint without the lanes' states),
which by its rename makes the run one that has ended: opened again it is returned from its folder. Only then the
checkpoint goes. `summary.json`, after an evaluation for instance, says that nothing is left to do.

`metrics.csv` (or `metrics.parquet`) is tidy, one row per lane and log point, and holds nothing that depends on the
clock on the wall; that stands in `timing.csv`. Both grow while the run does, and are cut back to the checkpoint
when it is resumed. On several hosts each process writes the rows of its own lanes, and the first joins those of
CSV at every checkpoint.
"""

import csv
import io
import math
import platform
import shutil
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import numpy as np

from qjax.core.checks import check_flag, check_listed, check_mapping, check_path, check_text
from qjax.core.distribution import VERSION
from qjax.machine import hosts
from qjax.machine.devices import processor
from qjax.machine.streams import tell
from qjax.runs import checkpoint, files, jsonfile, tables
from qjax.runs.agents import AGENTS, write_agents
from qjax.runs.checkpoint import Checkpoint
from qjax.runs.config import CONFIG, SUMMARY, lane_seeds, load_config, load_sweep
from qjax.runs.ended import ENDED, WHEN_ENDED, altered, tell_of_altered
from qjax.runs.points import Point
from qjax.runs.tables import METRICS, PARQUET, TIMING

CHECKPOINTS, PARTS, LOCK = "checkpoints", "parts", "lock"
WRITTEN = (
    METRICS, PARQUET, TIMING, SUMMARY, AGENTS, ENDED, "ended.old", CHECKPOINTS, "checkpoints.old", PARTS,
    "tensorboard", "wandb", "learning_curve.png", "policy.png", "watch_*.gif", "plots",
)  # fmt: skip
"""What a run writes beside its config, and what is made of it there: what replaces it removes them."""

NEW_CONFIG = f"{CONFIG}.new"
KNOWN = ("seed", "setting", "env_steps", "episodes", "mean_return", "loss", "mean_q", "diverged_at")
"""Columns of every table."""


class Run:
    """The folder of one run, open for writing. Nothing is touched before `begin`.

    `with` closes it; left without an error after a sweep ended in it, it is finished with a plain summary, where
    nobody called `finish`.
    """

    def __init__(
        self,
        folder: str | Path,
        experiment: str,
        arguments: Mapping[str, Any],
        overwrite: bool = False,
        resume: bool = False,
        free: Iterable[str] = (),
        parquet: bool = False,
        accept_program: bool = False,
    ):
        """Check that the folder may be written to.

        Args:
            folder: where the run goes.
            experiment: its name.
            arguments: everything needed to run it again.
            overwrite: replace an earlier run: `WRITTEN` is removed, and nothing else.
            resume: go on from the folder's last checkpoint, or begin where there is none; a run that has ended is
                returned as it stands in its folder, and nothing is added to it.
            free: names of arguments that do not change the numbers, and may differ when it is resumed.
            parquet: write the table as Parquet (`metrics.parquet`) in place of CSV, for long sweeps; a run that is
                resumed keeps the kind it has.
            accept_program: go on from a checkpoint although the text of its program differs from this one's, after
                an upgrade of JAX for instance that changed nothing that matters; `resumed` in the config then says
                so, and `qjax.results.load` tells it.

        Raises:
            ImportError: `parquet` without pyarrow.
            TypeError: an argument is not of its kind.
            FileExistsError: the folder holds something and neither `overwrite` nor `resume` is set, or what it
                holds is no run, or it is a file.
            ValueError: both are set, or the run to resume has another experiment or other arguments, or has ended
                and a file of it is not what it wrote.

        """
        check_path("folder", folder)
        check_text("experiment", experiment)
        check_mapping("arguments", arguments)
        flags = {"overwrite": overwrite, "resume": resume, "parquet": parquet, "accept_program": accept_program}
        for name, value in flags.items():
            check_flag(name, value)
        free = check_listed("free", free, "names")
        for argument in free:
            check_text("free (each)", argument)
        self.folder = Path(folder)
        self.resume, self.accept_program = resume, accept_program
        self._overwrite = overwrite
        self._free = set(free)
        self._parquet = parquet
        self._config: dict[str, Any] = {"experiment": experiment, "arguments": _plain(arguments)}
        self._last = (0.0, 0)
        self._next = 0
        self._digests: dict[str, list[int]] = {}
        self._began = False
        self._lock: Any = None
        self._ended: Mapping[str, Any] | None = None
        if parquet:
            tables.arrow()
        if overwrite and resume:
            raise ValueError("either overwrite a run or resume it, not both")
        hosts.agreed(self._check_folder)  # all have looked before the first one writes

    def _check_folder(self) -> None:
        if self.folder.exists() and not self.folder.is_dir():
            raise FileExistsError(f"{self.folder} is a file; a run needs a folder")
        if not self.folder.exists() or not {path.name for path in self.folder.iterdir()} - {LOCK, NEW_CONFIG}:
            return
        if self._began and not self.resume:
            begun, saved = ("begun", "") if self._ended is None else ("ended", ", and its agents are saved")
            raise FileExistsError(f"a sweep has {begun} in {self.folder}{saved}: give another one a Run of its own")
        is_run = (self.folder / CONFIG).is_file() and "experiment" in load_config(self.folder)
        if self.resume or self._overwrite:
            if not is_run:
                raise FileExistsError(f"{self.folder} holds no run: choose another --out")
        elif self._unfinished():
            raise FileExistsError(
                f"{self.folder} holds an unfinished run: go on with --resume, choose another --out, or give"
                " --overwrite"
            )
        else:
            raise FileExistsError(f"{self.folder} is not empty: choose another --out, or give --overwrite")
        if self.resume:
            self._compare(load_config(self.folder), CONFIG)
            if wrong := altered(self.folder):  # agents are looked at where they are read
                raise ValueError(f"{self.folder / wrong[0]} {WHEN_ENDED}")

    def _unfinished(self) -> bool:
        """Return whether there is something to go on from."""
        found = [path for name in (CHECKPOINTS, ENDED) for path in (self.folder / name).glob("[0-9]*")]
        return bool(found) and not (self.folder / SUMMARY).is_file()

    def __enter__(self) -> "Run":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._ended is not None and not (self.folder / SUMMARY).is_file() and hosts.is_first():
            self.finish(self._plain_summary(self._ended))
        self.close()

    def _plain_summary(self, ended: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is known of a sweep that has ended."""
        steps, seconds, sweep = ended["env_steps"], ended["seconds"], self._config["sweep"]
        return {
            "experiment": self._config["experiment"],
            "seeds": len(lane_seeds(sweep)),
            "width": sweep["width"],
            "env_steps": steps,
            "compile_s": ended["compile_s"],
            "run_s": seconds,
            "env_steps_per_s": steps / seconds,
        }

    def close(self) -> None:
        """Let other processes at the folder; remove it if nothing was written."""
        if self._lock is not None:
            if {path.name for path in self.folder.iterdir()} == {LOCK}:
                shutil.rmtree(self.folder)
            self._lock.release()
            self._lock = None

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do for the run that is resumed: its summary is written."""
        return self.resume and (self.folder / SUMMARY).is_file()

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments, as they stand in the config."""
        return self._config["arguments"]

    @property
    def begun(self) -> bool:
        """Whether anything has been written yet."""
        return self._began

    @property
    def width(self) -> int | None:
        """The width that the run to resume had, None where there is none."""
        if not self.resume or not (self.folder / CONFIG).is_file():
            return None
        return load_config(self.folder).get("sweep", {}).get("width")

    def open(self, sweep: Mapping[str, Any]) -> Checkpoint | None:
        """Lock the folder, and return the checkpoint to go on from, or what a sweep ended with; nothing is changed.

        Args:
            sweep: what decides the numbers beside the arguments (seeds, hypers, sizes), plain values.

        Raises:
            BlockingIOError: another process runs in the folder.
            FileExistsError: the folder holds something by now, or a finished run that no sweep wrote.
            ValueError: what was written differs from this run, or the checkpoint is damaged.

        """
        self._config["sweep"] = _plain(sweep)

        def take() -> None:
            if hosts.is_first():
                self._take_lock()
                self._check_folder()

        hosts.agreed(take)
        return hosts.agreed(self._find)

    def _find(self) -> Checkpoint | None:
        """Return the checkpoint to go on from, checked."""
        if not self.resume:
            return None
        if not (self.folder / CONFIG).is_file():
            if hosts.is_first():
                tell(f"{self.folder} holds no run yet: it begins")
            return None
        config = load_config(self.folder)
        self._compare(config, CONFIG)
        found = checkpoint.find(self.folder / ENDED) or checkpoint.find(self.folder / CHECKPOINTS)
        if found is None:
            self._refuse_ended()
            if hosts.is_first():
                tell(f"{self.folder} has no checkpoint to go on from: the run begins again")
        else:
            self._compare(found.manifest["config"], str(found.folder.name))
            for name, (length, digest) in found.manifest["tables"].items():
                path = self.folder / name
                if not path.is_file() or files.digest(path, length)[1] != digest:
                    raise ValueError(f"{path} is not what the checkpoint at {found.folder} was written with")
            self._ended = found.manifest if found.ended else None
        return found

    def _refuse_ended(self) -> None:
        """Raise where the run to resume has ended."""
        if self.finished or self._ended is not None:
            raise FileExistsError(
                f"{self.folder} holds a run that has ended, and nothing is added to it: read it with"
                " qjax.results.load and qjax.load_agents, or replace it with overwrite"
            )

    def _take_lock(self) -> None:
        """Lock the folder with a lock that the system frees when its holder dies."""
        import filelock

        if self._lock is not None:
            return
        files.make(self.folder)
        lock = filelock.FileLock(self.folder / LOCK)
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout:
            raise BlockingIOError(f"another process runs in {self.folder}") from None
        self._lock = lock

    def _compare(self, written: Mapping[str, Any], where: str) -> None:
        """Refuse a run whose config differs from the one written in a field that changes the numbers."""

        def counted(config: Mapping[str, Any]) -> dict[str, Any]:
            arguments = {k: v for k, v in config.get("arguments", {}).items() if k not in self._free}
            return {**{name: config.get(name) for name in self._config}, "arguments": arguments}

        if difference := checkpoint.first_difference(counted(written), counted(self._config)):
            raise ValueError(f"{self.folder} ({where}) was written by another run: {difference}")

    def begin(self) -> None:
        """Clear an earlier run's files away and write the config."""
        if self._began:
            return
        self._refuse_ended()

        def replace() -> None:
            if hosts.is_first():
                self._take_lock()
                self._replace()

        hosts.agreed(replace)
        self._start_parts()

    def _replace(self) -> None:
        """Clear an earlier run's files away and write the config; a kill leaves no run with another's files.

        The new config is on the disk before anything goes. What says that the old run has ended goes first, then
        what says where it stands, then the rest; at last the new config takes the old one's place.
        """
        content = {**self._config, "parquet": self._parquet, "versions": versions()}
        config = files.prepare(self.folder / CONFIG, jsonfile.text(content))
        (self.folder / SUMMARY).unlink(missing_ok=True)
        files.sync(self.folder)
        for name in (ENDED, CHECKPOINTS):
            if (self.folder / name).is_dir():
                shutil.rmtree(self.folder / f"{name}.old", ignore_errors=True)
                files.put(self.folder / name, self.folder / f"{name}.old")
        for path in [path for name in WRITTEN for path in self.folder.glob(name)]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        files.sync(self.folder)
        files.put(config, self.folder / CONFIG)

    def go_on(self, found: Checkpoint, elsewhere: Mapping[str, Any] | None = None) -> None:
        """Cut the tables back to a checkpoint; what it is to say of that, the config says first."""
        config = load_config(self.folder)
        self._parquet = config.get("parquet", False)

        def cut() -> None:
            if hosts.is_first():
                before = config.get("resumed", [])
                if elsewhere is not None and before[-1:] != [elsewhere]:
                    files.write(self.folder / CONFIG, jsonfile.text({**config, "resumed": [*before, elsewhere]}))
                tables.cut(self.folder, found.manifest["tables"])
                shutil.rmtree(self.folder / PARTS, ignore_errors=True)

        hosts.agreed(cut)
        if found.manifest["points"]:
            _, _, seconds, env_steps = found.manifest["points"][-1]
            self._last = (seconds, env_steps)
            self._next = len(found.manifest["points"])
        self._start_parts()

    def _start_parts(self) -> None:
        self._began = True
        if hosts.alone() or self._parquet:
            return

        def make() -> None:
            (self.folder / PARTS).mkdir(exist_ok=True)
            self._part().write_text("")

        hosts.agreed(make)

    def _part(self) -> Path:
        return self.folder / PARTS / f"metrics_{jax.process_index():05d}.csv"

    def log(
        self,
        point: Point,
        columns: Mapping[str, np.ndarray],
        number: int | None = None,
        lanes: np.ndarray | None = None,
        totals: tuple[int, int] | None = None,
    ) -> None:
        """Add a log point: one row for every lane that stepped, one row of timing.

        Args:
            point: of this process's lanes.
            columns: what identifies the lanes, `seed` first, arrays `[lanes]`.
            number: the point's number; default the one after the last.
            lanes: which lanes they are, for several hosts.
            totals: env-steps since the start and updates of the interval, of all hosts; default the point's.

        """
        self.begin()
        number = self._next if number is None else number
        self._next = number + 1
        table = tables.rows(point, columns)
        swept = set(columns) - {"seed"}  # an argument `seed` is the root, not a lane's
        fixed = {k: v for k, v in self.arguments.items() if k not in self._free | swept}
        table |= tables.constants(fixed, table)
        if self._parquet:
            tables.write_part(self.folder, number, jax.process_index(), table)
        elif jax.process_count() > 1:
            which = np.flatnonzero(point.changed) if lanes is None else lanes[point.changed]
            ids = [[str(number), str(lane)] for lane in which.tolist()]
            rows = [[*of, *row] for of, row in zip(ids, tables.cells(table), strict=True)]
            self._append(self._part(), rows)
        else:
            self._append(self.folder / METRICS, tables.cells(table), table)
        if hosts.is_first():
            if not self._parquet:
                self._header(table)
            self._time(point.seconds, *(totals or (int(point.env_steps.sum()), point.updates)))

    def _header(self, table: Iterable[str]) -> None:
        if not (self.folder / METRICS).is_file():
            self._append(self.folder / METRICS, [], table)

    def _time(self, now: float, env_steps: int, updates: int) -> None:
        (before, steps_before), self._last = self._last, (now, env_steps)
        seconds = max(now - before, 1e-9)
        rates = (f"{(env_steps - steps_before) / seconds:.0f}", f"{updates / seconds:.0f}")
        header = ("seconds", "env_steps", "env_steps_per_s", "updates_per_s")
        self._append(self.folder / TIMING, [(f"{now:.3f}", str(env_steps), *rates)], header)

    def save(self, groups: Any, totals: dict[str, Any], program: str, manifest: Mapping[str, Any]) -> None:
        """Write a checkpoint of the sweep and of where the tables stand; all processes call.

        Raises:
            OSError: it could not be written; the last one stands.

        """
        self.begin()
        self.join()
        self._digests = tables.digests(self.folder, self._digests)
        whole = {"config": self._config, "versions": versions(), "tables": self._digests, **manifest}
        checkpoint.write(self.folder / CHECKPOINTS, groups, totals, program, whole)

    def end(
        self,
        agents: Any,
        groups: Any,
        totals: dict[str, Any],
        program: str,
        manifest: Mapping[str, Any],
    ) -> None:
        """Write what a sweep ends with, after its last checkpoint, which goes then; all processes call.

        Args:
            agents: their final states.
            groups: the lanes.
            totals: as for a checkpoint.
            program: as for a checkpoint.
            manifest: as for a checkpoint, and `env_steps` of all lanes and `compile_s`.

        """
        self.save_agents(agents)
        whole = {"config": self._config, "versions": versions(), "tables": self._written(), **manifest}
        checkpoint.write(self.folder / ENDED, groups, totals, program, whole, states=False)
        self._ended = whole
        if hosts.is_first():
            shutil.rmtree(self.folder / CHECKPOINTS, ignore_errors=True)

    def _written(self) -> dict[str, list[int]]:
        """Return length and CRC-32 of what an ended run holds: its config, tables and agents."""
        if self._ended is not None:
            return self._ended["tables"]
        agents = sorted((self.folder / AGENTS).rglob("*"))
        paths = [self.folder / CONFIG, *(path for path in agents if path.is_file())]
        found = {path.relative_to(self.folder).as_posix(): list(files.digest(path)) for path in paths}
        return found | tables.digests(self.folder, self._digests)

    def join(self) -> None:
        """Move what the processes wrote since the last checkpoint into metrics.csv, by log point and lane.

        Files of Parquet stand where they belong; then the processes only wait for each other.
        """
        if hosts.alone():
            return
        hosts.gather({})
        if self._parquet:
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

    def points(self, notes: Sequence[Sequence[float]]) -> list[Point]:
        """Return the log points so far, of all lanes, from the table and what a checkpoint notes of each."""
        return tables.points(self.folder, load_sweep(self.folder), notes)

    def save_agents(self, agents: Any) -> None:
        """Write the agents' final states (without their memories); all processes call. A sweep does so at its end.

        Raises:
            FileExistsError: a sweep has ended in the run.

        """
        if self._ended is not None:
            self._refuse_ended()
        self.begin()
        write_agents(self.folder, agents)

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write the summary, drop the checkpoint and let others at the folder; one that was there before stands."""
        if self.finished and not self._began:
            tell(f"{self.folder} holds a finished run: its summary stands")
            self.close()
            return
        if self._ended is None:
            self.begin()
        whole = {**_plain(summary), "files": self._written()}
        files.write(self.folder / SUMMARY, jsonfile.text(jsonfile.sealed(whole)))
        for name in (CHECKPOINTS, PARTS):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        self.close()

    def _append(self, path: Path, rows: Sequence[Sequence[str]], header: Iterable[str] = ()) -> None:
        """Add rows to a table, below its header where it is new; whole rows reach the file at once."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if header and not path.is_file():
            writer.writerow(header)
        writer.writerows(rows)
        with path.open("a", newline="") as file:
            file.write(text.getvalue())


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
        return tables.points(Path(folder), load_sweep(folder))
    except ValueError as error:
        written, here = load_config(folder).get("versions", {}).get("qjax"), VERSION
        if written == here:
            raise
        raise ValueError(f"{error}; it was written by qjax {written}, and this is qjax {here}") from error


def _plain(value: Any) -> Any:
    """Return what JSON can hold; it has no NaN, so that is null."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and math.isnan(value):
        return None
    return str(value) if isinstance(value, Path) else value


def numerics() -> dict[str, Any]:
    """Return those of JAX's settings that change numbers, and are not what they are by default."""
    config, usual = jax.config, {"default_matmul_precision": None, "threefry_partitionable": True}
    found = {name: getattr(config, f"jax_{name}") for name in usual}
    return {name: value for name, value in found.items() if value != usual[name]}


def versions() -> dict[str, str]:
    """Return what else decides a run's last digits: libraries, machine and backend."""
    packages = {name: version(name) for name in ("jax", "jaxlib", "flax", "optax", "gymnax", "numpy")}
    machine = {"python": platform.python_version(), "machine": platform.machine(), "processor": processor()}
    backend = jax.default_backend()
    devices = {"backend": backend, "devices": str(jax.device_count())}
    return {
        "qjax": VERSION,
        **packages,
        **machine,
        **devices,
        "default_width": "by the work" + " and the devices" * (backend != "cpu"),
    }
