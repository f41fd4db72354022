"""Exact solutions of finite MDPs on the device, and how far a table of action values is from them.

Everything runs under `jit`, and under `vmap` over MDPs, policies and tables. What iterates works on the outcomes
`[S, A, K]` alone, so a million states fit; `policy_values` and `policy_iteration` solve dense systems `[S, S]`.

Values are float32. Their error is a few float32 roundings (1e-7) of the largest value, divided by 1 - gamma, or, at
gamma = 1, times the steps to the end of an episode.

Concrete MDPs and policies are checked: numbers as `qjax.mdp.from_outcomes` does, and with gamma = 1 that an episode
can end; the state from which it cannot is named. Of traced ones only the shapes are; sums that do not converge are
then stopped by `max_iterations`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from qjax.core.checks import check_range, check_record, check_size, concrete, numbers
from qjax.core.default_rules import usual
from qjax.core.text import shown
from qjax.exploration.policies import greedy
from qjax.mdp.arrays import (
    TabularMDP,
    check_pairs,
    check_policy,
    checked,
    fixed_point,
    possible,
    reachable,
    steps_to_end,
)

TOLERANCE = 2 * float(np.finfo(np.float32).eps)
"""Iterations stop when no value changes by more than this, relative to the largest: less is rounding."""

MAX_ITERATIONS = 100_000


@usual
def backup(mdp: TabularMDP, values: Float[Array, " S"], gamma: Any) -> Float[Array, "S A"]:
    """Return Q(s, a) = sum_k p_k [ r_k + gamma (1 - terminated_k) V(s'_k) ].

    Source: Sutton and Barto 2018, equation 4.6.

    Raises:
        ValueError: gamma lies outside [0, 1], or there is not a value for each state.

    """
    check_record("mdp", mdp, TabularMDP)
    check_range("gamma", gamma, 0, 1)
    if np.shape(numbers("values", values) if concrete(values) else values) != np.shape(mdp.start):
        raise ValueError(f"values must be one for each of {len(mdp.start)} states, got {shown(values)}")
    future = jnp.where(mdp.terminated, 0, values[mdp.successor])
    return (mdp.probability * (mdp.reward + gamma * future)).sum(-1)


@usual
def value_iteration(
    mdp: TabularMDP, gamma: Any, tolerance: Any = TOLERANCE, max_iterations: int = MAX_ITERATIONS
) -> Float[Array, "S A"]:
    """Return the optimal action values Q*, by value iteration from 0 (Sutton and Barto 2018, section 4.4).

    Stops when no value changes by more than `tolerance` times the largest, or after `max_iterations` sweeps. At
    gamma = 1 it converges if rewards are all of one sign (Puterman 1994, theorems 7.2.12 and 7.3.10) or if what
    never ends loses without bound.

    Raises:
        ValueError: gamma lies outside [0, 1], or is 1 and from some state no policy can reach an end.

    """
    mdp = _check(mdp, None, gamma)
    max_iterations = check_size("max_iterations", max_iterations)
    check_range("tolerance", tolerance, 0, float("inf"))
    return _value_iteration(mdp, gamma, tolerance, max_iterations)


@usual
def policy_iteration(mdp: TabularMDP, gamma: Any, max_iterations: int = 100) -> Float[Array, "S A"]:
    """Return the optimal action values Q*, by policy iteration (Sutton and Barto 2018, section 4.3).

    Starts with the policy that takes the shortest way to an end, and changes an action only for a better one, so
    that at gamma = 1 every policy on the way ends, too. Stops when no action changes, or after `max_iterations`.
    Each evaluation is a dense linear solve.

    Raises:
        ValueError: gamma lies outside [0, 1], or is 1 and from some state no policy can reach an end.

    """
    mdp = _check(mdp, None, gamma)
    max_iterations = check_size("max_iterations", max_iterations)
    return _policy_iteration(mdp, gamma, max_iterations)


@usual
def policy_values(mdp: TabularMDP, policy: Float[Array, "S A"], gamma: Any) -> Float[Array, " S"]:
    """Return V of a policy, the solution of (I - gamma P) V = r (Sutton and Barto 2018, equation 4.4).

    A dense solve: memory for S^2 numbers, 2/3 S^3 operations. Episodes end only where the MDP does: a time limit
    does not count, as it does not for a bootstrapping learner.

    Raises:
        ValueError: gamma lies outside [0, 1], or is 1 and the policy cannot reach an end from some state.

    """
    mdp = _check(mdp, policy, gamma, acts=True)
    return _solve(mdp, policy, gamma)


@usual
def policy_evaluation(
    mdp: TabularMDP,
    policy: Float[Array, "S A"],
    gamma: Any,
    tolerance: Any = TOLERANCE,
    max_iterations: int = MAX_ITERATIONS,
) -> Float[Array, " S"]:
    """Return V of a policy as `policy_values`, by iterative policy evaluation (Sutton and Barto 2018, section 4.1).

    S A K operations for a sweep and no dense matrix. Stops when no value changes by more than `tolerance` times the
    largest, after about 15 / (1 - gamma) sweeps at most, or after `max_iterations`.

    Raises:
        ValueError: gamma lies outside [0, 1], or is 1 and the policy cannot reach an end from some state.

    """
    mdp = _check(mdp, policy, gamma, acts=True)
    max_iterations = check_size("max_iterations", max_iterations)
    check_range("tolerance", tolerance, 0, float("inf"))
    return _evaluate(mdp, policy, gamma, tolerance, max_iterations)


@usual
def action_values(mdp: TabularMDP, policy: Float[Array, "S A"], gamma: Any) -> Float[Array, "S A"]:
    """Return Q of a policy, by a dense solve (`policy_values`) and one `backup`.

    Raises:
        ValueError: gamma lies outside [0, 1], or is 1 and the policy cannot reach an end from some state.

    """
    return backup(mdp, policy_values(mdp, policy, gamma), gamma)


@usual
def visits(
    mdp: TabularMDP,
    policy: Float[Array, "S A"],
    gamma: Any,
    tolerance: Any = TOLERANCE,
    max_iterations: int = MAX_ITERATIONS,
) -> Float[Array, " S"]:
    """Return how often an episode visits each state, each visit discounted: sum_t gamma^t P(S_t = s).

    At gamma = 1 that is eta of the "on-policy distribution in episodic tasks" (Sutton and Barto 2018, section 9.2,
    equation 9.2), and otherwise eta with gamma in its second term, as said there. Divided by its sum it is the
    state distribution of the policy. Stops when what is left of the episode is less than `tolerance` of the sum.

    Raises:
        ValueError: gamma lies outside [0, 1], or is 1 and the policy cannot reach an end from some state.

    """
    mdp = _check(mdp, policy, gamma, acts=True)
    max_iterations = check_size("max_iterations", max_iterations)
    check_range("tolerance", tolerance, 0, float("inf"))
    return _visits(mdp, policy, gamma, tolerance, max_iterations)


@usual
def expected_return(mdp: TabularMDP, policy: Float[Array, "S A"], steps: int) -> Float[Array, ""]:
    """Return the expected undiscounted return of a policy's first `steps` steps, by backward recursion.

    On the lake, whose only reward is 1 at the goal, this is the probability of success within the time limit.

    Raises:
        ValueError: `steps` is not positive, or the policy is none.

    """
    steps = check_size("steps", steps)
    mdp = checked(mdp)
    check_policy(mdp, policy)

    def body(_, values):
        return (policy * backup(mdp, values, 1.0)).sum(-1)

    return mdp.start @ lax.fori_loop(0, steps, body, jnp.zeros(mdp.start.shape))


@usual
def best_return(mdp: TabularMDP, steps: int) -> Float[Array, ""]:
    """Return the largest expected undiscounted return of `steps` steps, by backward recursion.

    The policy that reaches it may depend on the time left, so no policy of the state alone does better.

    Raises:
        ValueError: `steps` is not positive.

    """
    steps = check_size("steps", steps)
    mdp = checked(mdp)
    values = lax.fori_loop(0, steps, lambda _, v: backup(mdp, v, 1.0).max(-1), jnp.zeros(mdp.start.shape))
    return mdp.start @ values


# A table held against the exact solution -----------------------------------------------------------------------


class Exact(NamedTuple):
    """The exact solution of an MDP, with which tables of action values are compared."""

    q: Float[Array, "S A"]
    """Q*."""
    weights: Float[Array, " S"]
    """State distribution of the optimal policy, which sums to 1; equally good actions are shared evenly."""
    acts: Bool[Array, " S"]
    """In which states an episode can come to act."""
    start_value: Float[Array, ""]
    """The optimal value, averaged over the first state."""


@usual
def exact(mdp: TabularMDP, gamma: Any, max_iterations: int = MAX_ITERATIONS) -> Exact:
    """Return the exact solution that `report` needs, by value iteration and without dense matrices.

    Raises:
        ValueError: gamma lies outside [0, 1], or is 1 and from some state no policy can reach an end.

    """
    mdp, max_iterations = checked(mdp), check_size("max_iterations", max_iterations)
    q = value_iteration(mdp, gamma, max_iterations=max_iterations)
    # Values that are equal but for rounding are shared, or the distribution would depend on the last digits.
    best = q.max(-1, keepdims=True)
    policy = jax.vmap(greedy)(jnp.where(q >= best - 8 * TOLERANCE * jnp.abs(best), best, q))
    eta = _visits(mdp, policy, gamma, TOLERANCE, max_iterations)
    return Exact(q, eta / eta.sum(), reachable(mdp), mdp.start @ q.max(-1))


@usual
def report(
    exact: Exact, mdp: TabularMDP, table: Float[Array, "S A"], gamma: Any, max_iterations: int = MAX_ITERATIONS
) -> dict[str, Float[Array, ""]]:
    """Return how far a table is from the exact solution; vmap over tables.

    `distance`: max |Q - Q*| over the states in which an episode can come to act. Others keep their initial values
    for ever: the goal and the cliff of CliffWalking, 100 of Taxi's 500 states.
    `weighted_distance`: the root of the mean of (Q - Q*)^2 over actions and, weighted, over the optimal policy's
    states (the VE of Sutton and Barto 2018, equation 9.1, of action values).
    `greedy_start_value`: exact value at the start of the greedy policy, ties shared evenly (`qjax.greedy`).
    `regret`: the optimal value at the start less that.

    Entries of minus infinity, by which actions are masked, have no error.

    At gamma = 1 a greedy policy may never end. What it earns on the way counts; where it gains or loses for ever
    its value is inf or -inf, and where it does both, NaN.

    Policies are evaluated by iteration: at most 15 / (1 - gamma) sweeps of S A K operations, for Taxi at gamma =
    0.99 a twentieth of the 2/3 S^3 of a linear solve, and no memory for [S, S] numbers of every table.

    Raises:
        TypeError: `exact` is no exact solution, or `mdp` no MDP.
        ValueError: the table or the exact solution has another shape than the MDP, or gamma lies outside [0, 1].

    """
    check_record("exact", exact, Exact)
    check_record("mdp", mdp, TabularMDP)
    check_range("gamma", gamma, 0, 1)
    max_iterations = check_size("max_iterations", max_iterations)
    check_pairs("a table", table, mdp)
    check_pairs("an exact solution", exact.q, mdp)
    error = jnp.where(table == -jnp.inf, 0, table - exact.q)
    policy = jax.vmap(greedy)(table)
    values = _value_of_any(mdp, policy, gamma, max_iterations)
    value = jnp.where(mdp.start > 0, mdp.start * values, 0).sum()  # 0 times infinity does not count
    return {
        "distance": jnp.where(exact.acts[:, None], jnp.abs(error), 0).max(),
        "weighted_distance": jnp.sqrt(exact.weights @ (error**2).mean(-1)),
        "greedy_start_value": value,
        "regret": exact.start_value - value,
    }


def _value_of_any(mdp: TabularMDP, policy: Float[Array, "S A"], gamma: Any, max_iterations: int) -> Array:
    """Return V of a policy that at gamma = 1 need not end."""
    if concrete(gamma) and np.float32(gamma) != 1:
        return _evaluate(mdp, policy, gamma, TOLERANCE, max_iterations)
    earned = (policy[..., None] * mdp.probability * mdp.reward).sum((1, 2))
    forever = _forever(mdp, policy) & (gamma == 1)
    gains, loses = (_comes_to(mdp, policy, forever & some) for some in (earned > 0, earned < 0))
    finite = jnp.where(forever[:, None, None], 0, mdp.reward)
    values = _evaluate(mdp._replace(reward=finite), policy, gamma, TOLERANCE, max_iterations)
    values = jnp.where(gains, jnp.inf, jnp.where(loses, -jnp.inf, values))
    return jnp.where(gains & loses, jnp.nan, values)


def _comes_to(mdp: TabularMDP, policy: Float[Array, "S A"], goal: Bool[Array, " S"]) -> Bool[Array, " S"]:
    """Return from which states a policy can come to act in a goal."""
    goes_on = possible(mdp, policy) & ~mdp.terminated
    return fixed_point(lambda x: goal | (goes_on & x[mdp.successor]).any((1, 2)), goal)


def _forever(mdp: TabularMDP, policy: Float[Array, "S A"]) -> Bool[Array, " S"]:
    """Return which states a policy visits for ever once it has come there: recurrent ones, with no end in reach.

    With `top` the largest state in reach of each state, a state is recurrent with all that it reaches if it is the
    top of everything in its reach: all of that can come back to it. Every recurrent class has one such state.
    """
    goes_on = possible(mdp, policy) & ~mdp.terminated
    states = jnp.arange(len(mdp.start), dtype=jnp.int32)

    def largest(x):
        return jnp.maximum(x, jnp.where(goes_on, x[mdp.successor], -1).max((1, 2)))

    def smallest(x):
        return jnp.minimum(x, jnp.where(goes_on, x[mdp.successor], len(states)).min((1, 2)))

    top = fixed_point(smallest, fixed_point(largest, states))
    endless = jnp.isinf(steps_to_end(mdp, policy).min(-1))
    return reachable(mdp, policy, start=endless & (top == states))


# What the above is made of -------------------------------------------------------------------------------------


def _settle(
    f: Callable[[Array], Array], values: Float[Array, " S"], tolerance: Any, max_iterations: int
) -> Float[Array, " S"]:
    """Apply `f` until no value changes by more than `tolerance` times the largest."""

    def body(carry):
        old, _, count = carry
        new = f(old)
        return new, jnp.abs(new - old).max() > tolerance * jnp.abs(new).max(), count + 1

    start = (values, jnp.bool_(True), jnp.int32(0))
    return lax.while_loop(lambda carry: carry[1] & (carry[2] < max_iterations), body, start)[0]


@partial(jax.jit, static_argnames="max_iterations")
def _value_iteration(mdp, gamma, tolerance, max_iterations):
    zero = jnp.zeros(mdp.start.shape, jnp.float32)
    values = _settle(lambda v: backup(mdp, v, gamma).max(-1), zero, tolerance, max_iterations)
    return backup(mdp, values, gamma)


@partial(jax.jit, static_argnames="max_iterations")
def _policy_iteration(mdp, gamma, max_iterations):
    def q_of(action):
        return backup(mdp, _solve(mdp, jax.nn.one_hot(action, mdp.successor.shape[1]), gamma), gamma)

    def improve(carry):
        action, _, count = carry
        q = q_of(action)
        # By more than rounding: at gamma = 1 a change that is no improvement may make a policy that never ends.
        margin = 8 * TOLERANCE * jnp.abs(q).max()
        better = q.max(-1) > jnp.take_along_axis(q, action[:, None], 1)[:, 0] + margin
        return jnp.where(better, q.argmax(-1), action), better.any(), count + 1

    first = (steps_to_end(mdp).argmin(-1), jnp.bool_(True), jnp.int32(0))
    return q_of(lax.while_loop(lambda carry: carry[1] & (carry[2] < max_iterations), improve, first)[0])


@jax.jit
def _solve(mdp, policy, gamma):
    weight = policy[..., None] * mdp.probability
    states = jnp.arange(len(mdp.start))
    step = jnp.zeros((len(states), len(states)))
    step = step.at[states[:, None, None], mdp.successor].add(jnp.where(mdp.terminated, 0, weight))
    return jnp.linalg.solve(jnp.eye(len(states)) - gamma * step, (weight * mdp.reward).sum((1, 2)))


@partial(jax.jit, static_argnames="max_iterations")
def _evaluate(mdp, policy, gamma, tolerance, max_iterations):
    zero = jnp.zeros(mdp.start.shape, jnp.float32)
    return _settle(lambda v: (policy * backup(mdp, v, gamma)).sum(-1), zero, tolerance, max_iterations)


@partial(jax.jit, static_argnames="max_iterations")
def _visits(mdp, policy, gamma, tolerance, max_iterations):
    goes_on = jnp.where(mdp.terminated, 0, policy[..., None] * mdp.probability)

    def body(carry):
        mass, total, count = carry
        flow = gamma * mass[:, None, None] * goes_on
        mass = jnp.zeros_like(mass).at[mdp.successor].add(flow)
        return mass, total + mass, count + 1

    def running(carry):
        mass, total, count = carry
        return (mass.sum() > tolerance * total.sum()) & (count < max_iterations)

    return lax.while_loop(running, body, (mdp.start, mdp.start, jnp.int32(0)))[1]


def _check(mdp: TabularMDP, policy: Float[Array, "S A"] | None, gamma: Any, acts: bool = False) -> TabularMDP:
    """Return the MDP, checked with gamma and policy, and where gamma is 1 that every state can reach an end."""
    check_range("gamma", gamma, 0, 1)
    mdp = checked(mdp)
    if acts or policy is not None:
        check_policy(mdp, policy)
    if not concrete(mdp, policy, gamma) or np.float32(gamma) != 1:
        return mdp
    with jax.ensure_compile_time_eval():  # concrete arrays may stand inside a traced function
        endless = np.isinf(np.asarray(steps_to_end(mdp, policy))).all(-1)
    if endless.any():
        who = "no policy can" if policy is None else "the policy cannot"
        raise ValueError(
            f"gamma = 1 needs episodes that end: {who} reach a terminal outcome from state {endless.argmax()}"
            + (f" (and from {endless.sum() - 1} more)" if endless.sum() > 1 else "")
        )
    return mdp
