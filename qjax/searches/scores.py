"""A lane's score at a rung, from the log points until there."""

import itertools
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from qjax.core.checks import check_flag, check_text, nearest, one_of
from qjax.plot.lines import held
from qjax.runs.points import NEVER
from qjax.runs.results import Table
from qjax.runs.tables import COLUMNS
from qjax.stats.estimates import area
from qjax.sweeps.described import Described

LAST = 0.1
"""Share of the steps whose log points make a final score, as in `qjax results`."""

KINDS = {"final": 1, "area": 2}
"""What a score is made of, and the log points that it needs."""


class Score(NamedTuple):
    """What settings are judged by."""

    metric: str = "mean_return"
    """A column of the table."""
    kind: str = "final"
    """The mean over the log points in the last tenth of the steps so far ("final"), or over all steps ("area")."""
    lower: bool = False
    """Whether lower is better."""

    def __str__(self) -> str:
        """Return it in words."""
        how = {"final": "in the last tenth of the steps", "area": "over all steps"}[self.kind]
        return f"{self.metric} {how}{', lower is better' * self.lower}"

    def of(self, table: Table) -> np.ndarray:
        """Return the score of every lane at the last log point of a table, `[settings, seeds]`.

        A log point without a value has the last one before it. A lane without any has NaN, and one that has
        diverged by then the worst of all: minus infinity, or infinity where lower is better.
        """
        values, steps = table[self.metric].astype(float), table.env_steps
        if self.kind == "area":
            found = area(values, steps)
        else:
            late = steps >= (1 - LAST) * steps[..., -1:]
            there = late & ~np.isnan(held(values))
            with np.errstate(invalid="ignore"):
                found = np.where(there, held(values), 0).sum(-1) / there.sum(-1)
        return np.where(table.diverged_at != NEVER, np.inf if self.lower else -np.inf, found)

    def merit(self, scores: np.ndarray) -> np.ndarray:
        """Return scores as numbers of which higher is better."""
        return -scores if self.lower else scores


def check_score(metric: str, kind: str, lower: bool) -> Score:
    """Return a score; its column is checked with the sweep's.

    Raises:
        TypeError: a name is no text, or `lower` no flag.
        ValueError: there is no such kind.

    """
    check_text("score", metric)
    one_of("score_kind", kind, KINDS)
    return Score(metric, kind, check_flag("lower", lower))


def check_metric(score: Score, described: Described, agent: Collection[str]) -> None:
    """Check that a sweep logs what it is to be judged by.

    Raises:
        ValueError: it does not; what it logs is named.

    """
    known = ["mean_return", "episodes", *(COLUMNS.get(name, name) for name in agent), *described.logged]
    if score.metric not in known:
        lacking = ": it needs evaluate_every" * (score.metric in ("eval_return", "eval_std"))
        raise ValueError(f"no score {score.metric!r} is logged{lacking}; {nearest(score.metric, known)}")


def rung_points(steps: Sequence[int], rungs: Sequence[int], score: Score, evaluated: int = 1) -> list[int]:
    """Return the number of the log point at which each rung is judged: the first at which its steps are made.

    Args:
        steps: environment steps of a lane at each log point.
        rungs: those of each rung, ascending.
        score: what is judged by.
        evaluated: log points until there is a value of it.

    Raises:
        ValueError: two rungs fall on one log point, or the first one before a score is there.

    """
    found = np.minimum(np.searchsorted(steps, rungs), len(steps) - 1).tolist()
    if found[0] + 1 < min(evaluated, len(steps)):  # the last one is always evaluated
        raise ValueError(
            f"{score.metric} has its first value at log point {evaluated} (evaluate_every), and the first rung, at"
            f" {rungs[0]} steps, is at log point {found[0] + 1}: evaluate more often, or give fewer rungs"
        )
    if found[0] + 1 < KINDS[score.kind]:
        raise ValueError(
            f"a score of the kind {score.kind!r} needs {KINDS[score.kind]} log points, and the first rung, at"
            f" {rungs[0]} steps, has {found[0] + 1}: give more log_points, more steps, or fewer rungs"
        )
    for i, (one, other) in enumerate(itertools.pairwise(found)):
        if one == other:
            raise ValueError(
                f"the rungs at {rungs[i]} and {rungs[i + 1]} steps fall on one log point, at {steps[one]}: give"
                " more log_points, more steps, or fewer rungs"
            )
    return found
