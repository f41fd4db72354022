"""What the fields of records mean: the text below each of them, as `help` shows it."""

import ast
import dataclasses
import inspect
import re
import textwrap
from collections.abc import Iterable
from types import ModuleType
from typing import Any


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


def document_fields(modules: Iterable[ModuleType]) -> None:
    """Give records the texts below their fields: a tuple's to each of its fields, a dataclass's to the class."""
    texts: dict[type, dict[str, str]] = {}
    for module in modules:
        records = {name: each for name, each in vars(module).items() if _is_record(each, module.__name__)}
        if records:
            texts |= {records[name]: texts_below(block) for name, block in _classes(module) if name in records}
    for kind in texts:
        known: dict[str, str] = {}
        for each in reversed(kind.__mro__):
            known |= texts.get(each, {})
        if hasattr(kind, "_fields"):
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


def _classes(module: ModuleType) -> list[tuple[str, str]]:
    """Return the name and the source of each class of a module; nothing where the source is not there.

    Parsing the whole module in place of its records would take as long as some of its imports.
    """
    try:
        source = inspect.getsource(module)
    except OSError:
        return []
    return [(found[1], found[0]) for found in re.finditer(r"^class (\w+).*?(?=^\S|\Z)", source, re.M | re.S)]
