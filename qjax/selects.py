"""Selects: which next actions a target counts, as a distribution over them.

A select is a plain function `(key, transition, q_online, q_target, time) -> weights [A]` of the successor's
values under the online and the target network. Where all weight is always on one action the weights are boolean.
"""

import jax
from jaxtyping import Array, Bool, Float, Key

from qjax.policies import draw, first
from qjax.types import Policy, Select, Time, Transition


def maximum(
    key: Key[Array, ""] | None,
    transition: Transition,
    q_online: Float[Array, " A"],
    q_target: Float[Array, " A"],
    time: Time | None,
) -> Bool[Array, " A"]:
    """Put all weight on argmax_a q_target(a): Q-learning and DQN (Watkins 1989; Mnih et al. 2015)."""
    return first(q_target).astype(bool)


def double(
    key: Key[Array, ""] | None,
    transition: Transition,
    q_online: Float[Array, " A"],
    q_target: Float[Array, " A"],
    time: Time | None,
) -> Bool[Array, " A"]:
    """Put all weight on argmax_a q_online(a): Double DQN (van Hasselt et al. 2016, equation 4)."""
    return first(q_online).astype(bool)


def expected(policy: Policy) -> Select:
    """Weigh next actions as `policy` does on the online values: Expected SARSA (van Seijen et al. 2009)."""
    return lambda key, transition, q_online, q_target, time: policy(q_online, time)


def sampled(policy: Policy) -> Select:
    """Draw one next action from `policy` on the online values: SARSA with its next action drawn afresh."""

    def select(key, transition, q_online, q_target, time):
        action = draw(jax.random.uniform(key), policy(q_online, time))
        return jax.nn.one_hot(action, q_online.shape[-1], dtype=bool)

    return select
