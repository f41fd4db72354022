"""A disk that forgets, at a power cut, what was not synced; it watches the calls of a real folder's programs."""

import functools
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CALLS = ("mkdir", "rename", "replace", "unlink", "remove", "rmdir", "truncate")
KEPT = ("synced", "names", "fewest")
"""What a power cut leaves beside what was synced: nothing; all names, empty where a file's bytes were not synced;
no new name, and nothing that was removed."""


class Disk:
    """What is on the disk, by inodes: the bytes of files and the entries of folders, as they were last synced."""

    def __init__(self, root: Path):
        """Begin with all that is there synced."""
        self.root, self.held = root, []
        self.bytes: dict[int, bytes] = {}
        self.entries: dict[int, dict[str, int]] = {}
        self.stage: object = None
        self.cuts: list[tuple[object, dict[str, bytes]]] = []
        """What every kind of power cut after every call leaves, files by their paths; in a stage none twice."""
        for path in [root, *root.rglob("*")]:
            self._synced(path)

    def reach(self, stage: object) -> None:
        """Say what is reached for good, and cut the power right after."""
        self.stage = stage
        self._cut_now()

    def _synced(self, path: Path | int) -> None:
        inode = os.stat(path).st_ino
        self.held.append(os.open(path, os.O_RDONLY) if isinstance(path, Path) else os.dup(path))  # no inode twice
        if os.path.isdir(path):
            self.entries[inode] = {entry.name: entry.inode() for entry in os.scandir(path)}
        else:
            self.bytes[inode] = os.pread(self.held[-1], 2**30, 0)

    def _cut(self, live: dict[int, dict[str, int]], kept: str) -> dict[str, bytes]:
        """Return the files that are there after a power cut."""

        def entries(inode: int) -> dict[str, int]:
            synced, now = self.entries.get(inode, {}), live.get(inode, {})
            if kept == "names":
                return now
            return synced if kept == "synced" else {name: synced[name] for name in synced.keys() & now.keys()}

        def walk(inode: int, name: str) -> Iterator[tuple[str, bytes]]:
            for own, child in sorted(entries(inode).items()):
                path = f"{name}/{own}" if name else own
                if child in self.entries or child in live:
                    yield path + "/", b""
                    yield from walk(child, path)
                else:
                    yield path, self.bytes.get(child, b"")

        return dict(walk(os.stat(self.root).st_ino, ""))

    def _cut_now(self) -> None:
        folders = [self.root, *(path for path in self.root.rglob("*") if path.is_dir())]
        live = {os.stat(path).st_ino: {e.name: e.inode() for e in os.scandir(path)} for path in folders}
        for kept in KEPT:
            if (cut := (self.stage, self._cut(live, kept))) not in self.cuts:
                self.cuts.append(cut)

    @contextmanager
    def watching(self, monkeypatch) -> Iterator[None]:
        """Note what the calls in between sync, and cut the power after each of them."""

        def watched(call, *arguments, **named):
            result = call(*arguments, **named)
            self._cut_now()
            return result

        def fsync(call, file):
            call(file)
            self._synced(file)

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", functools.partial(watched, functools.partial(fsync, os.fsync)))
            for name in CALLS:
                patch.setattr(os, name, functools.partial(watched, getattr(os, name)))
            yield
        for file in self.held:
            os.close(file)


def lay(files: dict[str, bytes], folder: Path) -> Path:
    """Write what a power cut left into a folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in files.items():
        if name.endswith("/"):
            (folder / name).mkdir()
        else:
            (folder / name).write_bytes(content)
    return folder
