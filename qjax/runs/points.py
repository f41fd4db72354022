"""Log points: what a sweep knows of its lanes at one moment, from sums that the lanes added up on the device."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from qjax.training.loop import Loop
from qjax.types import Schedule, Time

NEVER = -1
"""Stands for the step at which a lane diverged, or was dropped, where none has."""

EVALUATED = "eval_return"
"""Value of the log points of a sweep that evaluates: a lane's mean return over whole greedy episodes."""

DROPPED = "dropped"
"""Value of the log points of a sweep that may drop lanes: 1 where a lane was dropped, in its last row, else 0."""


@runtime_checkable
class SchedulesOf(Protocol):
    """A function that says which schedules a sweep logs, where their ends are swept."""

    def __call__(self, hyper: Any, /) -> Mapping[str, Schedule]:
        """Return the schedules of one setting by their names.

        Args:
            hyper: the setting.

        """


Schedules = Mapping[str, Schedule] | SchedulesOf
"""Schedules to log, by their names."""


class Point(NamedTuple):
    """What a sweep knows at a log point; every array is `[lanes]`."""

    env_steps: np.ndarray
    """Environment steps of each lane since the start, int64."""
    episodes: np.ndarray
    """Episodes finished since the start, int64."""
    mean_return: np.ndarray
    """Mean return of the episodes that ended in the interval; NaN where none did."""
    means: dict[str, np.ndarray]
    """Mean over the interval's updates of every scalar the agent reports (`loss`, `q`); NaN without updates."""
    values: dict[str, np.ndarray]
    """The logged schedules, and what the sweep's `report` says."""
    changed: np.ndarray
    """Whether the lane was there in the interval, bool: it stepped, or has its episodes and waits for its last
    evaluation."""
    diverged_at: np.ndarray
    """Environment steps of the lane at which its loss or its parameters were first NaN or infinite, or a priority
    one of these or negative, int64; `NEVER` (-1) while none is. Exact to the update for losses and priorities;
    parameters are looked at at log points."""
    updates: int
    """Learner updates of all lanes in the interval, padding left out."""
    done: float
    """Share of the work done, in [0, 1]."""
    seconds: float
    """Run time since the start, compilation left out."""


def of_lanes(point: Point, lanes: np.ndarray) -> Point:
    """Return a log point of some of its lanes, numbers or flags of them; `updates` and `done` stay those of all."""

    def rows(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: column[lanes] for name, column in value.items()}
        return value[lanes] if isinstance(value, np.ndarray) else value

    return Point(*(rows(value) for value in point))


def values_of(schedules: Schedules) -> Any:
    """Return a compiled `(hypers, time) -> {name: values}` of lanes, `[lanes]` each; hypers may be None."""

    def values(hyper: Any, at: Time) -> dict[str, Any]:
        chosen = schedules(hyper) if callable(schedules) else schedules
        return {name: schedule(at) for name, schedule in chosen.items()}

    return jax.jit(jax.vmap(values))


def shares(env_steps: np.ndarray, episodes: np.ndarray, steps: int | None, most: int | None) -> np.ndarray:
    """Return the share of its work that each lane has done, `[lanes]`.

    Args:
        env_steps: that each has made, `[lanes]`.
        episodes: that each has finished, `[lanes]`.
        steps: that a lane is to make, if any.
        most: episodes after which a lane is done, if any.

    """
    found = [done / work for done, work in ((env_steps, steps), (episodes, most)) if work is not None]
    return np.minimum(np.max(found, axis=0), 1)


class Totals(NamedTuple):
    """Counts of each lane since the start, `[lanes]`, int64: what a checkpoint keeps of a `Tally`."""

    env_steps: np.ndarray
    """Environment steps."""
    updates: np.ndarray
    """Learner updates."""
    episodes: np.ndarray
    """Finished episodes."""
    diverged_at: np.ndarray
    """Environment steps at which the lane diverged; `NEVER` while it has not."""
    left: np.ndarray
    """Whether the lane has left the sweep, bool."""
    dropped_at: np.ndarray
    """Environment steps at which it left before its work was done; `NEVER` where it has not."""


class Tally:
    """Turns the lanes' sums over an interval into a `Point`; totals are kept in 64 bits.

    An interval may come in several parts, so that no sum on the device grows long: float32 sums of a part, added
    up here in float64.
    """

    def __init__(self, loop: Loop, lanes: int, steps: int | None, schedules: Schedules, hypers: Any):
        """Start at zero. `hypers` is None, or one setting for each lane."""
        self.loop, self.steps = loop, steps
        zero = np.zeros(lanes, np.int64)
        never = np.full(lanes, NEVER)
        self.totals = Totals(zero, zero, zero, never, np.zeros(lanes, bool), never)
        self._sums: dict[str, np.ndarray] = {}
        self._episodes = np.zeros(lanes, np.int32)
        self._hypers, self._values = hypers, values_of(schedules)

    def add(self, report: Mapping[str, np.ndarray]) -> None:
        """Add the sums that `qjax.training.pop_metrics` returned, `[lanes]` each."""
        report = dict(report)
        self._episodes = report.pop("total_episodes")
        del report["lengths"]
        steps, updates, episodes = (report[k].astype(np.int64) for k in ("steps", "updates", "episodes"))
        before, diverged = self.totals, report.pop("diverged_at").astype(np.int64)
        first = (before.diverged_at == NEVER) & (diverged > 0)
        self.totals = before._replace(
            env_steps=before.env_steps + steps,
            updates=before.updates + updates,
            episodes=before.episodes + episodes,
            diverged_at=np.where(first, before.env_steps + diverged, before.diverged_at),
        )
        for name, value in report.items():
            self._sums[name] = self._sums.get(name, 0) + value.astype(np.float64)

    def point(self, seconds: float) -> Point:
        """Return the interval that ends here, and begin the next."""
        sums, self._sums = self._sums, {}
        steps, updates, episodes, returns = (sums.pop(k) for k in ("steps", "updates", "episodes", "returns"))
        totals = self.totals
        at = Time(
            jnp.asarray(totals.env_steps.astype(np.float32)),
            jnp.asarray(self._episodes),
            jnp.asarray(totals.updates.astype(np.float32)),
            jnp.zeros(len(steps), jnp.int32),
        )
        return Point(
            env_steps=totals.env_steps,
            episodes=totals.episodes,
            mean_return=_mean(returns, episodes),
            means={name: _mean(value, updates) for name, value in sums.items()},
            values={name: _of_living(x, totals.left) for name, x in self._values(self._hypers, at).items()},
            changed=~totals.left,
            diverged_at=totals.diverged_at,
            updates=int(updates.sum()),
            done=self.done(0),
            seconds=seconds,
        )

    def pending(self) -> dict[str, np.ndarray]:
        """Return the sums of an interval that has not ended, for a checkpoint."""
        return {f"sum_{name}": value for name, value in self._sums.items()}

    def restore(self, totals: Totals, pending: Mapping[str, np.ndarray]) -> None:
        """Go on from what a checkpoint kept."""
        self.totals = totals
        self._sums = {name.removeprefix("sum_"): value for name, value in pending.items()}

    def leave(self, gone: np.ndarray, dropped: np.ndarray) -> None:
        """Note which lanes leave, bool `[lanes]`, and which of them do before their work is done."""
        totals = self.totals
        dropped_at = np.where(dropped, totals.env_steps, totals.dropped_at)
        self.totals = totals._replace(left=totals.left | gone, dropped_at=dropped_at)

    def shares(self, steps: int | np.ndarray) -> np.ndarray:
        """Return the share of its work that each lane has done when it has made `steps` more, `[lanes]`."""
        return shares(self.totals.env_steps + steps, self.totals.episodes, self.steps, self.loop.episodes)

    def done(self, steps: int | np.ndarray) -> float:
        """Return the share of the work done when the lanes have made `steps` more than the totals say.

        It is that of the lane that is furthest behind; one that has left has nothing to do.
        """
        return float(np.where(self.totals.left, 1, self.shares(steps)).min(initial=1.0))


def _of_living(values: Any, left: np.ndarray) -> np.ndarray:
    """Return a column without the numbers of lanes that have left: NaN there, where it is one of floats."""
    column = np.asarray(values)
    return np.where(left, np.nan, column).astype(column.dtype) if column.dtype.kind == "f" else column


def _mean(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    mean = np.full(total.shape, np.nan)
    return np.divide(total, count, out=mean, where=count > 0).astype(np.float32)
