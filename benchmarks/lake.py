"""How fast is tabular Q-learning on the slippery lake, against NumPy and plain JAX? What is each trick worth?

python -m benchmarks.lake
"""

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


def ablations(quick: bool) -> list[Row]:
    """Take one trick out at a time."""
    seconds, repeats = (1.0, 2) if quick else (4.0, 5)
    tricks = ["one device per core", "unrolled threefry"] + ([] if quick else ["draws ahead of the loop"])
    rows = ablated("qjax_lake", "lake, default keys", tricks, seconds, repeats)
    if not quick:
        few, rest = ("one device per core", "draws ahead of the loop"), ("groups of lanes",)
        rows += ablated("qjax_lake", "lake, fast keys", few, seconds, repeats, fast=True)
        rows += ablated("qjax_lake", "lake, 16,384 seeds", rest, seconds, repeats, lanes=16_384)
    return rows


def to_the_end(quick: bool) -> list[Row]:
    """Compare whole sweeps of 2,000 episodes: lanes that have ended leave, and groups become fewer, or not."""
    repeats = 2 if quick else 7
    with (
        Contender("lake_to_its_end") as default,
        Contender("lake_to_its_end", compacts=False) as without,
        Contender("lake_to_its_end", width=128) as narrower,
    ):
        rounds([default, without, narrower], 0.1, repeats)
        claim = "lake, 1,024 seeds to their 2,000th episode"
        return [
            versus(f"{claim}: all groups to the end", default, without),
            versus(f"{claim}: the default width, against 128", default, narrower),
        ]


def rows(quick: bool) -> list[Row]:
    """Return all of them."""
    return [*protocols(quick), *ablations(quick), *to_the_end(quick)]


if __name__ == "__main__":
    run_as_script(rows)
