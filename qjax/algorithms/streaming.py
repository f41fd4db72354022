"""What follows a gradient or a stream: Stream Q(lambda), and Q-learning with regularised corrections."""

from dataclasses import dataclass
from typing import Literal

from qjax.agents.normalized import normalized
from qjax.agents.qrc import qrc as qrc_agent
from qjax.agents.streaming import stream_q as stream_q_agent
from qjax.algorithms.constants import EpsilonGreedy, Parts, Real
from qjax.algorithms.deep import Deep, Weights, network, optimizer
from qjax.algorithms.memories import whole_capacity
from qjax.core.annotations import checked
from qjax.core.checks import check_flag, check_size
from qjax.networks.optimizers import obgd
from qjax.replay.memory import online, ring
from qjax.types import Env


@dataclass(frozen=True, kw_only=True)
class StreamQ(EpsilonGreedy, Weights):
    """Constants of Stream Q(lambda), which learns from one environment."""

    hidden: tuple[int, ...] = (64, 64)
    """Widths of the hidden layers; of images, of those after the convolution."""
    initializer: Literal["lecun_normal", "he_normal", "orthogonal", "pytorch", "sparse"] = "sparse"
    learning_rate: Real = 1.0
    """Step size alpha of ObGD, before its bound."""
    kappa: Real = 2.0
    """How far below the bound of overshooting steps stay."""
    lam: Real = 0.8
    """lambda of the traces."""
    epsilon_end: Real = 0.01
    epsilon_fraction: Real = 0.2
    normalized: bool = True
    """Whether observations and rewards are normalised by their running statistics."""


@dataclass(frozen=True, kw_only=True)
class QRC(EpsilonGreedy, Weights, Deep):
    """Constants of Q-learning with regularised corrections, which has replay and no target network."""

    capacity: int = 10_000
    """Transitions held, rounded up to whole iterations."""
    batch_size: int = 128
    """Transitions of an update."""
    warmup: int = 10_000
    """Environment steps before the first update, rounded up to whole iterations."""
    regularization: Real = 1.0
    """Weight of the regularisation of the expected errors, beta."""


@checked
def stream_q(env: Env, config: StreamQ) -> Parts:
    """Return Stream Q(lambda) (Elsayed et al. 2024): no replay, no batches, no target network."""
    net = network(env, config, norm=True)
    agent = stream_q_agent(net, obgd(config.learning_rate, config.kappa), config.lam)
    if check_flag("normalized", config.normalized):
        agent = normalized(agent, observations=env.num_states is None, rewards=True)
    return Parts(agent, config.exploration(), online())


@checked
def qrc(env: Env, config: QRC) -> Parts:
    """Return Q-learning with regularised corrections on replay (Ghiassian et al. 2020)."""
    agent = qrc_agent(network(env, config), optimizer(config, config.learning_rate), config.regularization)
    envs, rollout = check_size("num_envs", config.num_envs), check_size("rollout", config.rollout)
    warmup = -(-check_size("warmup", config.warmup, least=0) // (envs * rollout))
    memory = ring(whole_capacity(config, {"num_envs": envs, "rollout": rollout}), config.batch_size)
    return Parts(agent, config.exploration(), memory, envs, rollout, warmup=warmup)
