"""A run from its start on: a new one, one in the place of another, or one that goes on from its last checkpoint."""

from collections.abc import Mapping, Sequence
from typing import Any

from qjax.core import files, jsonfile
from qjax.core.jsonfile import plain
from qjax.machine import hosts
from qjax.machine.streams import tell
from qjax.runs.checkpoint import Checkpoint
from qjax.runs.config import CONFIG, load_config
from qjax.runs.folder import Folder
from qjax.runs.recorder import Recorder
from qjax.runs.versions import versions


class Lifecycle:
    """Whether a run has begun and ended, and how it starts; all processes call its methods."""

    def __init__(self, place: Folder, recorder: Recorder):
        """Begin nothing yet."""
        self._place, self._recorder = place, recorder
        self.began = False
        """Whether anything has been written, or gone on with."""
        self.ended: Mapping[str, Any] | None = None
        """The manifest of the sweep that ended in the run; None where none has."""

    @property
    def width(self) -> int | None:
        """The width that the run to resume had, None where there is none."""
        if not self._place.resume or not (self._place.path / CONFIG).is_file():
            return None
        return load_config(self._place.path).get("sweep", {}).get("width")

    def open(self, sweep: Mapping[str, Any]) -> Checkpoint | None:
        """Lock the folder, and return the checkpoint to go on from, or what a sweep ended with; nothing is changed.

        Args:
            sweep: what decides the numbers beside the arguments (seeds, hypers, sizes), plain values.

        Raises:
            BlockingIOError: another process runs in the folder.
            FileExistsError: the folder holds something by now, or a finished run that no sweep wrote.
            ValueError: what was written differs from this run, or the checkpoint is damaged.

        """
        self._place.config["sweep"] = plain(sweep)

        def take() -> None:
            if hosts.is_first():
                self._place.lock()
                self._refuse_another()
                self._place.check()

        hosts.agreed(take)
        return hosts.agreed(self._find)

    def grow(self, sweep: Mapping[str, Any]) -> None:
        """Say what decides the numbers of the sweep that was opened, now that it is known how it is extended."""
        self._place.config["sweep"] = plain(sweep)

    def _find(self) -> Checkpoint | None:
        """Return the checkpoint to go on from, checked; tell where there is none."""
        if not self._place.resume:
            return None
        folder = self._place.path
        if not (folder / CONFIG).is_file():
            if hosts.is_first():
                tell(f"{folder} holds no run yet: it begins")
            return None
        found = self._place.find()
        if found is not None:
            self.ended = found.manifest if found.ended else None
            return found
        self.refuse_ended()
        if hosts.is_first():
            tell(f"{folder} has no checkpoint to go on from: the run begins again")
        return None

    def _refuse_another(self) -> None:
        """Raise where a sweep has begun in this very run."""
        if self.began and not self._place.resume:
            begun, saved = ("begun", "") if self.ended is None else ("ended", ", and its agents are saved")
            raise FileExistsError(
                f"a sweep has {begun} in {self._place.path}{saved}: give another one a Run of its own"
            )

    def refuse_ended(self) -> None:
        """Raise where the run to resume has ended."""
        if self._place.finished or self.ended is not None:
            raise FileExistsError(
                f"{self._place.path} holds a run that has ended, and nothing is added to it: read it with"
                " qjax.results.load and qjax.load_agents, or replace it with overwrite"
            )

    def begin(self) -> None:
        """Clear an earlier run's files away and write the config; nothing where the run has begun."""
        if self.began:
            return
        self.refuse_ended()

        def replace() -> None:
            if hosts.is_first():
                self._place.lock()
                how = {"machine": self._place.machine, "parquet": self._recorder.parquet}
                self._place.replace({**self._place.config, **how, "versions": versions()})

        hosts.agreed(replace)
        self.began = True
        self._recorder.start()

    def go_on(
        self,
        found: Checkpoint,
        elsewhere: Mapping[str, Any] | None = None,
        extended: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        """Cut the tables back to a checkpoint, after the config says what has changed.

        Args:
            found: the checkpoint.
            elsewhere: what differs where the run goes on; None where nothing does.
            extended: what the run was before it was extended, the first first; None where it is not extended now.

        """
        path = self._place.path / CONFIG
        config = load_config(self._place.path)
        changed: dict[str, Any] = {}
        before = config.get("resumed", [])
        if elsewhere is not None and before[-1:] != [elsewhere]:
            changed["resumed"] = [*before, elsewhere]
        if extended is not None:
            changed |= {**self._place.config, "extended": extended}

        def cut() -> None:
            if hosts.is_first():
                if extended is not None:
                    self._place.reopen()
                if changed:
                    files.write(path, jsonfile.text({**config, **changed}))
                self._recorder.cut(found.manifest["tables"])

        hosts.agreed(cut)
        self.began, self._place.extends = True, False
        self._recorder.go_on(config.get("parquet", False), found.manifest["points"])
