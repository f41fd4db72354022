"""A pytree's structure as JSON, its records by the names that they are imported by, and back.

Only records are made again whose module is imported already or is of a library that agents are made of: to read a
folder runs no code that it names.
"""

import dataclasses
import functools
import importlib
import sys
from collections.abc import Mapping
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from qjax.core.jsonfile import COUNT, DEEPEST, SCALAR, TEXT, list_of
from qjax.core.text import shown

LIBRARIES = ("flax", "jax", "optax", "qjax")
"""Whose modules are imported for their records."""

LEVELS = DEEPEST // 2 - 2
"""Records within records; each takes two of a file's."""


class Unknown(Exception):
    """A structure that cannot be named, or whose records are not there; the message says why."""


def described(tree: Any) -> Any:
    """Return the structure of a pytree of arrays.

    Raises:
        Unknown: it holds something else than dictionaries, lists, tuples and records that can be imported.

    """
    if any(len(path) > LEVELS for path, _ in jax.tree_util.tree_leaves_with_path(tree)):
        raise Unknown(f"it has more than {LEVELS} records within records")
    node = _described(tree)
    again: Any = jax.tree.structure(rebuilt(node))
    if again != jax.tree.structure(tree):
        raise Unknown(f"{shown(jax.tree.structure(tree))} is not made of records that can be imported")
    return node


def rebuilt(node: Any) -> Any:
    """Return the pytree of a structure, with `jax.ShapeDtypeStruct`s.

    Raises:
        Unknown: a record is not there, or has other fields.
        ValueError: it is none that `described` returned.

    """
    if node is None:
        return None
    kind, content = "", cast(Any, None)
    if isinstance(node, dict) and len(node) in (1, 2):
        kind, content = next(iter(node.items()))
    if kind == "array" and list_of(COUNT).holds(content) and TEXT.holds(node.get("dtype")):
        return _array(content, node["dtype"])
    if kind == "value" and SCALAR.holds(content):
        return content
    if kind in ("list", "tuple") and isinstance(content, list):
        return (list if kind == "list" else tuple)(map(rebuilt, content))
    if kind == "dict" and isinstance(content, dict):
        return {name: rebuilt(each) for name, each in content.items()}
    if kind == "record" and isinstance(content, str) and isinstance(node.get("fields"), dict):
        return _record(content, node["fields"])(**{name: rebuilt(each) for name, each in node["fields"].items()})
    raise ValueError(f"{shown(node)} is no structure")


def _described(tree: Any) -> Any:
    if tree is None:
        return None
    if jax.tree_util.all_leaves([tree]):
        return {
            "array": list(np.shape(tree)),
            "dtype": str(tree.dtype if hasattr(tree, "dtype") else np.asarray(tree).dtype),
        }
    if type(tree) in (list, tuple):
        return {type(tree).__name__: [_described(each) for each in tree]}
    if type(tree) is dict and all(isinstance(name, str) for name in tree):
        return {"dict": {name: _described(each) for name, each in tree.items()}}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        fields = {name: _described(each) for name, each in zip(tree._fields, tree, strict=True)}
    elif dataclasses.is_dataclass(tree):
        fields = {field.name: _field(field, getattr(tree, field.name)) for field in dataclasses.fields(tree)}
    else:
        raise Unknown(f"{type(tree).__module__}.{type(tree).__qualname__} is no record")
    return {"record": f"{type(tree).__module__}:{type(tree).__qualname__}", "fields": fields}


def _field(field: Any, value: Any) -> Any:
    """Return a dataclass's field: of those that are part of the structure the value."""
    if not (field.metadata.get("static", False) or not field.metadata.get("pytree_node", True)):
        return _described(value)
    if not SCALAR.holds(value):
        raise Unknown(f"the field {field.name} is {shown(value)}, no plain value")
    return {"value": value}


def _array(shape: list[int], dtype: str) -> Any:
    try:
        return jax.ShapeDtypeStruct(tuple(shape), jnp.dtype(dtype))
    except TypeError:
        raise ValueError(f"{shown(dtype)} is no dtype") from None


def _record(name: str, fields: Mapping[str, Any]) -> Any:
    """Return a record's class by its name, `module:qualname`, that has these fields."""
    module, _, inner = name.partition(":")
    if module not in sys.modules and module.partition(".")[0] not in LIBRARIES:
        raise Unknown(f"{module} is not imported")
    try:
        found = functools.reduce(getattr, inner.split("."), importlib.import_module(module))
    except (ImportError, AttributeError, ValueError):
        raise Unknown(f"{module} has no {inner}") from None
    if isinstance(found, type) and issubclass(found, tuple):
        own = getattr(found, "_fields", ())
    elif isinstance(found, type) and dataclasses.is_dataclass(found):
        own = tuple(field.name for field in dataclasses.fields(found))
    else:
        raise Unknown(f"{name} is no record")
    if {*own} != {*fields}:
        raise Unknown(f"{name} has the fields {shown(list(own))}, not {shown(list(fields))}")
    return found
