"""What is made for recorded data: conservative values, and actions near the data's.

Each may also learn from what it sees, as every DQN may learn from recorded data.
"""

from dataclasses import dataclass
from typing import Literal

from qjax.algorithms.constants import EpsilonGreedy, Parts, Real
from qjax.algorithms.deep import LOSSES, QRDQN, Replay, Weights, compose_dqn
from qjax.core.annotations import checked
from qjax.core.checks import check_size, one_of
from qjax.objectives.heads import quantile, scalar
from qjax.objectives.offline import batch_constrained, conservative
from qjax.objectives.target_policies import double
from qjax.types import Env


@dataclass(frozen=True, kw_only=True)
class CQL(QRDQN):
    """Constants of conservative Q-learning, on QR-DQN as published for discrete actions."""

    alpha: Real = 1.0
    """Weight of what lowers the values of actions that were not taken."""


@dataclass(frozen=True, kw_only=True)
class BCQ(EpsilonGreedy, Weights, Replay):
    """Constants of discrete batch-constrained deep Q-learning."""

    loss: Literal["squared", "huber"] = "huber"
    """Loss of a temporal-difference error: squared or huber."""
    threshold: Real = 0.3
    """Probability of an action, relative to the likeliest one's, above which it may be taken; 0: all may, 1: the
    likeliest alone, which is behaviour cloning."""
    penalty: Real = 0.01
    """Weight of the mean square of the logits."""


@checked
def cql(env: Env, config: CQL) -> Parts:
    """Return conservative Q-learning, CQL(H) (Kumar et al. 2020)."""
    net = {"atoms": check_size("quantiles", config.quantiles)}
    return compose_dqn(env, config, head=conservative(quantile(config.kappa), config.alpha), net=net)


@checked
def bcq(env: Env, config: BCQ) -> Parts:
    """Return discrete BCQ (Fujimoto et al. 2019): values and the data's actions are learned by one network."""
    values = scalar(one_of("loss", config.loss, LOSSES))
    head = batch_constrained(config.threshold, config.penalty, values)
    return compose_dqn(env, config, head=head, target_policy=double, net={"atoms": 2})
