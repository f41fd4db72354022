"""Heads for recorded data: what keeps values low, or choices near, where the data say nothing."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from qjax.core.checks import check_range, check_record, describe
from qjax.core.default_rules import makes_usual
from qjax.objectives.heads import huber, scalar
from qjax.objectives.returns import at_action
from qjax.types import Head


@makes_usual
def conservative(head: Head | None = None, alpha: Any = 1.0) -> Head:
    """Return a head that also lowers the values of actions that were not taken: CQL(H) for discrete actions.

    To the loss of each transition alpha (log sum_b exp Q(s, b) - Q(s, a)) is added, of whatever Q the head finds in
    the network's output; masked actions do not count. The priority and the target stay the head's.

    Source: Kumar et al. 2020, "Conservative Q-learning", equation 4.

    Args:
        head: default `scalar()`.
        alpha: the weight; with 0 the loss is the head's own.

    Raises:
        TypeError: `head` is no `Head`, or alpha no number.
        ValueError: alpha is negative or infinite.

    """
    inner = scalar() if head is None else head
    check_record("head", inner, Head)
    check_range("alpha", alpha, 0, float("inf"))

    def loss(out, action, y):
        q = inner.values(out)
        own, priority = inner.loss(out, action, y)
        return own + alpha * (jax.nn.logsumexp(q) - at_action(q, action)), priority

    return inner._replace(loss=loss)


@makes_usual
def behaviour_cloning() -> Head:
    """Return the head of a network whose output `[A]` is the logits of the actions that the data took.

    The loss is -log softmax(out)[a], the cross-entropy; rewards do not count. The value of an action is its
    log-probability, so greedy is the likeliest action. The priority is the loss.
    """

    def target(reward, discount, next_out, weights):
        return jnp.zeros_like(reward)

    def loss(out, action, y):
        surprise = -at_action(jax.nn.log_softmax(out), action)
        return surprise, surprise

    return Head(jax.nn.log_softmax, target, loss)


@makes_usual
def batch_constrained(threshold: Any = 0.3, penalty: Any = 0.01, head: Head | None = None) -> Head:
    """Return the head of discrete BCQ, for a network of outputs `[A, 2]`: a value and a logit of each action.

    With G(a|s) the softmax of the logits, only actions with G(a|s) / max_b G(b|s) above the threshold have a value,
    and the likeliest; the others' is minus infinity, so that no policy takes them. With the target policy `double`
    targets are the published ones: the best of those for the online network, valued by the target network. The loss
    is that of the values plus -log G(a|s) plus `penalty` times the mean of the squared logits. The priority is that
    of the values.

    Source: Fujimoto et al. 2019, "Benchmarking batch deep reinforcement learning algorithms", section 4.

    Args:
        threshold: in [0, 1]: with 0 every action has a value, with 1 the likeliest alone.
        penalty: of the logits; its authors' code has 0.01.
        head: of the values `[A]`; default `scalar(huber())`, as published.

    Raises:
        TypeError: `head` is no `Head`, or a number none.
        ValueError: the threshold lies outside [0, 1], the penalty is negative, or (at trace time) the network's
            output is not `[A, 2]`.

    """
    check_range("threshold", threshold, 0, 1)
    check_range("penalty", penalty, 0, float("inf"))
    inner = scalar(huber()) if head is None else head
    check_record("head", inner, Head)

    def q(out):
        values, logits = _value_and_logit(out)
        likely = (logits - logits.max() > jnp.log(threshold)) | (logits == logits.max())
        return jnp.where(likely & (logits > -jnp.inf), inner.q(values), -jnp.inf)

    def target(reward, discount, next_out, weights):
        return inner.target(reward, discount, _value_and_logit(next_out)[0], weights)

    def loss(out, action, y):
        values, logits = _value_and_logit(out)
        own, priority = inner.loss(values, action, y)
        surprise = -at_action(jax.nn.log_softmax(logits), action)
        squares = jnp.where(logits > -jnp.inf, logits, 0) ** 2
        return own + surprise + penalty * squares.mean(), priority

    return Head(q, target, loss, unrestricted=lambda out: inner.q(_value_and_logit(out)[0]))


def _value_and_logit(out: Any) -> tuple[Float[Array, " A"], Float[Array, " A"]]:
    """Return the two columns of a network's output."""
    if getattr(out, "ndim", 0) != 2 or out.shape[1] != 2:
        raise ValueError(
            "a batch-constrained head needs an output [A, 2], a value and a logit of each action;"
            f" the network's output is {describe(out)}"
        )
    return out[:, 0], out[:, 1]
