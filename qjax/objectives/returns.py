"""Targets and errors of temporal-difference learning, for one transition or the consecutive ones of one stream."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from qjax.core.annotations import checked
from qjax.core.checks import check_index, check_range
from qjax.core.default_rules import usual
from qjax.types import Transition, Weights


@usual
@checked
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
        next_q: Q(s', .) at the true successor. Minus infinity masks an action; only where the step terminated may
            all of them be.
        weights: a distribution over next actions, as a target policy gives it.

    """
    return bootstrapped(reward, discount, expected_value(weights, next_q))


def expected_value(weights: Weights, values: Float[Array, " A"]) -> Float[Array, ""]:
    """Return sum_a w(a) v(a); an action of weight 0 counts nothing, though its value be minus infinity."""
    if weights.dtype == bool:
        return jnp.where(weights, values, 0).sum()
    return (weights * jnp.where(weights != 0, values, 0)).sum()


def left_out(weight: Any, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Return x, but 0 where it is infinite or NaN and its weight is 0: times the weight it would be NaN."""
    return jnp.where((weight > 0) | jnp.isfinite(x), x, 0)


def bootstrapped(reward: Any, discount: Any, value: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Return r + discount v; where the discount is 0 no value counts, not even minus infinity."""
    return reward + discount * jnp.where(discount != 0, value, 0)


@usual
@checked
def td_error(q: Float[Array, " A"], action: Int[Array, ""], target: Float[Array, ""]) -> Float[Array, ""]:
    """Return delta = y - Q(s, a) (Sutton and Barto 2018, equation 6.5).

    Raises:
        ValueError: there is no such action.

    """
    check_index("action", action, len(q))
    return target - q[action]


@usual
def at_action(values: Float[Array, "A *rest"], action: Int[Array, ""]) -> Float[Array, "*rest"]:
    """Return `values[action]`, written as a sum over all actions but for one zero.

    The gradient of an index is a scatter, a program of its own on every device; that of this sum is fused with what
    comes before it.
    """
    chosen = jnp.arange(values.shape[0]) == action
    return jnp.where(chosen.reshape(-1, *(1,) * (values.ndim - 1)), values, 0).sum(0)


@usual
@checked
def lambda_returns(
    reward: Float[Array, " T"],
    discount: Float[Array, " T"],
    last: Bool[Array, " T"],
    next_value: Float[Array, " T"],
    lam: Any,
) -> Float[Array, " T"]:
    """Return G of T consecutive steps of one environment, in which any number of episodes may end.

    G_t = r_t + discount_t [ lambda G_{t+1} + (1 - lambda) v_t ], where v_t is the value of the successor. Where
    an episode ends, and in the last row, where nothing later is known, G_t = r_t + discount_t v_t: a time limit
    bootstraps from the true successor, a terminated step has discount 0, and nothing of the next episode, not
    even a NaN, leaks in. lambda 0 gives the targets of one step, lambda 1 bootstraps only there.

    With v_t = max_a Q(s_{t+1}, a) these are the returns of Peng's Q(lambda), which does not stop at actions that
    were not greedy (Peng and Williams 1996), as PQN takes them (Gallici et al. 2024).

    Source: Sutton and Barto 2018, equations 12.18 (values of states) and 12.20 (of a distribution over actions).

    Args:
        reward: r.
        discount: gamma (1 - terminated).
        last: terminated | truncated.
        next_value: v, of the true successors.
        lam: lambda, in [0, 1].

    Raises:
        ValueError: lambda lies outside [0, 1].

    """
    check_range("lambda", lam, 0, 1)

    def back(later: Any, row: Any) -> tuple[Any, Any]:
        reward, discount, last, value = row
        later = bootstrapped(reward, discount, jnp.where(last, value, lam * later + (1 - lam) * value))
        return later, later

    rows = (reward, discount, last.at[-1].set(True), next_value)
    return lax.scan(back, jnp.zeros_like(reward[0]), rows, reverse=True)[1]


@usual
@checked
def n_step_transition(window: Transition) -> Transition:
    """Return n consecutive transitions of one environment, leaves `[n, ...]`, as one.

    With m the first of them that ended its episode, else n, its reward is r_1 + d_1 r_2 + ... + d_1 ... d_(m-1)
    r_m, its discount d_1 ... d_m and its successor that of row m (Sutton and Barto 2018, equation 7.1). With d =
    gamma (1 - terminated), an episode cut by a time limit bootstraps from its true successor, with gamma ** m. The
    rows after m have no part in it.
    """
    rows = [jax.tree.map(lambda x, k=k: x[k], window) for k in range(window.reward.shape[0])]
    later = rows[-1]
    for row in reversed(rows[:-1]):
        longer = later._replace(
            obs=row.obs,
            action=row.action,
            reward=row.reward + row.discount * later.reward,
            discount=row.discount * later.discount,
        )
        later = jax.tree.map(partial(jnp.where, row.last), row, longer)
    return later
