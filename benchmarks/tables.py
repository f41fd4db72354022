"""Do tables scale? The cost of an update against the number of states, and tens of thousands of tables in one call.

    python -m benchmarks.tables

The worlds are random MDPs (`mdps.garnet`) of 4 actions and 2 outcomes. That every operation of a step on a whole
table is an update in place is tested (`tests/algorithms/test_tabular_algorithms.py`); here is what that is worth.
"""

from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

import qjax
from benchmarks.harness import Contender, machine, ratio, rounds
from qjax import algorithms


@dataclass(kw_only=True)
class Arguments:
    """Measure single tables of several sizes, and many tables of Taxi."""

    states: tuple[int, ...] = (1_000, 10_000, 100_000, 1_000_000)
    """Sizes of the table; the first is the baseline."""
    names: tuple[str, ...] = ("q-learning", "sarsa", "double-q-learning", "dyna-q")
    """Which algorithms."""
    seconds: float = 2.0
    """Of one measurement."""
    repeats: int = 5
    lanes: int = 65_536
    """Lanes of Q-learning on Taxi, in one call; 0 for none."""
    steps: int = 1_000
    """Of each of those."""


def by_states(args: Arguments) -> Table:
    """Return steps a second of each algorithm and size."""
    sizes = [f"{states:,} states" for states in args.states]
    table = Table("", *sizes, title="steps/s of one lane, and the ratio to the smallest table: median (spread)")
    for name in args.names:
        with ExitStack() as stack:
            found = [stack.enter_context(Contender("table", algorithm=name, states=n)) for n in args.states]
            rounds(found, args.seconds, args.repeats)
        cells = [f"{one.speed:,.0f}, {ratio(one.speeds, found[0].speeds)}" for one in found]
        table.add_row(name, *cells)
    return table


def taxi(lanes: int, steps: int) -> str:
    """Return what many lanes of Taxi took."""
    qjax.use_cores()
    loop = algorithms.make("q-learning", qjax.make("Taxi-v4"), algorithms.Tabular(steps=steps))
    result = qjax.sweep(lambda _: loop, seeds=lanes, steps=steps, log_points=2)
    returns = result.points[-1].mean_return
    size = result.agents.nbytes / 2**20
    return (
        f"Taxi, {lanes:,} lanes of {steps:,} steps in one call: {result.run_s:.1f} s, compiled in"
        f" {result.compile_s:.1f} s, {result.env_steps / result.run_s:,.0f} env-steps/s, tables of {size:,.0f} MiB,"
        f" mean return of the second half {np.nanmean(returns):.0f}"
    )


def main(args: Arguments) -> None:
    """Print both."""
    print(machine())
    Console(width=140).print(by_states(args))
    if args.lanes:
        print(taxi(args.lanes, args.steps))


if __name__ == "__main__":
    main(tyro.cli(Arguments))
