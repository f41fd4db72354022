"""The phases of a sweep: stretches of iterations at whose ends the lanes' sums are fetched."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from qjax.core.checks import MOST_STEPS, check_size
from qjax.training.loop import Loop

PHASE_STEPS = 2**30
PHASE_ITERATIONS = 2**16
"""A lane's sums are fetched at least this often, so that int32 counts stay small."""
INNER_ITERATIONS = 64
"""About how many iterations a program's inner loop takes; those of its outer loop are counted at run time."""


class Phase(NamedTuple):
    """A stretch of iterations at whose end the lanes' sums are fetched."""

    iterations: int
    """How many."""
    learning: bool
    """Whether they learn, too: not so those of the warm-up."""
    log: bool
    """Whether a log point follows."""
    repeat: int = 1
    """How many such phases follow one another."""


class Earlier(NamedTuple):
    """What a run was before it was extended."""

    steps: int
    """Environment steps that each lane was to make."""
    log_points: int
    """About how many intervals they were cut into."""
    ended: bool
    """Whether it had made them, with a log point at their end."""


def phases(loop: Loop, steps: int | None, log_points: int, earlier: Sequence[Earlier] = ()) -> list[Phase]:
    """Return the phases of a run: they depend on the work alone, not on chunks, checkpoints or devices.

    Args:
        loop: one lane's.
        steps: environment steps of each lane.
        log_points: about how many intervals they are cut into; of a run that was extended those it was begun with,
            and their length stays.
        earlier: what a run was before it was extended, the first first.

    Raises:
        ValueError: steps are missing, or end before the warm-up does.

    """
    check_size("log_points", log_points)
    per_iteration = loop.num_envs * loop.rollout
    if steps is None:
        if loop.episodes is None or loop.env.max_steps is None:
            raise ValueError("steps are needed: the loop has no number of episodes, or its episodes no time limit")
        steps = loop.episodes * int(loop.env.max_steps)
    check_size("steps", steps, most=MOST_STEPS)
    total = -(-(earlier[0].steps if earlier else steps) // per_iteration)
    interval = max(round(total / log_points / loop.sync_every), 1) * loop.sync_every
    most = min(PHASE_ITERATIONS, PHASE_STEPS // max(per_iteration, loop.updates))
    longest = max(most // loop.sync_every, 1) * loop.sync_every
    ends = [_learning(loop, end) for end in (*(own.steps for own in earlier if own.ended), steps)]
    lengths = [end - begin for begin, end in zip([0, *ends], ends, strict=False)]

    found = []
    for length, learns in ((loop.warmup, False), *((length, True) for length in lengths)):
        for stretch in _stretches(length, interval, learns):
            most = (stretch - 1) // longest
            if most:
                found.append(Phase(longest, learns, False, most))
            found.append(Phase(stretch - most * longest, learns, learns or stretch == interval))
    return found


def _learning(loop: Loop, steps: int) -> int:
    """Return the iterations with learning of so many environment steps, rounded up to whole synchronisations."""
    per_iteration = loop.num_envs * loop.rollout
    learning = -(-(-(-steps // per_iteration) - loop.warmup) // loop.sync_every) * loop.sync_every
    if learning <= 0:
        raise ValueError(f"{steps} steps end before the warm-up of {loop.warmup * per_iteration} steps does")
    return learning


def _stretches(length: int, interval: int, learns: bool) -> list[int]:
    """Return the iterations from log point to log point, of which the last are what is left of `length`.

    Where that is less than half an interval it is added to the one before: few episodes end in it, most of them
    long ones that began before, so their mean return would stand out.
    """
    whole, rest = divmod(length, interval)
    if learns and whole and 2 * rest < interval:
        return [interval] * (whole - 1) + [interval + rest]
    return [interval] * whole + [rest] * (rest > 0)


def remaining(phases: list[Phase], passed: int) -> Iterator[tuple[Phase, int]]:
    """Yield every phase that has not ended after so many iterations of all, with how many of its own are left."""
    for phase in phases:
        begun = min(passed // phase.iterations, phase.repeat)
        passed -= begun * phase.iterations
        for _ in range(begun, phase.repeat):
            yield phase, phase.iterations - passed
            passed = 0


def inner_iterations(work: list[Phase], learning: bool, sync_every: int, stands: int = 0) -> int:
    """Return how many iterations the inner loop takes: a divisor of every phase of this kind.

    It also divides how far into them a run goes on that `stands` after so many iterations of all: where it was
    extended, inner loops had another length before.

    The outer loop's iterations are an argument of the compiled program, so one program runs chunks of any length.
    A GPU reads such a loop's condition back at every iteration; so the inner loop is one of fixed length.
    """
    step = sync_every if learning else 1
    before = sum(phase.iterations * phase.repeat for phase in work if phase.learning < learning)
    into = max(stands - before, 0) // step
    common = math.gcd(into, *(phase.iterations // step for phase in work if phase.learning == learning))
    most = max(INNER_ITERATIONS // step, 1)
    return step * max((d for d in range(1, most + 1) if common % d == 0), default=1)


def log_steps(work: list[Phase], per_iteration: int) -> list[int]:
    """Return a lane's environment steps at each log point, of phases whose iterations take so many."""
    found, made = [], 0
    for phase in work:
        for _ in range(phase.repeat):
            made += phase.iterations
            found += [made * per_iteration] * phase.log
    return found
