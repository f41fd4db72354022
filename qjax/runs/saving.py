"""The checkpoints of a run's sweep, and what it ends with.

A sweep that ends writes its last checkpoint, the agents, then `ended` (that checkpoint without the lanes' states),
which by its rename makes the run one that has ended: opened again it is returned from its folder. Then the
checkpoint goes, unless it is kept: from it the run can go on to more steps.
"""

import shutil
from collections.abc import Mapping
from typing import Any

from qjax.core import files
from qjax.machine import hosts
from qjax.runs import checkpoint
from qjax.runs.agents import AGENTS, BEST, KEPT
from qjax.runs.config import CONFIG
from qjax.runs.ended import ENDED
from qjax.runs.folder import CHECKPOINTS, Folder
from qjax.runs.lifecycle import Lifecycle
from qjax.runs.recorder import Recorder
from qjax.runs.versions import versions


class Checkpoints:
    """Writes a run's checkpoints; all processes call."""

    def __init__(self, place: Folder, recorder: Recorder, lifecycle: Lifecycle, keep: bool):
        """Write nothing yet; of a sweep that ends the last one is to `keep`, or not."""
        self._place, self._recorder, self._lifecycle, self._keep = place, recorder, lifecycle, keep

    def save(self, groups: Any, totals: dict[str, Any], program: str, manifest: Mapping[str, Any]) -> None:
        """Write a checkpoint of the sweep and of where the tables stand; arguments as of `checkpoint.write`.

        Raises:
            OSError: it could not be written; the last one stands.

        """
        self._lifecycle.begin()
        self._recorder.join()
        whole = self._whole(self._recorder.digests(), manifest)
        checkpoint.write(self._place.path / CHECKPOINTS, groups, totals, program, whole)

    def end(self, groups: Any, totals: dict[str, Any], program: str, manifest: Mapping[str, Any]) -> None:
        """Write what a sweep ends with, after its last checkpoint and its agents.

        Args:
            groups: the lanes.
            totals: as for a checkpoint.
            program: as for a checkpoint.
            manifest: as for a checkpoint, and `env_steps` of all lanes and `compile_s`.

        """
        whole = self._whole(self.written(), manifest)
        checkpoint.write(self._place.path / ENDED, groups, totals, program, whole, states=False)
        self._lifecycle.ended = whole
        if hosts.is_first():
            self.drop()

    def drop(self) -> None:
        """Remove the checkpoint, but for the last one of a sweep that has ended where that is to keep."""
        if not self._keep or self._lifecycle.ended is None:
            shutil.rmtree(self._place.path / CHECKPOINTS, ignore_errors=True)

    def _whole(self, tables: Mapping[str, Any], manifest: Mapping[str, Any]) -> dict[str, Any]:
        return {"config": self._place.config, "versions": versions(), "tables": tables, **manifest}

    def written(self) -> dict[str, list[int]]:
        """Return length and CRC-32 of what an ended run holds: its config, tables and agents."""
        if self._lifecycle.ended is not None:
            return self._lifecycle.ended["tables"]
        folder = self._place.path
        agents = sorted(path for held in (AGENTS, BEST, KEPT) for path in (folder / held).rglob("*"))
        paths = [folder / CONFIG, *(path for path in agents if path.is_file())]
        found = {path.relative_to(folder).as_posix(): list(files.digest(path)) for path in paths}
        return found | self._recorder.digests()
