"""Bootstrap resamples in blocks, and statistics of them that copy no scores.

SciPy's `bootstrap` gives the same intervals of one task (the tests hold the two together), but it does not resample
within strata, and copies and sorts every resample: 8 s for 1,000 seeds at 100 points with 2,000 resamples on one
core, where this takes 2 s. A resample is how often each seed was drawn, and that is all that means need to know.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]

COUNTED = 2**16
"""Counts of a block of resamples: as many as stay in a core's cache."""

GATHERED = 2**22
"""Scores of a block of resamples that are copied: 32 MiB."""


def draws(rng: np.random.Generator, seeds: int, tasks: int, resamples: int, size: int) -> Iterator[Ints]:
    """Draw seeds with replacement, within each task, in blocks of up to `size` resamples.

    Blocks are `[block, tasks, seeds]`. The numbers are the same for every `size`, and for one task those of
    `scipy.stats.bootstrap`.
    """
    for start in range(0, resamples, size):
        yield rng.integers(0, seeds, (min(size, resamples - start), tasks, seeds))


def counts(index: Ints) -> Ints:
    """Return how often each seed was drawn, `[seeds, tasks, block]`, from draws `[block, tasks, seeds]`."""
    block, tasks, seeds = index.shape
    place = np.arange(tasks)[:, None] * block + np.arange(block)[:, None, None]
    flat = np.bincount((index * (tasks * block) + place).ravel(), minlength=index.size)
    return flat.reshape(seeds, tasks, block).astype(np.int32)


def iqm_of(scores: Floats) -> Callable[[Ints], Floats]:
    """Return the interquartile mean of `[seeds, tasks, points]` as a function of counts, `[block, points]`.

    Tasks are pooled. The scores are sorted once; those of a resample are then sorted too, each as often as drawn.
    """
    rows = scores.reshape(-1, scores.shape[-1])
    order = np.argsort(rows, axis=0)  # NaN last
    known = np.count_nonzero(~np.isnan(rows), axis=0)
    columns = [column[:some] for column, some in zip(order.T, known, strict=True)]

    def resampled(drawn: Ints) -> Floats:
        pooled = drawn.reshape(len(rows), -1)
        parts = [_iqm_of_sorted(rows[o, j], pooled[o]) for j, o in enumerate(columns)]
        return np.stack(parts, axis=1)

    return resampled


def _iqm_of_sorted(scores: Floats, drawn: Ints) -> Floats:
    """Return the interquartile means of ascending scores `[n]` that were drawn so often, `[n, block]`."""
    if not len(scores):
        return np.full(drawn.shape[1], np.nan)
    reached = np.cumsum(drawn, axis=0, dtype=drawn.dtype)
    total = reached[-1]
    cut = total // 4
    kept = np.diff(np.clip(reached, cut, total - cut), axis=0, prepend=cut[None])
    finite = np.isfinite(scores)
    sums = scores[finite] @ kept[finite].astype(np.float64)
    with np.errstate(invalid="ignore"):  # a resample of seeds without a score, or with both infinities
        for infinity in (-np.inf, np.inf):  # 0 times infinity is NaN
            sums[kept[scores == infinity].any(axis=0)] += infinity
        return sums / (total - 2 * cut)


def task_means_of(scores: Floats) -> Callable[[Ints], Floats]:
    """Return each task's mean of `[seeds, tasks, points]` as a function of counts, `[block, tasks, points]`."""
    by_task = scores.transpose(1, 0, 2)
    finite, ones = np.where(np.isfinite(by_task), by_task, 0), (~np.isnan(by_task)).astype(np.float64)
    infinite = [(x, (by_task == x).astype(np.float64)) for x in (-np.inf, np.inf) if (by_task == x).any()]

    def resampled(drawn: Ints) -> Floats:
        often = drawn.transpose(1, 2, 0).astype(np.float64)
        sums = often @ finite
        with np.errstate(invalid="ignore"):
            for infinity, where in infinite:  # 0 times infinity is NaN
                sums += np.where(often @ where > 0, infinity, 0)
            return (sums / (often @ ones)).transpose(1, 0, 2)

    return resampled


def percentiles(resampled: Floats, confidence: float) -> Floats:
    """Return the ends of the percentile interval over the first axis, `[2, ...]`; NaN is left out.

    An end that lies between two values, one of them infinite, is infinite; between both infinities the outer one.
    """
    ends = [(1 - confidence) / 2, (1 + confidence) / 2]
    quantile = np.nanquantile if np.isnan(resampled).any() else np.quantile
    if not np.isinf(resampled).any():
        return quantile(resampled, ends, axis=0)
    below, above = (quantile(resampled, ends, axis=0, method=side) for side in ("lower", "higher"))
    last = np.count_nonzero(~np.isnan(resampled), axis=0) - 1
    with np.errstate(invalid="ignore"):
        between = below + np.stack([end * last % 1 for end in ends]) * (above - below)
    outer = np.stack([below[0], above[1]])
    return np.where(below == above, below, np.where(np.isnan(between), outer, between))
