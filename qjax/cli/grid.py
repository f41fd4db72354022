"""Several values of a flag: how they are written, and what is made of them.

A setting is one combination of the values. Those that may be traced lie side by side in one compiled program; those
that shape the program make one run after another.
"""

import itertools
from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Any, NamedTuple, TypeVar

import numpy as np
from tyro.constructors import PrimitiveConstructorSpec

import qjax
from qjax.cli.words import whole

T = TypeVar("T")

PLAIN = ("steps", "episodes", "support")
"""Constants that take no several values on the command line."""


def widths(text: str) -> str:
    """Return widths of hidden layers, `120,84`, as they are kept in a config.

    Raises:
        ValueError: they are not whole positive numbers with commas between them.

    """
    try:
        found = [whole(part) for part in text.split(",")]
    except ValueError:
        found = [0]
    if min(found) < 1:
        raise ValueError(f"widths of hidden layers are written like 120,84, got {text!r}")
    return ",".join(map(str, found))


def _one_or_several(kind: Callable[[str], Any], metavar: str) -> PrimitiveConstructorSpec[Any]:
    """Return how one or several values of a flag are read: one alone stays plain, several are a tuple."""

    def read(words: list[str]) -> Any:
        if not words:
            raise ValueError("at least one value is needed")
        values = tuple(kind(word) for word in words)
        if twice := sorted({word for word, value in zip(words, values, strict=True) if values.count(value) > 1}):
            raise ValueError(f"given twice: {' '.join(twice)}")
        return values[0] if len(values) == 1 else values

    def write(value: Any) -> list[str]:
        return [str(each) for each in (value if isinstance(value, tuple) else (value,))]

    return PrimitiveConstructorSpec("*", f"{metavar} [{metavar} ...]", read, lambda value: True, write)


Floats = Annotated[float | tuple[float, ...] | None, _one_or_several(float, "NUMBER")]
Ints = Annotated[int | tuple[int, ...] | None, _one_or_several(whole, "WHOLE")]
Names = Annotated[str | tuple[str, ...] | None, _one_or_several(str, "NAME")]
Widths = Annotated[str | tuple[str, ...] | None, _one_or_several(widths, "W,W")]


Support = Annotated[
    tuple[float, float] | None,
    PrimitiveConstructorSpec(
        2, "LEAST LARGEST", lambda words: tuple(map(float, words)), lambda value: True, lambda value: [f"{value}"]
    ),
]


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
            + ", ".join(f"{flag(field)} {' '.join(map(str, x))}" for field, x in values.items())
            for name, values in lines.items()
            if values
        )


def split(values: Mapping[str, Any], traced: Collection[str]) -> Grid:
    """Return which fields have several values, and what can be made of them: side by side those that are traced."""
    several = {name: x for name, x in values.items() if isinstance(x, tuple) and name not in PLAIN}
    return Grid(
        {name: x for name, x in several.items() if name in traced},
        {name: x for name, x in several.items() if name not in traced},
    )


def label(setting: Mapping[str, Any]) -> str:
    """Return a setting in words, `batch_size=32 n=3`."""
    return " ".join(f"{name}={value}" for name, value in setting.items())


def folder(setting: Mapping[str, Any]) -> str:
    """Return the name of a static setting's folder, `batch_size=32_n=3`."""
    return label(setting).replace(" ", "_")


def flag(field: str) -> str:
    """Return a field as it is written on the command line."""
    return f"--{field.replace('_', '-')}"
