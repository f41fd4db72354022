"""Policies: plain functions `(q, time) -> probabilities` over the actions of one environment.

The same function acts (it is sampled with one uniform number) and gives expectations (Expected SARSA), so
exploration and targets never disagree. A value of minus infinity masks an action: its probability is 0, unless all
actions are masked, who are then alike.

What remembers something within an episode is a `StatefulPolicy`, as `epsilon_z_greedy` is.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import zeta
from jaxtyping import Array, Float, Int, Key

from qjax.core.annotations import checked
from qjax.core.checks import check_callable, check_range, check_record, concrete
from qjax.core.default_rules import makes_usual, usual
from qjax.exploration.schedules import as_schedule
from qjax.types import Policy, State, StatefulPolicy, Time


@usual
@checked
def greedy(q: Float[Array, " A"], time: Time | None = None) -> Float[Array, " A"]:
    """Return equal probabilities for all the largest values, so that ties are broken at random."""
    # Not q == q.max(): a compiler may compute q twice, once for the maximum and once to compare with it, differ in
    # the last digit, and find no largest value at all. Here one operation computes both sides; and where a compiler
    # computes even those twice, as of rescaled values, a value is still at least itself.
    best = ((q[:, None] >= q) | jnp.eye(q.size, dtype=bool)).all(1).astype(jnp.float32)
    return best / best.sum()


@usual
@checked
def argmax(q: Float[Array, " A"], time: Time | None = None) -> Float[Array, " A"]:
    """Return probability 1 for the first of the largest values."""
    return jax.nn.one_hot(q.argmax(), q.shape[-1])


@usual
@checked
def uniform(q: Float[Array, " A"], time: Time | None = None) -> Float[Array, " A"]:
    """Return equal probabilities for all actions but those whose value is minus infinity."""
    return greedy((q != -jnp.inf).astype(jnp.float32))


def legal_or_all(mask: Any) -> Any:
    """Return which actions are legal, `[..., A]`, all where none is, so that values are finite there, too."""
    return mask | ~mask.any(-1, keepdims=True)


@makes_usual
def boltzmann(temperature: Any) -> Policy:
    """Return the policy softmax(q / temperature), a number or a schedule.

    Raises:
        ValueError: the temperature is not positive.

    """
    schedule = as_schedule("temperature", temperature, 0, float("inf"), open_low=True)
    return lambda q, time: jax.nn.softmax(over_temperature(q, schedule(time)))


def over_temperature(q: Float[Array, " A"], temperature: Any) -> Float[Array, " A"]:
    """Return (q - max q) / temperature: at any temperature 0 for the largest, and minus infinity where q is.

    Only differences are divided (Vieillard et al. 2020, appendix B.1), so that values of hundreds lose no digits at
    a temperature of 0.03.
    """
    below = below_largest(q)
    return jnp.where((below < 0) & (below > -jnp.inf), below / temperature, below)


def below_largest(q: Float[Array, " A"]) -> Float[Array, " A"]:
    """Return q - max q, zeros where all are minus infinity."""
    top = q.max()
    return jnp.where(top == -jnp.inf, 0, q - top)


@makes_usual
def epsilon_greedy(epsilon: Any, base: Policy = greedy) -> Policy:
    """Return the policy that is uniform with probability epsilon, and `base` otherwise.

    pi(a|s) = epsilon / A + (1 - epsilon) base(a|s), with epsilon a number or a schedule; A counts the actions whose
    value is not minus infinity, and the others are never taken.

    Raises:
        TypeError: `base` is no function.
        ValueError: epsilon lies outside [0, 1], at the start or in the long run.

    """
    check_callable("base", base, "(q, time) -> probabilities")
    schedule = as_schedule("epsilon", epsilon, 0, 1)

    def policy(q: Float[Array, " A"], time: Time) -> Float[Array, " A"]:
        rate = schedule(time)
        return rate * uniform(q) + (1 - rate) * base(q, time)

    return policy


class Repeating(NamedTuple):
    """What `epsilon_z_greedy` remembers."""

    action: Int[Array, ""]
    """The action that is repeated."""
    steps: Int[Array, ""]
    """For how many steps it was, 0 while none is."""


@makes_usual
def epsilon_z_greedy(epsilon: Any, mu: Any = 2.0, base: Policy = greedy) -> StatefulPolicy:
    """Return the policy that with probability epsilon begins to repeat a random action, and else is `base`.

    The action is drawn evenly, and taken n times with probability n ** -mu / zeta(mu), n = 1, 2, ... (Dabney et al.
    2021, "Temporally-extended epsilon-greedy exploration", section 4). No n is drawn: after n steps the repetition
    ends with the probability that this law then gives, so its durations have no largest one. It also ends where its
    action has become an illegal one, and with the episode. With mu towards infinity this is `epsilon_greedy`.

    Args:
        epsilon: a number or a schedule, of beginning while nothing is repeated.
        mu: above 1; the smaller, the longer. The paper has 2. May be traced.
        base: what acts otherwise.

    Raises:
        TypeError: `base` is no function.
        ValueError: epsilon lies outside [0, 1], or mu is not above 1.

    """
    check_callable("base", base, "(q, time) -> probabilities")
    check_range("mu", mu, 1, float("inf"), open_low=True)
    schedule = as_schedule("epsilon", epsilon, 0, 1)

    def begin(key: Key[Array, ""]) -> Repeating:
        return Repeating(jnp.int32(0), jnp.int32(0))

    def act(key: Key[Array, ""], state: Repeating, q: Float[Array, " A"], time: Time) -> Any:
        end, explore, which = jax.random.uniform(key, (3,))
        legal = q[state.action] != -jnp.inf
        goes_on = (state.steps > 0) & legal & (end >= _end_probability(state.steps, mu))
        begins = ~goes_on & (explore < schedule(time))
        action = jnp.where(goes_on, state.action, draw(which, uniform(q)))
        repeats = jax.nn.one_hot(action, q.shape[-1])
        steps = jnp.where(goes_on, state.steps + 1, begins.astype(jnp.int32))
        return jnp.where(goes_on | begins, repeats, base(q, time)), Repeating(action, steps)

    return StatefulPolicy(begin, act)


def _end_probability(steps: Int[Array, ""], mu: Any) -> Float[Array, ""]:
    """Return P(n = steps | n >= steps) of a duration n with probability n ** -mu / zeta(mu)."""
    # Beyond 64 float32 knows no second step; powers and zeta of more would only come to 0 / 0.
    n, mu = jnp.maximum(steps, 1).astype(jnp.float32), jnp.minimum(mu, 64.0)
    return n**-mu / zeta(mu, n)


def no_state(key: Key[Array, ""]) -> State:
    """Return `()`: the `StatefulPolicy.begin` of those that remember nothing."""
    return ()


def as_stateful(name: str, policy: Policy | StatefulPolicy) -> StatefulPolicy:
    """Return a policy, an argument of that name, as one with a state, `()` where it remembers nothing.

    Raises:
        TypeError: it is neither.

    """
    if isinstance(policy, StatefulPolicy):
        check_record(name, policy, StatefulPolicy)
        return policy
    check_callable(name, policy, "(q, time) -> probabilities")
    return StatefulPolicy(no_state, lambda key, state, q, time: (policy(q, time), state))


@usual
@checked
def draw(u: Float[Array, ""], probabilities: Float[Array, " A"]) -> Int[Array, ""]:
    """Return the action that one uniform number `u` in [0, 1) picks; never one of probability 0.

    The first action whose cumulative probability exceeds `u`; where rounding keeps all of them below it, the
    last action of positive probability.

    Raises:
        ValueError: `u` lies outside [0, 1], or a probability is negative or no number.

    """
    check_range("u", u, 0, 1)
    if concrete(probabilities) and not (np.asarray(probabilities) >= 0).all():
        raise ValueError(f"probabilities must not be negative, got {np.asarray(probabilities).tolist()}")
    actions = jnp.arange(probabilities.shape[-1], dtype=jnp.int32)
    possible = probabilities > 0
    reached = (jnp.cumsum(probabilities) > u) & possible
    last = jnp.where(possible, actions, 0).max()
    return jnp.minimum(jnp.where(reached, actions, actions.size).min(), last)
