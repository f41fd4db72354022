"""What a policy is worth by recorded data of a finite MDP: importance sampling, fitted Q, the data's own MDP.

Observations are numbers of states, and a policy is its probabilities `[S, A]`. Each estimate can be held
against the exact value of `qjax.solve` where the MDP is known. All is computed on the host, in float64.
"""

import warnings
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike

from qjax.core.checks import (
    check_array,
    check_flag,
    check_pairs,
    check_range,
    check_record,
    check_size,
    check_states,
    numbers,
    one_of,
)
from qjax.datasets.dataset import Dataset, check_dataset, known
from qjax.mdp.arrays import TabularMDP, check_distributions, from_outcomes, refuse

TOLERANCE = 1e-12
"""Fitted Q stops when no value changes by more than this, relative to the largest."""

MAX_ITERATIONS = 100_000

UNSEEN = {"terminal": True, "self-loop": False}
"""What becomes of a pair without data, and whether the episode then ends."""


class ValueEstimate(NamedTuple):
    """An estimate of the expected discounted return from an episode's start."""

    value: float
    """The estimate."""
    standard_error: float
    """Its standard error, of episodes that are independent; NaN of one episode."""


class ImportanceSampling(NamedTuple):
    """Estimates from the returns of recorded episodes, weighted by how likely the policy makes them."""

    ordinary: ValueEstimate
    """The mean of weight times return: without bias, of a variance that grows exponentially with the length."""
    weighted: ValueEstimate
    """The mean of returns by their weights: biased, consistent, never beyond the returns that were recorded."""
    per_decision: ValueEstimate
    """As ordinary, each reward with the weight of what led to it: without bias, mostly of less variance."""
    behaviour: ValueEstimate
    """The mean return as recorded: what the behaviour is worth."""
    effective_sample_size: float
    """(sum w)^2 / sum w^2: so many episodes of equal weight tell as much. 0 where no weight is positive."""
    episodes: int
    """Episodes that the estimates are of."""
    truncated: int
    """How many of them were cut, and count with what they earned until then."""
    unfinished: int
    """Pieces of others, which the start or the end of a stream cut off, and which are left out."""


class _Rows(NamedTuple):
    """Transitions of `N` streams of `T` rows, one stream after the other, `R` rows in all."""

    obs: Int[np.ndarray, " R"]
    action: Int[np.ndarray, " R"]
    reward: Float[np.ndarray, " R"]
    terminated: Bool[np.ndarray, " R"]
    next_obs: Int[np.ndarray, " R"]
    first: Int[np.ndarray, " B"]
    """The rows that begin an episode, or a stream."""
    end: Int[np.ndarray, " E"]
    """The rows that end one."""


class _Outcomes(NamedTuple):
    """What followed on states and actions: each successor and end once, ascending, with how often it did."""

    pair: Int[np.ndarray, " M"]
    """State times the number of actions plus action."""
    successor: Int[np.ndarray, " M"]
    terminated: Bool[np.ndarray, " M"]
    reward: Float[np.ndarray, " M"]
    """The mean of the rewards."""
    times: Int[np.ndarray, " M"]


def importance_sampling(
    data: Dataset, policy: ArrayLike, gamma: Any, from_start: bool = True
) -> ImportanceSampling:
    """Return what a policy earns from an episode's start, by the returns of episodes that another one recorded.

    With w_t the product up to step t of pi(a|s) / b(a|s), and w and G those of a whole episode and its return,

        ordinary      mean of w G                     (Sutton and Barto 2018, equation 5.5)
        weighted      sum of w G / sum of w           (equation 5.6)
        per-decision  mean of sum_t gamma^t w_t r_t   (section 5.9; Precup, Sutton and Singh 2000)

    The standard error of the weighted one is that of a ratio (Owen 2013, "Monte Carlo theory, methods and
    examples", section 9.2), and the effective sample size Kish's (the same, section 9.3). Where that is a
    handful, the large weights have not been seen yet: all standard errors are then too small, and ordinary
    estimates of positive returns mostly too low. The behaviour must take every action that the policy takes;
    data cannot show that it does.

    A row after one that is terminated or truncated begins an episode. A truncated episode counts with what it
    earned until it was cut, since the rest is not known: where a time limit cuts, the estimate is of the return
    within it. The last episode of a stream is left out where the data end before it does. That is more often a
    long one, a bias that shrinks as one over the rows of a stream.

    Args:
        data: recorded transitions with the probability of their actions.
        policy: the policy's probabilities, `[S, A]`.
        gamma: the discount, from 0 to 1.
        from_start: whether each stream's first row begins an episode; False leaves out what comes before a
            stream's first end, as is right for what a full ring holds.

    Raises:
        TypeError: observations are no numbers of states, or an argument is of another kind.
        ValueError: probabilities of actions are missing or not in (0, 1], the policy has not the data's states
            and actions or is no distribution, gamma lies outside [0, 1], or no episode is complete.

    """
    _check_data(data)
    if not known(data.probability):
        raise ValueError("data must hold the probability of each action taken, got data.probability = ()")
    pi = _policy(data, policy)
    rows = _rows(data, len(pi))
    check_range("gamma", gamma, 0, 1)
    first, length = _episodes(rows, len(data.action), check_flag("from_start", from_start))
    if not len(first):
        raise ValueError(f"data must hold a whole episode, got {len(rows.end)} ends in {len(rows.obs)} rows")
    with np.errstate(divide="ignore"):  # an action that the policy does not take
        taken = np.asarray(data.probability, float).T.ravel()
        log_ratio = np.log(pi[rows.obs, rows.action]) - np.log(taken)
    log_weight, returns, decided = _along(first, length, log_ratio, rows.reward, float(gamma))
    weight = _exp(log_weight)
    share = np.exp(log_weight - max(log_weight.max(), np.finfo(float).min))  # of long episodes all may be tiny
    return ImportanceSampling(
        ordinary=_mean(_times(weight, returns)),
        weighted=_ratio(share, returns),
        per_decision=_mean(decided),
        behaviour=_mean(returns),
        effective_sample_size=float(share.sum() ** 2 / (share**2).sum()) if share.any() else 0.0,
        episodes=len(length),
        truncated=int((~rows.terminated[first + length - 1]).sum()),
        unfinished=len(rows.first) - len(length),
    )


def fitted_q(
    data: Dataset,
    num_states: int,
    gamma: Any,
    policy: ArrayLike | None = None,
    initial: ArrayLike = 0.0,
    tolerance: Any = TOLERANCE,
    max_iterations: int = MAX_ITERATIONS,
) -> Float[np.ndarray, "S A"]:
    """Return a table of action values fitted to data: of a policy, or without one of the best by the data.

    Each iteration regresses y = r + gamma (1 - terminated) sum_a pi(a|s') Q(s', a) on (s, a), with the Q before
    it: fitted Q evaluation (Le, Voloshin and Yue 2019, algorithm 3). Without a policy max_a Q(s', a) takes the
    place of the sum: fitted Q iteration (Ernst, Geurts and Wehenkel 2005, figure 1). For a table the regression
    is a mean, and the limit is the value in the MDP of the counts, which `model` returns. A truncated
    transition is one like others: what comes after it counts.

    Args:
        data: recorded transitions.
        num_states: S.
        gamma: the discount, from 0 to 1.
        policy: the policy's probabilities, `[S, A]`; None for the greedy one.
        initial: where iterations begin, and what pairs without data keep: one number, or `[S, A]`. Below all
            returns it keeps the maximum to actions that were taken, in states where one was.
        tolerance: it stops when no value changes by more than this times the largest,
        max_iterations: or after so many.

    Raises:
        TypeError: observations are no numbers of states, or an argument is of another kind.
        ValueError: states or actions lie outside of the table, the policy has another shape or is no
            distribution, gamma lies outside [0, 1], or initial values are not finite or of another shape.

    """
    _check_data(data)
    shape = check_pairs(num_states, data.num_actions)
    pi = None if policy is None else _policy(data, policy, shape[0])
    found = _outcomes(_rows(data, shape[0]), *shape)
    check_range("gamma", gamma, 0, 1)
    check_range("tolerance", tolerance, 0, float("inf"))
    max_iterations = check_size("max_iterations", max_iterations)
    first, discount = _initial(initial, shape), np.where(found.terminated, 0, float(gamma))
    total = np.bincount(found.pair, found.times, shape[0] * shape[1]).reshape(shape)
    q = first
    for _ in range(max_iterations):
        values = q.max(-1) if pi is None else (pi * q).sum(-1)
        target = found.reward + discount * values[found.successor]
        summed = np.bincount(found.pair, found.times * target, shape[0] * shape[1]).reshape(shape)
        before, q = q, np.where(total > 0, summed / np.maximum(total, 1), first)
        if np.abs(q - before).max() <= float(tolerance) * np.abs(q).max():
            return q
    if max_iterations >= MAX_ITERATIONS:  # no one asked for just so many
        moves = np.abs(q - before).max()
        warnings.warn(f"fitted Q still moves by {moves:.3g} after {max_iterations} iterations", stacklevel=2)
    return q


def model(data: Dataset, num_states: int, unseen: str = "terminal", start: ArrayLike | None = None) -> TabularMDP:
    """Return the MDP that makes recorded data most likely, in which `qjax.solve` gives the value of any policy.

    The probability of an outcome is its share among those of its state and action, its reward the mean of what
    was recorded with it; values in it are the certainty-equivalence estimate (Sutton and Barto 2018, section
    6.3). Where an episode was truncated it would have gone on, so that outcome ends nothing.

    Args:
        data: recorded transitions.
        num_states: S.
        unseen: what a pair without data does, for reward 0: "terminal" ends the episode, so that its value is 0
            as in `fitted_q`; "self-loop" stays in its state, and with gamma = 1 a policy may then never end.
        start: distribution of the first state `[S]`; by default of the states in which recorded episodes begin,
            each stream's first row and those after an end. Give it for rows that are no streams, or of a full
            ring.

    Raises:
        TypeError: observations are no numbers of states, or an argument is of another kind.
        ValueError: states or actions lie outside of the table, `unseen` is neither, or `start` is no
            distribution.

    """
    _check_data(data)
    states, actions = check_pairs(num_states, data.num_actions)
    ends = one_of("unseen", unseen, UNSEEN)
    rows = _rows(data, states)
    found = _outcomes(rows, states, actions)
    _, index, outcomes = np.unique(found.pair, return_index=True, return_counts=True)
    shape = (states, actions, outcomes.max())
    successor = np.broadcast_to(np.arange(states)[:, None, None], shape).copy()
    probability, reward, terminated = np.zeros(shape), np.zeros(shape), np.ones(shape, bool)
    probability[..., 0], terminated[..., 0] = 1, ends  # of pairs without data; others are overwritten
    at = (*np.divmod(found.pair, actions), np.arange(len(found.pair)) - np.repeat(index, outcomes))
    probability[at] = found.times / np.bincount(found.pair, found.times)[found.pair]
    successor[at], reward[at], terminated[at] = found.successor, found.reward, found.terminated
    if start is None:
        start = np.bincount(rows.obs[rows.first], minlength=states) / len(rows.first)
    return from_outcomes(successor, probability, reward, terminated, start)


# What the above is made of -------------------------------------------------------------------------------------


def _check_data(data: Dataset) -> None:
    check_record("data", data, Dataset)
    check_dataset(data, "data")
    check_states("an estimate by tables", data.obs, 2)


def _rows(data: Dataset, states: int) -> _Rows:
    """Return the rows of checked data, one stream after the other; states are checked here."""
    for name in ("obs", "next_obs"):
        found = np.asarray(getattr(data, name))
        refuse((found < 0) | (found >= states), found, f"{name} must lie in [0, {states})", ("row", "stream"))
    terminated = np.asarray(data.terminated).T
    ended = terminated | np.asarray(data.truncated).T
    begins = np.ones(ended.shape, bool)
    begins[:, 1:] = ended[:, :-1]
    return _Rows(
        np.asarray(data.obs, np.int64).T.ravel(),  # numbers of pairs and successors do not fit into 32 bits
        np.asarray(data.action).T.ravel(),
        np.asarray(data.reward, float).T.ravel(),
        terminated.ravel(),
        np.asarray(data.next_obs, np.int64).T.ravel(),
        np.flatnonzero(begins),
        np.flatnonzero(ended),
    )


def _policy(data: Dataset, policy: ArrayLike, states: int | None = None) -> Float[np.ndarray, "S A"]:
    """Return a policy, checked, in recorded probabilities' precision: what it took itself has weight 1."""
    table = numbers("policy", policy)
    if table.ndim != 2 or table.shape != (states or len(table), data.num_actions):
        wanted = f"[{states or 'S'}, {data.num_actions}]"
        raise ValueError(f"a policy of shape {list(table.shape)} for data of a table {wanted}")
    check_distributions(table)
    return table.astype(np.float32).astype(float)


def _initial(initial: ArrayLike, shape: tuple[int, int]) -> Float[np.ndarray, "S A"]:
    """Return a table of initial values."""
    check_array("initial", initial)
    if np.shape(initial) not in ((), shape):
        raise ValueError(f"initial values of shape {np.shape(initial)} for a table of shape {shape}")
    return np.broadcast_to(np.asarray(initial, float), shape)


def _episodes(rows: _Rows, stream: int, from_start: bool) -> tuple[Int[np.ndarray, " W"], Int[np.ndarray, " W"]]:
    """Return first rows and lengths of whole episodes, the longest first; of streams of so many rows."""
    first = rows.first[np.searchsorted(rows.first, rows.end, "right") - 1]
    whole = from_start | (first % stream > 0)
    first, length = first[whole], (rows.end - first + 1)[whole]
    order = np.argsort(-length, kind="stable")
    return first[order], length[order]


def _along(
    first: Int[np.ndarray, " W"],
    length: Int[np.ndarray, " W"],
    log_ratio: Float[np.ndarray, " R"],
    reward: Float[np.ndarray, " R"],
    gamma: float,
) -> tuple[Float[np.ndarray, " W"], Float[np.ndarray, " W"], Float[np.ndarray, " W"]]:
    """Return the episodes' logarithms of weights, returns, and returns of rewards weighted one by one."""
    log_weight, returns, decided = np.zeros((3, len(first)))
    for step in range(length[0]):
        running = np.searchsorted(-length, -step)  # those that are longer stand first
        rows = first[:running] + step
        log_weight[:running] += log_ratio[rows]
        discounted = gamma**step * reward[rows]
        returns[:running] += discounted
        decided[:running] += _times(_exp(log_weight[:running]), discounted)
    return log_weight, returns, decided


def _exp(log_weight: Float[np.ndarray, " W"]) -> Float[np.ndarray, " W"]:
    """Return weights, infinity where an episode's is larger than any float."""
    with np.errstate(over="ignore"):
        return np.exp(log_weight)


def _times(weight: Float[np.ndarray, " W"], x: Float[np.ndarray, " W"]) -> Float[np.ndarray, " W"]:
    """Return a product in which nothing times an infinite weight is nothing."""
    return np.multiply(weight, x, out=np.zeros_like(x), where=x != 0)


def _mean(x: Float[np.ndarray, " W"]) -> ValueEstimate:
    """Return a mean with its standard error."""
    error = x.std(ddof=1) / np.sqrt(len(x)) if len(x) > 1 else np.nan
    return ValueEstimate(float(x.mean()), float(error))


def _ratio(weight: Float[np.ndarray, " W"], x: Float[np.ndarray, " W"]) -> ValueEstimate:
    """Return a weighted mean with its standard error, to first order; NaN where no weight is positive."""
    if not weight.any():
        return ValueEstimate(np.nan, np.nan)
    value = (weight * x).sum() / weight.sum()
    error = np.sqrt((weight**2 * (x - value) ** 2).sum()) / weight.sum() if len(x) > 1 else np.nan
    return ValueEstimate(float(value), float(error))


def _outcomes(rows: _Rows, states: int, actions: int) -> _Outcomes:
    """Return what followed on each state and action."""
    pair = rows.obs * actions + rows.action
    code = (pair * states + rows.next_obs) * 2 + rows.terminated
    different, index, count = np.unique(code, return_inverse=True, return_counts=True)
    reward = np.bincount(index, rows.reward) / count
    onward, ends = np.divmod(different, 2)
    return _Outcomes(*np.divmod(onward, states), ends.astype(bool), reward, count)
