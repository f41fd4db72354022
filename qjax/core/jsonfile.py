"""JSON files as records whose keys have the kinds that their readers rely on.

What is wrong with a file is one ValueError in one line that names it, and the key: a reader need not look again.
"""

import json
import math
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import numpy as np

from qjax.core.text import short, shown

DEEPEST = 100
"""Records within records; deeper ones are none of ours, and more than Python's stack may hold."""
CHECKSUM = "checksum"


class Kind(NamedTuple):
    """What a value is to be, in words, and whether it is."""

    name: str
    holds: Callable[[Any], bool]


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -(2**63) <= value < 2**63


TEXT = Kind("text", lambda x: isinstance(x, str))
FLAG = Kind("true or false", lambda x: isinstance(x, bool))
NOTHING = Kind("null", lambda x: x is None)
NUMBER = Kind("a finite number", _number)
REAL = Kind("a number", lambda x: isinstance(x, float) or _number(x))
WHOLE = Kind("a whole number", lambda x: _number(x) and isinstance(x, int))
COUNT = Kind("a whole number from 0", lambda x: WHOLE.holds(x) and x >= 0)
SIZE = Kind("a whole number from 1", lambda x: WHOLE.holds(x) and x > 0)
RECORD = Kind("a record", lambda x: isinstance(x, dict))
LIST = Kind("a list", lambda x: isinstance(x, list | tuple))
SCALAR = Kind("a number, a flag, text or null", lambda x: isinstance(x, bool | str | None) or REAL.holds(x))


def either(*kinds: Kind) -> Kind:
    """Return the kind of what is of any of these."""
    return Kind(" or ".join(kind.name for kind in kinds), lambda x: any(kind.holds(x) for kind in kinds))


def list_of(kind: Kind, length: int | None = None) -> Kind:
    """Return the kind of a list, of so many entries where that is given."""
    of = f"a list{'' if length is None else f' of {length}'}, each entry {kind.name}"
    return Kind(of, lambda x: LIST.holds(x) and length in (None, len(x)) and all(map(kind.holds, x)))


def record_of(kind: Kind) -> Kind:
    """Return the kind of a record whose values are of another."""
    return Kind(f"a record, each value {kind.name}", lambda x: RECORD.holds(x) and all(map(kind.holds, x.values())))


def kind_of(hint: Any) -> Kind:
    """Return the kind of what an annotation allows, as JSON has it: tuples are lists, paths text."""
    known = {bool: FLAG, int: WHOLE, float: REAL, str: TEXT, Path: TEXT, type(None): NOTHING}
    own, inner = get_origin(hint), get_args(hint)
    if own is Annotated:
        return kind_of(inner[0])
    if own in (Union, UnionType):
        return either(*map(kind_of, inner))
    if own is Literal:
        return Kind(" or ".join(map(repr, inner)), lambda x: x in inner)
    if own is tuple:
        length = None if inner[-1] is ... else len(inner)
        return list_of(either(*map(kind_of, dict.fromkeys(x for x in inner if x is not ...))), length)
    return known.get(hint, Kind("anything", lambda x: True))


Kinds = Mapping[str, "Kind | Kinds"]
"""Of the keys of a record, or of the records in it."""


def read(path: Path, kinds: Kinds, needs: Iterable[str] = ()) -> dict[str, Any]:
    """Return a record from a file.

    Args:
        path: the file.
        kinds: what keys hold that are there; of others nothing is known.
        needs: keys that must be there.

    Raises:
        OSError: there is no such file, or it cannot be read.
        ValueError: it is no JSON, no record, lacks a key, or a key holds something else; the file and the key are
            named.

    """
    try:
        found = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {short(str(error))}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path} is damaged: it holds {shown(found)}, not a record")
    _check_depth(path, found)
    check(path, found, kinds, needs)
    return found


def check(path: Path, content: Mapping[str, Any], kinds: Kinds, needs: Iterable[str] = (), above: str = "") -> None:
    """Raise ValueError where a file's record lacks a key, or a key holds something else than it should."""
    if lacking := [f"{above}{name}" for name in needs if name not in content]:
        raise ValueError(f"{path} is damaged: it has no {', '.join(map(repr, lacking))}")
    for name, kind in kinds.items():
        if name not in content:
            continue
        value, key = content[name], f"{above}{name}"
        own = RECORD if isinstance(kind, Mapping) else kind
        if not own.holds(value):
            raise ValueError(f"{path} is damaged: {key!r} is {shown(value)}, not {own.name}")
        if isinstance(kind, Mapping):
            check(path, value, kind, above=f"{key}.")


def _check_depth(path: Path, content: Any) -> None:
    level, depth = [content], 0
    while level:
        level = [x for each in level if isinstance(each, dict | list) for x in _inner(each)]
        depth += 1
        if depth > DEEPEST:
            raise ValueError(f"{path} is damaged: it has more than {DEEPEST} records within records")


def _inner(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def text(content: Any) -> str:
    """Return what a file is to hold."""
    return json.dumps(content, indent=1) + "\n"


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with a checksum over all of it."""
    plain = json.loads(json.dumps(content))
    return {**plain, CHECKSUM: _checksum(plain)}


def broken(content: Mapping[str, Any]) -> bool:
    """Return whether a record is not what its checksum was made of."""
    return content.get(CHECKSUM) != _checksum({k: v for k, v in content.items() if k != CHECKSUM})


def _checksum(content: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())


def plain(value: Any) -> Any:
    """Return what JSON can hold; it has no NaN, so that is null."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, float) and math.isnan(value):
        return None
    return str(value) if isinstance(value, Path) else value
