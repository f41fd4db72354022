"""What actors and policies remember within an episode: begun at its start, and checked."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from qjax.core.checks import describe
from qjax.core.returned import returning_arrays
from qjax.exploration.policies import no_state
from qjax.types import Agent, Carry, State, StatefulPolicy, Time, no_carry


def remembers(what: Agent | StatefulPolicy) -> bool:
    """Return whether an agent's actors, or a policy, remember anything."""
    return what.begin is not (no_carry if isinstance(what, Agent) else no_state)


def begin(agent: Agent, keys: Key[Array, " N"], state: State) -> Carry:
    """Return what the actors remember at the start of an episode, `[N, ...]`."""
    return _strongly_typed(jax.vmap(returning_arrays("agent.begin", agent.begin), in_axes=(0, None))(keys, state))


def begin_policy(policy: StatefulPolicy, keys: Key[Array, " N"]) -> State:
    """Return what a policy remembers at the start of an episode, `[N, ...]`."""
    return _strongly_typed(jax.vmap(returning_arrays("policy.begin", policy.begin))(keys))


def _strongly_typed(tree: Any) -> Any:
    """Return arrays as a loop carries them."""
    return jax.tree.map(lambda x: jnp.asarray(x, x.dtype), tree)


def anew(last: Bool[Array, " N"], begun: Any, kept: Any) -> Any:
    """Return what is remembered, as it begins where an episode has ended."""
    return jax.tree.map(partial(jax.vmap(jnp.where), last), begun, kept)


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
    _check_alike("agent", "carry", *jax.eval_shape(lambda: (carry, found[1])))
    return found[0]


def probabilities_of_one(policy: StatefulPolicy, key: Key[Array, ""], q: Any, time: Time) -> Any:
    """Return the probabilities of the actions at one first observation of an episode.

    Raises:
        TypeError: `act` returns no pair of probabilities and state, or no arrays.
        ValueError: the state is of other shapes or dtypes than the one that began.

    """
    state = jax.tree.map(lambda x: x[0], begin_policy(policy, key[None])) if remembers(policy) else ()
    acts = returning_arrays("the policy", policy.act, "probabilities" + ", and a state" * remembers(policy))
    found = acts(key, state, q, time)
    if not isinstance(found, tuple) or len(found) != 2:
        raise TypeError("policy.act must return (probabilities, state)")
    _check_alike("policy", "state", *jax.eval_shape(lambda: (state, found[1])))
    return found[0]


def _check_alike(who: str, what: str, before: Any, after: Any) -> None:
    """Check, by shapes, that acting keeps the form of what is remembered."""
    structures: list[Any] = [jax.tree.structure(each) for each in (before, after)]
    if structures[0] != structures[1] or describe(before) != describe(after):
        raise ValueError(
            f"{who}.act must return a {what} like the one that {who}.begin returns, {describe(before) or '()'}; it"
            f" returned {describe(after) or '()'}"
        )
