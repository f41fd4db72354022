"""Records as `help` and `repr` show them: with the text below each field, and in a few lines."""

import ast
import dataclasses
import inspect
import re
import textwrap
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any

from qjax.core.text import brief


def texts_below(source: str) -> dict[str, str]:
    """Return the text below each field of a class, by the fields' names."""
    body = ast.parse(textwrap.dedent(source)).body[0]
    assert isinstance(body, ast.ClassDef)
    texts = {}
    for field, below in zip(body.body, body.body[1:], strict=False):
        text = below.value if isinstance(below, ast.Expr) else None
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Constant)
        ):
            texts[field.target.id] = inspect.cleandoc(str(text.value)).replace("\n", " ")
    return texts


def present(modules: Iterable[ModuleType]) -> None:
    """Give records the texts below their fields, a tuple's to each of them, a dataclass's to the class.

    Records of functions and arrays, which are tuples, get a `repr` of a few lines.
    """
    texts: dict[type, dict[str, str]] = {}
    for module in modules:
        records = {name: each for name, each in vars(module).items() if _is_record(each, module.__name__)}
        texts |= {each: {} for each in records.values()}
        texts |= {records[name]: texts_below(block) for name, block in _classes(module, records)}
    for kind in texts:
        known: dict[str, str] = {}
        for each in reversed(kind.__mro__):
            known |= texts.get(each, {})
        if hasattr(kind, "_fields"):
            kind.__repr__ = brief  # type: ignore[method-assign, assignment]
            for name, text in known.items():
                getattr(kind, name).__doc__ = text
        elif known:
            lines = (f"    {name}: {text}" for name, text in known.items())
            kind.__doc__ = "\n".join([inspect.cleandoc(kind.__doc__ or ""), "", "Attributes:", *lines])


def _is_record(value: Any, module: str) -> bool:
    """Return whether a value is a record that a module defines."""
    if not isinstance(value, type) or value.__module__ != module:
        return False
    return hasattr(value, "_fields") or dataclasses.is_dataclass(value)


def _classes(module: ModuleType, records: Mapping[str, type]) -> list[tuple[str, str]]:
    """Return the name and the source of each record of a module; nothing where the source is not there.

    Parsing the whole module in place of its records would take as long as some of its imports.
    """
    try:
        source = inspect.getsource(module) if records else ""
    except OSError:
        return []
    classes = re.finditer(r"^class (\w+).*?(?=^\S|\Z)", source, re.M | re.S)
    return [(found[1], found[0]) for found in classes if found[1] in records]
