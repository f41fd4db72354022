"""Agents: made of the pure pieces; they know no loop and no environment."""

from qjax.agents.dqn import DQNState, dqn, td_loss
from qjax.agents.tabular import tabular, tabular_update

__all__ = ["DQNState", "dqn", "tabular", "tabular_update", "td_loss"]
