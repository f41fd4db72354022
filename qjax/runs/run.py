"""A run's folder: config.json, its tables, summary.json, the final agents, and the last checkpoint.

`summary.json`, after an evaluation for instance, says that nothing is left to do. `Run` is what users call; a sweep
also calls the three pieces that it is made of: its lifecycle, its checkpoints, and the recorder of its tables.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from qjax.core import files, jsonfile
from qjax.core.checks import check_flag, check_mapping, check_path, check_text
from qjax.core.jsonfile import plain
from qjax.machine import hosts
from qjax.machine.streams import tell
from qjax.runs import tables
from qjax.runs.agents import Which, write_agents
from qjax.runs.config import SUMMARY, flat, lane_seeds
from qjax.runs.extending import GROWING
from qjax.runs.folder import PARTS, Folder
from qjax.runs.lifecycle import Lifecycle
from qjax.runs.points import Point
from qjax.runs.recorder import Recorder
from qjax.runs.saving import Checkpoints


class Run:
    """The folder of one run, open for writing; it stays as it is until something is written.

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
        machine: Mapping[str, Any] | None = None,
        parquet: bool = False,
        accept_program: bool = False,
        keep_checkpoint: bool = True,
    ):
        """Check that the folder may be written to.

        Args:
            folder: where the run goes.
            experiment: its name.
            arguments: everything needed to run it again, `config` and `grid` among it as `qjax train` has them.
            overwrite: replace an earlier run: `WRITTEN` is removed, and nothing else.
            resume: go on from the folder's last checkpoint, or begin where there is none. To more steps than it was
                to make it goes on too, stopped or ended, with log points as far apart as before; an argument
                `steps` may then differ. One that has ended is else returned as it stands in its folder.
            machine: where and how it is run, which changes no numbers and may differ when it is resumed.
            parquet: write the table as Parquet (`metrics.parquet`) in place of CSV, for long sweeps; a run that is
                resumed keeps the kind it has.
            accept_program: go on from a checkpoint although the text of its program differs from this one's, after
                an upgrade of JAX for instance that changed nothing that matters; `resumed` in the config then says
                so, and `qjax.results.load` tells it.
            keep_checkpoint: keep the last checkpoint of a run that ends, without which it cannot go on to more
                steps; it has every lane's whole state, replay too, and may be removed by hand.

        Raises:
            ImportError: `parquet` without pyarrow.
            TypeError: an argument is not of its kind.
            FileExistsError: the folder holds something and neither `overwrite` nor `resume` is set, or what it
                holds is no run, or it is a file.
            ValueError: both are set, or the run to resume has another experiment, other arguments or fewer steps,
                or has ended and a file of it is not what it wrote.

        """
        check_path("folder", folder)
        check_text("experiment", experiment)
        check_mapping("arguments", arguments)
        flags = {"overwrite": overwrite, "resume": resume, "parquet": parquet, "accept_program": accept_program}
        flags["keep_checkpoint"] = keep_checkpoint
        for name, value in flags.items():
            check_flag(name, value)
        if machine is not None:
            check_mapping("machine", machine)
        self.folder = Path(folder)
        self.accept_program = accept_program
        config = {"experiment": experiment, "arguments": plain(arguments)}
        self._place = Folder(self.folder, config, plain(machine or {}), overwrite, resume)
        self.recorder = Recorder(self.folder, parquet)
        self.lifecycle = Lifecycle(self._place, self.recorder)
        self.checkpoints = Checkpoints(self._place, self.recorder, self.lifecycle, keep_checkpoint)
        if parquet:
            tables.arrow()
        if overwrite and resume:
            raise ValueError("either overwrite a run or resume it, not both")
        hosts.agreed(self._place.check)  # all have looked before the first one writes

    def __repr__(self) -> str:
        """Return its folder and what is run there."""
        return f"Run({str(self.folder)!r}, {self._place.config['experiment']!r})"

    def __enter__(self) -> "Run":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        summary = (self.folder / SUMMARY).is_file()
        try:
            ended = self.lifecycle.ended
            if kind is None and ended is not None and not summary and hosts.is_first():
                self.finish(_summary(self._place.config, ended))
        finally:
            self.close()

    def close(self) -> None:
        """Let other processes at the folder; remove it if nothing was written."""
        self._place.unlock()

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do for the run that is resumed: its summary is written."""
        return self._place.finished

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments, as they stand in the config."""
        return self._place.config["arguments"]

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
        self.lifecycle.begin()
        table = tables.rows(point, columns)
        left_out = set(columns) - {"seed"} | {*GROWING}  # an argument `seed` is the root, not a lane's
        fixed = {k: v for k, v in flat(self.arguments).items() if k not in left_out}
        table |= tables.constants(fixed, table)
        which = np.flatnonzero(point.changed) if lanes is None else lanes[point.changed]
        self.recorder.add(table, self.recorder.number if number is None else number, which)
        if hosts.is_first():
            self.recorder.time(point.seconds, *(totals or (int(point.env_steps.sum()), point.updates)))

    def save_agents(self, agents: Any, which: Which = "last") -> None:
        """Write the agents' final states (without their memories); all processes call. A sweep does so at its end.

        Those of the best evaluations are the "best" ones, not the "last"; a number is steps at which they are kept.

        Raises:
            FileExistsError: a sweep has ended in the run.

        """
        if self.lifecycle.ended is not None:
            self.lifecycle.refuse_ended()
        self.lifecycle.begin()
        write_agents(self.folder, agents, which)

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write the summary and let others at the folder; one that was there before stands.

        The checkpoint goes, but for the last one of a sweep that has ended, where that is kept.
        """
        if self.finished and not self.lifecycle.began:
            tell(f"{self.folder} holds a finished run: its summary stands")
            self.close()
            return
        if self.lifecycle.ended is None:
            self.lifecycle.begin()
        whole = {**plain(summary), "files": self.checkpoints.written()}
        files.write(self.folder / SUMMARY, jsonfile.text(jsonfile.sealed(whole)))
        self.checkpoints.drop()
        shutil.rmtree(self.folder / PARTS, ignore_errors=True)
        self.close()


def _summary(config: Mapping[str, Any], ended: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of a run from its config and the manifest of the sweep that ended in it."""
    steps, seconds, sweep = ended["env_steps"], ended["seconds"], config["sweep"]
    return {
        "experiment": config["experiment"],
        "seeds": len(lane_seeds(sweep)),
        "width": sweep["width"],
        "env_steps": steps,
        "compile_s": ended["compile_s"],
        "run_s": seconds,
        "env_steps_per_s": steps / seconds,
    }
