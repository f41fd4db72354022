"""How much the choice of settings matters: over environments (Adkins et al. 2024), and around one setting."""

import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Shaped

from qjax.core.annotations import checked
from qjax.core.checks import check_range
from qjax.core.text import shown
from qjax.searches.space import Space

PERCENTILES = (5.0, 95.0)
"""Of an environment's scores, which stand at 0 and 1 of its scale."""

NEAR = 0.95
"""Share of the best performance that counts as near it."""


class Sensitivity(NamedTuple):
    """What tuning for each environment brings beyond one setting for all (Adkins et al. 2024)."""

    value: float
    """Mean over environments of the best scaled score in each, less the best mean of one setting; at least 0."""
    by_environment: np.ndarray
    """The best scaled score in each environment less that of the best setting for all, `[envs]`; their mean."""
    best: int
    """The setting that is best for all."""
    each: np.ndarray
    """The setting that is best in each environment, `[envs]`."""


class Line(NamedTuple):
    """The scores of one setting of which one hyper-parameter is varied."""

    values: np.ndarray
    """Of the hyper-parameter, ascending, its own among them, `[values]`."""
    scores: dict[str, np.ndarray]
    """By the environment, of each value and seed, `[values, seeds]`."""


@checked
def scaled(scores: Shaped[np.ndarray, "settings envs"]) -> np.ndarray:
    """Return scores with the 5th and 95th percentile of each environment's settings at 0 and 1, `[settings, envs]`.

    Where both are the same, all are 0. Infinite scores, of settings that diverged, count as the least finite one.

    Args:
        scores: higher is better, for instance interquartile means over seeds.

    Raises:
        ValueError: an environment has no finite score.

    """
    finite = np.isfinite(scores)
    if not finite.any(0).all():
        raise ValueError(f"scores must hold a finite one in each environment, got {shown(scores)}")
    whole = np.where(finite, scores, np.where(finite, scores, np.inf).min(0))
    low, high = np.percentile(whole, PERCENTILES, axis=0)
    return np.where(high > low, (whole - low) / np.where(high > low, high - low, 1.0), 0.0)


@checked
def sensitivity(scores: Shaped[np.ndarray, "settings envs"]) -> Sensitivity:
    """Return the hyper-parameter sensitivity of an algorithm over environments (Adkins et al. 2024, section 4).

    Args:
        scores: of the same settings in every environment, higher is better; they are `scaled` here.

    Raises:
        ValueError: as `scaled`.

    """
    own = scaled(scores)
    best, each = int(own.mean(1).argmax()), own.argmax(0)
    lost = own.max(0) - own[best]
    return Sensitivity(float(lost.mean()), lost, best, each)


@checked
def dimensionality(
    hypers: Mapping[str, Any],
    scores: Shaped[np.ndarray, "settings envs"],
    share: float = NEAR,
) -> tuple[int, tuple[str, ...]]:
    """Return how many hyper-parameters have to be tuned for each environment to come near the best, and which.

    The others stay at the setting that is best for all (Adkins et al. 2024: effective hyper-parameter
    dimensionality). Settings should be a whole grid: only those that agree with that one in the others count.

    Args:
        hypers: columns `[settings]`.
        scores: as for `sensitivity`.
        share: of the mean over environments of the best scaled score in each.

    Raises:
        ValueError: as `scaled`; or a share outside [0, 1], or columns of other settings than the scores.

    """
    check_range("share", share, 0, 1)
    if wrong := [name for name, column in hypers.items() if len(column) != len(scores)]:
        raise ValueError(f"hypers[{wrong[0]!r}] must have {len(scores)} settings, got {len(hypers[wrong[0]])}")
    own = scaled(scores)
    best, goal = int(own.mean(1).argmax()), share * own.max(0).mean()
    same = {name: column == column[best] for name, column in hypers.items()}
    for number in range(len(hypers) + 1):
        for tuned in itertools.combinations(hypers, number):
            fixed = [same[name] for name in hypers if name not in tuned]
            there = np.logical_and.reduce(fixed) if fixed else np.ones(len(own), bool)
            if own[there].max(0).mean() >= goal:
                return number, tuned
    raise AssertionError  # with all of them tuned the goal is reached


def around(setting: Mapping[str, Any], space: Space, points: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the hypers of a setting of which one hyper-parameter after the other is varied over its range.

    Args:
        setting: its traced values.
        space: the ranges.
        points: values of each range, beside the setting's own.

    Returns:
        columns `[settings]`, and of each name which settings vary it.

    """
    rows, which = list[dict[str, Any]](), dict[str, Any]()
    for name, own in space.items():
        values = sorted({*own.spread(points).tolist(), setting[name]})
        which[name] = slice(len(rows), len(rows) + len(values))
        rows += [{**setting, name: value} for value in values]
    return {name: np.array([row[name] for row in rows]) for name in space}, which
