"""The parts of a sweep: stretches of iterations at whose ends the lanes' sums are fetched."""

import math
from collections.abc import Iterator
from typing import NamedTuple

from qjax.core.checks import MOST_STEPS, check_size
from qjax.training.loop import Loop

PART_STEPS = 2**30
PART_ITERATIONS = 2**16
"""A lane's sums are fetched at least this often, so that int32 counts stay small."""
TURN_ITERATIONS = 64
"""About how many iterations one turn of a program's outer loop takes; the program counts turns at run time."""


class Part(NamedTuple):
    """A stretch of iterations at whose end the lanes' sums are fetched."""

    iterations: int
    learning: bool
    log: bool
    """Whether a log point follows."""
    repeat: int = 1
    """How many such parts follow one another."""


def parts(loop: Loop, steps: int | None, log_points: int) -> list[Part]:
    """Return the parts of a run: they depend on the work alone, not on chunks, checkpoints or devices.

    Raises:
        ValueError: steps are missing, or end before the warm-up does.

    """
    check_size("log_points", log_points)
    per_iteration = loop.num_envs * loop.rollout
    if steps is None:
        if loop.episodes is None or loop.env.max_steps is None:
            raise ValueError("steps are needed: the loop has no number of episodes, or its episodes no time limit")
        steps = loop.episodes * int(loop.env.max_steps)
    total = -(-check_size("steps", steps, most=MOST_STEPS) // per_iteration)
    learning = -(-(total - loop.warmup) // loop.sync_every) * loop.sync_every
    if learning <= 0:
        raise ValueError(f"{steps} steps end before the warm-up of {loop.warmup * per_iteration} steps does")
    interval = max(round(total / log_points / loop.sync_every), 1) * loop.sync_every
    most = min(PART_ITERATIONS, PART_STEPS // max(per_iteration, loop.updates))
    longest = max(most // loop.sync_every, 1) * loop.sync_every

    found = []
    for phase, learns in ((loop.warmup, False), (learning, True)):
        whole, rest = divmod(phase, interval)
        for stretch in [interval] * whole + [rest] * (rest > 0):
            most = (stretch - 1) // longest
            if most:
                found.append(Part(longest, learns, False, most))
            found.append(Part(stretch - most * longest, learns, learns or stretch == interval))
    return found


def remaining(parts: list[Part], passed: int) -> Iterator[tuple[Part, int]]:
    """Yield every part that has not ended after so many iterations of all, with how many of its own are left."""
    for part in parts:
        begun = min(passed // part.iterations, part.repeat)
        passed -= begun * part.iterations
        for _ in range(begun, part.repeat):
            yield part, part.iterations - passed
            passed = 0


def turn(work: list[Part], learning: bool, sync_every: int) -> int:
    """Return how many iterations one turn of the outer loop takes: a divisor of every part of this kind.

    The number of turns is an argument of the compiled program, so one program runs chunks of any length. A GPU
    reads a loop's condition back at every turn of such a loop; so a turn is a loop of fixed length in its own
    right where the parts allow.
    """
    step = sync_every if learning else 1
    common = math.gcd(*(part.iterations // step for part in work if part.learning == learning))
    most = max(TURN_ITERATIONS // step, 1)
    return step * max((d for d in range(1, most + 1) if common % d == 0), default=1)
