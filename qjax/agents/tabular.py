"""Tabular Q-learning and its kin: a Q-table updated from each transition."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from qjax.checks import check_key, check_size, describe
from qjax.returns import td_error, td_target
from qjax.schedules import as_schedule
from qjax.selects import maximum
from qjax.types import Agent, Select, Time

_PER_ENV = Time(step=None, episode=None, update=None, env=0)  # type: ignore[arg-type]


def tabular_update(
    table: Float[Array, "S A"],
    obs: Int[Array, " N"],
    action: Int[Array, " N"],
    delta: Float[Array, " N"],
    alpha: Float[Array, ""] | float,
    weight: Float[Array, " N"],
) -> Float[Array, "S A"]:
    """Return Q(s, a) <- Q(s, a) + alpha delta, with the errors of N environments at once.

    Environments that hit the same entry have their errors averaged, so alpha keeps its meaning whatever their
    number. `weight` multiplies each error; weight 0 leaves an environment out, of the average too.

    Source: Watkins 1989; Sutton and Barto 2018, equation 6.8, with delta from `qjax.td_error`.
    """
    if obs.shape[0] > 1:
        same = (obs[:, None] == obs) & (action[:, None] == action)
        weight = weight / jnp.maximum((same & (weight > 0)).sum(1), 1)
    return table.at[obs, action].add(alpha * weight * delta)


def tabular(num_states: int, num_actions: int, alpha: Any, select: Select = maximum, initial: Any = 0.0) -> Agent:
    """Return a tabular agent; its state is the table Q `[S, A]`, float32.

    Each transition updates Q(s,a) <- Q(s,a) + alpha [ r + gamma (1 - terminated) sum_a' w(a') Q(s',a') - Q(s,a) ]
    with the weights of `select`; with `maximum` that is Q-learning,
    Q(s,a) <- Q(s,a) + alpha [ r + gamma max_a' Q(s',a') - Q(s,a) ] (Watkins 1989; Sutton and Barto 2018,
    equation 6.8). Rows of a batch are learned in order, the streams of a row at once (`tabular_update`).

    Args:
        num_states: S.
        num_actions: A.
        alpha: step size, a number in (0, 1] or a schedule in [0, 1].
        select: which next actions the target counts; both of its value arguments are the table's.
        initial: initial value of every entry.

    Raises:
        TypeError: a size is no whole number, or (at trace time) observations are not integer scalars.
        ValueError: a size is not positive, or alpha outside (0, 1].

    """
    check_size("num_states", num_states)
    check_size("num_actions", num_actions)
    rate = as_schedule("alpha", alpha, 0, 1, open_low=not callable(alpha))

    def init(key, obs):
        check_key(key)
        _check_obs(obs, axes=1)
        return jnp.full((num_states, num_actions), initial, jnp.float32)

    def values(noise, table, obs):
        _check_obs(obs, axes=0)
        return table[obs]

    def learn_row(key, table, row, weight, time):
        # Behind the barrier what is logged reads these rows, not the table again: the update is then in place.
        q, next_q = lax.optimization_barrier((table[row.obs], table[row.next_obs]))
        keys = jax.random.split(key, weight.size)
        weights = jax.vmap(select, in_axes=(0, 0, 0, 0, _PER_ENV))(keys, row, next_q, next_q, time)
        target = jax.vmap(td_target)(row.reward, row.discount, next_q, weights)
        delta = jax.vmap(td_error)(q, row.action, target)
        table = tabular_update(table, row.obs, row.action, delta, rate(time._replace(env=0)), weight)
        return table, (delta, jnp.take_along_axis(q, row.action[:, None], 1)[:, 0])

    def learn(key, table, batch, time):
        check_key(key)
        _check_obs(batch.data.obs, axes=2)
        time = time._replace(env=batch.env)

        def body(table, xs):
            return learn_row(xs[0], table, xs[1], xs[2], time)

        rows = (jax.random.split(key, batch.weight.shape[0]), batch.data, batch.weight)
        if batch.weight.shape[0] == 1:  # a loop of one turn would copy the table
            table, out = body(table, jax.tree.map(lambda x: x[0], rows))
            delta, q = jax.tree.map(lambda x: x[None], out)
        else:
            table, (delta, q) = lax.scan(body, table, rows)
        mean_weight = batch.weight / jnp.maximum(batch.weight.sum(), 1)
        info = {
            "loss": (mean_weight * delta**2).sum(),
            "q": (mean_weight * q).sum(),
            "priority": jnp.abs(delta).max(0),
        }
        return table, info

    return Agent(init, values, learn, inert=True)


def _check_obs(obs: Any, axes: int) -> None:
    """Check that observations with so many leading axes are integer scalars."""
    one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(np.shape(x)[axes:], jnp.result_type(x)), obs)
    leaves = jax.tree.leaves(one)
    if len(leaves) != 1 or leaves[0].shape or not jnp.issubdtype(leaves[0].dtype, jnp.integer):
        raise TypeError(f"a tabular agent needs integer scalar observations, got {describe(one)}")
