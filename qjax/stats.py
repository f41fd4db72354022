"""Statistics over seeds, on SciPy (imported on first use)."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def iqm(scores: ArrayLike, axis: int = -1) -> NDArray[np.floating]:
    """Return the interquartile mean: the mean of the middle half (Agarwal et al. 2021, section 4.3).

    A quarter of the scores, rounded down, is cut off at each end.
    """
    from scipy.stats import trim_mean

    return np.asarray(trim_mean(np.asarray(scores, np.float64), 0.25, axis=axis))


def iqm_interval(
    scores: ArrayLike, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the interquartile mean of `scores` `[seeds]`.

    A single seed has no interval: both ends are NaN.
    """
    from scipy.stats import bootstrap

    values = np.asarray(scores, np.float64)
    if values.size < 2:
        return float("nan"), float("nan")
    interval = bootstrap(
        (values,),
        iqm,
        confidence_level=confidence,
        n_resamples=resamples,
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def wilson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval of a proportion (Wilson 1927)."""
    from scipy.stats import binomtest

    interval = binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)
