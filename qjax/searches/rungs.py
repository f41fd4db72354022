"""A bracket judged rung by rung from log points alone, so that one that is resumed decides as it did before."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from qjax.runs.points import DROPPED, Point
from qjax.runs.results import Table
from qjax.searches.decisions import best, merits, normalised
from qjax.searches.scores import Score

Reference = Mapping[str, tuple[float, float]]
"""By an environment, the scores that stand at 0 and 1 of its scale."""


class Rung(NamedTuple):
    """What came of one rung."""

    steps: int
    """Environment steps of a lane by then; of several environments those of the first."""
    scores: dict[str, np.ndarray]
    """By the environment, of every lane, `[settings, seeds]`; NaN where it had left before, or has no score."""
    merit: np.ndarray
    """What decides, of which higher is better, `[settings]`; minus infinity of settings that had left before."""
    survivors: np.ndarray
    """Which settings go on, bool `[settings]`; of the last rung the winner."""


class Judge(NamedTuple):
    """How the settings of a bracket are judged."""

    score: Score
    """What a lane is judged by."""
    hypers: Mapping[str, np.ndarray]
    """Columns `[settings]`."""
    seeds: np.ndarray
    """The tuning seeds, `[seeds]`."""
    kept: tuple[int, ...]
    """How many settings go on after each rung."""
    at: dict[str, list[int]]
    """By the environment, the number of each rung's log point."""
    reference: Reference | None
    """Scales of the environments, where they are given."""

    @property
    def settings(self) -> int:
        """How many settings there are."""
        return len(next(iter(self.hypers.values())))

    def rungs(self, points: Mapping[str, Sequence[Point]]) -> list[Rung]:
        """Return the rungs that the log points of all environments have reached.

        Raises:
            ValueError: no setting has a score at a rung.

        """
        alive, found = np.ones(self.settings, bool), list[Rung]()
        for number, kept in enumerate(self.kept):
            if any(len(points[env]) <= at[number] for env, at in self.at.items()):
                break
            tables = {env: self._table(points[env][: at[number] + 1]) for env, at in self.at.items()}
            scores = {env: np.where(alive[:, None], self.score.of(table), np.nan) for env, table in tables.items()}
            steps = int(max(next(iter(tables.values())).env_steps.max(), 0))
            merit = self._merit(scores, alive, steps)
            alive = best(merit, kept, alive)
            found.append(Rung(steps, scores, merit, alive))
        return found

    def _table(self, points: Sequence[Point]) -> Table:
        """Return log points as arrays; who had left is known here already, and not in all of them."""
        plain = [
            each._replace(values={name: x for name, x in each.values.items() if name != DROPPED}) for each in points
        ]
        return Table.of_points(plain, self.seeds, self.hypers)

    def _merit(self, scores: Mapping[str, np.ndarray], alive: np.ndarray, steps: int) -> np.ndarray:
        if lacking := [env for env, found in scores.items() if np.isnan(found).all()]:
            where = f"{steps} steps{lacking[0] and f' of {lacking[0]}'}"
            raise ValueError(
                f"no lane has a score ({self.score}) at the rung of {where}: no episode may have ended yet; give"
                " more steps, or fewer rungs"
            )
        each = np.stack([merits(self.score.merit(found)) for found in scores.values()], 1)
        if each.shape[1] == 1:
            return np.where(alive, each[:, 0], -np.inf)
        return np.where(alive, normalised(each, alive, ends(self.score, self.reference, list(scores))), -np.inf)


def ends(score: Score, reference: Reference | None, envs: Sequence[str]) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the ends of the environments' scales as merits, low and high `[envs]`, where they are given."""
    if reference is None:
        return None
    found = score.merit(np.array([reference[env] for env in envs], float))
    return found.min(1), found.max(1)


def lanes(survivors: np.ndarray, seeds: int) -> np.ndarray:
    """Return which lanes leave where these settings go on, bool `[lanes]`."""
    return np.repeat(~survivors, seeds)


def judged(rung: Rung) -> np.ndarray:
    """Return which settings were still there at a rung, bool `[settings]`."""
    return np.any([~np.isnan(found).all(1) for found in rung.scores.values()], 0)


def spent(rungs: Sequence[Rung], lanes: int) -> int:
    """Return the environment steps that were made until the last of some rungs, with so many lanes a setting."""
    alive = [len(rungs[0].merit), *(int(rung.survivors.sum()) for rung in rungs)]
    between = np.diff([0, *(rung.steps for rung in rungs)]).tolist()
    return lanes * sum(steps * settings for steps, settings in zip(between, alive, strict=False))


def tied(rung: Rung) -> bool:
    """Return whether a setting left a rung with the same merit as one that went on, which came before it."""
    left = judged(rung) & ~rung.survivors
    return bool(left.any() and rung.survivors.any() and rung.merit[left].max() == rung.merit[rung.survivors].min())


def plain(rung: Rung) -> dict[str, Any]:
    """Return a rung as JSON has it; a setting that had left has no merit."""
    return {
        "steps": rung.steps,
        "scores": {env: found.tolist() for env, found in rung.scores.items()},
        "merit": np.where(judged(rung), rung.merit, np.nan).tolist(),
        "survivors": np.flatnonzero(rung.survivors).tolist(),
    }
