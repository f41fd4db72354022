"""What one GPU does with 1 to 4,096 lanes: speed, kernels, memory against the plan, widths, compilation.

    python -m benchmarks.gpu

It takes eight minutes at most, on a machine with one GPU, and prints one Markdown table that says on which. Each
line is measured in a process of its own; what there is no time for, or no memory, is told in its place.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro

import qjax
from benchmarks.contenders.sweeps import lake_loop, started
from benchmarks.harness import machine
from benchmarks.kernels import launches
from experiments import cartpole
from qjax.core.text import short
from qjax.sweeps.plan import bytes_of, size

COLUMNS = (
    "algorithm", "lanes", "width", "env-steps/s", "times a lane's", "an iteration", "its kernels", "compiled in",
    "a lane's bytes: plan", "all lanes' bytes: plan, in use, most",
)  # fmt: skip
LEAST_ITERATIONS = 50
"""Of a program's inner loop."""


def named(name: str, env: str) -> Callable[[], qjax.Loop]:
    """Return what makes the loop of an algorithm with its defaults."""
    return lambda: qjax.algorithms.make(name, qjax.make(env))


LOOPS: dict[str, Callable[[], qjax.Loop]] = {
    "dqn": lambda: cartpole.build(cartpole.preset("cleanrl", None)),
    "pqn": named("pqn", "CartPole-v1"),
    "q-learning": lake_loop,
    "recurrent-pqn": named("recurrent-pqn", "MemoryChain-bsuite"),
}
"""DQN is CleanRL's protocol, Q-learning on the slippery lake."""


@dataclass(kw_only=True)
class Arguments:
    """Measure what one GPU does."""

    minutes: float = 8.0
    """In all; what would take longer is left out."""
    algorithms: tuple[str, ...] = tuple(LOOPS)
    lanes: tuple[int, ...] = (1, 16, 256, 1024, 4096)
    shares: tuple[int, ...] = (2, 4)
    """Of the first algorithm's lanes, at the fourth number of them: so many groups, one after another."""
    seconds: float = 1.0
    """Of each of three measurements of a line."""
    out: Path = Path("runs/gpu.md")
    """A file for the table."""
    one: tuple[str, int, int] | None = None
    """Measure one line in this process (algorithm, lanes, width), and print it as JSON."""


def measure(name: str, lanes: int, width: int, seconds: float) -> dict[str, Any]:
    """Return what a line says, of lanes in groups of `width`."""
    loop, device = LOOPS[name](), jax.devices()[0]
    before = (device.memory_stats() or {}).get("bytes_in_use", 0)
    begun = started(loop, lanes, width, jax.random.key(0), LEAST_ITERATIONS)
    after = device.memory_stats() or {}
    begun.advance(1)
    passes = max(int(seconds / begun.advance(1)), 1)
    speeds = [begun.steps * passes / begun.advance(passes) for _ in range(3)]
    each = begun.steps / lanes / begun.inner
    most = (device.memory_stats() or {}).get("peak_bytes_in_use")
    return {
        "speeds": speeds,
        "microseconds": 1e6 * lanes * each / float(np.median(speeds)),
        "kernels": launches(begun.programs.compiled["learn"].as_text()) / begun.inner * -(-lanes // width),
        "compile_s": begun.programs.compile_s,
        "lane_bytes": bytes_of(begun.programs.shapes) // begun.programs.placement.size,
        "planned": bytes_of(begun.programs.shapes) * begun.programs.placement.count,
        "temporary": begun.programs.temp_bytes,
        "in_use": after["bytes_in_use"] - before if after else None,
        "most": most,
    }


def in_a_process(args: Arguments, name: str, lanes: int, width: int, left: float) -> dict[str, Any] | str:
    """Return what a line says, measured in a process of its own, or why there is nothing."""
    one = ["--one", name, str(lanes), str(width), "--seconds", str(args.seconds)]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.gpu", *one],
            capture_output=True,
            text=True,
            timeout=left,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "no time left"
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        return short(said[-1] if said else f"it ended with status {done.returncode}", 100)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def line(name: str, lanes: int, width: int, found: dict[str, Any] | str, alone: float | None) -> tuple[str, ...]:
    """Return a line of the table; `alone` is the speed of one lane, where it is known."""
    start = (name, f"{lanes:,}", f"{width:,}")
    if isinstance(found, str):
        return (*start, found, *[""] * (len(COLUMNS) - 4))
    speeds = found["speeds"]
    used = [size(found[key]) if found[key] is not None else "not known" for key in ("in_use", "most")]
    return (
        *start,
        f"{np.median(speeds):,.0f} ({min(speeds):,.0f} to {max(speeds):,.0f})",
        f"{np.median(speeds) / alone:,.1f}" if alone else "",
        f"{found['microseconds']:,.0f} us",
        f"{found['kernels']:,.1f}",
        f"{found['compile_s']:.1f} s",
        f"{found['lane_bytes']:,}",
        f"{size(found['planned'])} + {size(found['temporary'])}, {used[0]}, {used[1]}",
    )


def main(args: Arguments) -> None:
    """Print the table, and write it after each line."""
    if args.one is not None:
        print(json.dumps(measure(*args.one, args.seconds)))
        return
    if unknown := sorted(set(args.algorithms) - set(LOOPS)):
        raise ValueError(f"{', '.join(unknown)} is none of {', '.join(LOOPS)}")
    end = time.monotonic() + 60 * args.minutes
    asked = [(name, lanes, lanes) for lanes in args.lanes for name in args.algorithms]
    several = args.lanes[min(3, len(args.lanes) - 1)]
    asked += [(args.algorithms[0], several, several // groups) for groups in args.shares if several >= groups]
    head = f"{machine()}\n\n| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}\n"
    lines: list[str] = []
    alone: dict[str, float] = {}
    print(head, end="", flush=True)
    for name, lanes, width in asked:
        found = in_a_process(args, name, lanes, width, max(end - time.monotonic(), 0.0))
        if lanes == 1 and not isinstance(found, str):
            alone[name] = float(np.median(found["speeds"]))
        lines.append(f"| {' | '.join(line(name, lanes, width, found, alone.get(name)))} |")
        print(lines[-1], flush=True)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(head + "\n".join(lines) + "\n")
    print(f"written to {args.out}")


if __name__ == "__main__":
    main(tyro.cli(Arguments))
