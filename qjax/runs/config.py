"""What stands in a run's `config.json` and `summary.json`, read back and checked."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from qjax.core import jsonfile
from qjax.core.checks import check_path
from qjax.core.jsonfile import (
    COUNT,
    FLAG,
    NOTHING,
    RECORD,
    SCALAR,
    SIZE,
    TEXT,
    Kind,
    Kinds,
    either,
    list_of,
    record_of,
)  # fmt: skip
from qjax.core.text import joined, shown

CONFIG, SUMMARY = "config.json", "summary.json"

SEEDS = Kind(
    "a whole number from 1, or a list of different whole numbers from 0",
    lambda x: SIZE.holds(x) or (list_of(COUNT).holds(x) and 0 < len(set(x)) == len(x)),
)
KINDS: Kinds = {
    "experiment": TEXT,
    "arguments": RECORD,
    "machine": RECORD,
    "parquet": FLAG,
    "versions": record_of(TEXT),
    "resumed": list_of(
        Kind(
            "a record with log_points, versions and program",
            lambda x: (
                RECORD.holds(x)
                and COUNT.holds(x.get("log_points"))
                and record_of(list_of(TEXT, 2)).holds(x.get("versions"))
                and either(TEXT, NOTHING).holds(x.get("program"))
            ),
        )
    ),
    "extended": list_of(
        Kind(
            "a record with steps, log_points and ended",
            lambda x: (
                RECORD.holds(x)
                and SIZE.holds(x.get("steps"))
                and SIZE.holds(x.get("log_points"))
                and FLAG.holds(x.get("ended"))
            ),
        )
    ),
    "sweep": {
        "seeds": SEEDS,
        "lanes": SIZE,
        "hypers": record_of(list_of(SCALAR)),
        "columns": list_of(TEXT),
        "logged": list_of(TEXT),
        "steps": either(SIZE, NOTHING),
        "episodes": either(SIZE, NOTHING),
        "log_points": SIZE,
        "width": SIZE,
        "environment": TEXT,
    },
}
FILES = record_of(list_of(COUNT, 2))
"""Length and CRC-32 by name, from a run's folder."""


def load_config(folder: str | Path) -> dict[str, Any]:
    """Return a run's config: `experiment`, `arguments`, `sweep`, `machine`, `versions`, those that are there.

    Raises:
        FileNotFoundError: the folder is missing, or holds no run.
        ValueError: it is no JSON, or a key holds what it cannot; both are named.

    """
    check_path("folder", folder)
    path = Path(folder) / CONFIG
    if not path.is_file():
        lacking = f"it has no {CONFIG}" if path.parent.is_dir() else "there is no such folder"
        raise FileNotFoundError(f"{folder} holds no run: {lacking}")
    return jsonfile.read(path, KINDS)


def flat(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's arguments side by side, as tables have them: those in `config` and `grid` among the others.

    A tuple in `config` is text, and a field with several values has them from `grid`.
    """
    found: dict[str, Any] = {}
    for name, value in arguments.items():
        if name not in ("config", "grid") or not isinstance(value, Mapping):
            found[name] = value
        elif name == "config":
            found |= {field: joined(own) if isinstance(own, list) else own for field, own in value.items()}
        else:
            found |= value
    return found


def load_sweep(folder: str | Path) -> dict[str, Any]:
    """Return what a run's config says of its sweep.

    Raises:
        FileNotFoundError: as `load_config`.
        ValueError: no sweep has begun there, or the config contradicts itself.

    """
    path, config = Path(folder) / CONFIG, load_config(folder)
    sweep = config.get("sweep", {})
    if lacking := [name for name in ("seeds", "lanes", "hypers", "columns", "logged") if name not in sweep]:
        runs = sorted(each.parent.name for each in Path(folder).glob(f"*/{CONFIG}"))
        none = "" if "sweep" in config else ": no run has begun there"
        why = f": the folder holds several runs, {', '.join(runs)}" if runs else none
        raise ValueError(f"{path} does not tell the sweep's {lacking}{why}")
    seeds, lanes = lane_seeds(sweep), sweep["lanes"]
    lengths = {name: len(column) for name, column in sweep["hypers"].items()}
    if {length * len(seeds) for length in (lengths or {"": 1}).values()} != {lanes}:
        made = f"{len(seeds)} seeds, and settings of {shown(lengths)} values"
        raise ValueError(f"{path} is damaged: {made}, do not make {lanes} lanes")
    return sweep


def lane_seeds(sweep: Mapping[str, Any]) -> range | list[int]:
    """Return the seeds of every setting, in their order, from what a config says of its sweep."""
    return range(sweep["seeds"]) if isinstance(sweep["seeds"], int) else sweep["seeds"]


def load_summary(folder: str | Path, kinds: Kinds | None = None, needs: Iterable[str] = ()) -> dict[str, Any]:
    """Return what a run was finished with, its keys checked as `jsonfile.read` does.

    Raises:
        FileNotFoundError: no run has finished there.
        ValueError: it is no JSON, lacks a key, or a key holds what it cannot.

    """
    path = Path(folder) / SUMMARY
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no finished run: it has no {SUMMARY}")
    return jsonfile.read(path, {"files": FILES, jsonfile.CHECKSUM: COUNT, **(kinds or {})}, needs)
