"""Q(lambda) and SARSA(lambda): a Q-table with eligibility traces, backward view."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from qjax.agents.acting import memoryless
from qjax.agents.tabular import (
    PER_ENV,
    VisitCount,
    check_table,
    count_visits,
    learn_in_order,
    masks_some,
    step_size,
)
from qjax.core.annotations import checked
from qjax.core.checks import (
    check_callable,
    check_flag,
    check_initial,
    check_key,
    check_pairs,
    check_range,
    check_states,
)
from qjax.core.default_rules import makes_usual, usual
from qjax.core.returned import check_returned, returning_arrays
from qjax.exploration.schedules import as_schedule
from qjax.objectives.returns import left_out, td_error, td_target
from qjax.objectives.target_policies import check_next_action, maximum
from qjax.types import Agent, TargetPolicy, Transition


@runtime_checkable
class Cut(Protocol):
    """A function that says where eligibility traces are cut before their episode ends."""

    def __call__(self, transition: Transition, next_q: Float[Array, " A"], /) -> Bool[Array, ""]:
        """Return whether traces are cut, set to 0, after a step that did not end its episode.

        Args:
            transition: the step, with its `next_action`.
            next_q: values of the actions at the next observation.

        """


class TracesState(NamedTuple):
    """State of `traces`."""

    table: Float[Array, "S A"]
    """The values."""
    trace: Float[Array, "N S A"]
    """Eligibility of every entry in each environment."""
    visits: Any = ()
    """Visits of each entry so far, int32 `[S, A]`, where the step size is a `visit_count`."""


@usual
@checked
def watkins(transition: Transition, next_q: Float[Array, " A"]) -> Bool[Array, ""]:
    """Cut the traces where the executed next action is not greedy (Watkins 1989; Sutton and Barto 2018, 12.10).

    An action that ties for the largest value is greedy.

    Raises:
        TypeError: (at trace time) the transitions have no next action.

    """
    check_next_action(transition)
    return ~(next_q[transition.next_action] >= next_q.max())  # of NaN, too


@usual
@checked
def never_cut(transition: Transition, next_q: Float[Array, " A"]) -> Bool[Array, ""]:
    """Never cut the traces within an episode: SARSA(lambda)."""
    return jnp.bool_(False)


@makes_usual
def traces(
    num_states: int,
    num_actions: int,
    alpha: Any,
    lam: Any,
    target_policy: TargetPolicy = maximum,
    cut: Cut = watkins,
    replacing: bool = False,
    initial: Any = 0.0,
) -> Agent:
    """Return a tabular agent with eligibility traces; its state is a `TracesState`.

    Each transition, with its error delta as in `tabular`, does
        e(s,a) <- e(s,a) + 1
        Q <- Q + alpha delta e, for all states and actions
        e <- gamma lambda e, or 0 where `cut` says so
    and an episode's end, of either kind, sets e to 0. With a `visit_count` every entry has an alpha of its own, by
    its visits so far. With `maximum` and `watkins` it is Watkins's Q(lambda) (Sutton and Barto 1998, figure 7.14),
    with `action_taken(policy)` and `never_cut` SARSA(lambda) (figure 7.11; 2018, section 12.7); both on
    `with_next_action`. The cost of a step is that of N tables.

    Environments of a lane have traces of their own. Where several reach an entry, their errors are averaged with
    their traces as weights, and count with the largest of these: alike traces give the mean error, as in
    `tabular_update`, and one that has faded changes nothing.

    Args:
        num_states: S.
        num_actions: A.
        alpha: step size, a number in (0, 1], a schedule in [0, 1], or a `visit_count`.
        lam: lambda, in [0, 1].
        target_policy: which next actions the target counts; both of its value arguments are the table's.
        cut: which steps within an episode end the traces.
        replacing: whether a visit sets e(s,a) to 1 in place of adding 1 (Singh and Sutton 1996).
        initial: initial value of every entry, or of each, `[S, A]`, in which minus infinity masks an action.

    Raises:
        TypeError: a size is no whole number, or (at trace time) observations are not integer scalars.
        ValueError: a size is not positive, there are 2**31 entries or more, alpha outside (0, 1], lambda outside
            [0, 1], `initial` or (at trace time) the table has another shape.

    """
    shape = check_pairs(num_states, num_actions)
    counts = isinstance(alpha, VisitCount)
    check_range("lambda", lam, 0, 1)
    check_initial(initial, shape)
    check_callable("target_policy", target_policy, "(key, transition, q_online, q_target, time) -> weights")
    check_callable("cut", cut, "(transition, next_q) -> whether traces are cut")
    check_flag("replacing", replacing)
    learn_row = _row_learner(alpha, lam, target_policy, cut, replacing)

    def init(key, obs):
        check_key(key)
        check_states("a tabular agent", obs, axes=1)
        table, trace = jnp.full(shape, initial, jnp.float32), jnp.zeros((obs.shape[0], *shape), jnp.float32)
        return TracesState(table, trace, jnp.zeros(shape, jnp.int32) if counts else ())

    def values(noise, state, obs):
        check_states("a tabular agent", obs, axes=0)
        return check_table(state.table, shape)[obs]

    def learn(key, state, batch, time):
        check_key(key)
        check_table(state.table, shape)
        check_table(state.trace, (batch.weight.shape[1], *shape))
        return learn_in_order(learn_row, key, state, batch, time)

    return Agent(
        init,
        memoryless(values),
        learn,
        zero_weight_noop=True,
        table=shape,
        one_step="eligibility traces",
        in_order=True,
        masks=masks_some(initial),
    )


def _row_learner(
    alpha: Any, lam: Any, target_policy: TargetPolicy, cut: Cut, replacing: bool
) -> Callable[..., Any]:
    """Return what `learn_in_order` calls for each row: a `TracesState` in and out."""
    counts = isinstance(alpha, VisitCount)
    rate = as_schedule("alpha", 1.0 if counts else alpha, 0, 1, open_low=not callable(alpha))

    def learn_row(key, state, row, weight, time):
        q, next_q = lax.optimization_barrier((state.table[row.obs], state.table[row.next_obs]))
        keys = jax.random.split(key, weight.size)
        weigh = jax.vmap(returning_arrays("target_policy", target_policy, "weights"), in_axes=(0, 0, 0, 0, PER_ENV))
        weights = weigh(keys, row, next_q, next_q, time)
        check_returned("the weights of target_policy", weights, next_q.shape)
        delta = jax.vmap(td_error)(q, row.action, jax.vmap(td_target)(row.reward, row.discount, next_q, weights))
        counted = weight > 0
        trace = visit(state.trace, row.obs, row.action, counted, replacing)
        visits: Any = count_visits(state.visits, (row.obs, row.action), weight) if counts else ()
        step = step_size(alpha, visits) if counts else rate(time._replace(env=0))
        change = step * eligible_error(weight * left_out(weight, delta), jnp.where(_each(counted), trace, 0))
        cuts = jax.vmap(returning_arrays("cut", cut, "one bool"))
        ends = row.last | check_returned("what cut returns", cuts(row, next_q), row.last.shape)
        decay = jnp.where(counted, jnp.where(ends, 0, row.discount * lam), 1)
        state = TracesState(state.table + change, _each(decay) * trace, visits)
        return state, (delta, jnp.take_along_axis(q, row.action[:, None], 1)[:, 0])

    return learn_row


def visit(
    trace: Float[Array, "N S A"],
    obs: Int[Array, " N"],
    action: Int[Array, " N"],
    counted: Bool[Array, " N"],
    replacing: bool,
) -> Float[Array, "N S A"]:
    """Return the traces after a visit of one entry in each environment that counts."""
    envs = jnp.arange(obs.shape[0])
    if replacing:
        return trace.at[envs, obs, action].max(counted.astype(jnp.float32))
    return trace.at[envs, obs, action].add(counted.astype(jnp.float32))


def eligible_error(delta: Float[Array, " N"], trace: Float[Array, "N S A"]) -> Float[Array, "S A"]:
    """Return delta e of every entry, of several environments as `traces` says."""
    if trace.shape[0] == 1:
        return delta[0] * trace[0]
    total = trace.sum(0)
    mean = jnp.einsum("n,nsa->sa", delta, trace) / jnp.where(total > 0, total, 1)
    return mean * trace.max(0)


def _each(x: Array) -> Array:
    """Return a number of each environment, to be spread over its table."""
    return x[:, None, None]
