"""Agents that a sweep keeps at chosen steps: in its run's folder, or in memory where it has none."""

from collections.abc import Callable, Sequence
from typing import Any

from qjax.core.checks import MOST_STEPS, check_listed, check_size
from qjax.runs.agents import kept_at, load_agents
from qjax.runs.points import Point
from qjax.runs.reading import read_points
from qjax.runs.run import Run


def check_snapshots(snapshots: Any, steps: int | None) -> tuple[int, ...]:
    """Return the steps at which agents are to be kept, checked, in their order.

    Raises:
        TypeError: they are no list of whole numbers.
        ValueError: one is not positive, there twice, or more than the `steps` of the run.

    """
    found = [check_size("snapshots (each)", step) for step in check_listed("snapshots", snapshots, "steps")]
    if twice := sorted({step for step in found if found.count(step) > 1}):
        raise ValueError(f"snapshots must be different steps, got {twice[0]} twice")
    if steps is not None and found and max(found) > check_size("steps", steps, most=MOST_STEPS):
        raise ValueError(f"snapshots must be at most the {steps} steps of the run, got {max(found)}")
    return tuple(sorted(found))


class Snapshots:
    """Those of one sweep."""

    def __init__(self, asked: Sequence[int], run: Run | None, log_points: int):
        """Take up what was kept before: a run goes on after so many `log_points`.

        Raises:
            ValueError: agents are asked for at steps that the run has passed without keeping them.

        """
        self._asked, self._run = asked, run
        self._held: dict[int, Any] = {}
        self._passed = 0
        if run is not None and asked and log_points:
            self._passed = _reached(read_points(run.folder)[log_points - 1])
            there = kept_at(run.folder)
            if lost := [step for step in asked if step <= self._passed and step not in there]:
                raise ValueError(
                    f"{run.folder} has made {self._passed} steps and kept no agents at {lost[0]}; those that it has"
                    f" are at {there}"
                )

    def keep(self, env_steps: int, done: bool, agents: Callable[[], Any]) -> None:
        """Keep the agents at a log point where they are due: the first one at or after the steps, or the last.

        Args:
            env_steps: of every lane that still steps, by now.
            done: whether nothing is left to do.
            agents: returns the agents of all lanes; it and this are called by all processes.

        """
        due = [step for step in self._asked if self._passed < step and (step <= env_steps or done)]
        self._passed = env_steps
        if not due:
            return
        now = agents()
        for step in due:
            if self._run is None:
                self._held[step] = now
            else:
                self._run.save_agents(now, step)

    def kept(self, like: Any) -> dict[int, Any]:
        """Return the agents kept by now, by the steps asked for; those in a folder are read `like` others."""
        if self._run is None:
            return dict(self._held)
        there = kept_at(self._run.folder)
        return {step: load_agents(self._run.folder, like, step) for step in self._asked if step in there}


def _reached(point: Point) -> int:
    return int(point.env_steps.max())
