"""Target policies: which next actions a target counts, as a distribution over them.

A target policy is a plain function `(key, transition, q_online, q_target, time) -> weights [A]` of the successor's
values under the online and the target network. Where all weight is always on one action the weights are boolean.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from qjax.core.annotations import checked
from qjax.core.checks import check_callable
from qjax.core.default_rules import makes_usual, usual
from qjax.exploration.policies import argmax, draw
from qjax.types import Policy, TargetPolicy, Time, Transition


@usual
@checked
def maximum(
    key: Key[Array, ""] | None,
    transition: Transition,
    q_online: Float[Array, " A"],
    q_target: Float[Array, " A"],
    time: Time | None,
) -> Bool[Array, " A"]:
    """Put all weight on argmax_a q_target(a): Q-learning and DQN (Watkins 1989; Mnih et al. 2015)."""
    return argmax(q_target).astype(bool)


@usual
@checked
def double(
    key: Key[Array, ""] | None,
    transition: Transition,
    q_online: Float[Array, " A"],
    q_target: Float[Array, " A"],
    time: Time | None,
) -> Bool[Array, " A"]:
    """Put all weight on argmax_a q_online(a): Double DQN (van Hasselt et al. 2016, equation 4)."""
    return argmax(q_online).astype(bool)


@makes_usual
def expected(policy: Policy) -> TargetPolicy:
    """Return the target policy that weighs next actions as `policy` does: Expected SARSA (van Seijen et al. 2009).

    `policy` reads the online values.

    Raises:
        TypeError: it is no function.

    """
    check_callable("policy", policy, "(q, time) -> probabilities")
    return lambda key, transition, q_online, q_target, time: policy(q_online, time)


@makes_usual
def sampled(policy: Policy) -> TargetPolicy:
    """Return the target policy that draws one next action from `policy`: SARSA with its next action drawn afresh.

    `policy` reads the online values.

    Raises:
        TypeError: it is no function.

    """
    check_callable("policy", policy, "(q, time) -> probabilities")

    def target_policy(key, transition, q_online, q_target, time):
        action = draw(jax.random.uniform(key), policy(q_online, time))
        return jax.nn.one_hot(action, q_online.shape[-1], dtype=bool)

    return target_policy


@makes_usual
def action_taken(policy: Policy) -> TargetPolicy:
    """Return the target policy that puts all weight on the action taken next, for `with_next_action`: SARSA.

    Source: Sutton and Barto 2018, equation 6.7.

    Where a time limit left none, the next action is drawn from `policy` on the online values of the true successor.

    Raises:
        TypeError: `policy` is no function, or (at trace time) the transitions have no next action.

    """
    otherwise = sampled(policy)

    def target_policy(key, transition, q_online, q_target, time):
        check_next_action(transition)
        taken = jax.nn.one_hot(transition.next_action, q_online.shape[-1], dtype=bool)
        return jnp.where(transition.next_action >= 0, taken, otherwise(key, transition, q_online, q_target, time))

    return target_policy


def check_next_action(transition: Transition) -> None:
    """Check that a memory has added the executed next action.

    Raises:
        TypeError: it has not.

    """
    if isinstance(transition.next_action, tuple):
        raise TypeError("the transitions have no executed next action: take qjax.with_next_action() for the memory")
