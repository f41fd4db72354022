"""How does a sweep scale with its number of lanes? Env-steps/s, compile time and bytes per lane.

    python -m benchmarks.lanes

Every size runs in a process of its own with nothing compiled before, sizes are interleaved and repeated, and
speeds are those of the second half of a short sweep (DQN: after its warm-up). Medians.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Literal

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

import qjax
from experiments import cartpole, frozenlake
from qjax.sweeps.plan import size


@dataclass(kw_only=True)
class Arguments:
    """Measure sweeps of several sizes."""

    repeats: int = 3
    cartpole: tuple[int, ...] = (1, 16, 64, 256, 1024)
    """Numbers of lanes of DQN on CartPole-v1, CleanRL's protocol."""
    lake: tuple[int, ...] = (1, 512, 1024, 16_384, 65_536)
    """Numbers of lanes of tabular Q-learning on slippery FrozenLake."""
    one: tuple[Literal["cartpole", "lake"], int] | None = None
    """Measure one size in this process, and print it as JSON."""


def measure(name: str, lanes: int) -> dict[str, float]:
    """Return speed, compile time and bytes of one sweep."""
    if name == "cartpole":
        loop, steps = cartpole.build(cartpole.preset("cleanrl", None)), 10_000 + max(640_000 // lanes, 1000)
    else:
        loop, steps = frozenlake.build(True, "4x4", "random", 10**6), max(20_000_000 // lanes, 500)
    plan = qjax.sweep.plan(lambda _: loop, seeds=lanes, steps=steps)  # type: ignore[attr-defined]
    result = qjax.sweep(lambda _: loop, seeds=lanes, steps=steps, log_points=20)
    learning = [p for p in result.points if not np.isnan(p.means["loss"]).any()]
    half = learning[len(learning) // 2]
    return {
        "speed": float((result.env_steps - half.env_steps.sum()) / (result.run_s - half.seconds)),
        "compile_s": result.compile_s,
        "lane_bytes": plan.lane_bytes,
        "total_bytes": plan.total_bytes,
        "width": result.width,
        "groups": plan.groups,
    }


def main(args: Arguments) -> None:
    """Print a table."""
    if args.one is not None:
        qjax.use_cores()
        print(json.dumps(measure(*args.one)))
        return
    sizes = [("cartpole", n) for n in args.cartpole] + [("lake", n) for n in args.lake]
    found: dict[tuple[str, int], list[dict[str, float]]] = {key: [] for key in sizes}
    for _ in range(args.repeats):
        for name, lanes in sizes:
            command = [sys.executable, "-m", "benchmarks.lanes", "--one", name, str(lanes)]
            said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            found[name, lanes].append(json.loads(said.splitlines()[-1]))
    table = Table("", "lanes", "width", "groups", "env-steps/s", "spread", "compile", "per lane", "in all")
    for (name, lanes), runs in found.items():
        speeds = [run["speed"] for run in runs]
        table.add_row(
            name,
            f"{lanes:,}",
            str(int(runs[0]["width"])),
            str(int(runs[0]["groups"])),
            f"{np.median(speeds):,.0f}",
            f"{min(speeds) / np.median(speeds):.2f} to {max(speeds) / np.median(speeds):.2f}",
            f"{np.median([run['compile_s'] for run in runs]):.1f} s",
            size(runs[0]["lane_bytes"]),
            size(runs[0]["total_bytes"]),
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main(tyro.cli(Arguments))
