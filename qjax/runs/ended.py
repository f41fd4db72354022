"""What a run that has ended holds, and whether it is still what it wrote.

Two files vouch for the others with lengths and checksums, and for themselves: what a sweep writes when it ends
(`ended/*/manifest.json`), and `summary.json`. A run needs but one of them; each that is there is asked.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path

from qjax.core import files, jsonfile
from qjax.runs.checkpoint import KINDS, MANIFEST
from qjax.runs.config import SUMMARY, load_summary

ENDED = "ended"
OF_AGENTS = ("agents/", "best_agents/", "agents_at/")
WHEN_ENDED = "is not what the run wrote when it ended"


def has_ended(folder: Path) -> bool:
    """Return whether a run says that it has ended."""
    return (folder / SUMMARY).is_file() or any((folder / ENDED).glob("[0-9]*"))


def tell_of_altered(folder: Path) -> None:
    """Warn of files of a run that has ended that are not those that it wrote."""
    if wrong := altered(folder):
        warnings.warn(f"{folder}: {'; '.join(wrong)} {WHEN_ENDED}", stacklevel=3)


def altered(folder: Path, under: str = "") -> list[str]:
    """Return which files of a run that has ended are not those that it wrote.

    Args:
        folder: the run's.
        under: the folder in it whose files are meant; default its config and tables. What vouches for them always
            is.

    Raises:
        ValueError: the summary is no record.

    """
    written, wrong = _written(folder)
    meant = {
        name: kept
        for name, kept in written.items()
        if (name.startswith(f"{under}/") if under else not name.startswith(OF_AGENTS))
    }
    tables = {(folder / name).parent for name in meant if name.endswith(".parquet")}
    parts = {path.relative_to(folder).as_posix() for table in tables for path in table.glob("[0-9]*")}
    return wrong + [name for name in sorted({*meant, *parts}) if not _is(folder / name, meant.get(name))]


def _is(path: Path, kept: Sequence[int] | None) -> bool:
    """Return whether a file has the length and the checksum that it had."""
    return kept is not None and path.is_file() and files.digest(path) == tuple(kept)


def _written(folder: Path) -> tuple[dict[str, list[int]], list[str]]:
    """Return length and checksum of what was written, by name, and which files that say so are altered."""
    written: dict[str, list[int]] = {}
    wrong = []
    if (folder / SUMMARY).is_file():
        summary = load_summary(folder)
        written |= summary.get("files", {})
        wrong += [SUMMARY] * (jsonfile.broken(summary) or "files" not in summary)
    for path in sorted((folder / ENDED).glob("[0-9]*")):
        try:
            manifest = jsonfile.read(path / MANIFEST, KINDS, needs=["tables"])
        except (OSError, ValueError):
            manifest = {}
        broken = jsonfile.broken(manifest)
        written |= {} if broken else manifest["tables"]
        wrong += [f"{ENDED}/{path.name}/{MANIFEST}"] * broken
    return written, wrong
