"""How a constant is written on the command line, by its type.

A constant that is a tuple is one value: of any length it is written `120,84`; of a fixed one its entries follow the
flag.
"""

import types
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from tyro.constructors import PrimitiveConstructorSpec

from qjax.algorithms import Traced
from qjax.cli.grid import Several
from qjax.cli.words import whole
from qjax.core.checks import one_of
from qjax.core.text import joined

READERS: dict[Any, tuple[Callable[[str], Any], str]] = {
    float: (float, "NUMBER"), int: (whole, "WHOLE"), str: (str, "NAME")
}  # fmt: skip
"""By a type, how a word is read as one, and what help calls it."""


def _words(value: Any) -> list[str]:
    return [joined(each) for each in (value if isinstance(value, Several) else (value,))]


class Written(NamedTuple):
    """How a constant is written."""

    hint: Any
    """The type of its flag, for tyro."""
    value: Any
    """The type of one value."""
    words: Callable[[Any], list[str]] = _words
    """`value -> words` that follow its flag; of several values all of them."""


def written_as(field: str, hint: Any) -> Written | None:
    """Return how a constant of a type is written, None where it cannot be."""
    base = _base_type(hint)
    if base is int and field in ("steps", "episodes"):
        return Written(int | None, int)
    if hint is bool:
        return Written(bool, bool)
    if get_origin(base) is tuple:
        return _tuple(get_args(base))
    if get_origin(base) is Literal:
        choices = {str(value): value for value in get_args(base) if value is not None}
        braces = "{" + ",".join(choices) + "}"
        return Written(_one_or_several(lambda word: one_of(field, word, choices), braces), base)
    if base in READERS:
        return Written(_one_or_several(*READERS[base]), base)
    return None


def _base_type(hint: Any) -> Any:
    """Return a type without what is annotated, and without None."""
    if get_origin(hint) is Annotated:
        marks = [mark.kind for mark in hint.__metadata__ if isinstance(mark, Traced)]
        return marks[0] if marks else _base_type(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        rest = [each for each in get_args(hint) if each is not type(None)]
        return _base_type(rest[0]) if len(rest) == 1 else None
    return hint


def _tuple(kinds: tuple[Any, ...]) -> Written | None:
    """Return how a tuple of these types is written; one of `Any` is a number."""
    if len(kinds) == 2 and kinds[1] is ... and kinds[0] in READERS:
        entry, metavar = kinds[0], READERS[kinds[0]][1][0]
        hint = _one_or_several(lambda text: _entries(entry, text), f"{metavar},{metavar}")
        return Written(hint, types.GenericAlias(tuple, kinds))
    plain = tuple(float if kind is Any else kind for kind in kinds)
    if not plain or not set(plain) <= set(READERS):
        return None

    def read(words: list[str]) -> Any:
        return tuple(READERS[kind][0](word) for kind, word in zip(plain, words, strict=True))

    def words(value: Any) -> list[str]:
        return _words(Several(value) if isinstance(value, tuple) else value)

    metavar = " ".join(READERS[kind][1] for kind in plain)
    spec = PrimitiveConstructorSpec(len(plain), metavar, read, lambda value: True, words)
    return Written(Annotated[Any, spec], types.GenericAlias(tuple, plain), words)


def _one_or_several(kind: Callable[[str], Any], metavar: str) -> Any:
    """Return the type of a flag with one value or several: one alone stays plain."""

    def read(words: list[str]) -> Any:
        if not words:
            raise ValueError("at least one value is needed")
        values = Several(kind(word) for word in words)
        if twice := sorted({word for word, value in zip(words, values, strict=True) if values.count(value) > 1}):
            raise ValueError(f"given twice: {' '.join(twice)}")
        return values[0] if len(values) == 1 else values

    spec = PrimitiveConstructorSpec("*", f"{metavar} [{metavar} ...]", read, lambda value: True, _words)
    return Annotated[Any, spec]


def _entries(entry: type, text: str) -> tuple[Any, ...]:
    """Return a tuple that is written `120,84`.

    Raises:
        ValueError: an entry is none of this type.

    """
    read, metavar = READERS[entry]
    try:
        return tuple(read(part) for part in text.split(",")) if text else ()
    except ValueError:
        example = "120,84" if entry is int else "0.5,1"
        raise ValueError(f"a list of {metavar} is written like {example}, got {text!r}") from None
