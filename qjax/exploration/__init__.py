"""How an agent behaves: policies as action probabilities, and schedules of their constants.

Read `policies`, then `schedules`. Imports `core`.
"""

from qjax.exploration.policies import draw

__all__ = ["draw"]
