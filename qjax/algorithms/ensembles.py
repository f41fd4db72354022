"""The ensembles of the deep family: bootstrapped, averaged and maxmin DQN."""

from dataclasses import dataclass

import jax.numpy as jnp

from qjax.agents.averaged import averaged_dqn as averaged_agent
from qjax.agents.ensembles import bootstrapped
from qjax.agents.maxmin import maxmin_dqn as maxmin_agent
from qjax.algorithms.constants import Parts, Real, Whole
from qjax.algorithms.deep import DQN, Plain, Replay, Weights, compose_dqn
from qjax.core.annotations import checked
from qjax.core.checks import check_range, check_size
from qjax.exploration.policies import greedy
from qjax.types import Env


@dataclass(frozen=True, kw_only=True)
class BootstrappedDQN(Plain, Weights, Replay):
    """Constants of bootstrapped DQN, whose members differ by a fixed random function, and which acts greedily."""

    hidden: tuple[int, ...] = (50, 50)
    learning_rate: Real = 1e-3
    warmup: int = 200
    target_period: Whole = 100
    members: int = 10
    """Members of the ensemble, one of which acts in an episode."""
    mask_probability: Real = 0.5
    """With which a member learns from a transition."""
    prior_scale: Real = 3.0
    """Factor of the fixed random network in each member; 0: none."""
    vote: bool = False
    """Whether an evaluation acts on the members' votes, not on the mean of their values."""


@dataclass(frozen=True, kw_only=True)
class AveragedDQN(DQN):
    """Constants of Averaged DQN."""

    copies: int = 10
    """Copies of the network, the last ones, whose mean is the target."""


@dataclass(frozen=True, kw_only=True)
class MaxminDQN(DQN):
    """Constants of Maxmin DQN."""

    members: int = 4
    """Networks, of which the least value of each action counts."""
    learners: int = 1
    """How many of them learn at an update."""


@checked
def bootstrapped_dqn(env: Env, config: BootstrappedDQN) -> Parts:
    """Return bootstrapped DQN with randomised priors (Osband et al. 2016; Osband et al. 2018)."""
    members = check_size("members", config.members, least=2)
    check_range("mask_probability", config.mask_probability, 0, 1, open_low=True)
    check_range("prior_scale", config.prior_scale, 0, float(jnp.finfo(jnp.float32).max))
    parts = compose_dqn(env, config, policy=greedy, net={"prior_scale": config.prior_scale})
    agent = bootstrapped(parts.agent, members, config.mask_probability, config.vote)
    return parts._replace(agent=agent)


@checked
def averaged_dqn(env: Env, config: AveragedDQN) -> Parts:
    """Return Averaged DQN (Anschel et al. 2017)."""
    return compose_dqn(env, config, learns=averaged_agent, copies=config.copies)


@checked
def maxmin_dqn(env: Env, config: MaxminDQN) -> Parts:
    """Return Maxmin DQN (Lan et al. 2020)."""
    members = check_size("members", config.members, least=2)
    return compose_dqn(env, config, learns=maxmin_agent, size=members, learners=config.learners)
