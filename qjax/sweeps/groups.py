"""The lanes of a sweep in memory: groups in buffers of their own, which compiled programs advance in turn."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from qjax.core import clock as clocks
from qjax.machine import hosts
from qjax.sweeps.programs import Programs, is_key
from qjax.training.lane import Lane


class Groups:
    """The states of all lanes, group by group."""

    def __init__(self, programs: Programs):
        """Hold nothing yet: `start` or `restore` makes the states."""
        self.programs, self.placement = programs, programs.placement
        self.states: list[Lane] = []
        self.local, self.count, self.size = self.placement.local, self.placement.count, self.placement.size

    def start(self) -> None:
        """Make every lane's first state."""
        init, programs = self.programs.compiled["init"], self.programs
        self.states = [init(h, (n, programs.agents(group))) for group, (h, n) in enumerate(self._given())]
        jax.block_until_ready(self.states)  # here an allocation that failed is raised; reading it would hang

    def run(self, ticks: int, outer_iterations: int, learning: bool) -> None:
        """Advance every lane from the clock's `ticks` by so many iterations of the outer loop, and wait for it."""
        program = self.programs.compiled["learn" if learning else "warm up"]
        for i, hyper in enumerate(self.programs.hypers):
            counts = self.placement.spread(self.placement.busy[i] * np.int32(outer_iterations))
            self.states[i] = program(hyper, self.states[i], clocks.at(ticks), counts)
        jax.block_until_ready(self.states)

    def pop_metrics(self) -> dict[str, np.ndarray]:
        """Return the sums of this process's lanes, padding dropped, and set them to zero."""
        reports = []
        for i, hyper in enumerate(self.programs.hypers):
            self.states[i], report = self.programs.compiled["pop_metrics"](hyper, self.states[i])
            reports.append(report)
        return self._joined(reports)

    def read_metrics(self) -> dict[str, np.ndarray]:
        """Return some of the sums so far, as they are."""
        if "read_metrics" in self.programs.compiled:
            return self._read("read_metrics")
        stats = [state.stats for state in self.states]
        return self._joined([{"steps": s.steps, "updates": s.updates, "diverged_at": s.diverged_at} for s in stats])

    def report(self, point: int) -> dict[str, np.ndarray]:
        """Return what the compiled report says of this process's lanes, at the log point of this number."""
        program, states = self.programs.compiled["report"], zip(self._given(), self.states, strict=True)
        return self._joined([program(given, state, np.uint32(point)) for given, state in states])

    def evaluate(self, point: int) -> dict[str, np.ndarray]:
        """Evaluate every lane, keep its agent where it is the best so far, and return what is logged."""
        program, found = self.programs.compiled["evaluate"], []
        for i, given in enumerate(self._given()):
            self.states[i], said = program(given, self.states[i], np.uint32(point))
            found.append(said)
        return self._joined(found)

    def _given(self) -> list[tuple[Any, Any]]:
        """Return the settings and the seeds of each group."""
        return list(zip(self.programs.hypers, self.programs.seeds, strict=True))

    def _read(self, name: str) -> dict[str, np.ndarray]:
        """Return what a program that changes nothing says of this process's lanes."""
        program = self.programs.compiled[name]
        return self._joined([program(h, s) for h, s in zip(self.programs.hypers, self.states, strict=True)])

    def _joined(self, groups: list[Any]) -> Any:
        return jax.tree.map(lambda *xs: np.concatenate([hosts.local(x) for x in xs])[: len(self.local)], *groups)

    def agents(self) -> Any:
        """Return the agents of all lanes, on every host: NumPy arrays `[lanes, ...]`."""
        return self._everywhere([state.agent for state in self.states])

    def best(self) -> Any:
        """Return the best agents of all lanes, as `agents` does."""
        return self._everywhere([state.best.agent for state in self.states])

    def _everywhere(self, groups: list[Any]) -> Any:
        found = [jax.tree.map(hosts.everywhere, group) for group in groups]
        return jax.tree.map(lambda *xs: np.concatenate(xs)[: self.placement.lanes], *found)

    def leaves(self) -> Iterator[list[jax.Array]]:
        """Yield each group's leaves, keys as their data: what a checkpoint holds."""
        for state in self.states:
            yield [jax.random.key_data(x) if is_key(x) else x for x in jax.tree.leaves(state)]

    def restore(self, rows: Callable[[int, int], list[np.ndarray]]) -> None:
        """Take every lane's state from `rows(first, last)`, which returns the leaves of those lanes."""
        structure, keys = jax.tree.structure(self.programs.shapes), self.programs.keys
        self.states = []
        for group in range(self.count):
            begins = self.placement.begins(group)
            pieces = {device: rows(begin, begin + self.placement.width) for device, begin in begins.items()}
            leaves = [
                self.placement.assembled({device: leaves[number] for device, leaves in pieces.items()})
                for number in range(len(keys))
            ]
            whole = [
                x if impl is None else jax.random.wrap_key_data(x, impl=impl)
                for x, impl in zip(leaves, keys, strict=True)
            ]
            self.states.append(jax.tree.unflatten(structure, whole))
