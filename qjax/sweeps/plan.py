"""What a sweep will do, before it does it: its intervals, its programs, and the memory that they take."""

import math
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
    learning = -(-(total - loop.warmup) // loop.cadence) * loop.cadence
    if learning <= 0:
        raise ValueError(f"{steps} steps end before the warm-up of {loop.warmup * per_iteration} steps does")
    interval = max(round(total / log_points / loop.cadence), 1) * loop.cadence
    most = min(PART_ITERATIONS, PART_STEPS // max(per_iteration, loop.updates))
    longest = max(most // loop.cadence, 1) * loop.cadence

    found = []
    for phase, learns in ((loop.warmup, False), (learning, True)):
        whole, rest = divmod(phase, interval)
        for stretch in [interval] * whole + [rest] * (rest > 0):
            most = (stretch - 1) // longest
            if most:
                found.append(Part(longest, learns, False, most))
            found.append(Part(stretch - most * longest, learns, learns or stretch == interval))
    return found


def turn(work: list[Part], learning: bool, cadence: int) -> int:
    """Return how many iterations one turn of the outer loop takes: a divisor of every part of this kind.

    The number of turns is an argument of the compiled program, so one program runs chunks of any length. A GPU
    reads a loop's condition back at every turn of such a loop; so a turn is a loop of fixed length in its own
    right where the parts allow.
    """
    step = cadence if learning else 1
    common = math.gcd(*(part.iterations // step for part in work if part.learning == learning))
    most = max(TURN_ITERATIONS // step, 1)
    return step * max((d for d in range(1, most + 1) if common % d == 0), default=1)


class Plan(NamedTuple):
    """What a sweep will take. Bytes are those of one process unless said otherwise."""

    lanes: int
    """Settings x seeds."""
    settings: int
    seeds: int
    width: int
    """Lanes per device in a group."""
    padding: int
    """Lanes that fill the last group up; a device that has nothing else makes no iteration of them."""
    devices: int
    """Of all hosts together."""
    platform: str
    groups: int
    hosts: int
    iterations: int
    parts: int
    compiles: tuple[str, ...]
    """Names of the programs."""
    lane_bytes: int
    """State of one lane: agent, environments, memory, statistics."""
    state_bytes: int
    """State of all lanes of this process, the last group's padding included."""
    temp_bytes: int
    """What the programs of all its devices need beside it while they run, by the compiler's own analysis."""
    limit_bytes: int
    """What its devices have."""
    checkpoint_bytes: int
    """Of all hosts together, before compression."""
    largest_lanes: int
    """The largest number of lanes that fits, on all hosts together."""
    unused: tuple[str, ...]
    """Hyper-parameters that nothing in the program depends on."""

    @property
    def total_bytes(self) -> int:
        """State and temporary memory together."""
        return self.state_bytes + self.temp_bytes

    @property
    def fits(self) -> bool:
        """Whether the devices have that much."""
        return self.total_bytes <= self.limit_bytes

    def check(self) -> None:
        """Raise MemoryError where the plan does not fit, with the largest number of lanes that does."""
        if not self.fits:
            raise MemoryError(
                f"{self.lanes} lanes need {size(self.total_bytes)}, more than the {size(self.limit_bytes)} of"
                f" {self.devices // self.hosts} {self.platform} device(s); at most {self.largest_lanes} lanes fit"
            )

    def exhausted(self) -> str:
        """Return what to say where an allocation fails all the same."""
        return (
            f"out of device memory with {self.lanes} lanes of {size(self.lane_bytes)} on {self.devices} device(s);"
            f" try fewer lanes, or a smaller width than {self.width}"
        )

    def __str__(self) -> str:
        """Return the plan as lines of text."""
        rows = {
            "lanes": f"{self.lanes} = {self.settings} setting(s) x {self.seeds} seed(s)",
            "groups": f"{self.groups} of {self.devices} {self.platform} device(s) x {self.width} lanes"
            + (f", {self.padding} of them padding" if self.padding else "")
            + (f", on {self.hosts} hosts" if self.hosts > 1 else ""),
            "last digits": ""
            if self.platform == "cpu"
            else f"those of a width of {self.width} on this kind of device;"
            f" without a width given it depends on the number of {self.platform} devices",
            "iterations": f"{self.iterations:,} at most, in {self.parts} parts",
            "compiles": f"{len(self.compiles)}: {', '.join(self.compiles)}",
            "per lane": size(self.lane_bytes),
            "in total": f"{size(self.total_bytes)} ({size(self.state_bytes)} lanes and padding,"
            f" {size(self.temp_bytes)} temporary) of {size(self.limit_bytes)}",
            "fits": "yes" if self.fits else "NO",
            "at most": f"{self.largest_lanes} lanes fit",
            "checkpoint": f"{size(self.checkpoint_bytes)} before compression",
            "never used": ", ".join(self.unused),
        }
        return "\n".join(f"{name:<11} {text}" for name, text in rows.items() if text)


def size(count: float) -> str:
    """Return a number of bytes in words: `1.5 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
