"""What does a further seed cost, in time and in memory? And on a GPU, what do more lanes bring?

python -m benchmarks.scaling
"""

import subprocess
import sys

from benchmarks.harness import Contender, Row, ratio, rounds, run_as_script

LANES = (4, 16, 64, 256, 1024, 4096)


def costs(quick: bool) -> list[Row]:
    """Compare the time that one seed's step takes in a small and in a large sweep."""
    seconds, repeats = (1.5, 3) if quick else (8.0, 5)
    rows = []
    sizes = (("qjax_dqn", 16, 1024), ("qjax_lake", 1024, 65_536))
    for name, small, large in sizes:
        with Contender(name, lanes=small) as few, Contender(name, lanes=large) as many:
            rounds([few, many], seconds, repeats)
            speeds = (f"{many.speed:,.0f} env-steps/s", f"{few.speed:,.0f}")
            claim = f"{name.removeprefix('qjax_')}: time per seed, {large:,} lanes: {small:,} lanes"
            rows.append(Row(claim, *speeds, ratio(few.speeds, many.speeds), "at most 1.15"))
    return rows


def sweep() -> list[Row]:
    """Measure sweeps of many sizes."""
    rows = []
    for name in ("qjax_dqn", "qjax_lake"):
        with Contender(name, lanes=1) as base:
            for lanes in LANES:
                with Contender(name, lanes=lanes) as contender:
                    base.speeds = []
                    rounds([base, contender], 3.0, 3)
                claim = f"{name.removeprefix('qjax_')}, {lanes:,} lanes: one lane"
                speeds = (f"{contender.speed:,.0f} env-steps/s", f"{base.speed:,.0f}")
                rows.append(Row(claim, *speeds, ratio(contender.speeds, base.speeds)))
    return rows


def memory() -> Row:
    """Compare the peak memory of a sweep, by the compiled programs' own analysis, with its lanes' state."""
    code = (
        "import qjax; qjax.use_cores()\n"
        "from experiments import cartpole\n"
        "loop = cartpole.build(cartpole.preset('cleanrl', None))\n"
        "plan = qjax.sweep.plan(lambda _: loop, seeds=64, steps=20_000)\n"
        "print(plan.total_bytes, plan.lane_bytes * 64)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    peak, state = (int(word) for word in said.split()[-2:])
    sizes = (f"{peak / 2**20:.1f} MiB", f"{state / 2**20:.1f} MiB")
    return Row(
        "DQN, 64 seeds, groups: peak memory: its lanes' state", *sizes, f"{peak / state:.2f}", "at most 1.25"
    )


def rows(quick: bool) -> list[Row]:
    """Return all of them."""
    return [*costs(quick), memory(), *([] if quick else sweep())]


if __name__ == "__main__":
    run_as_script(rows)
