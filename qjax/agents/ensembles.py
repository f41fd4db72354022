"""Ensembles: several agents learn from one memory, and one of them, drawn at an episode's start, acts in it."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, UInt32

from qjax.core.checks import check_flag, check_range, check_record, check_size
from qjax.core.default_rules import makes_usual
from qjax.types import Agent, Batch, Carry, State, Time, Transition, no_carry, no_sync, no_update


class BootstrappedState(NamedTuple):
    """The state of a `bootstrapped` agent."""

    members: State
    """Those of its members, `[K, ...]`."""
    seed: UInt32[Array, ""]
    """What tells which transitions a member learns from."""


class Member(NamedTuple):
    """What an actor remembers: who acts in the episode."""

    number: Int[Array, ""]
    """Of the member."""
    carries: Carry
    """What the members themselves remember, `[K, ...]`, or `()`."""


@makes_usual
def bootstrapped(agent: Agent, size: int, probability: Any = 0.5, vote: bool = False) -> Agent:
    """Return an ensemble of agents that explores for whole episodes (Osband et al. 2016, bootstrapped DQN).

    Members start with other parameters, and each has its own optimiser and target. One of them is drawn when an
    episode begins, and its values are acted on until it ends. A member learns from a transition with some
    probability, decided once, by the place of the transition in memory, and so the same at every update; from a
    sequence or a rollout as a whole, by where it begins. Without noise, in an evaluation, all members act together.
    Networks that differ by a fixed random function explore more (`qjax.with_prior`; Osband et al. 2018).

    Args:
        agent: any; what is logged is the members' mean, and a priority that of the members who learn from there, 0
            where none does.
        size: K, members.
        probability: with which a member learns from a transition, in (0, 1].
        vote: whether together they act on each action's share of the members that prefer it; default their mean.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: there are fewer than 2 members, or the probability lies outside (0, 1].

    """
    check_record("agent", agent, Agent)
    size, vote = check_size("size", size, least=2), check_flag("vote", vote)
    check_range("probability", probability, 0, 1, open_low=True)
    remembers = agent.begin is not no_carry

    def init(key, obs):
        members_key, seed_key = jax.random.split(key)
        members = jax.vmap(agent.init, in_axes=(0, None))(jax.random.split(members_key, size), obs)
        return BootstrappedState(members, jax.random.bits(seed_key))

    def begin(key, state):
        number_key, members_key = jax.random.split(key)
        number = jax.random.randint(number_key, (), 0, size)
        keys = jax.random.split(members_key, size)
        return Member(number, jax.vmap(agent.begin)(keys, state.members) if remembers else ())

    def act(noise, state, carry, obs):
        acts = jax.vmap(agent.act, in_axes=(None, 0, 0, None))
        q, carries = acts(noise, state.members, carry.carries, obs)
        return _together(q, vote) if noise is None else q[carry.number], carry._replace(carries=carries)

    def learn(key, state, batch, time):
        learning = masks(state.seed, batch.slot, size, probability)
        weight = jnp.where(learning[:, None], batch.weight, 0)
        # A memory may drop the carry; of members that learn from it, each says so.
        carries = batch.carry.carries if isinstance(batch.carry, Member) else ()
        own = batch._replace(weight=weight, carry=carries)
        learns = jax.vmap(agent.learn, in_axes=(0, 0, _OF_MEMBERS, None))
        members, info = learns(jax.random.split(key, size), state.members, own, time)
        priority = jnp.where(learning, info.pop("priority"), 0).sum(0) / jnp.maximum(learning.sum(0), 1)
        means = {name: x.mean(0) for name, x in info.items()}
        return state._replace(members=members), {**means, "priority": priority}

    def sync(key: Any, state: BootstrappedState, elapsed: Time) -> Any:
        keys = jax.random.split(key, size)
        return state._replace(members=jax.vmap(agent.sync, in_axes=(0, 0, None))(keys, state.members, elapsed))

    def observe(state: BootstrappedState, block: Transition) -> Any:
        return state._replace(members=jax.vmap(agent.observe, in_axes=(0, None))(state.members, block))

    return agent._replace(
        init=init, act=act, learn=learn, begin=begin, zero_weight_noop=False, hidden=None,
        sync=no_sync if agent.sync is no_sync else sync,
        observe=no_update if agent.observe is no_update else observe,
    )  # fmt: skip


_OF_MEMBERS = Batch(data=None, weight=0, slot=None, env=None, carry=1)  # type: ignore[arg-type]


def masks(seed: UInt32[Array, ""], slot: Int[Array, " B"], size: int, probability: Any) -> Bool[Array, "K B"]:
    """Return which members learn from what stands at some places of the memory, the same whenever it is asked."""

    def of_place(slot):
        words = jnp.stack([seed, slot.astype(jnp.uint32)])
        return jax.random.bernoulli(jax.random.wrap_key_data(words, impl="threefry2x32"), probability, (size,))

    return jax.vmap(of_place, out_axes=1)(slot)


def _together(q: Any, vote: bool) -> Any:
    """Return what all members make of the values of the actions, `[K, A]`; what all of them mask stays so."""
    if not vote:
        return q.mean(0)
    best = (q == q.max(-1, keepdims=True)) & (q > -jnp.inf)
    votes = (best / jnp.maximum(best.sum(-1, keepdims=True), 1)).mean(0)
    return jnp.where((q == -jnp.inf).all(0), -jnp.inf, votes)
