"""What actors remember within an episode, their carry: begun at its start, and checked."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from qjax.core.checks import describe
from qjax.core.returned import returning_arrays
from qjax.types import Agent, Carry, State, no_carry


def remembers(agent: Agent) -> bool:
    """Return whether an agent's actors remember anything."""
    return agent.begin is not no_carry


def begin(agent: Agent, keys: Key[Array, " N"], state: State) -> Carry:
    """Return what the actors remember at the start of an episode, `[N, ...]`."""
    started = jax.vmap(returning_arrays("agent.begin", agent.begin), in_axes=(0, None))(keys, state)
    return jax.tree.map(lambda x: jnp.asarray(x, x.dtype), started)  # never weakly typed, as a loop carries it


def begin_again(agent: Agent, keys: Key[Array, " N"], state: State, carry: Carry, last: Bool[Array, " N"]) -> Carry:
    """Return what the actors remember, anew where an episode has ended."""
    return jax.tree.map(partial(jax.vmap(jnp.where), last), begin(agent, keys, state), carry)


def values_of_one(agent: Agent, key: Key[Array, ""], state: State, obs: Any) -> Float[Array, " A"]:
    """Return the values of the actions at one first observation of an episode.

    Raises:
        TypeError: `act` returns no pair of values and carry, or no arrays.
        ValueError: the carry is of other shapes or dtypes than the one that began.

    """
    carry = jax.tree.map(lambda x: x[0], begin(agent, key[None], state)) if remembers(agent) else ()
    found = returning_arrays("agent.act", agent.act)(None, state, carry, obs)
    if not isinstance(found, tuple) or len(found) != 2:
        raise TypeError(
            "agent.act must return (q, carry), as qjax.memoryless(values) does for (noise, state, obs) -> q"
        )
    before, after = jax.eval_shape(lambda: (carry, found[1]))
    structures: list[Any] = [jax.tree.structure(each) for each in (before, after)]
    if structures[0] != structures[1] or describe(before) != describe(after):
        raise ValueError(
            f"agent.act must return a carry like the one that agent.begin returns, {describe(before) or '()'}; it"
            f" returned {describe(after) or '()'}"
        )
    return found[0]
