"""The sweeps that a search makes: brackets whose lanes leave at rungs, and settings alone on fresh seeds."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from qjax.runs.config import CONFIG
from qjax.runs.points import Point
from qjax.runs.reading import read_points
from qjax.runs.run import Run
from qjax.runs.tables import TIMING
from qjax.searches.rungs import Judge, Rung, lanes
from qjax.sweeps.hyperparameters import Build
from qjax.sweeps.result import Result
from qjax.sweeps.sweep import sweep

Told = Callable[[Rung], None]


class Paused(Exception):
    """A sweep waits at a rung that other environments have not reached."""


class Place(NamedTuple):
    """Where the sweeps of a search go."""

    folder: Path | None
    """The search's folder, None where nothing is kept."""
    experiment: str
    """Its name."""
    arguments: Callable[[str, str, Mapping[str, Any] | None], Mapping[str, Any]]
    """`(name, environment, the setting where it has one) -> arguments` of a sweep's run."""
    machine: Mapping[str, Any] | None
    """Where and how it is run."""

    def at(self, name: str, env: str) -> Path | None:
        """Return the folder of a sweep, None where nothing is kept."""
        return None if self.folder is None else self.folder / name / env.replace("/", "-")

    def run(self, name: str, env: str, setting: Mapping[str, Any] | None = None) -> Any:
        """Return the run of a sweep, which goes on where it stopped; without a folder nothing."""
        folder = self.at(name, env)
        if folder is None:
            return nullcontext()
        given = self.arguments(name, env, setting)
        again = (folder / CONFIG).is_file()
        # With more steps the rungs are others, so nothing goes on to more; and replay of all lanes takes room.
        return Run(folder, self.experiment, given, resume=again, machine=self.machine, keep_checkpoint=False)

    def known(self, name: str, env: str) -> list[Point]:
        """Return the log points of a sweep so far."""
        folder = self.at(name, env)
        return [] if folder is None or not (folder / TIMING).is_file() else read_points(folder)


def run_bracket(
    builds: Mapping[str, Build], name: str, judge: Judge, place: Place, told: Told | None, work: Mapping[str, Any]
) -> tuple[list[Rung], dict[str, Result]]:
    """Run a bracket, a sweep for each environment, and return its rungs and the sweeps' results.

    Several environments go from rung to rung in turn: a sweep that is the first to reach a rung stops there, at its
    last checkpoint, and goes on when all have reached it. A result may be `stopped`, and is then the last.

    Args:
        builds: by the environment; one that is called "" is alone.
        name: of the bracket.
        judge: decides.
        place: where the sweeps go.
        told: called with each rung as it is decided.
        work: arguments of the sweeps.

    """
    points: dict[str, list[Point]] = {env: [] for env in builds}
    results: dict[str, Result] = {}
    after = [0]

    def tell(rungs: list[Rung]) -> None:
        if told is not None:
            for rung in rungs[after[0] :]:
                told(rung)
        after[0] = max(after[0], len(rungs))

    while len(results) < len(builds):
        for env in [env for env in builds if env not in results]:
            ask = _asked(env, judge, points, place.known(name, env), tell)
            try:
                with place.run(name, env) as run:
                    found = sweep(builds[env], hypers=judge.hypers, run=run, drop=ask, **work)
            except Paused:
                continue
            results[env] = found
            if found.stopped is not None:
                return judge.rungs(points), results
            points[env] = found.points
    rungs = judge.rungs(points)
    tell(rungs)
    return rungs, results


def _asked(
    env: str, judge: Judge, points: dict[str, list[Point]], known: list[Point], tell: Callable[[list[Rung]], None]
) -> Callable[[Point, int], np.ndarray | None]:
    """Return the `drop` of an environment's sweep; `known` are its log points from before it was resumed."""

    def drop(point: Point, number: int) -> np.ndarray | None:
        points[env] = [*(points[env] or known)[:number], point]
        if number not in judge.at[env][:-1]:
            return None
        rung, rungs = judge.at[env].index(number), judge.rungs(points)
        if len(rungs) <= rung:
            assert len(points) > 1, "the log points before this one are missing"
            raise Paused
        tell(rungs)
        return lanes(rungs[rung].survivors, len(judge.seeds))

    return drop


def run_alone(
    build: Build, name: str, env: str, setting: Mapping[str, Any], hyper: Any, place: Place, work: Mapping[str, Any]
) -> Result:
    """Run one setting, with its concrete values, as a sweep without hyper-parameters.

    Args:
        build: returns the loop of the traced values.
        name: of the sweep.
        env: its environment.
        setting: all values, for its run's arguments.
        hyper: the traced ones.
        place: where the sweep goes.
        work: its arguments.

    """
    with place.run(name, env, setting) as run:
        return sweep(lambda _: build(hyper), run=run, **work)
