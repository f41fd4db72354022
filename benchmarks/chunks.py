"""What does it cost to watch a sweep? Chunks with log points and checkpoints, against one call to the end.

    python -m benchmarks.chunks

The same sweep of each experiment in three ways, interleaved and repeated, compilation left out: as one call, in
chunks with progress and log points, and with tables and checkpoints in a run's folder too. Times are the whole time from
the first to the last iteration, what the host does in between included, relative to the one call of the same round.
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


def seconds(loop: qjax.Loop, folder: Path | None, **arguments: Any) -> float:
    """Return the time from the end of the first chunk, one turn of a few iterations, to the end of the last."""
    ends: list[float] = []
    run = None if folder is None else qjax.Run(folder, "benchmark", {})
    qjax.sweep(lambda _: loop, run=run, on_progress=lambda _: ends.append(time.perf_counter()), **arguments)
    if run is not None:
        run.close()
    return ends[-1] - ends[0]


def main(args: Arguments) -> None:
    """Print a table."""
    qjax.use_cores()
    protocol = cartpole.build(cartpole.preset("cleanrl", None))
    lake = frozenlake.build(True, "4x4", "random", 10**6)
    table = Table("sweep", "", "time, median of rounds", "spread", title="whole time relative to one call")
    for name, loop, lanes, steps in (
        ("DQN on CartPole-v1 (cleanrl)", protocol, args.cartpole_lanes, args.cartpole_steps),
        ("tabular, slippery FrozenLake", lake, args.lake_lanes, args.lake_steps),
    ):
        work = {"seeds": lanes, "steps": steps}
        chunks = {**work, "log_points": args.log_points, "chunk_seconds": args.chunk_seconds}
        ratios: dict[str, list[float]] = {f"chunks, {args.log_points} log points": [], "and a run's folder": []}
        bases = []
        for _ in range(args.repeats):
            with tempfile.TemporaryDirectory() as folder:
                base = seconds(loop, None, **work, log_points=1, chunk_seconds=1e9)
                watched = seconds(loop, None, **chunks)
                kept = seconds(loop, Path(folder) / "run", **chunks, checkpoint_every=args.checkpoint_every)
            bases.append(base)
            for found, took in zip(ratios.values(), (watched, kept), strict=True):
                found.append(took / base)
        table.add_row(f"{name}, {lanes} lanes", "one call", f"{np.median(bases):.1f} s", "")
        for way, found in ratios.items():
            table.add_row("", way, f"{np.median(found):.3f}", f"{min(found):.3f} to {max(found):.3f}")
    Console().print(table)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as cache:  # repeats compile once
        jax.config.update("jax_compilation_cache_dir", cache)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        main(tyro.cli(Arguments))
