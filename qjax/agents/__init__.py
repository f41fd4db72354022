"""Agents: made of the pure pieces; they know no loop and no environment."""

from qjax.agents.dqn import DQNState, dqn, td_loss
from qjax.agents.pqn import PQNState, pqn
from qjax.agents.tabular import CountedState, VisitCount, tabular, tabular_update, visit_count
from qjax.agents.traces import TracesState, traces, uncut, watkins

__all__ = [
    "CountedState",
    "DQNState",
    "PQNState",
    "TracesState",
    "VisitCount",
    "dqn",
    "pqn",
    "tabular",
    "tabular_update",
    "td_loss",
    "traces",
    "uncut",
    "visit_count",
    "watkins",
]
