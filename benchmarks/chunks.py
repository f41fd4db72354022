"""What does it cost to watch a sweep? Chunks with log points and checkpoints, against one call to the end.

    python -m benchmarks.chunks

The same sweep of each experiment in three ways, interleaved and repeated, compilation left out: as one call, in
chunks with progress and log points, and with tables and checkpoints in a run's folder too. Times are the whole time
from the first to the last iteration, what the host does in between included, relative to the one call of the same
round. A machine wanders by more than what is looked for, so the host's own share of that time stands beside.
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

import qjax
from experiments import cartpole, frozenlake
from qjax.sweeps import Progress


@dataclass(kw_only=True)
class Arguments:
    """Measure what chunks cost."""

    repeats: int = 5
    cartpole_lanes: int = 16
    cartpole_steps: int = 150_000
    lake_lanes: int = 512
    lake_steps: int = 240_000
    log_points: int = 20
    chunk_seconds: float = 2.0
    checkpoint_every: float = 15.0
    """Four times as often as the command lines do."""


def seconds(loop: qjax.Loop, folder: Path | None, **arguments: Any) -> tuple[float, float]:
    """Return the time from the end of the first chunk, an inner loop, to that of the last; and the host's share."""
    ends: list[tuple[float, float]] = []
    run = None if folder is None else qjax.Run(folder, "benchmark", {})

    def look(progress: Progress) -> None:
        ends.append((time.perf_counter(), progress.seconds))

    qjax.sweep(lambda _: loop, run=run, on_progress=look, **arguments)
    if run is not None:
        run.close()
    whole, device = (last - first for first, last in zip(ends[0], ends[-1], strict=True))
    return whole, 1 - device / whole


def main(args: Arguments) -> None:
    """Print a table."""
    qjax.use_cores()
    protocol = cartpole.build(cartpole.preset("cleanrl", None))
    lake = frozenlake.build(True, "4x4", "random", 10**6)
    columns = ("sweep", "", "time, median of rounds", "spread", "host's share, largest")
    table = Table(*columns, title="whole time relative to one call")
    for name, loop, lanes, steps in (
        ("DQN on CartPole-v1 (cleanrl)", protocol, args.cartpole_lanes, args.cartpole_steps),
        ("tabular, slippery FrozenLake", lake, args.lake_lanes, args.lake_steps),
    ):
        work = {"seeds": lanes, "steps": steps}
        chunks = {**work, "log_points": args.log_points, "chunk_seconds": args.chunk_seconds}
        found: dict[str, list[tuple[float, float]]] = {}
        for _ in range(args.repeats):
            with tempfile.TemporaryDirectory() as folder:
                kept = {**chunks, "checkpoint_every": args.checkpoint_every}
                for way, own, arguments in (
                    ("one call", None, {**work, "log_points": 1, "chunk_seconds": 1e9}),
                    (f"chunks, {args.log_points} log points", None, chunks),
                    ("and a run's folder", Path(folder) / "run", kept),
                ):
                    found.setdefault(way, []).append(seconds(loop, own, **arguments))
        bases = np.array([whole for whole, _ in found["one call"]])
        for way, measured in found.items():
            times, shares = np.array(measured).T
            ratios = times / bases
            spread = f"{ratios.min():.3f} to {ratios.max():.3f}"
            middle = f"{np.median(bases):.1f} s" if way == "one call" else f"{np.median(ratios):.3f}"
            table.add_row(f"{name}, {lanes} lanes", way, middle, spread, f"{shares.max():.1%}")
    Console(width=120).print(table)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as cache:  # repeats compile once
        jax.config.update("jax_compilation_cache_dir", cache)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        main(tyro.cli(Arguments))
