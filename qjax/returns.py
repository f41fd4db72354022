"""Targets and errors of temporal-difference learning, for one transition."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from qjax.types import Transition


def td_target(
    reward: Float[Array, ""],
    discount: Float[Array, ""],
    next_q: Float[Array, " A"],
    weights: Float[Array, " A"],
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
