"""What a sweep will take, before it takes it: lanes, groups, programs and memory."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from qjax.machine.devices import memory_limit
from qjax.replay.packing import Packed
from qjax.replay.sequences import SequencesState
from qjax.training.loop import Loop

MANY_LANES = 2**22
"""The host's own arrays of more lanes take over 100 MB: those are counted before they are made."""


class Plan(NamedTuple):
    """What a sweep will take. Bytes are those of one process unless said otherwise."""

    lanes: int
    """Settings x seeds."""
    settings: int
    """Settings of the hyper-parameters."""
    seeds: int
    """Seeds of each setting."""
    width: int
    """Lanes per device in a group."""
    padding: int
    """Lanes that fill the last group up; a device that has nothing else makes no iteration of them."""
    devices: int
    """Devices of all hosts together."""
    platform: str
    """The devices' kind: cpu, gpu or tpu."""
    groups: int
    """Groups of lanes, which take turns on the devices."""
    hosts: int
    """Processes."""
    iterations: int
    """Iterations of each lane, at most."""
    phases: int
    """Stretches of iterations at whose ends the lanes' sums are fetched."""
    evaluation_steps: int
    """Environment steps with which each lane is evaluated while it trains, at most."""
    programs: tuple[str, ...]
    """Names of the programs that are compiled."""
    lane_bytes: int
    """State of one lane: agent, environments, memory, statistics."""
    transition_bytes: dict[str, float]
    """Of them those of one stored transition by field, an eighth for a flag; empty where none are stored packed."""
    state_bytes: int
    """State of all lanes of this process, the last group's padding included."""
    shared_bytes: int
    """What all lanes read, such as recorded data: one copy for those of a device."""
    copied_bytes: int
    """What this process's devices hold of that: nothing on CPUs, where it is the host's own memory or a file's."""
    temp_bytes: int
    """What the programs of all its devices need beside it while they run, by the compiler's own analysis."""
    limit_bytes: int
    """Memory that its devices have."""
    checkpoint_bytes: int
    """What a checkpoint of all hosts takes, before compression."""
    largest_lanes: int
    """The largest number of lanes that fits, on all hosts together."""
    unused: tuple[str, ...]
    """Hyper-parameters that nothing in the program depends on."""

    @property
    def total_bytes(self) -> int:
        """State, copies of what lanes share, and temporary memory together."""
        return self.state_bytes + self.copied_bytes + self.temp_bytes

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
            "iterations": f"{self.iterations:,} at most, in {self.phases} phases",
            "evaluation": ""
            if not self.evaluation_steps
            else f"{self.evaluation_steps:,} steps of each lane beside those, at most",
            "compiles": f"{len(self.programs)}: {', '.join(self.programs)}",
            "per lane": size(self.lane_bytes),
            "transition": ""
            if not self.transition_bytes
            else f"{sum(self.transition_bytes.values()):g} B: "
            + ", ".join(f"{name} {count:g}" for name, count in self.transition_bytes.items()),
            "for all": f"{size(self.shared_bytes)}, one copy for a device's lanes" if self.shared_bytes else "",
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


def bytes_of(shapes: Any) -> int:
    """Return how much memory arrays of these shapes take."""
    return sum(int(np.prod(x.shape)) * x.dtype.itemsize for x in jax.tree.leaves(shapes))


def transition_bytes(memory: Any) -> dict[str, float]:
    """Return the bytes of one stored transition by field, where a memory's state holds packed ones."""
    for part in jax.tree.leaves(memory, is_leaf=lambda x: isinstance(x, Packed | SequencesState)):
        if isinstance(part, SequencesState):
            return {name: count / part.steps for name, count in transition_bytes(part.pieces).items()}
        if isinstance(part, Packed):
            return part.field_bytes
    return {}


def memory_of(devices: Iterable[Any]) -> tuple[int, int]:
    """Return what this process's own devices, of those of all hosts, have in bytes, and how many they are."""
    own = [device for device in devices if device.process_index == jax.process_index()]
    return memory_limit(own), len(own)


def largest(devices: Sequence[Any], lane_bytes: int, copied_bytes: int, temp_bytes: int, width: int) -> int:
    """Return the largest number of lanes that fits these devices, of all hosts together.

    Args:
        devices: all that a sweep may use.
        lane_bytes: one lane's state.
        copied_bytes: what one device holds of what all lanes read.
        temp_bytes: what a program needs beside it on one device, in a group of `width` lanes.
        width: of the groups.

    """
    memory, count = memory_of(devices)
    limit = memory // count - copied_bytes
    fitting = max(limit - temp_bytes, 0) // (lane_bytes * width) * width
    if not fitting:  # not one group of this width: a narrower one, whose temporaries shrink with it
        fitting = int(limit // (lane_bytes + temp_bytes / width))
    return fitting * count * jax.process_count()


def check_lanes(loop: Loop, lanes: int, devices: Sequence[Any]) -> None:
    """Refuse more lanes than fit before the host makes arrays of them, where these would be large themselves."""
    if lanes <= MANY_LANES:
        return
    limit = memory_of(devices)[0] * jax.process_count()
    each = bytes_of(jax.eval_shape(loop.init, jax.random.key(0)))
    if lanes * each > limit:
        raise MemoryError(
            f"{lanes} lanes (settings x seeds) of {size(each)} need more than the {size(limit)} of"
            f" {len(devices)} {devices[0].platform} device(s); at most {limit // each} fit"
        )
