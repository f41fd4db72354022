"""Agents, made of the pieces below them: they know no loop and no environment.

Read `tabular`, `dqn`, then `traces`, `pqn` and `recurrent`. Imports `replay` and what is below.
"""

from qjax.agents.dqn import DQNState
from qjax.agents.normalized import Moments, NormalizedState
from qjax.agents.pqn import PQNState
from qjax.agents.tabular import CountedState, VisitCount
from qjax.agents.traces import Cut, TracesState

__all__ = ["CountedState", "Cut", "DQNState", "Moments", "NormalizedState", "PQNState", "TracesState", "VisitCount"]
