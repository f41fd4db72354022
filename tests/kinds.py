"""Kinds of arguments: for each some values that a function takes, and some that it must refuse."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

LARGEST = 2**31 - 1
STRANGE = (True, np.bool_(True), 1j, "3", None, [3], (3,), {}, b"3", np.ones(2), jnp.ones(2))
"""What is no number at all, nor anything else that functions ask for."""
NOWHERE = (np.nan, np.float32(np.nan), jnp.float32(np.nan), np.inf, -np.inf, 1e39, -1e39, 10**400)
"""What is no number in float32."""


class Kind(NamedTuple):
    """Values of an argument."""

    good: tuple[Any, ...]
    """The first stands in while other arguments are tried."""
    bad: tuple[Any, ...] = ()
    traced: bool = False
    """Whether it may be traced."""
    called: str | None = None
    """What an error calls it; default the argument's name."""


def size(first: int = 3, least: int = 1, most: int = LARGEST) -> Kind:
    """Return the kind of static whole numbers."""
    many = (first, least, np.int32(first), np.int64(first), np.array(first), jnp.int32(first))
    bad = (*STRANGE, *NOWHERE, 1.5, np.float32(2), float(first), least - 1, -1, most + 1, 2**63, np.array([first]))
    return Kind(many, bad)


def number(
    first: Any, low: float = -np.inf, high: float = np.inf, *, open_low: bool = False, infinite: bool = False,
    whole: bool = False, traced: bool = True,
) -> Kind:  # fmt: skip
    """Return the kind of real numbers in [low, high], or (low, high]."""
    kind = jnp.int32 if whole else jnp.float32
    good: tuple[Any, ...] = (first, kind(first), np.asarray(kind(first)), np.asarray(kind(first))[()])
    good += tuple(end for end in (low, high) if np.isfinite(end) and not (end == low and open_low))
    bad: tuple[Any, ...] = (*STRANGE, *NOWHERE)
    if infinite:
        infinities = [x for x in (-np.inf, np.inf) if low <= x <= high]
        bad = tuple(x for x in bad if not (isinstance(x, float | int) and (x in infinities or x > 1e300)))
    bad += tuple(x for x in (low - 1, low - 0.1, high + 0.1, high + 1, high + 2**31) if np.isfinite(x))
    if open_low:
        bad += (low, -0.0, 1e-46, 1e-38) if low == 0 else (low,)
    elif low < 0 and not infinite:
        good += (-1e-3, 0)
    if high >= 1 and not whole:
        good += (1, np.float64(0.5))
    if whole:
        bad += (first + 0.5,)
    return Kind(good, bad, traced)


def positive(first: Any = 0.5) -> Kind:
    """Return the kind of positive numbers."""
    return number(first, 0, open_low=True)


def unit(first: Any = 0.5) -> Kind:
    """Return the kind of numbers in [0, 1]."""
    return number(first, 0, 1)


def half_open(first: Any = 0.5) -> Kind:
    """Return the kind of numbers in (0, 1]."""
    return number(first, 0, 1, open_low=True)


def scheduled(kind: Kind) -> Kind:
    """Return the kind that takes schedules, too."""
    values = (np.nan, None, "3", jnp.ones(2), True)
    bad = tuple(lambda time, value=value: value for value in values)
    return kind._replace(good=(*kind.good, lambda time: kind.good[0]), bad=(*kind.bad, *bad))


def optional(kind: Kind, first: bool = False) -> Kind:
    """Return the kind that takes None, too."""
    good = (None, *kind.good) if first else (*kind.good, None)
    return kind._replace(good=good, bad=tuple(x for x in kind.bad if x is not None))


def flag() -> Kind:
    """Return the kind of True and False."""
    return Kind((False, True, np.bool_(True)), (0, 1, 1.0, "false", "no", "", *STRANGE[2:], np.nan))


def name(*known: str) -> Kind:
    """Return the kind of one of some words."""
    return Kind(known, (*STRANGE, 1.5, np.nan, "", known[0].upper() + "x"))


def text(first: str = "x") -> Kind:
    """Return the kind of any text."""
    return Kind((first,), (*(x for x in STRANGE if not isinstance(x, str)), 3, np.nan))


def path(*good: Any) -> Kind:
    """Return the kind of files and folders."""
    return Kind(good, text().bad)


def function(*good: Callable[..., Any]) -> Kind:
    """Return the kind of functions."""
    return Kind(good, (*STRANGE, 3, 1.5, np.nan))


def record(*good: Any) -> Kind:
    """Return the kind of records, and of other objects of one class."""
    return Kind(good, tuple(x for x in (*STRANGE, 3, 1.5, np.nan) if type(x) not in map(type, good)))


def key() -> Kind:
    """Return the kind of one typed key."""
    keys = jax.random.split(jax.random.key(0), 2)
    bad = (*STRANGE, 3, 1.5, np.nan, jax.random.PRNGKey(0), keys)
    return Kind((jax.random.key(0),), bad, traced=True)


def array(*good: Any, nan: bool = False) -> Kind:
    """Return the kind of arrays of finite numbers; with `nan` of any."""
    ragged = ([[1.0, 2.0], [3.0]], ["a", "b"], "3", None, {}, b"3", 1j, np.full(np.shape(good[0]), 1j))
    wrong = tuple(np.full(np.shape(good[0]), x) for x in (np.nan, np.inf, 1e39))
    return Kind(good, ragged + (() if nan else wrong))


def listed(kind: Kind, *good: Any, called: str | None = None) -> Kind:
    """Return the kind of sequences of some kind."""
    bad = tuple([*good[0], value] for value in kind.bad)
    return Kind(good, (*bad, *(x for x in STRANGE if not isinstance(x, list | tuple)), 3, np.nan), called=called)


def data(good: Any) -> Kind:
    """Return the kind of what a formula computes with: arrays, or numbers of no axis, of one dtype and rank."""
    first = np.asarray(good)
    others = {"f": (True,), "i": (True, 0.5, np.nan), "b": (1, 0.5)}[first.dtype.kind]
    large = {"f": (1e39, -1e39), "i": (2**31, -(2**40)), "b": ()}[first.dtype.kind]
    fits = {"f": (np.nan, np.inf, -np.inf), "i": (), "b": ()}[first.dtype.kind]
    bad: list[Any] = [np.full(first.shape, x) for x in (1j, "a", *others, *large)]
    bad += [np.zeros((1,) * (first.ndim + 2), first.dtype), *(x for x in STRANGE if np.shape(x) != first.shape)]
    if not first.ndim:
        bad += [1j, "3", None, {}, b"3", *others, *large, 10**400]
    many = (jnp.asarray(good), first, *(np.full(first.shape, x, first.dtype) for x in fits))
    return Kind(many, tuple(bad), traced=True)


def drawn(good: Any) -> Kind:
    """Return the kind of NumPy's arrays of one rank, NaN among them; lists do."""
    axes, gaps = np.ndim(good), np.array(good, float)
    gaps.flat[0] = np.nan
    strange = (x for x in (*STRANGE, 3, 1.5) if np.ndim(x) != axes or isinstance(x, dict))
    bad = (np.full(np.shape(good), 1j), np.full(np.shape(good), "a"), gaps[..., None, None], [[1.0, 2.0], [3.0]])
    return Kind((good, gaps.tolist()), (*bad, *strange))


def mapped(kind: Kind) -> Kind:
    """Return the kind of mappings from names to some kind."""
    strange = (x for x in (*STRANGE, 3, np.nan) if not isinstance(x, dict))
    bad = (*({"a": value} for value in kind.bad), {3: kind.good[0]}, {}, *strange)
    return Kind(tuple({"a": value} for value in kind.good), bad)


def raw(first: Any, reason: str) -> Kind:
    """Return the kind of what is not tried, and say why: there is nothing that would be wrong here."""
    assert reason
    return Kind((first,))
