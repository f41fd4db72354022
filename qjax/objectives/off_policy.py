"""Off-policy returns: how far targets look ahead along what another policy did, and what is subtracted on the way.

G_t = r_t + d_t [ v_t + c_t (G_{t+1} - b_t) ], with d the discount and v_t the value of the successor under the
target policy. A trace says c_t and b_t; both are of the action that was taken at the successor.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from qjax.core.annotations import checked
from qjax.core.checks import check_range
from qjax.core.default_rules import makes_usual, usual
from qjax.objectives.returns import bootstrapped, expected_value
from qjax.types import Weights


class Trace(NamedTuple):
    """How much of what follows an action counts."""

    step: Callable[[Float[Array, " A"], Weights, Int[Array, ""], Any], tuple[Array, Array]]
    """`(q, weights, action, probability) -> (c, b)`: of the values `[A]` where an action was taken, by the target
    network, of the target policy's distribution there, of that action and the probability with which it was taken,
    the share of the return after it that counts, and what is subtracted from that."""
    reads_probability: bool = False
    """Whether it reads the probability, which is `()` else."""


@usual
@checked
def off_policy_returns(
    reward: Float[Array, " T"],
    discount: Float[Array, " T"],
    last: Bool[Array, " T"],
    value: Float[Array, " T"],
    trace: Float[Array, " T"],
    baseline: Float[Array, " T"],
) -> Float[Array, " T"]:
    """Return G_t = r_t + d_t [ v_t + c_t (G_{t+1} - b_t) ] of T consecutive steps of one environment.

    Where an episode ends, and in the last row, c counts as 0: a time limit bootstraps from the true successor's
    value, and nothing of the next episode leaks in, not even a NaN.

    Source: Munos et al. 2016, equation 4, in its recursive form (Harutyunyan et al. 2016, equation 6).

    Args:
        reward: r.
        discount: d = gamma (1 - terminated).
        last: terminated | truncated.
        value: v, of the true successors.
        trace: c, of the actions taken there.
        baseline: b, Q of these actions, but for Peng's Q(lambda).

    """

    def back(later: Any, row: Any) -> tuple[Any, Any]:
        reward, discount, last, value, trace, baseline = row
        ahead = jnp.where(last | (trace == 0), 0, trace * (later - baseline))
        later = bootstrapped(reward, discount, value + ahead)
        return later, later

    rows = (reward, discount, last.at[-1].set(True), value, trace, baseline)
    return lax.scan(back, jnp.zeros_like(reward[0]), rows, reverse=True)[1]


def _chance(weights: Weights, action: Int[Array, ""]) -> Float[Array, ""]:
    return weights[action].astype(jnp.float32)


@makes_usual
def retrace(lam: Any = 1.0) -> Trace:
    """Return the trace c = lambda min(1, pi(a) / mu(a)) (Munos et al. 2016, Retrace): safe and efficient.

    Of a policy that remembers mu is what it said of the action, which is 1 where it drew that itself before: then c
    is smaller, and safe all the same.

    Raises:
        ValueError: lambda lies outside [0, 1].

    """
    check_range("lambda", lam, 0, 1)

    def trace(q, weights, action, probability):
        return lam * jnp.minimum(1.0, _chance(weights, action) / probability), q[action]

    return Trace(trace, reads_probability=True)


@makes_usual
def tree_backup(lam: Any = 1.0) -> Trace:
    """Return the trace c = lambda pi(a), which no behaviour enters (Precup et al. 2000, tree backup).

    Raises:
        ValueError: lambda lies outside [0, 1].

    """
    check_range("lambda", lam, 0, 1)
    return Trace(lambda q, weights, action, _: (lam * _chance(weights, action), q[action]))


@makes_usual
def watkins_trace(lam: Any = 1.0) -> Trace:
    """Return the trace c = lambda where the action was greedy, else 0 (Watkins 1989).

    An action that ties for the largest value is greedy.

    Raises:
        ValueError: lambda lies outside [0, 1].

    """
    check_range("lambda", lam, 0, 1)
    return Trace(lambda q, weights, action, _: (jnp.where(q[action] >= q.max(), lam, 0.0), q[action]))


@makes_usual
def peng_trace(lam: Any = 1.0) -> Trace:
    """Return the trace c = lambda with b = v: the returns of `qjax.lambda_returns` (Peng and Williams 1996).

    It looks ahead whatever was done, and so learns of a mixture of both policies.

    Raises:
        ValueError: lambda lies outside [0, 1].

    """
    check_range("lambda", lam, 0, 1)
    return Trace(lambda q, weights, action, _: (jnp.float32(lam), expected_value(weights, q)))
