"""How many lanes should run side by side on a device? Env-steps/s of both experiments against the group's width.

    python -m benchmarks.width

Every width trains the same number of lanes; runs are interleaved and repeated, compilation is left out, and speeds
are medians relative to the default width's.
"""

import tempfile
from dataclasses import dataclass

import jax
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

import qjax
from experiments import cartpole, frozenlake
from qjax.machine.devices import default_width


@dataclass(kw_only=True)
class Arguments:
    """Measure the width of a lane group."""

    repeats: int = 3
    cartpole_widths: tuple[int, ...] = (2, 4, 8, 16, 32)
    cartpole_lanes: int = 64
    cartpole_steps: int = 20_000
    lake_widths: tuple[int, ...] = (16, 64, 256, 512)
    lake_lanes: int = 1024
    lake_steps: int = 5_000


def speed(loop: qjax.Loop, lanes: int, steps: int, width: int) -> float:
    """Return env-steps/s after warm-up, over the second half of a short sweep."""
    result = qjax.sweep(lambda _: loop, seeds=lanes, steps=steps, log_points=4, width=width)
    half = result.points[len(result.points) // 2 - 1]
    return float((result.env_steps - half.env_steps.sum()) / (result.run_s - half.seconds))


def main(args: Arguments) -> None:
    """Print a table for each experiment."""
    qjax.use_cores()
    lake = frozenlake.build(True, "4x4", "random", 10**6)
    for name, loop, lanes, steps, widths in (
        (
            "DQN on CartPole-v1 (cleanrl)",
            cartpole.build(cartpole.preset("cleanrl", None)),
            args.cartpole_lanes,
            args.cartpole_steps,
            args.cartpole_widths,
        ),
        ("tabular, slippery FrozenLake", lake, args.lake_lanes, args.lake_steps, args.lake_widths),
    ):
        default = default_width(jax.eval_shape(loop.init, jax.random.key(0)), lanes, jax.devices())
        speeds: dict[int, list[float]] = {width: [] for width in sorted({*widths, default})}
        for _ in range(args.repeats):
            for width, found in speeds.items():
                found.append(speed(loop, lanes, steps, width))
        base = np.median(speeds[default])
        table = Table("width", "env-steps/s", "of the default", "spread", title=f"{name}, {lanes} lanes")
        for width, found in speeds.items():
            spread = f"{min(found) / base:.2f} to {max(found) / base:.2f}"
            label = f"{width} (default)" if width == default else str(width)
            table.add_row(label, f"{np.median(found):,.0f}", f"{np.median(found) / base:.2f}", spread)
        Console().print(table)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as cache:  # repeats compile once
        jax.config.update("jax_compilation_cache_dir", cache)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        main(tyro.cli(Arguments))
