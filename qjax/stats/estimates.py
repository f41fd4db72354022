"""Statistics over seeds and tasks (Agarwal et al. 2021, "Deep RL at the edge of the statistical precipice").

Scores are `[seeds, tasks]`, or `[seeds]` of one task; every statistic takes both axes together, by default, and
further ones, such as points of a curve, as columns of their own. NaN is a seed without a score, one in which no
episode has ended yet: it is left out of whatever is taken, and a task of none but such seeds makes a mean NaN. An
infinite score counts as what it is, and flags as 0 and 1. Intervals are percentile bootstrap intervals over seeds,
drawn within each task (stratified), and the same for the same `seed`. SciPy is imported on first use.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qjax.core.checks import check_flag, check_listed, check_range, check_size, check_whole, numbers
from qjax.core.text import shown
from qjax.stats import resampling

Floats = NDArray[np.floating]
Seeds = Sequence[int] | NDArray[np.integer]

LEAST_SEEDS = 2
"""Seeds that an interval needs."""

AXES = (0, 1)
"""Seeds and tasks."""

Axis = int | tuple[int, ...]
"""What a statistic reduces: seeds and tasks, or seeds alone."""


@runtime_checkable
class Statistic(Protocol):
    """A function that reduces scores: `np.median` and its like, and the functions below."""

    def __call__(self, scores: Any, /, axis: Any) -> Any:
        """Return the statistic of scores.

        Args:
            scores: `[seeds, tasks, ...]`.
            axis: what is reduced, given by name: the axes of seeds and tasks, (0, 1), and no others.

        """


class Estimate(NamedTuple):
    """A statistic with the ends of its interval, each a number, or an array where scores have further axes."""

    value: Any
    """The statistic."""
    low: Any
    """The interval's lower end."""
    high: Any
    """Its upper end."""


def iqm(scores: ArrayLike, axis: Axis = AXES) -> Floats:
    """Return the interquartile mean: the mean of the middle half (Agarwal et al. 2021, section 4.3).

    A quarter of the scores, rounded down, is cut off at each end. Tasks are pooled.

    Args:
        scores: `[seeds]`, `[seeds, tasks]` or `[seeds, tasks, ...]`.
        axis: what is pooled; an axis alone for columns that are no tasks.

    Raises:
        TypeError: scores are no real numbers.
        ValueError: there are no scores, or rows of different lengths, or an axis that they have not.

    """
    # SciPy's `trim_mean`, to which a test holds this, takes longer to import than a sweep to say its first return.
    values, axes = _pooled(scores, axis)
    front = np.moveaxis(values, axes, range(len(axes)))
    ranked = np.sort(front.reshape(-1, *front.shape[len(axes) :]), axis=0)  # NaN last
    known = np.count_nonzero(~np.isnan(ranked), axis=0)
    rank = np.arange(len(ranked)).reshape(-1, *[1] * (ranked.ndim - 1))
    kept = (rank >= known // 4) & (rank < known - known // 4)
    with np.errstate(invalid="ignore"):  # nothing there, or both infinities
        return np.asarray(np.where(kept, ranked, 0).sum(0) / kept.sum(0))


def mean(scores: ArrayLike, axis: Axis = AXES) -> Floats:
    """Return the mean over tasks of each task's mean; arguments and errors are those of `iqm`.

    Of one axis alone, `axis=0`, it is the mean over seeds.
    """
    means, axes = _task_means(scores, axis)
    return np.asarray(means.mean(axes))


def median(scores: ArrayLike, axis: Axis = AXES) -> Floats:
    """Return the median over tasks of each task's mean; arguments and errors are those of `iqm`.

    This is the literature's median; of one task it is the mean. `np.median` is the one over seeds.
    """
    means, axes = _task_means(scores, axis)
    return np.asarray(np.median(means, axes))


def optimality_gap(scores: ArrayLike, target: float = 1.0, axis: Axis = AXES) -> Floats:
    """Return by how much scores fall short of a target on average, 0 where they exceed it.

    Agarwal et al. 2021, section 4.3; `functools.partial` sets a target for `estimate`. Arguments and errors are
    those of `iqm`.
    """
    check_range("target", target, -np.inf, np.inf)
    return np.asarray(target - mean(np.minimum(_filled(scores), target), axis))


def estimate(
    scores: ArrayLike,
    statistic: Statistic = iqm,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Estimate:
    """Return a statistic of scores and its stratified bootstrap interval (Agarwal et al. 2021, section 4.1).

    Further axes are columns of their own, such as points of a learning curve: a seed is drawn with all its points.
    Curves of one task are `curves[:, None]`.

    Args:
        scores: `[seeds]`, `[seeds, tasks]` or `[seeds, tasks, ...]`.
        statistic: see `Statistic`; `iqm` and `mean` are fast, others see copies.
        confidence: of the interval.
        resamples: of the bootstrap.
        seed: of its random numbers.

    Returns:
        value and ends of the interval `[...]`; the ends are NaN where the value is, and where a task has fewer than
        two seeds with a score.

    Raises:
        ValueError: fewer than two seeds, no scores, a confidence outside (0, 1), or a statistic that does not
            reduce the axes that it is given.

    """
    values = _seeds(scores, confidence, resamples)
    seed = check_size("seed", seed, least=0, most=2**63 - 1)
    if not callable(statistic):
        raise TypeError(f"statistic must be a function (scores, axis=(0, 1)), got {shown(statistic)}")
    value = np.asarray(statistic(values, axis=AXES))
    taken = _resampled(values, statistic, resamples, np.random.default_rng(seed))
    if taken.shape != (resamples, *value.shape) or value.shape[: values.ndim - 2] != values.shape[2:]:
        raise ValueError(
            f"a statistic of scores {list(values.shape)} must reduce the first two axes and keep others;"
            f" it returned {list(value.shape)}, and {list(taken.shape)} for {resamples} resamples"
        )
    return _estimate(value, taken, confidence, _enough(values))


def iqm_interval(
    scores: ArrayLike, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[Any, Any]:
    """Return both ends of the interquartile mean's interval over seeds; of scores `[seeds, ...]` each is `[...]`.

    What follows the seeds are columns of their own, not tasks; see `estimate`, which raises what this does.
    """
    found = estimate(np.atleast_1d(_filled(scores))[:, None], iqm, confidence, resamples, seed)
    return found.low, found.high


def profile(
    scores: ArrayLike,
    thresholds: ArrayLike,
    average: bool = False,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Estimate:
    """Return the performance profile with pointwise intervals (Agarwal et al. 2021, section 4.2).

    Args:
        scores: `[seeds]` or `[seeds, tasks]`.
        thresholds: `[thresholds]`, in units of the scores.
        average: take the share of tasks whose mean score lies above a threshold (average-score distribution) in
            place of the share of runs (run-score distribution).
        confidence: of each point's interval.
        resamples: of the bootstrap.
        seed: of its random numbers.

    Returns:
        shares above each threshold, `[thresholds]`.

    Raises:
        ValueError: as for `estimate`; or no thresholds, or NaN among them.

    """
    values, levels = _by_task(scores), _filled(thresholds, "thresholds")
    if levels.ndim != 1 or not levels.size or np.isnan(levels).any():
        raise ValueError(f"thresholds must be a list of numbers, got {levels.tolist()}")
    if values.ndim != 2:
        raise ValueError(f"a profile needs scores [seeds, tasks], got shape {list(values.shape)}")
    if not check_flag("average", average):
        return estimate(_above(values[..., None], levels), mean, confidence, resamples, seed)

    def share(scores: Any, axis: Any) -> Floats:
        return _above(_task_means(scores, axis)[0][0, ..., None], levels).mean(0)

    return estimate(values, share, confidence, resamples, seed)


def improvement(
    x: ArrayLike, y: ArrayLike, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Estimate:
    """Return the probability that a run of X beats one of Y on the same task, averaged over tasks.

    Agarwal et al. 2021, section 4.3: the Mann-Whitney U of each task over its number of pairs, ties counted half.
    Runs of X and Y are drawn independently, so their seeds need not agree; `paired` is for those that do.

    Args:
        x: scores `[seeds]` or `[seeds, tasks]`.
        y: scores of the same tasks, of any number of seeds.
        confidence: of the interval.
        resamples: of the bootstrap.
        seed: of its random numbers.

    Raises:
        ValueError: as for `estimate`; or tasks that do not match.

    """
    xs, ys = _seeds(x, confidence, resamples, "x"), _seeds(y, confidence, resamples, "y")
    seed = check_size("seed", seed, least=0, most=2**63 - 1)
    if xs.ndim != 2 or ys.ndim != 2 or xs.shape[1] != ys.shape[1]:
        raise ValueError(
            f"scores must be [seeds, tasks] of the same tasks, got {list(xs.shape)} and {list(ys.shape)}"
        )
    size = max(resampling.COUNTED // (xs.size + ys.size), 16)
    one, other = (
        resampling.draws(stream, len(z), z.shape[1], resamples, size)
        for stream, z in zip(np.random.default_rng(seed).spawn(2), (xs, ys), strict=True)
    )
    taken = [_wins(xs, ys, resampling.counts(i), resampling.counts(j)) for i, j in zip(one, other, strict=True)]
    once = _wins(xs, ys, np.ones((*xs.shape, 1)), np.ones((*ys.shape, 1)))
    enough = np.asarray(_enough(xs) & _enough(ys))
    return _estimate(once.reshape(()), np.concatenate(taken), confidence, enough)


class Paired(NamedTuple):
    """Two runs compared seed by seed."""

    seeds: NDArray[np.integer]
    """Those that both have, ascending."""
    difference: Estimate
    """The statistic of x - y; the difference of two interquartile means is another number."""
    improvement: Estimate
    """Probability that x beats y on the same seed and task, ties counted half."""


def paired(
    x: ArrayLike,
    y: ArrayLike,
    x_seeds: Seeds | None = None,
    y_seeds: Seeds | None = None,
    statistic: Statistic = iqm,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Paired:
    """Compare two runs that have seeds in common by their differences, seed by seed.

    What a seed decides in both alike (the environment's draws, initial parameters) cancels, so that an interval is
    narrower than that of two samples in so far as it decides the score; where it decides nothing, it is as wide.

    Args:
        x: scores `[seeds]`, `[seeds, tasks]` or `[seeds, tasks, ...]`.
        y: scores of the same tasks.
        x_seeds: of the rows of x; by default row i of x and of y have the same.
        y_seeds: of the rows of y.
        statistic: of the differences, see `estimate`.
        confidence: of the intervals.
        resamples: of the bootstrap.
        seed: of its random numbers.

    Returns:
        the estimates over the seeds that both have; one that lacks a score in x or y is left out.

    Raises:
        ValueError: as for `estimate`, of the seeds that both have; or tasks that do not match, seeds that are not
            those of the rows, or a seed that comes twice.

    """
    seeds, xs, ys = _common(_by_task(x, "x"), _by_task(y, "y"), x_seeds, y_seeds)
    beats = np.where(np.isnan(xs) | np.isnan(ys), np.nan, (xs > ys) + (xs == ys) / 2)
    with np.errstate(invalid="ignore"):
        differences = np.where(xs == ys, 0, xs - ys)  # infinity less infinity too
    difference = estimate(differences, statistic, confidence, resamples, seed)
    return Paired(seeds, difference, estimate(beats, mean, confidence, resamples, seed))


def area(values: ArrayLike, env_steps: ArrayLike) -> Floats:
    """Return the mean height of learning curves: their area by the trapezoidal rule over the length of the x axis.

    A log point without a score (NaN) lies on the straight line between its neighbours. Before the first score the
    curve is as high as there, because the episode that ended first was being played, and after the last it stays.
    So all curves are means over the same steps, whenever their first episode ends.

    Args:
        values: `[..., points]`.
        env_steps: of each point, `[points]` or `[..., points]`, in any spacing.

    Returns:
        heights `[...]`, in units of the values; NaN for a curve without a score or without a step.

    Raises:
        ValueError: fewer than two points, another number of steps than of values, or steps that decrease.

    """
    heights, steps = _filled(values, "values"), _filled(env_steps, "env_steps")
    if heights.ndim < 1 or heights.shape[-1] < 2:
        raise ValueError(f"values must have at least 2 points, got shape {list(heights.shape)}")
    if steps.shape not in (heights.shape, heights.shape[-1:]):
        raise ValueError(
            f"env_steps must be of the values' points, got {list(steps.shape)} for {list(heights.shape)}"
        )
    if np.isinf(steps).any():
        raise ValueError(f"env_steps must be finite, got {steps[np.isinf(steps)][0]}")
    if (wrong := np.argwhere(~(np.diff(steps) >= 0))).size:
        *row, at = wrong[0]
        before, after = steps[(*row, at)], steps[(*row, at + 1)]
        raise ValueError(f"env_steps must not decrease, got {after:.10g} after {before:.10g}")
    steps = np.broadcast_to(steps, heights.shape)
    whole = heights.copy()
    for row in map(tuple, np.argwhere(np.isnan(heights).any(-1) & ~np.isnan(heights).all(-1))):
        known = ~np.isnan(heights[row])
        whole[row] = np.interp(steps[row], steps[row][known], heights[row][known])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.trapezoid(whole, steps) / (steps[..., -1] - steps[..., 0]))


def wilson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval of a proportion (Wilson 1927).

    Raises:
        TypeError: a count is no whole number.
        ValueError: there are no trials, or fewer than successes, or a confidence outside (0, 1).

    """
    from scipy.stats import binomtest

    successes = check_size("successes", successes, least=0)
    trials = check_size("trials", trials, least=max(successes, 1))
    _check_confidence(confidence)
    interval = binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def _filled(scores: ArrayLike, name: str = "scores") -> Floats:
    """Return scores as numbers, None as NaN."""
    try:
        found = np.asarray(scores)
    except ValueError:
        raise ValueError(f"{name} are no array: {_ragged(scores)}") from None
    given = found.ravel()
    mixed = found.dtype == object and not all(x is None or isinstance(x, int | float | np.number) for x in given)
    if mixed or found.dtype.kind not in "biufO":
        some = np.array2string(given[:3], separator=", ") if found.ndim else shown(scores)
        raise TypeError(f"{name} must be real numbers, got {some}")
    if found.dtype == object and not found.ndim:
        raise TypeError(f"{name} must be an array of numbers, got {shown(scores)}")
    try:
        values = found.astype(np.float64)
    except OverflowError:
        raise ValueError(f"{name} must fit into float64, got {shown(scores)}") from None
    if not values.size:
        raise ValueError(f"no {name}: their shape is {list(values.shape)}")
    return values


def _ragged(rows: Any) -> str:
    """Return what is wrong with nested lists that make no array."""
    lengths = dict.fromkeys(len(row) if isinstance(row, Sequence | np.ndarray) else 1 for row in rows)
    found = f": {', '.join(map(str, lengths))}" if len(lengths) > 1 else ""
    return f"rows have different lengths{found}; NaN is a seed without a score"


def _by_task(scores: ArrayLike, name: str = "scores") -> Floats:
    """Return scores `[seeds, tasks, ...]`; `[seeds]` are of one task."""
    values = _filled(scores, name)
    return values if values.ndim > 1 else values.reshape(-1, 1)


def _axes(axis: Axis, axes: int) -> tuple[int, ...]:
    """Return which of so many axes are reduced, each counted from the first."""
    own: tuple[int, ...] = axis if isinstance(axis, tuple) else (axis,)
    for each in own:
        check_whole("axis", each)
        if not -axes <= each < axes:
            raise ValueError(
                f"axis must lie in [{-axes}, {axes - 1}] of scores with {axes} axes, got {shown(axis)}"
            )
    if not own or len({each % axes for each in own}) < len(own):
        raise ValueError(f"axis must name some, each once, got {shown(axis)}")
    return tuple(each % axes for each in own)


def _pooled(scores: ArrayLike, axis: Axis) -> tuple[Floats, tuple[int, ...]]:
    """Return scores and which axes a statistic reduces, seeds first."""
    values = _by_task(scores) if isinstance(axis, tuple) and len(axis) > 1 else _filled(scores)
    return values, _axes(axis, values.ndim)


def _seeds(scores: ArrayLike, confidence: float, resamples: int, name: str = "scores") -> Floats:
    """Return scores `[seeds, tasks, ...]` of which an interval can be taken."""
    values = _by_task(scores, name)
    if len(values) < LEAST_SEEDS:
        raise ValueError(f"an interval needs at least {LEAST_SEEDS} seeds, got {len(values)}")
    _check_confidence(confidence)
    check_size("resamples", resamples)
    return values


def _check_confidence(confidence: float) -> None:
    given = numbers("confidence", confidence)
    if given.shape or not 0 < given < 1:
        raise ValueError(f"confidence must lie in (0, 1), got {shown(confidence)}")


def _common(
    x: Floats, y: Floats, x_seeds: Seeds | None, y_seeds: Seeds | None
) -> tuple[NDArray[np.integer], Floats, Floats]:
    """Return the seeds that both have, ascending, and the scores of x and y of those."""
    if x.shape[1:] != y.shape[1:]:
        raise ValueError(f"scores must be of the same tasks, got shapes {list(x.shape)} and {list(y.shape)}")
    if x_seeds is None or y_seeds is None:
        if x_seeds is not None or y_seeds is not None or len(x) != len(y):
            raise ValueError(f"give x_seeds and y_seeds to pair {len(x)} seeds with {len(y)}")
        x_seeds = y_seeds = np.arange(len(x))
    seeds, i, j = np.intersect1d(_names("x", x, x_seeds), _names("y", y, y_seeds), return_indices=True)
    if len(seeds) < LEAST_SEEDS:
        raise ValueError(
            f"an interval needs at least {LEAST_SEEDS} seeds in common, got {len(seeds)} of {len(x)} and {len(y)}"
        )
    return seeds, x[i], y[j]


def _names(name: str, scores: Floats, seeds: Seeds) -> NDArray[np.integer]:
    """Return the seeds of the rows, each there once."""
    given = np.array(
        [check_size("seeds", seed, 0, 2**63 - 1) for seed in check_listed(f"{name}_seeds", seeds, "seeds")]
    )
    if given.shape != scores.shape[:1]:
        raise ValueError(f"{name} has scores of {len(scores)} seeds, {name}_seeds has shape {list(given.shape)}")
    found, times = np.unique(given, return_counts=True)
    if (times > 1).any():
        raise ValueError(f"{name}_seeds has {found[times > 1][0]} {times[times > 1][0]} times: choose one setting")
    return given


def _task_means(scores: ArrayLike, axis: Axis) -> tuple[Floats, tuple[int, ...]]:
    """Return each task's mean over seeds, whose axis stays with length 1, and which axes a statistic reduces."""
    values, axes = _pooled(scores, axis)
    known, over = ~np.isnan(values), axes[0]
    with np.errstate(invalid="ignore"):  # a task without a score, or with both infinities
        return np.where(known, values, 0).sum(over, keepdims=True) / known.sum(over, keepdims=True), axes


def _above(scores: Floats, thresholds: Floats) -> Floats:
    return np.where(np.isnan(scores), np.nan, scores > thresholds)


def _resampled(values: Floats, statistic: Statistic, resamples: int, rng: np.random.Generator) -> Floats:
    """Return the statistic of resamples of `[seeds, tasks, ...]`, `[resamples, ...]`."""
    seeds, tasks, *points = values.shape
    if statistic is iqm or statistic is mean:
        columns = values.reshape(seeds, tasks, -1)
        of = resampling.iqm_of(columns) if statistic is iqm else resampling.task_means_of(columns)
        size = max(resampling.COUNTED // (seeds * tasks), 16)
        blocks = [of(resampling.counts(i)) for i in resampling.draws(rng, seeds, tasks, resamples, size)]
        taken = np.concatenate(blocks)
        return (taken if statistic is iqm else taken.mean(1)).reshape(resamples, *points)
    size, task = max(resampling.GATHERED // values.size, 1), np.arange(tasks)[:, None]
    drawn = (i.transpose(2, 1, 0) for i in resampling.draws(rng, seeds, tasks, resamples, size))
    parts = [np.asarray(statistic(values[i, task], axis=AXES)) for i in drawn]
    return np.concatenate([part.reshape(-1) if part.ndim < 1 else part for part in parts])


def _wins(x: Floats, y: Floats, x_drawn: Any, y_drawn: Any) -> Floats:
    """Return the probability that x beats y of runs drawn so often, `[seeds, tasks, block]`, as `[block]`."""
    shares = []
    for task in range(x.shape[1]):
        i, j = (np.flatnonzero(~np.isnan(z[:, task])) for z in (x, y))
        j = j[np.argsort(y[j, task])]
        often, others = x_drawn[i, task], y_drawn[j, task]
        reached = np.concatenate([np.zeros_like(others, shape=(1, others.shape[1])), np.cumsum(others, axis=0)])
        below, upto = (np.searchsorted(y[j, task], x[i, task], side) for side in ("left", "right"))
        wins = (often * (reached[below] + reached[upto]) / 2).sum(0)
        with np.errstate(invalid="ignore"):  # no scores
            shares.append(wins / (often.sum(0) * reached[-1]))
    return np.mean(shares, axis=0)


def _enough(values: Floats) -> NDArray[np.bool_]:
    """Return where each task has as many scores as an interval needs, of `[seeds, tasks, ...]`."""
    return np.asarray((np.count_nonzero(~np.isnan(values), axis=0) >= LEAST_SEEDS).all(0))


def _estimate(value: Floats, taken: Floats, confidence: float, enough: NDArray[np.bool_]) -> Estimate:
    """Return the estimate from values of resamples `[resamples, ...]`; without an interval where not `enough`."""
    usable = ~np.isnan(value) & enough.reshape(enough.shape + (1,) * (value.ndim - enough.ndim))
    ends = resampling.percentiles(np.where(usable, taken, 0), confidence)
    low, high = (np.where(usable, end, np.nan)[()] for end in ends)
    return Estimate(value[()], low, high)
