"""Checkpoints of a sweep: Orbax for the lanes' states, and a manifest to know and check them by.

A checkpoint is written beside the last one and takes its place by one rename, so that there is a whole one at every
instant, after a power cut too: first the tables are on the disk, then its own files and folders, then the manifest
with the checksums of all of them, then its new name, and only then the last one goes.

Its folder holds `group_0000`, ... (Orbax, one array for each leaf of the lanes, keys as their data),
`totals_0.npz`, ... (each process's counts, and where its lanes stood in the groups), `left_0.npz`, ... (the agents
of those that had left), `program.txt.gz` (the first iteration as a jaxpr) and `manifest.json`.
"""

import gc
import gzip
import logging
import shutil
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from qjax.core import files, jsonfile, text
from qjax.core.jsonfile import COUNT, NUMBER, RECORD, SIZE, TEXT, list_of, record_of
from qjax.machine import hosts
from qjax.runs.config import FILES

FORMAT = 3
MANIFEST, PROGRAM, NEW = "manifest.json", "program.txt.gz", "new"
_LEAF = jsonfile.Kind(
    "a record with name, shape and dtype",
    lambda x: RECORD.holds(x) and x.keys() == {"name", "shape", "dtype"} and list_of(COUNT).holds(x["shape"]),
)
KINDS: jsonfile.Kinds = {
    "format": COUNT, "tick": COUNT, "seconds": NUMBER, "points": list_of(list_of(NUMBER, 4)),
    "leaves": list_of(_LEAF), "versions": record_of(TEXT),
    "config": {"experiment": TEXT, "arguments": RECORD, "sweep": RECORD},
    "tables": FILES, "files": FILES, "groups": COUNT, "group_size": SIZE, jsonfile.CHECKSUM: COUNT,
}  # fmt: skip
"""Of a manifest's keys, all of which it has."""


class Checkpoint(NamedTuple):
    """A whole checkpoint on disk."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def ended(self) -> bool:
        """Whether it is what is left of a sweep that has ended: everything but the lanes' states."""
        return self.manifest["groups"] == 0

    def program(self) -> str:
        """Return the text of its program."""
        return gzip.decompress((self.folder / PROGRAM).read_bytes()).decode()

    def forget(self) -> None:
        """Let go of the group read last: another run may write a checkpoint of the same name."""
        _group.cache_clear()

    def totals(self, lanes: np.ndarray) -> dict[str, np.ndarray]:
        """Return the counts of some lanes, by name, whichever processes wrote them."""
        known = self._joined("totals_")
        order = np.argsort(known.pop("lanes"))
        return {name: column[order][lanes] for name, column in known.items()}

    def left(self) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return which lanes had left, and the leaves of their agents, `[lanes that had left, ...]`."""
        known = self._joined("left_")
        return known.pop("lanes", np.zeros(0, int)), [known[name] for name in sorted(known)]

    def _joined(self, kind: str) -> dict[str, np.ndarray]:
        """Return the arrays of all processes' files of a kind, by name."""
        names = sorted(name for name in self.manifest["files"] if name.startswith(kind))
        parts = [dict(np.load(self.folder / name)) for name in names]
        return {name: np.concatenate([part[name] for part in parts]) for name in (parts[0] if parts else ())}

    def rows(self, slots: np.ndarray) -> list[np.ndarray]:
        """Return the leaves of the lanes that stood in some slots: rows of all groups together.

        Groups are read whole and one at a time, so the host needs the memory of one of them.
        """
        groups, rows = np.divmod(slots, self.manifest["group_size"])
        parts = [[leaf[rows[groups == g]] for leaf in _group(self.folder, int(g))] for g in np.unique(groups)]
        order = np.argsort(np.argsort(groups, kind="stable"))
        return [np.concatenate(each)[order] for each in zip(*parts, strict=True)]


def write(
    root: Path,
    groups: Any,
    totals: dict[str, Any],
    program: str,
    manifest: Mapping[str, Any],
    states: bool = True,
) -> None:
    """Write a checkpoint into `root`, which is then its only one; all processes call.

    Args:
        root: the folder of checkpoints.
        groups: the lanes (`qjax.sweeps.groups.Groups`).
        totals: arrays `[local lanes]`.
        program: text of the program.
        manifest: what else to keep; `tick` names the checkpoint.
        states: keep the lanes' states, too; a sweep that has ended needs them no more.

    Raises:
        OSError: it could not be written; the last checkpoint stands.

    """
    new = root / NEW

    def make() -> None:
        if hosts.is_first():
            shutil.rmtree(new, ignore_errors=True)
            files.make(new)

    def save() -> None:
        if states:
            _save_groups(new, groups)
            lanes, leaves = groups.kept()
            if len(lanes):
                named = {f"{number:04d}": leaf for number, leaf in enumerate(leaves)}
                np.savez(new / f"left_{_process()}.npz", lanes=lanes, **named)
        np.savez(new / f"totals_{_process()}.npz", lanes=groups.local, slots=groups.slots, **totals)
        if not hosts.is_first():  # which syncs all that it sees before it writes the manifest
            files.sync_all(new)

    def commit() -> None:
        if hosts.is_first():
            kept = {"groups": groups.count if states else 0, "group_size": groups.size}
            _commit(root, program, {**manifest, **kept})

    if failure := _agreed(make) or _agreed(save) or _agreed(commit):
        if hosts.is_first():
            shutil.rmtree(new, ignore_errors=True)
        raise OSError(f"no checkpoint written in {root}: {failure}")


def _agreed(action: Callable[[], None]) -> str:
    """Do something on every host; return on all of them what the first one that failed says, or nothing."""
    failure = ""
    try:
        action()
    except Exception as error:
        failure = text.failure(error)
        _hush()
    said = [message["failure"] for message in hosts.gather({"failure": failure})]
    return next((each for each in said if each), "")


def find(root: Path) -> Checkpoint | None:
    """Return the checkpoint in `root`, None where there is none.

    Raises:
        ValueError: it is damaged; the message names the first file.

    """
    whole = sorted(path for path in root.glob("[0-9]*") if path.is_dir()) if root.is_dir() else []
    if not whole:
        return None
    folder = whole[-1]
    manifest, found = _manifest(folder), _digests(folder)
    for name, (length, digest) in manifest["files"].items():
        if name not in found:
            raise ValueError(f"checkpoint {folder} is damaged: {name} is missing")
        if found[name][0] != length:
            raise ValueError(
                f"checkpoint {folder} is damaged: {name} has {found[name][0]} bytes, {length} were written"
            )
        if found[name][1] != digest:
            raise ValueError(f"checkpoint {folder} is damaged: {name} holds other bytes than were written")
    return Checkpoint(folder, manifest)


def _manifest(folder: Path) -> dict[str, Any]:
    """Return a checkpoint's manifest, whole."""
    path = folder / MANIFEST
    try:
        manifest = jsonfile.read(path, {"format": COUNT}, needs=["format"])
    except OSError as error:
        raise ValueError(f"{path} is damaged: it is missing, or cannot be read: {error}") from error
    if manifest["format"] != FORMAT:
        raise ValueError(f"checkpoint {folder} has format {manifest['format']}, this qjax reads {FORMAT}")
    jsonfile.check(path, manifest, KINDS, needs=KINDS)
    if jsonfile.broken(manifest) or folder.name != _name(manifest["tick"]):
        raise ValueError(f"{path} is damaged: it is not what was written, by its own checksum")
    return manifest


def _name(tick: int) -> str:
    return f"{tick:020d}"


def _hush() -> None:
    """Drop what Orbax's other writes failed with; Python would print each when it collects them."""
    logger = logging.getLogger("asyncio")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    gc.collect()
    logger.setLevel(level)


def _process() -> int:
    import jax

    return jax.process_index()


def _save_groups(folder: Path, groups: Any) -> None:
    import orbax.checkpoint as ocp

    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        for number, leaves in enumerate(groups.leaves()):
            # Orbax takes no arrays without entries; their shape says all.
            tree = {f"{i:04d}": leaf for i, leaf in enumerate(leaves) if leaf.size}
            checkpointer.save((folder / f"group_{number:04d}").absolute(), args=ocp.args.PyTreeSave(tree))


@lru_cache(maxsize=1)
def _group(folder: Path, number: int) -> list[np.ndarray]:
    """Return one group's leaves `[group_size, ...]`."""
    import orbax.checkpoint as ocp

    manifest = _manifest(folder)
    size, described = manifest["group_size"], manifest["leaves"]
    saved = {f"{i:04d}": 0 for i, leaf in enumerate(described) if 0 not in leaf["shape"]}
    wanted = {name: ocp.RestoreArgs(restore_type=np.ndarray) for name in saved}
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        tree = checkpointer.restore(
            (folder / f"group_{number:04d}").absolute(),
            args=ocp.args.PyTreeRestore(item=saved, restore_args=wanted),
        )
    empty = [np.zeros((size, *leaf["shape"]), np.uint8) for leaf in described]
    return [np.asarray(tree.get(f"{i:04d}", empty[i])) for i in range(len(described))]


def _commit(root: Path, program: str, manifest: dict[str, Any]) -> None:
    """Write the manifest and put the new checkpoint in the last one's place."""
    new, target = root / NEW, root / _name(manifest["tick"])
    (new / PROGRAM).write_bytes(gzip.compress(program.encode(), mtime=0))
    files.sync_all(new)
    whole = {"format": FORMAT, **manifest, "files": _digests(new)}
    files.write(new / MANIFEST, jsonfile.text(jsonfile.sealed(whole)))
    files.put(new, target)
    for path in root.iterdir():
        if path != target:
            shutil.rmtree(path, ignore_errors=True)


def _digests(folder: Path) -> dict[str, list[int]]:
    """Return length and CRC-32 of every file of a checkpoint, but for its manifest."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    return {str(path.relative_to(folder)): list(files.digest(path)) for path in paths}
