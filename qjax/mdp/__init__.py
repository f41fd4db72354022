"""Finite MDPs as arrays: where they come from, as environments, and their exact solutions.

Read `arrays`, `examples` with `lakes` and `hard`, `solve`, `environment` with `alias`. Imports `exploration` and
below.
"""

from qjax.mdp.arrays import TabularMDP, checked, from_dense, from_outcomes, possible, reachable, steps_to_end
from qjax.mdp.examples import from_env, from_gymnasium, from_table, frozen_lake, garnet, toy_text
from qjax.mdp.hard import baird, deep_sea, river_swim

__all__ = [
    "TabularMDP",
    "baird",
    "checked",
    "deep_sea",
    "from_dense",
    "from_env",
    "from_gymnasium",
    "from_outcomes",
    "from_table",
    "frozen_lake",
    "garnet",
    "possible",
    "reachable",
    "river_swim",
    "steps_to_end",
    "toy_text",
]
