"""The lanes of a sweep in memory: groups in buffers of their own, which compiled programs advance in turn."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from qjax.core import clock as clocks
from qjax.sweeps import compaction
from qjax.sweeps.placement import EMPTY
from qjax.sweeps.programs import Programs, is_key
from qjax.training.lane import Lane


class Groups:
    """The states of all lanes, group by group."""

    def __init__(self, programs: Programs):
        """Hold nothing yet: `start` or `restore` makes the states."""
        self.programs, self.placement = programs, programs.placement
        self.states: list[Lane] = []
        self.left: list[tuple[np.ndarray, list[np.ndarray]]] = []
        """Of lanes that left, each time: which of this process's, and the leaves of what is kept of them."""
        self.local, self.size = self.placement.local, self.placement.size
        self._given = programs.given(self.placement)
        """The settings and the seeds of each group."""

    @property
    def count(self) -> int:
        """How many groups there are."""
        return self.placement.count

    def start(self) -> None:
        """Make every lane's first state."""
        call, agents = self.programs.call, self.programs.agents
        self.states = [call("init", h, (n, agents(group))) for group, (h, n) in enumerate(self._given)]
        jax.block_until_ready(self.states)  # here an allocation that failed is raised; reading it would hang

    def run(self, ticks: int, outer_iterations: int, learning: bool) -> None:
        """Advance every lane from the clock's `ticks` by so many iterations of the outer loop, and wait for it."""
        program = "learn" if learning else "warm up"
        for i, (hyper, _) in enumerate(self._given):
            counts = self.placement.spread(self.placement.busy[i] * np.int32(outer_iterations))
            self.states[i] = self.programs.call(program, hyper, self.states[i], clocks.at(ticks), counts)
        jax.block_until_ready(self.states)

    def pop_metrics(self) -> dict[str, np.ndarray]:
        """Return the sums of this process's lanes, padding dropped, and set them to zero."""
        reports = []
        for i, (hyper, _) in enumerate(self._given):
            self.states[i], report = self.programs.call("pop_metrics", hyper, self.states[i])
            reports.append(report)
        return self._joined(reports)

    def read_metrics(self) -> dict[str, np.ndarray]:
        """Return some of the sums so far, as they are."""
        if "read_metrics" in self.programs.names:
            return self._read("read_metrics")
        stats = [state.stats for state in self.states]
        return self._joined([{"steps": s.steps, "updates": s.updates, "diverged_at": s.diverged_at} for s in stats])

    def report(self, ticks: int, point: int) -> dict[str, np.ndarray]:
        """Return what the compiled report says of this process's lanes, at the log point of this number."""
        call, when = self.programs.call, (clocks.at(ticks), np.uint32(point))
        states = zip(self._given, self.states, strict=True)
        return self._joined([call("report", given, state, *when) for given, state in states], np.nan)

    def evaluate(self, ticks: int, point: int) -> dict[str, np.ndarray]:
        """Evaluate every lane, keep its agent where it is the best so far, and return what is logged."""
        when, found = (clocks.at(ticks), np.uint32(point)), []
        for i, given in enumerate(self._given):
            self.states[i], said = self.programs.call("evaluate", given, self.states[i], *when)
            found.append(said)
        return self._joined(found, np.nan)

    def _read(self, name: str) -> dict[str, np.ndarray]:
        """Return what a program that changes nothing says of this process's lanes."""
        lanes = zip(self._given, self.states, strict=True)
        return self._joined([self.programs.call(name, h, state) for (h, _), state in lanes])

    def _joined(self, groups: list[Any], fill: float = 0) -> Any:
        return jax.tree.map(lambda *xs: self.placement.column(xs, fill), *groups)

    def leave(self, gone: np.ndarray) -> None:
        """Let some of this process's lanes go, bool `[local lanes]`: their agents stay as they are now."""
        rows = [x[gone] for x in jax.tree.leaves(self._joined([_kept(state) for state in self.states]))]
        self.left.append((np.flatnonzero(gone), rows))
        self.placement = self.placement.without(self.local[gone])

    def compact(self) -> None:
        """Move the lanes that are left into fewer groups where that pays (`compaction`); all processes call."""
        count = compaction.needed(self.placement)
        if count > compaction.SHARE * self.count:
            return
        self.placement, source = self.placement.compacted(count)
        plain = [_plain(self.states.pop(0)) for _ in range(len(self.states))]
        self.states = [self._lanes(leaves) for leaves in compaction.moved(plain, self.placement, source)]
        self._given = self.programs.given(self.placement)

    def agents(self) -> Any:
        """Return the agents of all lanes, on every host: NumPy arrays `[lanes, ...]`."""
        return self._all()[0]

    def best(self) -> Any:
        """Return the best agents of all lanes, as `agents` does."""
        return self._all()[1]

    def _all(self) -> Any:
        """Return what is kept of all lanes, on every host; of those that have left as it was then."""
        found, structure = jax.tree.flatten(self._joined([_kept(state) for state in self.states]))
        for places, rows in self.left:
            for column, kept in zip(found, rows, strict=True):
                column[places] = kept
        return jax.tree.unflatten(structure, [self.placement.everywhere(column) for column in found])

    def leaves(self) -> Iterator[list[jax.Array]]:
        """Yield each group's leaves, keys as their data: what a checkpoint holds."""
        yield from map(_plain, self.states)

    @property
    def slots(self) -> np.ndarray:
        """Where this process's lanes stand: their rows in all groups together, `[local lanes]`, `EMPTY` of none."""
        return self.placement.where()

    def kept(self) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return which of this process's lanes have left, and the leaves of what is kept of them."""
        if not self.left:
            return np.zeros(0, int), []
        lanes, rows = zip(*self.left, strict=True)
        return self.local[np.concatenate(lanes)], [np.concatenate(each) for each in zip(*rows, strict=True)]

    def restore(
        self,
        slots: np.ndarray,
        rows: Callable[[np.ndarray], list[np.ndarray]],
        kept: tuple[np.ndarray, list[np.ndarray]],
    ) -> None:
        """Take every lane's state from a checkpoint.

        Args:
            slots: where each lane stood, `[lanes]`, `EMPTY` of those that had left.
            rows: returns the leaves of those that stood in some slots.
            kept: which lanes had left, and the leaves of what is kept of them.

        """
        self._restore_left(*kept)
        left = self.placement.without(np.flatnonzero(slots == EMPTY))
        self.placement, _ = left.compacted(compaction.needed(left))
        self._given = self.programs.given(self.placement)
        self.states = []
        for group in range(self.count):
            lanes = self.placement.pieces(group)
            found = {device: np.where(own == EMPTY, EMPTY, slots[own]) for device, own in lanes.items()}
            # Padding begins as one of the lanes beside it: no other group has to be read for it.
            pieces = {d: rows(np.where(own == EMPTY, max(own.max(), 0), own)) for d, own in found.items()}
            leaves = [
                self.placement.assembled({device: leaves[number] for device, leaves in pieces.items()})
                for number in range(len(self.programs.keys))
            ]
            self.states.append(self._lanes(leaves))

    def _lanes(self, leaves: list[jax.Array]) -> Lane:
        """Return a group's lanes from their leaves, keys as their data."""
        whole = [
            x if impl is None else jax.random.wrap_key_data(x, impl=impl)
            for x, impl in zip(leaves, self.programs.keys, strict=True)
        ]
        return jax.tree.unflatten(jax.tree.structure(self.programs.shapes), whole)

    def _restore_left(self, lanes: np.ndarray, leaves: list[np.ndarray]) -> None:
        own = np.isin(lanes, self.local)
        if not own.any():
            return
        kinds = [x.dtype for x in jax.tree.leaves(_kept(self.programs.shapes))]
        rows = [x[own].view(kind) for x, kind in zip(leaves, kinds, strict=True)]  # files know no bfloat16
        self.left = [(np.searchsorted(self.local, lanes[own]), rows)]


def _plain(lane: Lane) -> list[jax.Array]:
    """Return the leaves of a group's lanes, keys as their data."""
    return [jax.random.key_data(x) if is_key(x) else x for x in jax.tree.leaves(lane)]


def _kept(lane: Lane) -> Any:
    """Return what is kept of a lane that leaves: its agent, and the best one where it was evaluated."""
    return (lane.agent, lane.best.agent) if lane.best else (lane.agent,)
