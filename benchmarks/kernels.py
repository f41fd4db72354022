"""How many kernels a compiled program launches, by its text: what a loop of small operations costs on a GPU."""

import re
from typing import NamedTuple

NO_KERNEL = {"parameter", "get-tuple-element", "constant", "tuple", "bitcast", "after-all", "partition-id"}
"""Operations that launch nothing by themselves."""


class Loop(NamedTuple):
    """A loop of a compiled program, or the program itself, which is a loop of one pass."""

    passes: int
    """One where that is decided while it runs."""
    kernels: int
    """Of a pass, without those of the loops within; of a condition's branches those of the longest."""
    inner: tuple["Loop", ...] = ()

    @property
    def launches(self) -> int:
        """Kernels of a pass, those of the loops within as often as they run."""
        return self.kernels + sum(each.passes * each.launches for each in self.inner)


def launches(text: str) -> int:
    """Return the kernels of one pass through a program, its inner loops as often as they run (see `program`)."""
    return program(text).launches


def program(text: str) -> Loop:
    """Return the kernels and the loops of a compiled program, by its text, `compiled.as_text()`."""
    return _of("ENTRY", _computations(text))


def _computations(text: str) -> dict[str, list[str]]:
    """Return the lines of each computation by its name, of the one that runs by ENTRY."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if head := re.match(r"(ENTRY )?%([\w.\-]+) \(.*\{$", line):
            lines = found.setdefault("ENTRY" if head[1] else head[2], [])
        elif re.match(r"  \S", line):
            lines.append(line)
    return found


def _of(name: str, computations: dict[str, list[str]]) -> Loop:
    kernels, inner = 0, []
    for line in computations[name]:
        operation = re.match(r"\s+(?:ROOT )?%[\w.\-]+ = (?:\(.*?\)|\S+) ([\w\-]+)\(", line)
        if operation is None:
            continue
        kind = operation[1]
        if kind == "while":
            passes = re.search(r'"known_trip_count":\{"n":"(\d+)"', line)
            inner.append(_of(_named("body", line), computations)._replace(passes=int(passes[1]) if passes else 1))
        elif kind in ("call", "conditional"):
            longest = max((_of(each, computations) for each in _called(line)), key=lambda each: each.launches)
            kernels += longest.kernels + (kind == "conditional")
            inner += longest.inner
        elif kind not in NO_KERNEL and not kind.endswith("-done"):
            kernels += 1
    return Loop(1, kernels, tuple(inner))


def _called(line: str) -> list[str]:
    """Return the computations of a call, or the branches of a condition."""
    listed = re.search(r"branch_computations=\{([^}]*)\}", line)
    if listed:
        return [each.strip().lstrip("%") for each in listed[1].split(",")]
    return re.findall(r"(?:to_apply|true_computation|false_computation)=%([\w.\-]+)", line)


def _named(what: str, line: str) -> str:
    found = re.search(rf"{what}=%([\w.\-]+)", line)
    assert found is not None, line
    return found[1]
