"""Exploration by counts, for tables: a bonus for what was seldom tried, on rewards or in a learned model."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from qjax.agents.acting import memoryless
from qjax.agents.tabular import check_table, masks_some
from qjax.core.checks import (
    check_initial,
    check_key,
    check_pairs,
    check_range,
    check_record,
    check_size,
    check_states,
)
from qjax.core.default_rules import makes_usual
from qjax.objectives.returns import left_out
from qjax.types import Agent, State, no_carry, no_sync, no_update


class CountBonusState(NamedTuple):
    """The state of an agent with a `count_bonus`."""

    agent: State
    """Its own."""
    visits: Int[Array, "S A"]
    """How often each action was taken in each state."""


@makes_usual
def count_bonus(agent: Agent, beta: Any) -> Agent:
    """Return a tabular agent that adds beta / sqrt(n(s, a)) to every reward it learns from.

    n counts how often the environments took the action in the state; replayed and planned transitions do not
    count. It is the bonus of MBIE-EB (Strehl and Littman 2008, section 3.2), without the model. What was never
    taken has no bonus: give it optimistic initial values, or whatever is tried first looks best.

    Args:
        agent: a tabular one, `qjax.tabular` or `qjax.traces`.
        beta: at least 0; may be traced.

    Raises:
        TypeError: the agent has no table, or remembers something.
        ValueError: beta is negative or not finite.

    """
    check_record("agent", agent, Agent)
    check_range("beta", beta, 0, float("inf"))
    shape = agent.table
    if shape is None or agent.begin is not no_carry:
        raise TypeError("count_bonus takes an agent with a table of states and actions, as qjax.tabular makes")

    def init(key, obs):
        return CountBonusState(agent.init(key, obs), jnp.zeros(shape, jnp.int32))

    def values(noise, state, obs):
        return agent.values(noise, state.agent, obs)

    def observe(state, block):
        own = state.agent if agent.observe is no_update else agent.observe(state.agent, block)
        return CountBonusState(own, state.visits.at[block.obs, block.action].add(1))

    def learn(key, state, batch, time):
        visits = jnp.maximum(state.visits[batch.data.obs, batch.data.action], 1)
        data = batch.data._replace(reward=batch.data.reward + beta / jnp.sqrt(visits))
        own, info = agent.learn(key, state.agent, batch._replace(data=data), time)
        return state._replace(agent=own), info

    def sync(key, state, elapsed):
        return state._replace(agent=agent.sync(key, state.agent, elapsed))

    return agent._replace(
        init=init, act=memoryless(values), learn=learn, observe=observe, zero_weight_noop=False,
        sync=no_sync if agent.sync is no_sync else sync, one_step=agent.one_step or "a bonus for counts",
    )  # fmt: skip


class ModelState(NamedTuple):
    """The state of an `mbie_eb` agent: what it thinks of the actions, and what it saw of them."""

    q: Float[Array, "S A"]
    """Optimistic values of the actions."""
    visits: Int[Array, "S A"]
    """How often each action was taken in each state."""
    reward: Float[Array, "S A"]
    """Mean reward so far."""
    discount: Float[Array, "S A S"]
    """Mean discount so far, by the successor; 0 of those that were not seen."""


@makes_usual
def mbie_eb(num_states: int, num_actions: int, beta: Any, initial: Any, sweeps: int = 10) -> Agent:
    """Return MBIE-EB, a learned model with a bonus for what is little known (Strehl and Littman 2008, section 3.2).

    Model-based interval estimation with exploration bonus: with the frequencies of what happened,
    Q(s,a) = R(s,a) + gamma sum_s' T(s'|s,a) max_a' Q(s',a') + beta / sqrt(n(s,a)), at most the initial value, which
    is that of an action never taken. Act on it with `qjax.greedy`, which breaks ties at random.

    The paper solves this equation after each step; here it is iterated `sweeps` times at each update, from the
    values before. A sweep takes S A S products, and the model holds as many numbers. gamma is the loop's; where an
    episode terminated nothing follows.

    Args:
        num_states: S.
        num_actions: A.
        beta: at least 0; may be traced.
        initial: the largest value there can be, the largest reward divided by 1 - gamma, for every entry or for
            each, `[S, A]`, in which minus infinity masks an action.
        sweeps: of value iteration at an update.

    Raises:
        TypeError: a size is no whole number.
        ValueError: a size is not positive, beta is negative, or `initial` has another shape or is not finite.

    """
    shape, sweeps = check_pairs(num_states, num_actions), check_size("sweeps", sweeps)
    check_range("beta", beta, 0, float("inf"))
    check_initial(initial, shape)

    def init(key, obs):
        check_key(key)
        check_states("an MBIE-EB agent", obs, axes=1)
        q, zeros = jnp.full(shape, initial, jnp.float32), jnp.zeros(shape, jnp.float32)
        return ModelState(q, jnp.zeros(shape, jnp.int32), zeros, jnp.zeros((*shape, shape[0]), jnp.float32))

    def values(noise, state, obs):
        check_states("an MBIE-EB agent", obs, axes=0)
        return check_table(state.q, shape)[obs]

    def learn(key, state, batch, time):
        check_key(key)
        data, counted = batch.data, batch.weight > 0
        before = state.q[data.obs, data.action]
        state = counted_in(state, data, counted)
        bonus = beta / jnp.sqrt(jnp.maximum(state.visits, 1))

        def sweep(_, q):
            best = q.max(-1)
            follows = state.discount @ jnp.where(best == -jnp.inf, 0, best)
            q = jnp.minimum(state.reward + follows + bonus, initial)
            return jnp.where(state.visits > 0, q, jnp.full(shape, initial, jnp.float32))

        state = state._replace(q=lax.fori_loop(0, sweeps, sweep, state.q))
        moved = jnp.where(counted, state.q[data.obs, data.action] - before, 0)
        share = counted / jnp.maximum(counted.sum(), 1)
        info = {
            "loss": (share * moved**2).sum(),
            "q": (share * left_out(batch.weight, before)).sum(),
            "priority": jnp.abs(moved).max(0),
        }
        return state, info

    masks = masks_some(initial)
    return Agent(init, memoryless(values), learn, table=shape, one_step="a model", in_order=True, masks=masks)


def counted_in(state: ModelState, data: Any, counted: Any) -> ModelState:
    """Return the state with some transitions `[T, B]` among what was seen, the `counted` ones."""
    entry = (data.obs, data.action)
    visits = state.visits.at[entry].add(counted.astype(jnp.int32))
    share = state.visits / jnp.maximum(visits, 1)  # of the mean that was there before
    each = counted / jnp.maximum(visits, 1)[entry]
    reward = (share * state.reward).at[entry].add(each * left_out(counted, data.reward))
    discount = (share[..., None] * state.discount).at[(*entry, data.next_obs)].add(each * data.discount)
    return state._replace(visits=visits, reward=reward, discount=discount)
