"""Values as text in messages: one line, and short whatever they are."""

import itertools
import reprlib
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any

MOST = 120
"""Characters that are shown of one value."""


class _Form(reprlib.Repr):
    """Records keep their order, which `reprlib` does not."""

    def repr_dict(self, x: dict[Any, Any], level: int) -> str:
        if level <= 0:
            return "{...}"
        first = itertools.islice(x.items(), self.maxdict)
        inner = [f"{self.repr1(key, level - 1)}: {self.repr1(value, level - 1)}" for key, value in first]
        return "{" + ", ".join(inner + ["..."] * (len(x) > self.maxdict)) + "}"


def shown(value: Any, most: int = MOST) -> str:
    """Return a value as `repr` writes it, of a long one its beginning and end; of an array its type and shape."""
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and hasattr(value, "dtype"):
        return f"{value.dtype}{list(shape)}" if shape else short(str(value), most)
    form = _Form()
    form.maxlist = form.maxtuple = form.maxdict = form.maxset = form.maxarray = 6
    form.maxlevel, form.maxstring, form.maxlong, form.maxother = 4, most, most, most
    try:
        return short(form.repr(value), most)
    except Exception:  # of whoever made it: no reason not to say what is wrong
        return object.__repr__(value)


class _Brief(_Form):
    """Arrays are told by type and shape, records inside others by their type."""

    def repr1(self, x: Any, level: int) -> str:
        if hasattr(x, "dtype") and hasattr(x, "shape"):
            return shown(x, 40) if not str(x.dtype).startswith("key") else f"{x.dtype}{list(x.shape)}"
        if hasattr(x, "_fields") or is_dataclass(x):
            return f"{type(x).__name__}(...)" if not isinstance(x, type) else x.__name__
        if isinstance(x, list | tuple) and len(x) > self.maxlist:
            return f"{type(x).__name__} of {len(x)}"
        return super().repr1(x, level)


def brief(record: Any) -> str:
    """Return a record in a few lines, as its `__repr__`: arrays by type and shape, functions by what made them."""
    form = _Brief()
    form.maxlist = form.maxtuple = form.maxset = 4
    form.maxdict, form.maxlevel, form.maxstring, form.maxother = 8, 3, 80, 80
    names = getattr(record, "_fields", None) or [field.name for field in fields(record)]
    values = {name: getattr(record, name) for name in names}
    told = [f"{name}={form.repr(x)}" for name, x in values.items() if isinstance(x, type) or not callable(x)]
    made = dict.fromkeys(maker for x in values.values() if (maker := _maker(x)))
    told = [f"made by {' and '.join(made)}"] * bool(made and "name" not in values) + told
    return textwrap.fill(f"{type(record).__name__}({', '.join(told)})", 100, subsequent_indent="    ")


def _maker(value: Any) -> str:
    """Return the name of the function inside which a function was defined, of others nothing."""
    outer, inside, _ = getattr(value, "__qualname__", "").partition(".<locals>.")
    return outer if inside and not isinstance(value, type) else ""


def short(text: str, most: int = MOST) -> str:
    """Return text in one line, of a long one its beginning and its end."""
    line = " ".join(text.split())
    end = most // 3
    return line if len(line) <= most else f"{line[: most - end - 3]}...{line[-end:]}"


def joined(value: Any) -> str:
    """Return a value as text, a list or tuple as its entries with commas between: `120,84`."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def failure(error: BaseException) -> str:
    """Return an error's type and what it says."""
    return short(f"{type(error).__name__}: {error}", 300)


def given(arguments: Mapping[str, Any]) -> str:
    """Return arguments as the end of a sentence, nothing of none."""
    words = ", ".join(f"{key}={shown(value)}" for key, value in arguments.items())
    return f" with {short(words)}" if arguments else ""


@contextmanager
def telling(what: str, own: bool = False) -> Iterator[None]:
    """Let what others' code raises be one line that begins with what was done: `CartPole-v1 cannot be made`.

    Args:
        what: was done.
        own: errors of wrong values and types are ours, and say so already.

    Raises:
        OSError: as the code.
        TypeError: as the code.
        ValueError: in the place of anything else.

    """
    try:
        yield
    except ImportError:
        raise
    except Exception as error:
        if own and isinstance(error, ValueError | TypeError):
            raise
        kind = next((kind for kind in (OSError, TypeError) if isinstance(error, kind)), ValueError)
        raise kind(f"{what}: {failure(error)}") from error


def apart(before: str, now: str, most: int = 80) -> tuple[str, str]:
    """Return two texts that differ, of long ones what stands around their first difference."""
    at = next((i for i, (a, b) in enumerate(zip(before, now, strict=False)) if a != b), min(len(before), len(now)))
    first = max(at - most // 2, 0) if max(len(before), len(now)) > most else 0

    def part(text: str) -> str:
        return "..." * (first > 0) + text[first : first + most] + "..." * (len(text) > first + most)

    return part(before), part(now)
