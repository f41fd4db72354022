"""Agents: made of the pure pieces; they know no loop and no environment."""

from qjax.agents.dqn import DQNState, dqn, td_loss
from qjax.agents.pqn import PQNState, pqn
from qjax.agents.tabular import tabular, tabular_update

__all__ = ["DQNState", "PQNState", "dqn", "pqn", "tabular", "tabular_update", "td_loss"]
