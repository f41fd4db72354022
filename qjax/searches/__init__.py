"""Searches: settings drawn from a space, judged in rungs of one sweep, and the winner tried on fresh seeds.

Read `space` and `samplers`, `decisions` and `scores`, `rungs`, then `search` with `prepared`, `stages`, `record`;
`sensitivities` tell how much the choice of settings matters. Imports `plot`, `sweeps` and what is below.
"""

from qjax.searches.record import Searched
from qjax.searches.rungs import Rung
from qjax.searches.samplers import Sampler, Trial, from_optuna, random, sobol
from qjax.searches.sensitivities import Line, Sensitivity, dimensionality, scaled, sensitivity
from qjax.searches.space import Range, Space, choices, integers, log_uniform, uniform

__all__ = [
    "Line",
    "Range",
    "Rung",
    "Sampler",
    "Searched",
    "Sensitivity",
    "Space",
    "Trial",
    "choices",
    "dimensionality",
    "from_optuna",
    "integers",
    "log_uniform",
    "random",
    "scaled",
    "sensitivity",
    "sobol",
    "uniform",
]
