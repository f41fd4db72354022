"""Heads: how a network's output stands for action values, and the loss against a target."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from qjax.checks import check_range
from qjax.returns import of_action, td_target
from qjax.types import Head


def squared(delta: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Return delta ** 2, without a half: its mean over a batch is the mean squared error."""
    return delta**2


def huber(threshold: Any = 1.0) -> Callable[[Float[Array, "*shape"]], Float[Array, "*shape"]]:
    """Return the Huber loss: delta ** 2 / 2 up to the threshold k, with the half, and k (|delta| - k / 2) beyond.

    Source: Huber 1964; with k = 1 its gradient is the clipped error of Mnih et al. 2015.

    Raises:
        ValueError: the threshold is not positive.

    """
    check_range("threshold", threshold, 0, float("inf"), open_low=True)

    def loss(delta: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        size = jnp.abs(delta)
        return jnp.where(size <= threshold, 0.5 * delta**2, threshold * (size - 0.5 * threshold))

    return loss


def scalar(loss: Callable[[Float[Array, "*shape"]], Float[Array, "*shape"]] = squared) -> Head:
    """Return the head of a network whose output `[A]` is Q itself.

    The loss of one transition is `loss(y - Q(s, a))` with y = r + gamma (1 - terminated) sum_a' w(a') Q(s', a')
    (`qjax.returns.td_target`); the mean over the batch is taken by the agent. The priority is |y - Q(s, a)|.
    """

    def transition_loss(out, action, y):
        delta = y - of_action(out, action)
        return loss(delta), jnp.abs(delta)

    return Head(q=lambda out: out, target=td_target, loss=transition_loss)
