"""Where what was written and what is to run differ first, in words."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from qjax.core.text import apart, short, shown


def first_difference(before: Any, now: Any, name: str = "") -> str | None:
    """Return where two trees of plain values differ first, None where they do not: `seeds: 16 before, 32 now`."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        keys = [*before, *(k for k in now if k not in before)]
        inner = {key: f"{name}.{key}" if name else str(key) for key in keys}
        found: Iterator[str | None] = (_of_key(before, now, key, inner[key]) for key in keys)
    elif isinstance(before, list | tuple) and isinstance(now, list | tuple):
        pairs = enumerate(zip(before, now, strict=False))
        own: list[str | None] = (
            [] if len(before) == len(now) else [f"{short(name)}: {len(before)} entries before, {len(now)} now"]
        )
        found = itertools.chain((first_difference(*pair, f"{name}[{i}]") for i, pair in pairs), own)
    elif before == now:
        return None
    elif isinstance(before, str) and isinstance(now, str):
        return "{}: {!r} before, {!r} now".format(short(name), *apart(before, now))
    else:
        return f"{short(name)}: {shown(before)} before, {shown(now)} now"
    return next(filter(None, found), None)


def _of_key(before: Mapping[str, Any], now: Mapping[str, Any], key: str, name: str) -> str | None:
    if key in before and key in now:
        return first_difference(before[key], now[key], name)
    old, new = (shown(values[key]) if key in values else "nothing" for values in (before, now))
    return f"{short(name)}: {old} before, {new} now"
