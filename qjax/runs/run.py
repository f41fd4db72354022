"""A run's folder: config.json, its tables, summary.json, the final agents, and the last checkpoint.

A sweep that ends writes its last checkpoint, the agents, then `ended` (that checkpoint without the lanes' states),
which by its rename makes the run one that has ended: opened again it is returned from its folder. Only then the
checkpoint goes. `summary.json`, after an evaluation for instance, says that nothing is left to do.

`metrics.csv` (or `metrics.parquet`) is tidy, one row per lane and log point, and holds nothing that depends on the
clock on the wall; that stands in `timing.csv`. Both grow while the run does, and are cut back to the checkpoint
when it is resumed. On several hosts each process writes the rows of its own lanes, and the first joins those of
CSV at every checkpoint.
"""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from qjax.core.checks import check_flag, check_listed, check_mapping, check_path, check_text
from qjax.machine import hosts
from qjax.machine.streams import tell
from qjax.runs import checkpoint, files, jsonfile, reading, tables
from qjax.runs.agents import AGENTS, write_agents
from qjax.runs.checkpoint import Checkpoint
from qjax.runs.config import CONFIG, SUMMARY, lane_seeds, load_config, load_sweep
from qjax.runs.ended import ENDED
from qjax.runs.folder import CHECKPOINTS, PARTS, Folder
from qjax.runs.jsonfile import plain
from qjax.runs.points import Point
from qjax.runs.recorder import Recorder
from qjax.runs.versions import versions


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
        self._config: dict[str, Any] = {"experiment": experiment, "arguments": plain(arguments)}
        self._free = set(free)
        self._place = Folder(self.folder, self._config, overwrite, resume, self._free)
        self._recorder = Recorder(self.folder, parquet)
        self._began = False
        self._ended: Mapping[str, Any] | None = None
        if parquet:
            tables.arrow()
        if overwrite and resume:
            raise ValueError("either overwrite a run or resume it, not both")
        hosts.agreed(self._place.check)  # all have looked before the first one writes

    def __repr__(self) -> str:
        """Return its folder and what is run there."""
        return f"Run({str(self.folder)!r}, {self._config['experiment']!r})"

    def __enter__(self) -> "Run":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        summary = (self.folder / SUMMARY).is_file()
        try:
            if kind is None and self._ended is not None and not summary and hosts.is_first():
                self.finish(self._plain_summary(self._ended))
        finally:
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
        self._place.unlock()

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
        self._config["sweep"] = plain(sweep)

        def take() -> None:
            if hosts.is_first():
                self._place.lock()
                self._refuse_another()
                self._place.check()

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
        self._place.compare(config, CONFIG)
        found = checkpoint.find(self.folder / ENDED) or checkpoint.find(self.folder / CHECKPOINTS)
        if found is None:
            self._refuse_ended()
            if hosts.is_first():
                tell(f"{self.folder} has no checkpoint to go on from: the run begins again")
        else:
            self._place.compare(found.manifest["config"], str(found.folder.name))
            for name, (length, digest) in found.manifest["tables"].items():
                path = self.folder / name
                if not path.is_file() or files.digest(path, length)[1] != digest:
                    raise ValueError(f"{path} is not what the checkpoint at {found.folder} was written with")
            self._ended = found.manifest if found.ended else None
        return found

    def _refuse_another(self) -> None:
        """Raise where a sweep has begun in this very run."""
        if self._began and not self.resume:
            begun, saved = ("begun", "") if self._ended is None else ("ended", ", and its agents are saved")
            raise FileExistsError(f"a sweep has {begun} in {self.folder}{saved}: give another one a Run of its own")

    def _refuse_ended(self) -> None:
        """Raise where the run to resume has ended."""
        if self.finished or self._ended is not None:
            raise FileExistsError(
                f"{self.folder} holds a run that has ended, and nothing is added to it: read it with"
                " qjax.results.load and qjax.load_agents, or replace it with overwrite"
            )

    def begin(self) -> None:
        """Clear an earlier run's files away and write the config."""
        if self._began:
            return
        self._refuse_ended()

        def replace() -> None:
            if hosts.is_first():
                self._place.lock()
                self._place.replace({**self._config, "parquet": self._recorder.parquet, "versions": versions()})

        hosts.agreed(replace)
        self._began = True
        self._recorder.start()

    def go_on(self, found: Checkpoint, elsewhere: Mapping[str, Any] | None = None) -> None:
        """Cut the tables back to a checkpoint, after `elsewhere`, where anything has changed, is in the config."""
        config = load_config(self.folder)

        def cut() -> None:
            if hosts.is_first():
                before = config.get("resumed", [])
                if elsewhere is not None and before[-1:] != [elsewhere]:
                    files.write(self.folder / CONFIG, jsonfile.text({**config, "resumed": [*before, elsewhere]}))
                self._recorder.cut(found.manifest["tables"])

        hosts.agreed(cut)
        self._began = True
        self._recorder.go_on(config.get("parquet", False), found.manifest["points"])

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
        table = tables.rows(point, columns)
        swept = set(columns) - {"seed"}  # an argument `seed` is the root, not a lane's
        fixed = {k: v for k, v in self.arguments.items() if k not in self._free | swept}
        table |= tables.constants(fixed, table)
        which = np.flatnonzero(point.changed) if lanes is None else lanes[point.changed]
        self._recorder.add(table, self._recorder.number if number is None else number, which)
        if hosts.is_first():
            self._recorder.time(point.seconds, *(totals or (int(point.env_steps.sum()), point.updates)))

    def join(self) -> None:
        """Bring the tables of all processes together; all call."""
        self._recorder.join()

    def save(self, groups: Any, totals: dict[str, Any], program: str, manifest: Mapping[str, Any]) -> None:
        """Write a checkpoint of the sweep and of where the tables stand; all processes call.

        Raises:
            OSError: it could not be written; the last one stands.

        """
        self.begin()
        self.join()
        kept = self._recorder.digests()
        whole = {"config": self._config, "versions": versions(), "tables": kept, **manifest}
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
        return found | self._recorder.digests()

    def points(self, notes: Sequence[Sequence[float]]) -> list[Point]:
        """Return the log points so far, of all lanes, from the table and what a checkpoint notes of each."""
        return reading.points(self.folder, load_sweep(self.folder), notes)

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
        whole = {**plain(summary), "files": self._written()}
        files.write(self.folder / SUMMARY, jsonfile.text(jsonfile.sealed(whole)))
        for name in (CHECKPOINTS, PARTS):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        self.close()
