"""Rewards: what a target adds to the discounted values, the environment's own reward or one with a bonus.

A reward is a plain function `(transition, q, q_next, weights, time) -> reward`; `q` and `q_next` are the target
network's values of the observation and of its successor.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from qjax.core.annotations import checked
from qjax.core.checks import check_range
from qjax.core.default_rules import makes_usual, usual
from qjax.exploration.policies import below_largest, over_temperature
from qjax.objectives.returns import expected_value
from qjax.types import Time, Transition, Weights


@checked
def environment_reward(
    transition: Transition,
    q: Float[Array, " A"],
    q_next: Float[Array, " A"],
    weights: Weights,
    time: Time,
) -> Float[Array, ""]:
    """Return the environment's own reward: the `Reward` of plain DQN."""
    return transition.reward


@usual
def _scaled_log_softmax(q: Float[Array, " A"], temperature: Any) -> Float[Array, " A"]:
    """Return temperature * log softmax(q / temperature), accurate at small temperatures."""
    return below_largest(q) - temperature * jax.nn.logsumexp(over_temperature(q, temperature))


@makes_usual
def munchausen(temperature: Any = 0.03, alpha: Any = 0.9, low: Any = -1.0) -> dict[str, Any]:
    """Return the target policy and the reward of Munchausen DQN, for `dqn(network, optimizer, **munchausen())`.

    With pi = softmax(q / tau) of the target network's values, tau the temperature, the target is

        r + alpha [tau log pi(a|s)] clipped to [low, 0]
          + gamma (1 - terminated) sum_a' pi(a'|s') [ Q(s',a') - tau log pi(a'|s') ]

    (Vieillard et al. 2020, equation 2, its log-policy clipped as in the experiments). The target policy weighs next
    actions by pi, so with a distributional head the target is the mixture of their distributions, moved by the
    bonus. With alpha 0 it is soft DQN. All three numbers may be traced.

    It is of one step: over n every step would have a bonus and an entropy, and the values of all states between
    would be needed. A loop with n-step transitions is refused.

    Raises:
        ValueError: the temperature is not positive, alpha lies outside [0, 1], or low above 0.

    """
    check_range("Munchausen temperature", temperature, 0, float("inf"), open_low=True)
    check_range("Munchausen alpha", alpha, 0, 1)
    check_range("Munchausen low", low, -float("inf"), 0, infinite=True)

    def target_policy(key, transition, q_online, q_target, time):
        return jnp.exp(_scaled_log_softmax(q_target, temperature) / temperature)

    def reward(transition, q, q_next, weights, time):
        bonus = alpha * jnp.clip(_scaled_log_softmax(q, temperature)[transition.action], low, 0)
        entropy = -expected_value(weights, _scaled_log_softmax(q_next, temperature))
        return transition.reward + bonus + transition.discount * entropy

    return {"target_policy": target_policy, "reward": reward}
