"""Targets and errors of temporal-difference learning, for one transition."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from qjax.types import Weights


def td_target(
    reward: Float[Array, ""],
    discount: Float[Array, ""],
    next_q: Float[Array, " A"],
    weights: Weights,
) -> Float[Array, ""]:
    """Return y = r + gamma (1 - terminated) sum_a' w(a') Q(s', a').

    With all weight on the largest value this is r + gamma max_a' Q(s', a'), the target of Q-learning (Watkins
    1989; Sutton and Barto 2018, equation 6.8) and, with the values of the target network theta-, of DQN (Mnih et
    al. 2015, equation 2).

    Args:
        reward: r.
        discount: gamma (1 - terminated), so a terminated step does not bootstrap and a truncated one does.
        next_q: Q(s', .) at the true successor.
        weights: a distribution over next actions, as a select gives it.

    """
    return reward + discount * (weights * next_q).sum()


def td_error(q: Float[Array, " A"], action: Int[Array, ""], target: Float[Array, ""]) -> Float[Array, ""]:
    """Return delta = y - Q(s, a) (Sutton and Barto 2018, equation 6.5)."""
    return target - q[action]


def of_action(values: Float[Array, "A *rest"], action: Int[Array, ""]) -> Float[Array, "*rest"]:
    """Return `values[action]`, written as a sum over all actions but for one zero.

    The gradient of an index is a scatter, a program of its own on every device; that of this sum is fused with what
    comes before it.
    """
    chosen = jnp.arange(values.shape[0]) == action
    return jnp.where(chosen.reshape(-1, *(1,) * (values.ndim - 1)), values, 0).sum(0)
