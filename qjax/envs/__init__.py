"""Environments as one record of functions: gymnax's, gymnasium's names, MDPs, your own.

Read `environments`, `interface`, `names`; `checking` watches one run. Imports `mdp` and what is below.
"""

from qjax.envs.checking import EnvReport

__all__ = ["EnvReport"]
