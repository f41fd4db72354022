"""How many kernels a compiled program launches, by its text: what a loop of small operations costs on a GPU."""

import re

NO_KERNEL = {"parameter", "get-tuple-element", "constant", "tuple", "bitcast", "after-all", "partition-id"}
"""Operations that launch nothing by themselves."""


def launches(text: str) -> int:
    """Return the kernels of one pass through a program, its inner loops as often as they run.

    Args:
        text: of a compiled program, `compiled.as_text()`. A loop whose number of passes is decided while it runs
            counts as one pass, and of a condition's branches the longest counts.

    """
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


def _of(name: str, computations: dict[str, list[str]]) -> int:
    total = 0
    for line in computations[name]:
        operation = re.match(r"\s+(?:ROOT )?%[\w.\-]+ = (?:\(.*?\)|\S+) ([\w\-]+)\(", line)
        if operation is None:
            continue
        kind = operation[1]
        if kind == "while":
            passes = re.search(r'"known_trip_count":\{"n":"(\d+)"', line)
            total += (int(passes[1]) if passes else 1) * _of(_named("body", line), computations)
        elif kind == "call":
            total += _of(_named("to_apply", line), computations)
        elif kind == "conditional":
            listed = re.search(r"branch_computations=\{([^}]*)\}", line)
            names = listed[1] if listed else ",".join(re.findall(r"(?:true|false)_computation=(%[\w.\-]+)", line))
            total += 1 + max(_of(each.strip().lstrip("%"), computations) for each in names.split(","))
        elif kind not in NO_KERNEL and not kind.endswith("-done"):
            total += 1
    return total


def _named(what: str, line: str) -> str:
    found = re.search(rf"{what}=%([\w.\-]+)", line)
    assert found is not None, line
    return found[1]
