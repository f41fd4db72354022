"""Tabular Q-learning and its kin: a Q-table, or two, updated from each transition."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, Key, Shaped

from qjax.agents.acting import memoryless
from qjax.core.annotations import checked
from qjax.core.checks import (
    check_callable,
    check_index,
    check_initial,
    check_key,
    check_pairs,
    check_range,
    check_size,
    check_states,
    concrete,
)
from qjax.core.default_rules import makes_usual, usual
from qjax.core.returned import check_returned, returning_arrays
from qjax.exploration.schedules import as_schedule
from qjax.objectives.returns import left_out, td_error, td_target
from qjax.objectives.target_policies import double, maximum
from qjax.types import Agent, Batch, State, TargetPolicy, Time, Transition

UNROLLED = 4
"""Batches of at most so many rows are learned without an inner loop."""

PER_ENV = Time(step=None, episode=None, update=None, env=0)  # type: ignore[arg-type]


class VisitCount(NamedTuple):
    """A step size that falls with the updates of an entry, as `visit_count` makes it."""

    power: Any
    """The exponent of the number of updates."""
    scale: Any
    """The step size of the first update."""


class CountedState(NamedTuple):
    """State of a tabular agent whose step size is a `visit_count`."""

    table: Float[Array, "*tables S A"]
    """The values; of double Q-learning two tables."""
    visits: Int[Array, "*tables S A"]
    """Updates of each entry so far."""


def visit_count(power: Any = 1.0, scale: Any = 1.0) -> VisitCount:
    """Return the step size alpha = scale / n ** power of the n-th update of an entry, for `tabular`.

    power 1 makes the first scale 1 a plain average; powers in (1/2, 1] satisfy the conditions of convergence, and
    those below 1 converge faster (Even-Dar and Mansour 2003). Environments that meet in one entry count once, as
    their errors are averaged.

    Raises:
        ValueError: the power or the scale lies outside (0, 1].

    """
    check_range("power", power, 0, 1, open_low=True)
    check_range("scale", scale, 0, 1, open_low=True)
    return VisitCount(power, scale)


@usual
@checked
def tabular_update(
    table: Float[Array, "S A"],
    obs: Int[Array, " N"],
    action: Int[Array, " N"],
    delta: Float[Array, " N"],
    alpha: Float[Array, ""] | Float[Array, " N"] | float,
    weight: Float[Array, " N"],
) -> Float[Array, "S A"]:
    """Return Q(s, a) <- Q(s, a) + alpha delta, with the errors of N environments at once.

    Environments that hit the same entry have their errors averaged, so alpha keeps its meaning whatever their
    number. `weight` multiplies each error; weight 0 leaves an environment out, of the average too. alpha is one
    number, or one for each environment.

    Source: Watkins 1989; Sutton and Barto 2018, equation 6.8, with delta from `qjax.td_error`.

    Raises:
        ValueError: there is no such state or action.

    """
    check_index("obs", obs, len(table))
    check_index("action", action, table.shape[1])
    return _add_errors(table, (obs, action), delta, alpha, weight)


def _add_errors(table: Array, entry: tuple[Array, ...], delta: Array, alpha: Any, weight: Array) -> Array:
    """Do as `tabular_update` in a table with any number of axes, at entries given as indices `[N]` of each."""
    if delta.shape[0] > 1:
        same = jnp.stack([index[:, None] == index for index in entry]).all(0)
        weight = weight / jnp.maximum((same & (weight > 0)).sum(1), 1)
    return table.at[entry].add(alpha * weight * left_out(weight, delta))


@makes_usual
def tabular(
    num_states: int,
    num_actions: int,
    alpha: Any,
    target_policy: TargetPolicy | None = None,
    initial: Any = 0.0,
    tables: int = 1,
) -> Agent:
    """Return a tabular agent; its state is the table Q `[S, A]`, float32.

    Each transition updates Q(s,a) <- Q(s,a) + alpha [ r + gamma (1 - terminated) sum_a' w(a') Q(s',a') - Q(s,a) ]
    with the weights of `target_policy`; with `maximum` that is Q-learning,
    Q(s,a) <- Q(s,a) + alpha [ r + gamma max_a' Q(s',a') - Q(s,a) ] (Watkins 1989; Sutton and Barto 2018,
    equation 6.8). Rows of a batch are learned in order, the streams of a row at once (`tabular_update`). Only the
    rows of the table that a batch names are read and written, so the cost does not grow with S.

    With two tables, `[2, S, A]`, a fair coin tells each transition which of them learns, from the other's values;
    with `double` that is Double Q-learning,
    Q1(s,a) <- Q1(s,a) + alpha [ r + gamma Q2(s', argmax_a' Q1(s',a')) - Q1(s,a) ] (van Hasselt 2010, algorithm 1;
    Sutton and Barto 2018, section 6.7). It acts on their mean.

    Args:
        num_states: S.
        num_actions: A.
        alpha: step size, a number in (0, 1], a schedule in [0, 1], or a `visit_count`; with that the state is a
            `CountedState`, which counts each table's updates apart.
        target_policy: which next actions the target counts, from the values of the table that learns (online) and
            of the one that evaluates (target). Default `maximum`, and `double` with two tables.
        initial: initial value of every entry, or of each, `[S, A]`, in which minus infinity masks an action.
        tables: 1 or 2.

    Raises:
        TypeError: a size is no whole number, or (at trace time) observations are not integer scalars.
        ValueError: a size is not positive, there are 2**31 entries or more, alpha outside (0, 1], `initial` or (at
            trace time) the table has another shape, `initial` is not finite, or there are other than one or two
            tables.

    """
    if (tables := check_size("tables", tables)) > 2:
        raise ValueError(f"tables must be 1 or 2, got {tables}")
    one = check_pairs(num_states, num_actions, tables)
    shape = one if tables == 1 else (tables, *one)
    check_initial(initial, one)
    counts = isinstance(alpha, VisitCount)
    target_policy = (maximum if tables == 1 else double) if target_policy is None else target_policy
    check_callable("target_policy", target_policy, "(key, transition, q_online, q_target, time) -> weights")
    learn_row = _row_learner(alpha, target_policy, tables)

    def init(key, obs):
        check_key(key)
        check_states("a tabular agent", obs, axes=1)
        table = jnp.full(shape, initial, jnp.float32)
        return CountedState(table, jnp.zeros(shape, jnp.int32)) if counts else table

    def values(noise, state, obs):
        check_states("a tabular agent", obs, axes=0)
        table = check_table(state.table if counts else state, shape)
        return table[obs] if tables == 1 else table[:, obs].mean(0)

    def learn(key, state, batch, time):
        check_key(key)
        table, visits = state if counts else (state, None)
        ends, info = learn_in_order(learn_row, key, (check_table(table, shape), visits), batch, time)
        return CountedState(*ends) if counts else ends[0], info

    return Agent(init, memoryless(values), learn, zero_weight_noop=True, table=one, masks=masks_some(initial))


def _row_learner(alpha: Any, target_policy: TargetPolicy, tables: int) -> Callable[..., Any]:
    """Return what `learn_in_order` calls for each row: `(table, visits)` in and out, visits None without counts."""
    counts = isinstance(alpha, VisitCount)
    rate = as_schedule("alpha", 1.0 if counts else alpha, 0, 1, open_low=not callable(alpha))

    def learn_row(key, state, row, weight, time):
        table, visits = state
        key, where = _places(key, row, tables)
        entry = (*(index[0] for index in where), row.action)
        # All rows are read at once, and logged from there, so that the update is in place. A compiler that may read
        # the table again, as it does where it reads one row by itself, has to copy it.
        q, *next_q = lax.optimization_barrier(table[where])
        online, target = next_q[0], next_q[-1]
        keys = jax.random.split(key, weight.size)
        weigh = jax.vmap(returning_arrays("target_policy", target_policy, "weights"), in_axes=(0, 0, 0, 0, PER_ENV))
        weights = weigh(keys, row, online, target, time)
        check_returned("the weights of target_policy", weights, target.shape)
        delta = jax.vmap(td_error)(q, row.action, jax.vmap(td_target)(row.reward, row.discount, target, weights))
        if counts:
            visits = count_visits(visits, entry, weight)
            step = step_size(alpha, visits[entry])
        else:
            step = rate(time._replace(env=0))
        table = _add_errors(table, entry, delta, step, weight)
        return (table, visits), (delta, jnp.take_along_axis(q, row.action[:, None], 1)[:, 0])

    return learn_row


def masks_some(initial: Any) -> bool:
    """Return whether initial values mask some action; traced ones of each entry are taken to."""
    return np.ndim(initial) > 0 and (not concrete(initial) or bool(np.isneginf(np.asarray(initial)).any()))


def count_visits(visits: Int[Array, "*tables S A"], entry: tuple[Array, ...], weight: Array) -> Array:
    """Return the counts after an update of some entries, each of which counts once; weight 0 leaves one out."""
    return visits.at[entry].max(jnp.where(weight > 0, visits[entry] + 1, 0))


def step_size(alpha: VisitCount, visits: Int[Array, "*some"]) -> Float[Array, "*some"]:
    """Return the step size of entries with so many updates, this one among them."""
    return alpha.scale / jnp.maximum(visits, 1).astype(jnp.float32) ** alpha.power


def _places(key: Any, row: Transition, tables: int) -> tuple[Any, tuple[Shaped[Array, "K N"], ...]]:
    """Return a key, and where a row's values stand in the table or tables, as indices `[K, N]` of each axis.

    They are those of the observations in the tables that learn, of their successors there, and, where there are two
    tables, of the successors in the tables that evaluate.
    """
    if tables == 1:
        return key, (jnp.stack([row.obs, row.next_obs]),)
    key, coin_key = jax.random.split(key)
    coin = (jax.random.bits(coin_key, row.action.shape) & 1).astype(jnp.int32)
    return key, (jnp.stack([coin, coin, 1 - coin]), jnp.stack([row.obs, row.next_obs, row.next_obs]))


def learn_in_order(
    learn_row: Callable[..., Any], key: Key[Array, ""], state: State, batch: Batch, time: Time
) -> tuple[State, dict[str, Array]]:
    """Learn the rows of a batch one after the other, and return the state and what is logged.

    `learn_row(key, state, row, weight, time) -> (state, (delta, q))` learns from one row, leaves `[B]`, at once.
    """
    check_states("a tabular agent", batch.data.obs, axes=2)
    time = time._replace(env=batch.env)

    def body(state, xs):
        return learn_row(xs[0], state, xs[1], xs[2], time)

    number = batch.weight.shape[0]
    rows = (jax.random.split(key, number), batch.data, batch.weight)
    if number <= UNROLLED:  # a loop of one would copy the table, and a short one hides its draws from `ahead`
        out = []
        for i in range(number):
            state, row_out = body(state, jax.tree.map(lambda x, i=i: x[i], rows))
            out.append(jax.tree.map(lambda x: x[None], row_out))
        delta, q = jax.tree.map(lambda *x: jnp.concatenate(x), *out)
    else:
        state, (delta, q) = lax.scan(body, state, rows)
    delta, q = left_out(batch.weight, delta), left_out(batch.weight, q)
    mean_weight = batch.weight / jnp.maximum(batch.weight.sum(), 1)
    info = {
        "loss": (mean_weight * delta**2).sum(),
        "q": (mean_weight * q).sum(),
        "priority": jnp.abs(delta).max(0),
    }
    return state, info


def check_table(table: Any, shape: tuple[int, ...]) -> Any:
    """Return a table that has this shape.

    Raises:
        ValueError: it has another.

    """
    if np.shape(table) != shape:
        raise ValueError(f"a table of shape {np.shape(table)} for an agent with tables of shape {shape}")
    return table
