"""How the words of a command line are read, in every program: numbers, values of keywords, flags."""

import ast
import contextlib
import dataclasses
import difflib
import functools
import inspect
import io
import itertools
import json
import re
import shutil
import textwrap
import warnings
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, get_args, get_origin

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from qjax.core.checks import one_of
from qjax.runs.agents import FOLDERS

ALIASES = {"--lr": "--learning-rate"}
LONGEST = 30
"""Digits of a whole number."""


def whole(text: str) -> int:
    """Return a whole number: 100000, 100_000, 1e5, 2.5e6.

    Raises:
        ValueError: it is none.

    """
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("nan")
    written = "e" in text.lower() or "." not in text
    if written and value.is_finite() and value.adjusted() < LONGEST and value == value.to_integral_value():
        return int(value)
    raise ValueError(f"a whole number is written like 100000, 100_000 or 1e5, got {text!r}")


NAMES = {"true": True, "false": False, "null": None, "none": None}


def literal(text: str) -> Any:
    """Return a keyword's value: true, none, 1e3, 0.5, [[1, 2], ["a"]] and {"a": 1} as JSON or Python write them.

    Several values with commas between them make a tuple; anything else is a string, as it was typed.
    """
    if text.lower() in NAMES:
        return NAMES[text.lower()]
    if re.fullmatch(r"[+-]?\d[\d_]*([eE]\+?\d{1,2})?", text):
        return whole(text)
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > 1 and all(parts) and not re.search(r"[][(){}'\"]", text):
        return tuple(map(literal, parts))
    for read in (json.loads, ast.literal_eval):
        with warnings.catch_warnings(action="ignore"):
            try:
                return read(text)
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                continue
    return text


def keywords(flag: str, words: Iterable[str]) -> dict[str, Any]:
    """Return keywords and their values, of words KEY=VALUE.

    Raises:
        ValueError: a word has another form, or a keyword is given twice.

    """
    found: dict[str, Any] = {}
    for word in words:
        name, given, text = word.partition("=")
        if not (given and name.isidentifier()):
            raise ValueError(f"{flag} takes KEY=VALUE, got {word}")
        if name in found:
            raise ValueError(f"{flag} has {name} twice")
        found[name] = literal(text)
    return found


def _which(words: list[str]) -> Any:
    """Return which agents of a run a word names: last, best, or a number of steps."""
    known = {name: name for name in FOLDERS}
    return whole(words[0]) if words[0][:1].isdigit() else one_of("which agents", words[0], known)


Which = Annotated[
    Any,
    PrimitiveConstructorSpec(1, "{last,best,STEPS}", _which, lambda value: True, lambda value: [f"{value}"]),
]
"""The type of a flag that says which agents of a run are meant."""

READ = ConstructorRegistry()
"""How numbers are read, in place of tyro's own ways."""


@READ.primitive_rule
def _number(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """Return how a number is read, or one that may be left to its default, None."""
    kinds = set(get_args(info.type)) or {info.type}
    optional = type(None) in kinds
    kind = (kinds - {type(None)}).pop() if len(kinds) == 1 + optional else None
    if kind not in (int, float) or (kind is float and not optional):
        return None

    def read(words: list[str]) -> Any:
        if optional and words[0].lower() == "none":
            return None
        return whole(words[0]) if kind is int else float(words[0])

    def fits(value: Any) -> bool:
        return isinstance(value, kind) or (optional and value is None)

    return PrimitiveConstructorSpec(1, "WHOLE" if kind is int else "NUMBER", read, fits, lambda value: [f"{value}"])


def parse(cls: Any, words: Sequence[str], prog: str, **options: Any) -> Any:
    """Return what `tyro.cli` makes of a command line for a dataclass or a function.

    Raises:
        ValueError: as `_check_flags`, a word is empty, or a value is none; in one line.
        SystemExit: after help.

    """
    _check_flags(words, {name: each.annotation for name, each in inspect.signature(cls).parameters.items()})
    for before, word in zip(("", *words), words, strict=False):
        if not word or re.fullmatch("--[^=]*=", word):
            raise ValueError(f"an empty word{f' after {word or before}' if word or before else ''}")
    if dataclasses.is_dataclass(cls):
        options.setdefault("description", _described(inspect.getdoc(cls) or ""))
        return _read(cls, words, prog, options)
    args, kwargs = _read(_arguments_of(cls), words, prog, options)
    return cls(*args, **kwargs)


def _arguments_of(function: Any) -> Any:
    """Return a function that has the same arguments and returns them: reading them does nothing else."""

    @functools.wraps(function)
    def given(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        return args, kwargs

    return given


def _read(cls: Any, words: Sequence[str], prog: str, options: Mapping[str, Any]) -> Any:
    """Return what tyro makes of words; its box of what is wrong with them is an error in one line."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(cls, args=words, prog=prog, registry=READ, **options)
    except SystemExit as ended:
        if not ended.code:
            raise
        raise ValueError(_line(said.getvalue())) from None


def _line(box: str) -> str:
    """Return what tyro says first in a box, in one line: what stands between its title and the next rule."""
    plain = [line.strip("│| ") for line in re.sub(r"\x1b\[[\d;]*m", "", box).splitlines()[1:]]
    inside = itertools.dropwhile(lambda line: not line or RULE.match(line), plain)
    return " ".join(itertools.takewhile(lambda line: not RULE.match(line), inside)).removeprefix("Error parsing ")


RULE = re.compile("[─╭╰+-]{2}")
"""How a line of a box begins that is no text; where there is no Unicode it is drawn with -."""


def _described(text: str) -> str:
    """Return paragraphs as wide as the terminal; tyro joins lines, but for those that start with a space."""
    columns = shutil.get_terminal_size().columns
    return "\n\n".join(
        textwrap.fill(part.replace("\n", " "), columns, subsequent_indent=" ", break_on_hyphens=False)
        for part in text.split("\n\n")
    )


def _check_flags(words: Iterable[str], fields: Mapping[str, Any]) -> None:
    """Check that each flag is that of a field, or the --no- of one; of one given twice the last counts.

    Raises:
        ValueError: there is no such flag, with the nearest ones, or one that takes several values is given twice.

    """
    given = [word.partition("=")[0].replace("_", "-") for word in words if word[:2] == "--" and word[2:]]
    known = {f"--{field.replace('_', '-')}": kind for field, kind in fields.items()} | {"--help": None}
    flags = [flag.replace("--no-", "--", 1) for flag in (ALIASES.get(flag, flag) for flag in given)]
    for flag, written in zip(flags, given, strict=True):
        if flag not in known:
            near = difflib.get_close_matches(written, [*known, *ALIASES], n=3)
            raise ValueError(
                f"no flag {written}; " + (f"did you mean {' or '.join(near)}?" if near else "--help shows all")
            )
        if flags.count(flag) > 1 and _several(known[flag]):
            raise ValueError(f"{flag} is given twice; its values follow it, with spaces between")


def _several(kind: Any) -> bool:
    """Return whether a flag of this type takes any number of values."""
    parts = [kind, *get_args(kind)]
    specs = [each for each in parts if isinstance(each, PrimitiveConstructorSpec)]
    return any(each.nargs == "*" for each in specs) or (not specs and any(get_origin(x) is tuple for x in parts))
