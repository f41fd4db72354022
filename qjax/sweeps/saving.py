"""When the checkpoints of a sweep are written, and what is in them."""

import time
from typing import Any

import numpy as np

from qjax.machine.streams import tell
from qjax.runs.points import Tally, Totals
from qjax.sweeps.groups import Groups
from qjax.sweeps.log import Log
from qjax.sweeps.resume import Opened

CHECKPOINT_SHARE = 20
"""Two checkpoints are at least this many times as far apart as the last one took to write."""


class Saving:
    """The checkpoints of a run."""

    def __init__(self, opened: Opened, groups: Groups, tally: Tally, log: Log, every: float):
        """Save `groups`, `tally` and `log`, about every so many seconds."""
        self._opened, self._run, self._every = opened, opened.run, every
        self._groups, self._tally, self._log = groups, tally, log
        self._last, self._took, self._tick = time.monotonic(), 0.0, -1

    def due(self) -> bool:
        """Return whether it is time for one."""
        every = max(self._every, CHECKPOINT_SHARE * self._took)
        return time.monotonic() - self._last >= every

    def save(self, tick: int, seconds: float, must: bool) -> None:
        """Write a checkpoint; one that is not the last may fail, for instance on a full disk."""
        if tick == self._tick:
            return
        began = time.monotonic()
        try:
            self._run.checkpoints.save(
                self._groups, self._totals(), self._opened.program, self._manifest(tick, seconds)
            )
            self._tick = tick
        except OSError as error:
            if must:
                raise
            tell(f"\nwarning: {error}; training goes on, the last checkpoint stands")
        self._last = time.monotonic()
        self._took = self._last - began

    def end(self, tick: int, seconds: float, agents: Any, best: Any, ended: dict[str, Any]) -> None:
        """Write what the sweep ends with into its run; `best` is None where nothing was evaluated."""
        self._run.save_agents(agents)
        if best is not None:
            self._run.save_agents(best, "best")
        manifest = {**self._manifest(tick, seconds), **ended}
        self._run.checkpoints.end(self._groups, self._totals(), self._opened.program, manifest)

    def _totals(self) -> dict[str, Any]:
        return {**self._tally.totals._asdict(), **self._tally.pending()}

    def _manifest(self, tick: int, seconds: float) -> dict[str, Any]:
        leaves = self._groups.programs.describe()
        return {"tick": tick, "seconds": seconds, "points": self._log.notes, "leaves": leaves}

    def restore(self) -> tuple[int, float]:
        """Go on from the checkpoint that the run was opened with; return its tick and seconds."""
        found = self._opened.found
        assert found is not None
        slots = found.totals(np.arange(self._groups.placement.lanes))["slots"]
        self._groups.restore(slots, found.rows, found.left())
        counts = found.totals(self._groups.local)
        del counts["slots"]
        self._tally.restore(Totals(*(counts.pop(name) for name in Totals._fields)), counts)
        self._tick = found.manifest["tick"]
        self._run.lifecycle.go_on(found, self._opened.elsewhere, self._opened.extended)
        extended = found.manifest["config"]["sweep"].get("steps") != self._opened.described.steps
        self._log.restore(found.manifest["points"], extended)
        found.forget()
        return self._tick, found.manifest["seconds"]
