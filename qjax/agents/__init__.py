"""Agents, made of the pieces below them: they know no loop and no environment.

Read `tabular`, `dqn`, then `traces`, `pqn`, `recurrent`, `averaged`, `maxmin`, `ensembles`,
`plasticity`, `streaming` and `qrc`. Imports `replay` and
what is below.
"""

from qjax.agents.dqn import DQNState
from qjax.agents.ensembles import BootstrappedState
from qjax.agents.normalized import Moments, NormalizedState
from qjax.agents.plasticity import Reset, ResettableState
from qjax.agents.pqn import PQNState
from qjax.agents.qrc import QRCParams, QRCState
from qjax.agents.streaming import StreamQState
from qjax.agents.tabular import CountedState, VisitCount
from qjax.agents.traces import Cut, TracesState

__all__ = [
    "BootstrappedState",
    "CountedState",
    "Cut",
    "DQNState",
    "Moments",
    "NormalizedState",
    "PQNState",
    "QRCParams",
    "QRCState",
    "Reset",
    "ResettableState",
    "StreamQState",
    "TracesState",
    "VisitCount",
]
