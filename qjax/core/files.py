"""Files that a power cut leaves whole: written beside their place, synced, and moved there by one rename.

The order is a database's: what is named is on the disk before what names it, and what is replaced goes last. A
file's bytes are synced before the rename that makes it count, the folder after it (a new name is an entry of its
folder, and is lost with that); nothing older is removed before that.
"""

import contextlib
import errno
import os
import zlib
from pathlib import Path

LOST = (errno.EIO, errno.ENOSPC, errno.EDQUOT)
"""Errors of syncing a folder that say that something was lost; others say that it cannot be done there."""


def write(path: Path, content: str | bytes) -> None:
    """Write a file so that it is whole at every instant: the old one, or the new one."""
    put(prepare(path, content), path)


def prepare(path: Path, content: str | bytes) -> Path:
    """Write what will be a file beside its place, synced, for `put`; return where."""
    new = path.with_name(f"{path.name}.new")
    new.write_bytes(content.encode() if isinstance(content, str) else content)
    sync(new)
    return new


def put(new: Path, path: Path) -> None:
    """Move a file or folder, synced before, to its place beside it, and sync that."""
    new.replace(path)
    sync(path.parent)


def make(folder: Path) -> None:
    """Make a folder that is not there, and those above it, and sync what it stands in."""
    if not folder.is_dir():
        make(folder.parent)
        folder.mkdir(exist_ok=True)
        sync(folder.parent)


def sync(path: Path) -> None:
    """Have the system write a file, or a folder's entries, to the disk.

    Some systems (Windows, mounts over a network) cannot sync a folder; they are left alone.
    """
    folder = path.is_dir()
    try:
        handle = os.open(path, os.O_RDWR if os.name == "nt" and not folder else os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if not folder or error.errno in LOST:
            raise


def sync_all(folder: Path) -> None:
    """Sync a folder with everything in it, from the inside out; what another process removes meanwhile is gone."""
    for above, _, names in os.walk(folder, topdown=False):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                sync(Path(above, name))
        sync(Path(above))


def digest(path: Path, length: int | None = None) -> tuple[int, int]:
    """Return a file's length in bytes and the CRC-32 of its first `length` bytes, all by default."""
    left = path.stat().st_size if length is None else length
    total, crc = path.stat().st_size, 0
    with path.open("rb") as file:
        while left > 0 and (block := file.read(min(left, 2**20))):
            crc, left = zlib.crc32(block, crc), left - len(block)
    return total, crc
