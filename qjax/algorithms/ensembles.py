"""The ensembles of the deep family: bootstrapped DQN."""

from dataclasses import dataclass

import jax.numpy as jnp

from qjax.agents.ensembles import bootstrapped
from qjax.algorithms.constants import Parts, Real, Whole
from qjax.algorithms.deep import Plain, Replay, Weights, compose_dqn
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


@checked
def bootstrapped_dqn(env: Env, config: BootstrappedDQN) -> Parts:
    """Return bootstrapped DQN with randomised priors (Osband et al. 2016; Osband et al. 2018)."""
    members = check_size("members", config.members, least=2)
    check_range("mask_probability", config.mask_probability, 0, 1, open_low=True)
    check_range("prior_scale", config.prior_scale, 0, float(jnp.finfo(jnp.float32).max))
    parts = compose_dqn(env, config, policy=greedy, net={"prior_scale": config.prior_scale})
    agent = bootstrapped(parts.agent, members, config.mask_probability, config.vote)
    return parts._replace(agent=agent)
