"""How fast is tabular Q-learning on the slippery lake, against NumPy and plain JAX? What is each trick worth?

python -m benchmarks.lake
"""

from contextlib import ExitStack
from typing import Any

from benchmarks.contenders.measuring import cores
from benchmarks.harness import Contender, Row, ablated, rounds, run_as_script, versus


def protocols(quick: bool) -> list[Row]:
    """Compare with what people use."""
    seconds, repeats = (1.5, 3) if quick else (6.0, 7)
    copies = cores()
    with (
        Contender("qjax_lake") as default,
        Contender("qjax_lake", fast=True) as fast,
        Contender("numpy_lake", copies) as loop,
        Contender("plain_lake") as plain,
        Contender("plain_lake", sharded=True) as sharded,
    ):
        rounds([default, fast, loop, plain, sharded], seconds, repeats)
        return [
            versus(f"lake, 1,024 seeds, default keys: classic NumPy loop, {copies} copies", default, loop, "75"),
            versus("the same, fast keys", fast, loop, "300"),
            versus("fast keys: plain `vmap(scan)`, JAX's default device", fast, plain, "12"),
            versus("fast keys: the same, sharded over the cores", fast, sharded, "4"),
        ]


def ablations() -> list[Row]:
    """Take one trick out at a time."""
    tricks = ("one device per core", "unrolled threefry", "draws ahead of the loop")
    few, rest = ("one device per core", "draws ahead of the loop"), ("groups of lanes",)
    return [
        *ablated("qjax_lake", "lake, default keys", tricks, 4.0, 5),
        *ablated("qjax_lake", "lake, fast keys", few, 4.0, 5, fast=True),
        *ablated("qjax_lake", "lake, 16,384 seeds", rest, 4.0, 5, lanes=16_384),
    ]


def to_the_end(quick: bool) -> list[Row]:
    """Compare whole sweeps of 2,000 episodes: lanes that have ended leave, and groups become fewer, or not."""
    others: dict[str, dict[str, Any]] = {"all groups to the end": {"compacts": False}}
    if not quick:
        others["the default width, against 128"] = {"width": 128}
    with ExitStack() as stack:
        default, *found = [
            stack.enter_context(Contender("lake_to_its_end", **given)) for given in ({}, *others.values())
        ]
        rounds([default, *found], 0.1, 2 if quick else 7)
        claim = "lake, 1,024 seeds to their 2,000th episode"
        return [versus(f"{claim}: {name}", default, each) for name, each in zip(others, found, strict=True)]


def rows(quick: bool) -> list[Row]:
    """Return all of them."""
    return [*protocols(quick), *([] if quick else ablations()), *to_the_end(quick)]


if __name__ == "__main__":
    run_as_script(rows)
