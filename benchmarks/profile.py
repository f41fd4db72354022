"""Where does the time of an iteration go? The compiled loop's operations on one CPU device, by JAX's own profiler.

    python -m benchmarks.profile dqn

Tracing adds about half a microsecond to each operation, so shares of long ones are right and those of short ones
are too large.
"""

import collections
import gzip
import json
import re
import tempfile
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

import qjax
from benchmarks.contenders.sweeps import lake_loop
from qjax.sweeps.groups import Groups
from qjax.sweeps.placement import Placement
from qjax.sweeps.programs import Programs

KINDS = {
    "matrix products": r"dot|ynn|gemm",
    "gathers and scatters": r"gather|scatter",
    "slices and copies": r"copy|dynamic|slice|concatenate|transpose",
    "reductions": r"reduce",
}
"""Kinds of operations by the names that the compiler gives them; the first that fits counts."""


def loop_of(name: str) -> tuple[qjax.Loop, int, int]:
    """Return a loop, how many lanes a device runs of it, and how many of its iterations are looked at at once."""
    from experiments import cartpole

    if name == "lake":
        return lake_loop(), 512, 100
    if name == "pqn":
        preset = qjax.algorithms.preset("cartpole-pqn")
        return qjax.algorithms.make("pqn", qjax.make(preset.env), preset.config), 8, 1
    constants = cartpole.preset("cleanrl" if name == "dqn" else "tutorial", None)
    return cartpole.build(constants.replace(episodes=None)), 8, 100


def traced(groups: Groups, ticks: int, outer: int) -> collections.Counter[str]:
    """Return the microseconds of each operation in so many iterations of the outer loop, by its name."""
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level, options.host_tracer_level = 0, 3
    with tempfile.TemporaryDirectory() as folder:
        jax.profiler.start_trace(folder, profiler_options=options)
        groups.run(ticks, outer, True)
        jax.profiler.stop_trace()
        (file,) = Path(folder).rglob("*.trace.json.gz")
        events = json.loads(gzip.decompress(file.read_bytes()))["traceEvents"]
    found: collections.Counter[str] = collections.Counter()
    for event in events:
        if event.get("ph") == "X" and re.fullmatch(r"(?!while|call|shard_args)[a-z][a-z0-9_.\-]*", event["name"]):
            found[event["name"]] += event["dur"]
    return found


def main(
    name: tyro.conf.Positional[Literal["dqn", "tutorial", "lake", "pqn"]],
    outer: int = 5,
    most: int = 12,
    fast: bool = False,
) -> None:
    """Print the share of each kind of operation, and the longest ones.

    Args:
        name: which loop: DQN with CleanRL's or the tutorial's protocol, the table on the lake, or PQN with
            purejaxql's constants, whose layers are of 256.
        outer: how many times 100 iterations, with PQN how many.
        most: how many operations are shown.
        fast: use fast keys.

    """
    qjax.use_cores(1)
    loop, width, inner = loop_of(name)
    root: Any = qjax.fast_key(0) if fast else jax.random.key(0)
    placement = Placement(np.zeros(width, int), np.arange(width), width, jax.devices())
    programs = Programs(lambda _: loop, None, root, placement)
    warmup = -(-loop.warmup // inner) * inner
    groups = Groups(programs.compile({False: inner, True: inner} if warmup else {True: inner}))
    groups.start()
    if warmup:
        groups.run(0, warmup // inner, False)
    groups.run(warmup * loop.rollout, 1, True)
    times = traced(groups, (warmup + inner) * loop.rollout, outer)
    total = sum(times.values())
    kinds: collections.Counter[str] = collections.Counter()
    for operation, took in times.items():
        kinds[next((kind for kind, names in KINDS.items() if re.search(names, operation)), "the rest")] += took
    table = Table("operation", "us per iteration", "share", title=f"{name}: {width} lanes on one device")
    for operation, took in [*kinds.most_common(), *times.most_common(most)]:
        table.add_row(operation, f"{took / (outer * inner):.1f}", f"{took / total:.0%}")
    Console().print(table)


if __name__ == "__main__":
    tyro.cli(main)
