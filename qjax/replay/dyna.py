"""Dyna's memory: the newest transitions, and others drawn from a table of what was last seen."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Shaped

from qjax.core.checks import check_key, check_pairs, check_size, check_states
from qjax.core.clock import missing
from qjax.core.default_rules import makes_usual
from qjax.replay.delayed import new_places
from qjax.types import Batch, Memory, Transition


class DynaState(NamedTuple):
    """The newest block, and the table model: the last outcome of each pair (s, a), numbered s A + a."""

    block: Transition
    """The newest block, `[T, N]`."""
    weight: Float[Array, "T N"]
    """1 where its transition is learned from, else 0."""
    reward: Float[Array, " SA"]
    """Reward of each pair's last outcome."""
    discount: Float[Array, " SA"]
    """Discount of each pair's last outcome."""
    next_obs: Int[Array, " SA"]
    """Successor in each pair's last outcome."""
    seen: Bool[Array, " SA"]
    """Whether a pair was ever visited."""
    visited: Int[Array, " SA"]
    """Numbers of the pairs that were ever visited, in the order in which they first were."""
    number: Int[Array, ""]
    """How many pairs were ever visited."""


@makes_usual
def dyna(num_states: int, num_actions: int, planning: int) -> Memory:
    """Return the memory of Dyna-Q: the newest block, then steps planned with a learned model.

    The model is the last outcome of every visited pair of state and action, as for a deterministic environment.
    After each step of each environment `planning` pairs are drawn uniformly from those visited so far, and learned
    in order (Sutton and Barto 2018, section 8.2, Tabular Dyna-Q). A batch is `[T + T planning, N]`. Planned rows
    stand by themselves: they are all `last`, and their discount says whether the step terminated.

    Where outcomes are random, one is replayed as long as it stays the last, until its pair is met again. So what
    is learned weighs an outcome by its probability times 1 + r T, with r planned steps of each visited pair per
    step of the environment, and T the mean number of steps from that outcome until the pair is met again: not Q*.

    The cost of a step does not grow with the number of states. The state holds four numbers and a bool for every
    pair.

    Args:
        num_states: S.
        num_actions: A.
        planning: planned steps per step of the environment.

    Raises:
        TypeError: a size is no whole number, or (in `init`) observations are not integer scalars.
        ValueError: a size is not positive, `planning` is negative, or there are 2**31 pairs or more.

    """
    num_states, num_actions = check_pairs(num_states, num_actions)
    size, planning = num_states * num_actions, check_size("planning", planning, least=0)

    def init(block, carry=()):
        check_states("dyna", block.obs, axes=2)
        return DynaState(
            jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), block),
            jnp.zeros(block.reward.shape, jnp.float32),
            reward=jnp.zeros(size, jnp.float32),
            discount=jnp.zeros(size, jnp.float32),
            next_obs=jnp.zeros(size, block.next_obs.dtype),
            seen=jnp.zeros(size, bool),
            visited=jnp.zeros(size, jnp.int32),
            number=jnp.int32(0),
        )

    def add(state, block, clock, carry=()):
        rows, envs = block.reward.shape
        known = jnp.broadcast_to((jnp.arange(rows) >= missing(clock, rows))[:, None], (rows, envs))
        flat = jax.tree.map(lambda x: x.reshape(-1), block)
        pair = flat.obs.astype(jnp.int32) * num_actions + flat.action
        state = _remember(state, pair, flat, known.reshape(-1))
        return state._replace(block=block, weight=known.astype(jnp.float32))

    def sample(key, state, clock, time):
        check_key(key)
        rows, envs = state.weight.shape
        bits = jax.random.bits(key, (rows * planning, envs), jnp.uint32)
        pair = state.visited[lax.rem(bits, jnp.maximum(state.number, 1).astype(jnp.uint32))]
        planned = _recall(state, pair, num_actions)
        data = jax.tree.map(lambda x, y: jnp.concatenate([x, y.astype(x.dtype)]), state.block, planned)
        weight = jnp.broadcast_to((state.number > 0).astype(jnp.float32), pair.shape)
        return Batch(data, jnp.concatenate([state.weight, weight]), *new_places(clock, envs))

    return Memory(init, add, sample, table=(num_states, num_actions), replays=True)


def _remember(state: DynaState, pair: Int[Array, " B"], outcome: Transition, known: Bool[Array, " B"]) -> DynaState:
    """Store the outcomes of some pairs, the last one where a pair occurs several times, and note new pairs."""
    size, order = state.visited.shape[0], jnp.arange(pair.size)
    same = (pair[:, None] == pair) & known
    # Read twice over: where one pair is read by itself, the compiler may read it again later, and copies for that.
    seen = state.seen[jnp.stack([pair, pair])][0]
    new = known & ~seen & ~(same & (order < order[:, None])).any(1)
    latest = known & ~(same & (order > order[:, None])).any(1)
    place = jnp.where(latest, pair, size)  # out of bounds, and so left out
    fresh = jnp.where(new, state.number + jnp.cumsum(new) - 1, size)
    return state._replace(
        reward=_put(state.reward, place, outcome.reward),
        discount=_put(state.discount, place, outcome.discount),
        next_obs=_put(state.next_obs, place, outcome.next_obs),
        # Written where it was read to be false: without the dependency the compiler would copy it first.
        seen=_put(state.seen, jnp.where(new, pair, size), new),
        visited=_put(state.visited, fresh, pair),
        number=state.number + new.sum(dtype=jnp.int32),
    )


def _put(held: Array, place: Int[Array, " B"], new: Array) -> Array:
    return held.at[place].set(new, mode="drop")


def _recall(state: DynaState, pair: Shaped[Array, "P N"], num_actions: int) -> Transition:
    """Return the model's outcomes of some pairs."""
    return Transition(
        obs=pair // num_actions,
        action=pair % num_actions,
        reward=state.reward[pair],
        discount=state.discount[pair],
        next_obs=state.next_obs[pair],
        last=jnp.ones(pair.shape, bool),
    )
