"""Statistics of runs: interquartile means, intervals, profiles, comparisons of seeds.

Read `estimates`, then `resampling`. Imports `core`.
"""

from qjax.stats.estimates import (
    LEAST_SEEDS,
    Estimate,
    Paired,
    Statistic,
    area,
    estimate,
    improvement,
    iqm,
    iqm_interval,
    mean,
    median,
    optimality_gap,
    paired,
    profile,
    wilson,
)

__all__ = [
    "LEAST_SEEDS",
    "Estimate",
    "Paired",
    "Statistic",
    "area",
    "estimate",
    "improvement",
    "iqm",
    "iqm_interval",
    "mean",
    "median",
    "optimality_gap",
    "paired",
    "profile",
    "wilson",
]
