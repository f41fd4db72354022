"""Several values of a flag, and what is made of them.

A setting is one combination of the values. Those that may be traced lie side by side in one compiled program; those
that shape the program make one run after another.
"""

import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

import qjax
from qjax.core.text import joined


class Several(tuple[Any, ...]):
    """Values of a flag that was given several; a constant that is itself a tuple is one value, and no such."""


class Grid(NamedTuple):
    """Fields with several values."""

    traced: dict[str, tuple[Any, ...]]
    """Side by side in one program."""
    static: dict[str, tuple[Any, ...]]
    """One run after another."""

    @property
    def hypers(self) -> dict[str, np.ndarray] | None:
        """The traced settings, as `qjax.sweep` takes them."""
        return qjax.grid(**self.traced) if self.traced else None

    @property
    def runs(self) -> list[dict[str, Any]]:
        """The static settings; `[{}]` where there are none. The last field runs fastest."""
        return [dict(zip(self.static, row, strict=True)) for row in itertools.product(*self.static.values())]

    def __str__(self) -> str:
        """Return what is made of the values, as lines of text."""
        lines = {"side by side": self.traced, "in turn": self.static}
        how = {"side by side": "settings in one program", "in turn": "runs, each with a compilation of its own"}
        return "\n".join(
            f"{name:<12} {np.prod([len(x) for x in values.values()]):.0f} {how[name]}: "
            + ", ".join(f"{flag(field)} {' '.join(map(joined, x))}" for field, x in values.items())
            for name, values in lines.items()
            if values
        )


def label(setting: Mapping[str, Any]) -> str:
    """Return a setting in words, `hidden=64,64 n=3`."""
    return " ".join(f"{name}={joined(value)}" for name, value in setting.items())


def folder(setting: Mapping[str, Any]) -> str:
    """Return the name of a static setting's folder, `hidden=64,64_n=3`."""
    return label(setting).replace(" ", "_")


def flag(field: str) -> str:
    """Return a field as it is written on the command line."""
    return f"--{field.replace('_', '-')}"
