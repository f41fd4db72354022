"""Spaces of settings: what each traced hyper-parameter may be."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from qjax.core.checks import LARGEST, check_flag, check_listed, check_mapping, check_range, check_record, check_size
from qjax.core.text import joined, shown
from qjax.sweeps.hyperparameters import checked

DIGITS = 4
"""Significant digits of a drawn number, so that what is printed is what was run."""


class Range(NamedTuple):
    """What one hyper-parameter may be: `uniform`, `log_uniform`, `integers` and `choices` make it."""

    kind: str
    """One of "uniform", "log", "int", "log-int" or "choice"."""
    values: tuple[Any, ...]
    """Its ends, both of which it may be; of a choice all values."""

    @property
    def number(self) -> float:
        """How many values there are; infinite where they are real numbers."""
        if self.kind == "choice":
            return len(self.values)
        return self.values[1] - self.values[0] + 1 if self.kind.endswith("int") else math.inf

    def __str__(self) -> str:
        """Return it as a command line has it, `log:1e-05:0.01`."""
        return ":".join((self.kind, *(f"{value}" for value in self.values)))

    def at(self, quantiles: np.ndarray) -> np.ndarray:
        """Return the values at quantiles in [0, 1), `[points]`; real ones have four significant digits."""
        if self.kind == "choice":
            return np.asarray(self.values)[(quantiles * len(self.values)).astype(int)]
        low, high = self.values
        if self.kind == "int":
            return np.minimum(low + (quantiles * (high + 1 - low)).astype(int), high)
        if self.kind == "log-int":
            return np.clip((low * ((high + 1) / low) ** quantiles).astype(int), low, high)
        raw = low * (high / low) ** quantiles if self.kind == "log" else low + quantiles * (high - low)
        return np.clip([float(f"{value:.{DIGITS}g}") for value in raw], low, high)

    def spread(self, points: int) -> np.ndarray:
        """Return up to so many different values over all of it, its ends among them."""
        if self.number <= points:
            return np.asarray(self.values if self.kind == "choice" else range(self.values[0], self.values[1] + 1))
        inner = np.linspace(0, np.nextafter(1.0, 0.0), points)
        return np.array(list(dict.fromkeys(self.at(inner).tolist())))


Space = Mapping[str, Range]
"""By the name of a hyper-parameter what it may be."""


def uniform(low: float, high: float) -> Range:
    """Return the real numbers from `low` to `high`, all alike.

    Raises:
        TypeError: an end is no number.
        ValueError: `low` is not below `high`.

    """
    return _between("uniform", "uniform", low, high)


def log_uniform(low: float, high: float) -> Range:
    """Return the positive numbers from `low` to `high`, whose logarithms are all alike.

    Raises:
        TypeError: an end is no number.
        ValueError: `low` is not positive, or not below `high`.

    """
    return _between("log_uniform", "log", low, high)


def integers(low: int, high: int, log: bool = False) -> Range:
    """Return the whole numbers from `low` to `high`, both included.

    Args:
        low: the least.
        high: the largest.
        log: whether their logarithms are all alike, in place of themselves.

    Raises:
        TypeError: an end is no whole number.
        ValueError: `low` is not below `high`, or with `log` not positive.

    """
    ends = [check_size(f"integers: {name}", x, -LARGEST) for name, x in (("low", low), ("high", high))]
    if check_flag("log", log) and ends[0] < 1:
        raise ValueError(f"integers: low must be at least 1 for a logarithm, got {ends[0]}")
    return Range("log-int" if log else "int", _ascending("integers", *ends))


def choices(values: Sequence[Any]) -> Range:
    """Return these numbers or flags, all alike.

    Raises:
        TypeError: they are none.
        ValueError: there are none, or one comes twice.

    """
    given = checked("choices", check_listed("choices", values, "numbers")) if _some(values) else np.zeros(0)
    if given.ndim != 1 or not len(given):
        raise ValueError(f"choices must be a sequence of at least one number, got {shown(values)}")
    if len(set(given.tolist())) < len(given):
        raise ValueError(f"choices must differ, got {joined(given.tolist())}")
    return Range("choice", tuple(given.tolist()))


def check_space(space: Any) -> dict[str, Range]:
    """Return a space, checked.

    Raises:
        TypeError: it is no mapping from names to ranges.
        ValueError: it is empty.

    """
    check_mapping("space", space)
    for name, own in space.items():
        check_record(f"space[{name!r}]", own, Range)
    if not space:
        raise ValueError("space is empty: give at least one name with its range (qjax.searches.log_uniform)")
    return dict(space)


def _between(function: str, kind: str, low: Any, high: Any) -> Range:
    for name, end in (("low", low), ("high", high)):
        check_range(f"{function}: {name}", end, -np.inf, np.inf)
    ends = _ascending(function, float(low), float(high))
    if kind == "log":
        check_range(f"{function}: low", ends[0], 0, np.inf, open_low=True)
    return Range(kind, ends)


def _ascending(function: str, low: Any, high: Any) -> tuple[Any, Any]:
    if not low < high:
        raise ValueError(f"{function}: low must be below high, got {low:.10g} and {high:.10g}")
    return low, high


def _some(values: Any) -> bool:
    """Return whether there is an entry to be checked."""
    return not hasattr(values, "__len__") or len(values) > 0
