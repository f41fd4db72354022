"""Arguments checked against their annotations: one mechanism for formulas, clocks, algorithms' parts and pictures.

Of an array the kind of its numbers and its axes are checked, traced or not, and that axes of one name have one
length. Its values are data: minus infinity masks an action, NaN is a seed without a score. All of it is done while
Python calls a function, so compiled programs have nothing of it.
"""

import inspect
import types
from collections.abc import Callable, Collection, Mapping
from dataclasses import is_dataclass
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import jax
import jax.numpy as jnp
import numpy as np

from qjax.core.checks import (
    check_flag,
    check_listed,
    check_mapping,
    check_number,
    check_path,
    check_record,
    check_size,
    check_text,
    is_number,
    numbers,
)
from qjax.core.text import shown

Function = TypeVar("Function", bound=Callable[..., Any])
Record = TypeVar("Record", bound=type)
Lengths = dict[str, tuple[str, int]]
"""By an axis, the argument that had it first, and its length."""

SIMPLE: dict[Any, Callable[[str, Any], Any]] = {
    bool: check_flag,
    float: check_number,
    int: lambda name, value: check_size(name, value, least=-(2**63), most=2**63 - 1),
    str: check_text,
    types.NoneType: lambda name, value: _refuse_unless(value is None, name, "None", value),
    Callable: lambda name, value: _refuse_unless(callable(value), name, "a function", value),
}

ARRAYS: dict[str, tuple[str, float, tuple[Any, ...]]] = {
    "float": ("number", float(np.finfo(np.float32).max), (np.integer, np.floating)),
    "int": ("whole number", 2**31 - 1, (np.integer,)),
    "bool": ("flag", 1, (np.bool_,)),
    "prng": ("typed key", np.inf, (jax.dtypes.prng_key,)),
}
"""What arrays of jaxtyping's dtypes hold, the largest of it on a device, and what is taken for it."""

_OPEN: set[type] = set()


def checked(function: Function) -> Function:
    """Return the function with its arguments checked, which raises TypeError and ValueError with one line.

    Arguments annotated `Any` are not, nor are defaults. NumPy's arrays are taken for JAX's, and lists for NumPy's.
    """
    signature = inspect.signature(function)
    wanted = {
        name: each.annotation
        for name, each in signature.parameters.items()
        if each.annotation is not each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    }

    @wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError:
            return function(*args, **kwargs)  # Python's own words for an argument too many
        lengths: Lengths = {}
        for name, value in bound.arguments.items():
            bound.arguments[name] = _taken(name, value, wanted.get(name, Any), lengths)
        return function(*bound.args, **bound.kwargs)

    return cast(Function, called)


def fields_checked(record: Record) -> Record:
    """Have the fields of a record checked, too, wherever it is an argument."""
    _OPEN.add(record)
    return record


def _taken(name: str, value: Any, wanted: Any, lengths: Lengths) -> Any:
    """Return an argument as its annotation wants it."""
    kind, inner = get_origin(wanted) or wanted, get_args(wanted)
    if kind in (Union, types.UnionType):
        return _any_of(name, value, inner, lengths)
    if hasattr(wanted, "dim_str"):
        return _array(name, value, wanted, lengths)
    if kind is tuple:
        return _tuple(name, value, inner)
    if inner and isinstance(kind, type) and issubclass(kind, Collection):
        return _collection(name, value, kind, inner[-1])
    if getattr(kind, "_is_protocol", False):
        kind = Callable
    if kind in SIMPLE:
        SIMPLE[kind](name, value)
    elif hasattr(kind, "_fields") or is_dataclass(kind):
        check_record(name, value, kind)
    return _fields(name, value, kind) if kind in _OPEN else value


def _any_of(name: str, value: Any, kinds: tuple[Any, ...], lengths: Lengths) -> Any:
    """Return an argument as one of several annotations wants it; a wrong value says more than a wrong type."""
    if Path in kinds and (value is not None or types.NoneType not in kinds):
        check_path(name, value)
        return value
    errors: list[Exception] = []
    for kind in kinds:
        own = dict(lengths)
        try:
            taken = _taken(name, value, kind, own)
        except (TypeError, ValueError) as error:
            errors.append(error)
        else:
            lengths.update(own)
            return taken
    raise next((error for error in errors if isinstance(error, ValueError)), errors[0])


def _array(name: str, value: Any, wanted: Any, lengths: Lengths) -> Any:
    """Return an array, or a number where there may be no axis, of jaxtyping's kind and axes."""
    if wanted.array_type is np.ndarray:
        value = numbers(name, value)
    else:
        word, most, kinds = next(own for stem, own in ARRAYS.items() if stem in wanted.dtypes[-1])
        if not is_number(value, *kinds):
            words = f"an array of {word}s" if wanted.dim_str else f"one {word}"
            raise TypeError(f"{name} must be {words}, got {shown(value)}")
        if not isinstance(value, jax.Array):
            size = np.abs(value)
            if np.any((size > most) & (size != np.inf)):
                raise ValueError(f"{name} must fit into 32 bits, got {shown(value)}")
            with jax.ensure_compile_time_eval():  # a constant, whatever is being traced
                value = jnp.asarray(value) if isinstance(value, np.ndarray) else value
    _check_axes(name, value, wanted.dim_str.split(), lengths)
    return value


def _check_axes(name: str, value: Any, axes: list[str], lengths: Lengths) -> None:
    """Check the number of axes, and their lengths against those of the same name."""
    shape, any_number = np.shape(value), [axis for axis in axes if axis[0] in "*."]
    if len(shape) < len(axes) - len(any_number) or (len(shape) > len(axes) and not any_number):
        words = f"have the axes [{', '.join(axes)}]" if axes else "be a single one"
        raise ValueError(f"{name} must {words}, got {shown(value)}")
    first = axes.index(any_number[0]) if any_number else len(axes)
    last = len(axes) - first - 1  # after those of any number
    known = [*zip(axes, shape[:first], strict=False)]
    known += [*zip(axes[first + 1 :], shape[len(shape) - last :], strict=True)] if any_number else []
    for axis, length in known:
        other, wanted = lengths.setdefault(axis, (name, length))
        if length != wanted:
            raise ValueError(f"{name} has {length} of the axis {axis}, {other} has {wanted}: got {shown(value)}")


def _tuple(name: str, value: Any, kinds: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a tuple of so many values; their axes of one name have one length."""
    each, lengths = check_listed(name, value, "values"), cast(Lengths, {})
    if len(each) != len(kinds):
        raise ValueError(f"{name} must have {len(kinds)} parts, got {shown(value)}")
    return tuple(_taken(f"{name}[{i}]", *one, lengths) for i, one in enumerate(zip(each, kinds, strict=True)))


def _collection(name: str, value: Any, kind: type, of: Any) -> Any:
    """Return a mapping or a sequence of values, each for itself; of what is to be computed with there is some."""
    found: Any
    if issubclass(kind, Mapping):
        check_mapping(name, value)
        found = {key: _taken(f"{name}[{key!r}]", each, of, {}) for key, each in value.items()}
    else:
        each = check_listed(name, value, "values")
        found = [_taken(f"{name}[{i}]", one, of, {}) for i, one in enumerate(each)]
    if not found and of is not Any:
        raise ValueError(f"{name} must not be empty, got {shown(value)}")
    return found


def _fields(name: str, value: Any, kind: type) -> Any:
    """Return a record with its fields as their annotations want them."""
    lengths: Lengths = {}
    hints = get_type_hints(kind).items()
    return value._replace(**{each: _taken(f"{name}.{each}", getattr(value, each), x, lengths) for each, x in hints})


def _refuse_unless(right: bool, name: str, words: str, value: Any) -> None:
    if not right:
        raise TypeError(f"{name} must be {words}, got {shown(value)}")
