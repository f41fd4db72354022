"""Which agents are made of the same functions, so that one of them need be traced to know the parts of all."""

import dataclasses
import functools
import inspect
import types
from collections.abc import Callable, Hashable
from typing import Any

import jax
import numpy as np


def likeness(value: Any) -> Hashable:
    """Return what two functions have in common that differ in nothing but numbers in their closures.

    Of a number it has whether it is 0 or 1, or negative: what looks at one to leave a part out asks that. A whole
    number of Python's, which may be a size, it has itself; those of a sweep are NumPy's. Of what cannot be looked
    into it has the object itself, which is then like nothing else.
    """
    return _of(value, {})


def _of(value: Any, seen: dict[int, int]) -> Hashable:
    if value is None or isinstance(value, str | bytes | int | type | types.CodeType | types.ModuleType):
        return type(value), value
    if isinstance(value, float | np.generic):
        return "number", _kind(float(value)) if np.isreal(value) else None
    if isinstance(value, np.ndarray | jax.Array):
        return "array", value.shape, str(value.dtype), not value.size or _plain(value)
    if id(value) in seen:
        return "again", seen[id(value)]
    seen[id(value)] = len(seen)
    return type(value), *(_of(part, seen) for part in _parts(value))


def _parts(value: Any) -> list[Any]:
    """Return what a value is made of; of what cannot be looked into something that is equal to itself alone."""
    if dataclasses.is_dataclass(value):
        return [getattr(value, field.name, None) for field in dataclasses.fields(value)]
    for kind, parts in PARTS.items():
        if isinstance(value, kind):
            return parts(value)
    # What `jax.jit` makes has the function.
    return [getattr(value, "__wrapped__", f"{type(value)} {id(value)}")]


def _function(value: types.FunctionType) -> list[Any]:
    if value.__code__.co_name == "wrapped_fn" and "jaxtyping" in value.__code__.co_filename:
        return [inspect.unwrap(value)]  # its import hook wraps each function anew
    cells = [cell.cell_contents for cell in value.__closure__ or () if _filled(cell)]
    return [value.__code__, *cells, value.__defaults__, value.__kwdefaults__]


PARTS: dict[Any, Callable[[Any], list[Any]]] = {
    types.FunctionType: _function,
    types.MethodType: lambda x: [x.__func__, x.__self__],
    functools.partial: lambda x: [x.func, x.args, x.keywords],
    dict: lambda x: [*map(str, x), *x.values()],
    tuple: list,
    list: list,
}


def _filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


def _kind(number: float) -> str:
    return {0.0: "0", 1.0: "1"}.get(number, "-" if number < 0 else "+")


def _plain(array: Any) -> Hashable:
    """Return of one number what is told of a number; of several nothing."""
    if isinstance(array, jax.core.Tracer) or array.size > 1 or not np.issubdtype(array.dtype, np.number):
        return None
    return _kind(float(np.asarray(array).reshape(()).real))
