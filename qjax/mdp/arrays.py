"""A finite MDP as arrays of its possible outcomes, its checks, and which states follow which.

Arrays are `[S, A, K]`, with K outcomes for each state and action, so memory grows with the outcomes there are and
not with the square of the states. An outcome of probability 0 is no outcome, whatever else is said of it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from qjax.core.annotations import checked as annotated
from qjax.core.checks import check_record, concrete, is_finite, numbers
from qjax.core.default_rules import usual
from qjax.core.text import shown

__all__ = ["TabularMDP", "checked", "from_dense", "from_outcomes", "possible", "reachable", "steps_to_end"]

SUM_TOLERANCE = 1e-5
"""Probabilities may sum to 1 within this much: float32 adds hundreds of them with a smaller error."""


class TabularMDP(NamedTuple):
    """A finite MDP with `S` states, `A` actions and at most `K` outcomes per state and action."""

    successor: Int[Array, "S A K"]
    """The state that each outcome leads to."""
    probability: Float[Array, "S A K"]
    """Of each outcome; over K they sum to 1."""
    reward: Float[Array, "S A K"]
    """Of each outcome."""
    terminated: Bool[Array, "S A K"]
    """Whether each outcome ends the episode."""
    start: Float[Array, " S"]
    """Distribution of the first state."""


@usual
def from_outcomes(successor: Any, probability: Any, reward: Any, terminated: Any, start: Any) -> TabularMDP:
    """Return the MDP of arrays `[S, A, K]` and a distribution of the first state `[S]`, checked.

    Concrete arrays only. A record made as `TabularMDP(...)` may be traced; where it is not, it is checked when an
    environment is made of it, or it is solved.

    Raises:
        TypeError: an array is traced, or successors are not whole numbers.
        ValueError: shapes do not fit, a successor is no state, a probability is negative, probabilities of a state
            and an action (or of the first state) do not sum to 1, or a number is not finite.

    """
    mdp = TabularMDP(successor, probability, reward, terminated, start)
    if not concrete(*mdp):
        raise TypeError("an MDP is checked on the host: give concrete arrays, or make a TabularMDP unchecked")
    return checked(mdp)


@usual
def checked(mdp: TabularMDP) -> TabularMDP:
    """Return an MDP in the device's types, checked as `from_outcomes` says; of a traced one only the shapes are.

    Raises:
        TypeError, ValueError: as `from_outcomes`.

    """
    check_record("mdp", mdp, TabularMDP)
    traced = not concrete(*mdp)
    arrays = {name: x if traced else numbers(name, x) for name, x in mdp._asdict().items()}
    _check_shapes({name: np.shape(x) for name, x in arrays.items()})
    kinds = (jnp.int32, jnp.float32, jnp.float32, bool, jnp.float32)
    if traced:
        return TabularMDP(*(jnp.asarray(x, kind) for x, kind in zip(mdp, kinds, strict=True)))
    _check_numbers(arrays)
    with jax.ensure_compile_time_eval():  # concrete arrays stay concrete inside a traced function
        return TabularMDP(*(jnp.asarray(x, kind) for x, kind in zip(mdp, kinds, strict=True)))


@usual
def from_dense(probability: Any, reward: Any, terminated: Any, start: Any) -> TabularMDP:
    """Return the MDP of dense arrays, with successors in ascending order and K the most that any row has.

    Args:
        probability: of each successor, `[S, A, S]`.
        reward: `[S, A, S]`, or `[S, A]` where it is the same for every successor.
        terminated: whether the episode ends, `[S, A, S]`, or `[S]` where the states entered decide.
        start: distribution of the first state `[S]`.

    Raises:
        ValueError: shapes do not fit, a probability is negative, or probabilities do not sum to 1.

    """
    p, r, ends = numbers("probability", probability), numbers("reward", reward), numbers("terminated", terminated)
    if p.ndim != 3 or p.shape[0] != p.shape[2] or not p.size:
        raise ValueError(f"probability must have a shape [S, A, S], got {list(p.shape)}")
    states, actions, _ = p.shape
    r = r[..., None] if r.shape == (states, actions) else r
    if r.shape not in ((states, actions, 1), p.shape):
        raise ValueError(f"reward must be {[*p.shape]} or {[states, actions]}, got {[*np.shape(reward)]}")
    if ends.shape not in ((states,), p.shape):
        raise ValueError(f"terminated must be {[*p.shape]} or {[states]}, got {[*ends.shape]}")
    possible = p != 0  # negative ones too, for the check to name
    outcomes = max(int(possible.sum(-1).max()), 1)
    successor = np.argsort(~possible, axis=-1, kind="stable")[..., :outcomes]  # the possible ones, in order

    def taken(x):
        return np.take_along_axis(np.broadcast_to(x, p.shape), successor, -1)

    return from_outcomes(successor, taken(p), np.where(taken(possible), taken(r), 0), taken(ends), start)


def _check_shapes(shapes: dict[str, tuple[int, ...]]) -> None:
    shape = shapes["probability"]
    if len(shape) != 3 or 0 in shape:
        raise ValueError(f"probability must have a shape [S, A, K], got {list(shape)}")
    for name, found in shapes.items():
        wanted = shape[:1] if name == "start" else shape
        if found != wanted:
            raise ValueError(f"{name} must have the shape {list(wanted)}, got {list(found)}")


def _check_numbers(arrays: dict[str, np.ndarray]) -> None:
    successor, probability, states = arrays["successor"], arrays["probability"], len(arrays["start"])
    if not np.issubdtype(successor.dtype, np.integer):
        raise TypeError(f"successors must be whole numbers, got {successor.dtype}")
    refuse((successor < 0) | (successor >= states), successor, f"successors are states from 0 to {states - 1}")
    for name in ("probability", "reward", "start"):
        refuse(~is_finite(arrays[name]), arrays[name], f"{name} must be finite in float32")
    ends = arrays["terminated"]
    refuse((ends != 0) & (ends != 1), ends, "terminated must be True or False")
    refuse(probability < 0, probability, "probabilities must not be negative")
    refuse(arrays["start"] < 0, arrays["start"], "probabilities of the first state must not be negative")
    sums = probability.sum(-1, dtype=np.float64)
    refuse(np.abs(sums - 1) > SUM_TOLERANCE, sums, "probabilities must sum to 1")
    total = arrays["start"].sum(dtype=np.float64)
    if abs(total - 1) > SUM_TOLERANCE:
        raise ValueError(f"probabilities of the first state must sum to 1, got {total:.8g}")


def check_policy(mdp: TabularMDP, policy: Any) -> None:
    """Check that a policy has a probability for every state and action; their values where they are concrete.

    Raises:
        ValueError: its shape is not `[S, A]`, or a row is no distribution; the state is named.

    """
    check_pairs("a policy", policy, mdp)
    if concrete(policy):
        check_distributions(policy)


def check_distributions(policy: Any) -> None:
    """Check that each row of a concrete policy is a distribution.

    Raises:
        ValueError: a row is none; the state is named.

    """
    rows = np.asarray(policy, np.float64)
    refuse(~(rows >= 0), rows, "a policy's probabilities must not be negative")
    refuse(~(np.abs(rows.sum(-1) - 1) <= SUM_TOLERANCE), rows.sum(-1), "a policy's rows must sum to 1")


def check_pairs(what: str, array: Any, mdp: TabularMDP) -> None:
    """Check that an array has a number for each state and action of an MDP.

    Raises:
        ValueError: it has another shape.

    """
    states, actions = mdp.probability.shape[:2]
    found = list(np.shape(numbers(what, array) if concrete(array) else array))
    if found != [states, actions]:
        raise ValueError(f"{what} of shape {found} for an MDP with {states} states and {actions} actions")


def refuse(
    wrong: np.ndarray, values: np.ndarray, message: str, axes: tuple[str, ...] = ("state", "action", "outcome")
) -> None:
    """Raise an error that names the first wrong entry, and how many there are."""
    if not wrong.any():
        return
    where = tuple(np.argwhere(wrong)[0])
    named = ", ".join(f"{n} {i}" for n, i in zip(axes, where, strict=False))
    more = f" (and {wrong.sum() - 1} more)" if wrong.sum() > 1 else ""
    raise ValueError(f"{message}, got {values[where]:.8g} at {named}{more}")


# Which states follow which ------------------------------------------------------------------------------------


@usual
@annotated
def possible(mdp: TabularMDP, policy: Float[Array, "S A"] | None = None) -> Bool[Array, "S A K"]:
    """Return which outcomes have a positive probability: at all, or under a policy."""
    if policy is not None:
        check_pairs("policy", policy, mdp)
    some = mdp.probability > 0
    return some if policy is None else some & (policy > 0)[..., None]


@usual
@annotated
def steps_to_end(mdp: TabularMDP, policy: Float[Array, "S A"] | None = None) -> Float[Array, "S A"]:
    """Return the fewest steps in which the episode can end after each action, infinite where it cannot.

    With a policy it takes the later actions, and those that it never takes are infinite; without one, any do.
    Float, for the infinity.
    """
    happens = possible(mdp, policy)

    def nearer(steps):
        after = jnp.where(mdp.terminated, 0, steps.min(-1)[mdp.successor])
        return 1 + jnp.where(happens, after, jnp.inf).min(-1)

    return fixed_point(nearer, jnp.full(happens.shape[:2], jnp.inf))


@usual
@annotated
def reachable(
    mdp: TabularMDP, policy: Float[Array, "S A"] | None = None, start: Bool[Array, " S"] | None = None
) -> Bool[Array, " S"]:
    """Return the states in which an episode can come to act, from its start or from the states `start` `[S]`.

    A state that is entered only by outcomes that terminate is not among them.
    """
    goes_on = possible(mdp, policy) & ~mdp.terminated

    def further(reached):
        return reached.at[mdp.successor].max(reached[:, None, None] & goes_on)

    if start is not None and start.shape != mdp.start.shape:
        raise ValueError(f"start must be of the {mdp.start.size} states, got {shown(start)}")
    return fixed_point(further, mdp.start > 0 if start is None else start)


def fixed_point(f: Callable[[Array], Array], x: Array) -> Array:
    """Return what repeated application of `f` to an array comes to: the first value that `f` leaves as it is."""
    return lax.while_loop(lambda c: (c[0] != c[1]).any(), lambda c: (f(c[0]), c[0]), (f(x), x))[0]
