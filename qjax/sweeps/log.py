"""The log points of a sweep under way: kept for its result, written to its run, fed to sinks."""

from collections.abc import Sequence

import numpy as np

from qjax.machine import hosts
from qjax.runs import reading, tables
from qjax.runs.config import flat
from qjax.runs.points import Point, of_lanes
from qjax.runs.run import Run
from qjax.runs.sinks import Feed, Sink, Start
from qjax.stats import estimates
from qjax.sweeps.described import Described
from qjax.sweeps.evaluating import RETURN
from qjax.sweeps.extending import with_shares


class Log:
    """Every log point so far."""

    def __init__(self, described: Described, lanes: np.ndarray, run: Run | None, sinks: Sequence[Sink]):
        """Begin with none; `lanes` are this process's."""
        self.points: list[Point] = []
        self.notes: list[tuple[float, ...]] = []
        """Of each point: updates, share done, seconds and environment steps, of all hosts together."""
        self._run, self._lanes, self._columns = run, lanes, described.columns(lanes)
        self._work = described.steps, described.loop.episodes
        self._returns = self._evaluated = np.full(len(lanes), np.nan)
        folder, arguments = (None, {}) if run is None else (run.folder, flat(run.arguments))
        self._feed = Feed(sinks, Start(folder, self._columns, arguments))

    def add(self, point: Point) -> None:
        """Add a log point; all processes call."""
        self._keep(point)
        own = {"steps": int(point.env_steps.sum()), "updates": point.updates, "done": point.done}
        messages = hosts.gather(own)
        steps, updates = (sum(message[name] for message in messages) for name in ("steps", "updates"))
        self.notes.append((updates, min(message["done"] for message in messages), point.seconds, steps))
        if self._run is not None:
            self._run.log(point, self._columns, len(self.notes) - 1, self._lanes, (steps, updates))
        if self._feed:
            self._feed.write(tables.rows(point, self._columns), point.seconds)

    def restore(self, notes: Sequence[Sequence[float]], extended: bool) -> None:
        """Take up the points of a run that goes on, from its table and what its checkpoint notes of them.

        Of one that was `extended` since, they are other shares of the work.
        """
        assert self._run is not None
        points = reading.points(self._run.folder, notes)
        if extended:
            points = with_shares(points, *self._work)
        self.notes = [(note[0], point.done, *note[2:]) for point, note in zip(points, notes, strict=True)]
        for point in points:
            own = of_lanes(point, self._lanes)
            self._keep(own)
            if self._feed:
                self._feed.write(tables.rows(own, self._columns))

    def _keep(self, point: Point) -> None:
        self.points.append(point)
        self._returns = np.where(np.isnan(point.mean_return), self._returns, point.mean_return)
        evaluated = point.values.get(RETURN, np.nan)
        self._evaluated = np.where(np.isnan(evaluated), self._evaluated, evaluated)

    def iqm_return(self) -> float:
        """Return the interquartile mean of the last returns that lanes reported."""
        return _iqm(self._returns)

    def iqm_evaluation(self) -> float:
        """Return the interquartile mean of the lanes' last evaluations."""
        return _iqm(self._evaluated)

    def close(self) -> None:
        """End the sinks."""
        self._feed.close()


def _iqm(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(estimates.iqm(known)) if known.size else float("nan")
