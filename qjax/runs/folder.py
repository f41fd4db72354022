"""A run's folder: who may write there, and how an earlier run makes place for another."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qjax.core import files, jsonfile
from qjax.runs import checkpoint, extending
from qjax.runs.agents import AGENTS, BEST, KEPT
from qjax.runs.checkpoint import Checkpoint
from qjax.runs.config import CONFIG, SUMMARY, load_config
from qjax.runs.difference import first_difference
from qjax.runs.ended import ENDED, WHEN_ENDED, altered
from qjax.runs.tables import METRICS, PARQUET, TIMING

CHECKPOINTS, PARTS, LOCK, NEW_CONFIG = "checkpoints", "parts", "lock", f"{CONFIG}.new"
WRITTEN = (
    METRICS, PARQUET, TIMING, SUMMARY, AGENTS, BEST, KEPT, ENDED, "ended.old", CHECKPOINTS, "checkpoints.old",
    PARTS, "tensorboard", "wandb", "learning_curve.png", "policy.png", "watch_*.gif", "plots",
)  # fmt: skip
"""What a run writes beside its config, and what is made of it there: what replaces it removes them."""


class Folder:
    """The folder of a run, and what of it is to be written or gone on from."""

    def __init__(
        self, path: Path, config: dict[str, Any], machine: Mapping[str, Any], overwrite: bool, resume: bool
    ):
        """Look at nothing yet.

        Args:
            path: where it is.
            config: what the run is; a sweep adds itself.
            machine: where and how it is run.
            overwrite: an earlier run makes place.
            resume: an earlier run goes on, if it is the same.

        """
        self.path, self.config, self.machine, self.resume = path, config, machine, resume
        self.extends = False
        """Whether an earlier run goes on to more steps than it was to make."""
        self._overwrite = overwrite
        self._lock: Any = None

    def check(self) -> None:
        """Refuse a folder that may not be written to.

        Raises:
            FileExistsError: it holds something that neither goes on nor is replaced.
            ValueError: the run to resume is another, or not what it wrote.

        """
        if self.path.exists() and not self.path.is_dir():
            raise FileExistsError(f"{self.path} is a file; a run needs a folder")
        if not self.path.exists() or not {path.name for path in self.path.iterdir()} - {LOCK, NEW_CONFIG}:
            return
        is_run = (self.path / CONFIG).is_file() and "experiment" in load_config(self.path)
        if self.resume or self._overwrite:
            if not is_run:
                raise FileExistsError(f"{self.path} holds no run: choose another --out")
        elif self.unfinished():
            raise FileExistsError(
                f"{self.path} holds an unfinished run: go on with --resume, choose another --out, or give"
                " --overwrite"
            )
        else:
            raise FileExistsError(f"{self.path} is not empty: choose another --out, or give --overwrite")
        if self.resume:
            self._look()
            if wrong := altered(self.path):  # agents are looked at where they are read
                raise ValueError(f"{self.path / wrong[0]} {WHEN_ENDED}")

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do for the run that is resumed: its summary is written."""
        return self.resume and not self.extends and (self.path / SUMMARY).is_file()

    def unfinished(self) -> bool:
        """Return whether there is something to go on from."""
        found = [path for name in (CHECKPOINTS, ENDED) for path in (self.path / name).glob("[0-9]*")]
        return bool(found) and not (self.path / SUMMARY).is_file()

    def _look(self) -> dict[str, Any]:
        """Return the config in the folder, compared; note whether its run is to go on to more steps."""
        config = load_config(self.path)
        self.extends = self._more(config)
        self._compare(config, CONFIG, self.extends, config)
        return config

    def _more(self, written: Mapping[str, Any]) -> bool:
        """Return whether this run makes more steps than one that was written; it may not make fewer."""
        before, now = (extending.steps_of(config, "sweep" in self.config) for config in (written, self.config))
        if before is None or now is None or before == now:
            return False
        if now < before:
            raise ValueError(f"{self.path} holds a run of {before} steps: it goes on to more of them, not to {now}")
        return True

    def _compare(self, written: Mapping[str, Any], where: str, more: bool, config: Mapping[str, Any]) -> None:
        """Refuse a run that differs from one that was written in a field that changes the numbers.

        Args:
            written: its config.
            where: it was written.
            more: whether this run may make more steps.
            config: what stands in the folder's config.

        """
        before, now = (
            {name: each.get(name) for name in self.config} | {"arguments": extending.counted(each)}
            for each in (written, self.config)
        )
        if before.get("sweep") and "log_points" in before["sweep"]:
            before["sweep"] = before["sweep"] | {"log_points": extending.log_points_asked(config)}
        for name in ("sweep", "arguments") if more else ():
            if before.get(name) and "steps" in now[name]:
                before[name] = before[name] | {"steps": now[name]["steps"]}
        if difference := first_difference(before, now):
            raise ValueError(f"{self.path} ({where}) was written by another run: {difference}")

    def find(self) -> Checkpoint | None:
        """Return the checkpoint to go on from, or what a sweep ended with, checked; None where there is neither.

        Raises:
            ValueError: it is damaged or another run's, or a table is not what it was written with.

        """
        config = self._look()
        ended = checkpoint.find(self.path / ENDED)
        found = checkpoint.find(self.path / CHECKPOINTS) if ended is None or self.extends else ended
        if found is None and self.extends and (ended is not None or (self.path / SUMMARY).is_file()):
            raise ValueError(
                f"{self.path} holds a run that ended after {extending.steps_of(config, True)} steps, and its last"
                " checkpoint was not kept (keep_checkpoint, --keep-checkpoint) or is removed: it cannot go on to"
                f" {extending.steps_of(self.config, True)}"
            )
        if found is None:
            return None
        written = found.manifest["config"]
        more = self._more(written) and (self.extends or bool(config.get("extended")))
        self._compare(written, str(found.folder.name), more, config)
        for name, (length, digest) in found.manifest["tables"].items():
            path = self.path / name
            if not path.is_file() or files.digest(path, length)[1] != digest:
                raise ValueError(f"{path} is not what the checkpoint at {found.folder} was written with")
        return found

    def lock(self) -> None:
        """Lock the folder with a lock that the system frees when its holder dies."""
        import filelock

        if self._lock is not None:
            return
        files.make(self.path)
        lock = filelock.FileLock(self.path / LOCK)
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout:
            raise BlockingIOError(f"another process runs in {self.path}") from None
        self._lock = lock

    def unlock(self) -> None:
        """Let other processes at the folder; remove it if nothing was written."""
        if self._lock is not None:
            if {path.name for path in self.path.iterdir()} == {LOCK}:
                shutil.rmtree(self.path)
            self._lock.release()
            self._lock = None

    def replace(self, config: Mapping[str, Any]) -> None:
        """Clear an earlier run's files away and write the config; a kill leaves no run with another's files.

        The new config is on the disk before anything goes. What says that the old run has ended goes first, then
        what says where it stands, then the rest; at last the new config takes the old one's place.
        """
        new = files.prepare(self.path / CONFIG, jsonfile.text(config))
        self._put_away(ENDED, CHECKPOINTS)
        for path in [path for name in WRITTEN for path in self.path.glob(name)]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        files.sync(self.path)
        files.put(new, self.path / CONFIG)

    def reopen(self) -> None:
        """Remove what says that the run has ended, and then what it ended with; its last checkpoint stands."""
        self._put_away(ENDED)
        for name in (f"{ENDED}.old", AGENTS, BEST):
            shutil.rmtree(self.path / name, ignore_errors=True)
        files.sync(self.path)

    def _put_away(self, *names: str) -> None:
        """Remove the summary, and rename folders so that they count no more."""
        (self.path / SUMMARY).unlink(missing_ok=True)
        files.sync(self.path)
        for name in names:
            if (self.path / name).is_dir():
                shutil.rmtree(self.path / f"{name}.old", ignore_errors=True)
                files.put(self.path / name, self.path / f"{name}.old")
