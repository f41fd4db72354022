"""Running normalisation of observations and rewards, around any agent.

Its statistics are part of the agent's state: each lane has its own, a checkpoint holds them, and evaluation, which
does not learn, leaves them as they are. Memories hold what the environment gave; what is drawn from them is
normalised when it is learned from, by the statistics of that time.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PyTree

from qjax.core.checks import check_flag, check_range, check_record, describe
from qjax.core.default_rules import makes_usual
from qjax.types import Agent, Batch, Scaled, State, Transition, no_carry, no_sync, no_update

MOST = 2.0**24
"""Values that are counted, exactly in float32; after so many, old ones slowly lose their weight."""


class Moments(NamedTuple):
    """Mean and variance of all the values seen, entry by entry."""

    number: Float[Array, ""]
    """How many values, at most 2**24."""
    mean: PyTree[Array]
    """Their mean, 0 before the first."""
    variance: PyTree[Array]
    """Their variance, 1 before the first."""


class NormalizedState(NamedTuple):
    """The state of a normalized agent."""

    agent: State
    """The agent's own."""
    observations: Any
    """The `Moments` of the observations acted on, `()` of arrays that are left as they are."""
    returns: Any
    """Those of the discounted returns so far; `()` where rewards are left as they are."""
    running: Float[Array, " N"]
    """The discounted return so far of each environment's running episode."""


@makes_usual
def normalized(
    agent: Agent, observations: Any = True, rewards: Any = False, clip: Any = 10.0, epsilon: Any = 1e-8
) -> Agent:
    """Return an agent that sees observations, or rewards, divided by their running standard deviation.

    Observations are `(x - mean) / sqrt(variance + epsilon)`, entry by entry; of several arrays those of floats,
    while whole numbers and flags stay as they are. Rewards are divided by the standard deviation of the discounted
    return so far, and not shifted, which would change the task (Engstrom et al. 2020). Statistics are merged block
    by block (Chan et al. 1983). An agent that masks illegal actions reads them from what the environment gave.

    Args:
        agent: any.
        observations: whether to normalise observations.
        rewards: whether to normalise rewards.
        clip: what is normalised lies in `[-clip, clip]`; may be traced.
        epsilon: is added to variances; may be traced.

    Raises:
        TypeError: a flag or a number is none; (in `init`) no observation is of floats.
        ValueError: neither is to be normalised, or a number is not positive.

    """
    check_record("agent", agent, Agent)
    observations, rewards = check_flag("observations", observations), check_flag("rewards", rewards)
    check_range("clip", clip, 0, float("inf"), open_low=True)
    check_range("epsilon", epsilon, 0, 1, open_low=True)
    if not observations and not rewards:
        raise ValueError("normalized has nothing to do: observations and rewards are both False")

    def scale(state: NormalizedState, obs: Any) -> Any:
        if not observations:
            return obs
        seen: Moments = state.observations
        scaled = jax.tree.map(
            lambda x, mean, variance: jnp.clip((x - mean) / jnp.sqrt(variance + epsilon), -clip, clip),
            _floats(obs), seen.mean, seen.variance,
        )  # fmt: skip
        found = _with_floats(obs, scaled)
        return Scaled(found, obs) if agent.masks else found

    def init(key: Any, obs: Any) -> NormalizedState:
        if observations and not _floats(obs):
            raise TypeError(f"observations are {describe(obs)}, none of them floats to normalise")
        one = [x[0] for x in _floats(obs)] if observations else ()
        seen, paid = _moments(one) if observations else (), _moments(jnp.float32(0)) if rewards else ()
        running = jnp.zeros(len(jax.tree.leaves(obs)[0]), jnp.float32)
        return NormalizedState(agent.init(key, obs), seen, paid, running)

    def act(noise: Any, state: NormalizedState, carry: Any, obs: Any) -> Any:
        return agent.act(noise, state.agent, carry, scale(state, obs))

    def begin(key: Any, state: NormalizedState) -> Any:
        return agent.begin(key, state.agent)

    def learn(key: Any, state: NormalizedState, batch: Batch, time: Any) -> Any:
        data = batch.data._replace(obs=scale(state, batch.data.obs), next_obs=scale(state, batch.data.next_obs))
        if rewards:
            paid = data.reward / jnp.sqrt(state.returns.variance + epsilon)
            data = data._replace(reward=jnp.clip(paid, -clip, clip))
        learned, info = agent.learn(key, state.agent, batch._replace(data=data), time)
        return state._replace(agent=learned), info

    def observe(state: NormalizedState, block: Transition) -> NormalizedState:
        if agent.observe is not no_update:
            state = state._replace(agent=agent.observe(state.agent, block))
        if observations:
            state = state._replace(observations=merged(state.observations, _floats(block.obs)))
        return _paid(state, block) if rewards else state

    def sync(key: Any, state: NormalizedState, elapsed: Any) -> NormalizedState:
        return state._replace(agent=agent.sync(key, state.agent, elapsed))

    def hidden(state: NormalizedState, obs: Any) -> Any:
        assert agent.hidden is not None
        return agent.hidden(state.agent, scale(state, obs))

    synced = no_sync if agent.sync is no_sync else sync
    begun = no_carry if agent.begin is no_carry else begin
    return agent._replace(
        init=init, act=act, learn=learn, observe=observe, sync=synced, begin=begun, zero_weight_noop=False,
        hidden=None if agent.hidden is None else hidden,
    )  # fmt: skip


def _moments(like: Any) -> Moments:
    """Return the moments of nothing yet: those that change nothing."""
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, jnp.float32), like)
    return Moments(jnp.float32(0), zeros, jax.tree.map(jnp.ones_like, zeros))


def merged(old: Moments, values: Any) -> Moments:
    """Return moments with the values of a block `[T, N, ...]` among them."""
    new = math.prod(jax.tree.leaves(values)[0].shape[:2])
    share = new / (old.number + new)

    def one(mean: Any, variance: Any, x: Any) -> tuple[Any, Any]:
        away, own = x.mean((0, 1)) - mean, x.var((0, 1))
        return mean + share * away, variance + share * (own - variance) + share * (1 - share) * away**2

    means, variances, found = (jax.tree.leaves(tree) for tree in (old.mean, old.variance, values))
    pairs = [one(*each) for each in zip(means, variances, found, strict=True)]
    structure: Any = jax.tree.structure(old.mean)
    mean, variance = (jax.tree.unflatten(structure, list(each)) for each in zip(*pairs, strict=True))
    return Moments(jnp.minimum(old.number + new, MOST), mean, variance)


def _paid(state: NormalizedState, block: Transition) -> NormalizedState:
    """Return the state after a block's rewards; `discount` is gamma where an episode goes on."""

    def tick(running: Any, row: Any) -> Any:
        reward, discount, last = row
        paid = running + reward
        return jnp.where(last, 0, discount * paid), paid

    running, paid = lax.scan(tick, state.running, (block.reward, block.discount, block.last))
    return state._replace(returns=merged(state.returns, paid), running=running)


def _floats(obs: Any) -> list[Any]:
    return [x for x in jax.tree.leaves(obs) if jnp.issubdtype(x.dtype, jnp.floating)]


def _with_floats(obs: Any, floats: list[Any]) -> Any:
    """Return an observation with other arrays of floats."""
    rest, (leaves, structure) = iter(floats), jax.tree.flatten(obs)
    return jax.tree.unflatten(
        structure, [next(rest) if jnp.issubdtype(x.dtype, jnp.floating) else x for x in leaves]
    )
