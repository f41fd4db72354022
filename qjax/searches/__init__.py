"""Searches: settings drawn from a space, judged in rungs of one sweep, and the winner tried on fresh seeds.

Read `space` and `samplers`, then `decisions`, `scores`. Imports `plot`, `sweeps` and what is below.
"""

from qjax.searches.samplers import Sampler, Trial, from_optuna, random, sobol
from qjax.searches.space import Range, Space, choices, integers, log_uniform, uniform

__all__ = [
    "Range",
    "Sampler",
    "Space",
    "Trial",
    "choices",
    "from_optuna",
    "integers",
    "log_uniform",
    "random",
    "sobol",
    "uniform",
]
