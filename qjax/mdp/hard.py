"""MDPs in which it is hard to find what pays: DeepSea and RiverSwim."""

from typing import Any

import jax
import numpy as np

from qjax.core.checks import check_range, check_size, numbers
from qjax.core.default_rules import usual
from qjax.mdp.arrays import TabularMDP, from_dense, from_outcomes


@usual
def deep_sea(size: int, right: Any = None, move_cost: float = 0.01) -> TabularMDP:
    """Return DeepSea, in which only `size` steps to the right, each of which costs something, lead to a treasure.

    State row * size + column is a cell of a grid. A step goes one row down, and one column to the right for
    move_cost / size or to the left for nothing; the one from the last row ends the episode, and pays 1 more where
    it goes to the right from the last column. Uniform actions find that once in 2^size episodes. It is gymnax's
    `DeepSea-bsuite`, with states in place of pictures (Osband et al. 2020, bsuite).

    Args:
        size: N, rows and columns.
        right: the action, 0 or 1, that goes to the right in each cell, `[N, N]`; default those of gymnax.
        move_cost: of going to the right all the way.

    Raises:
        TypeError: the size is no whole number, or something is traced.
        ValueError: the size is not positive, the cost negative, or actions are not 0 or 1 for each cell.

    """
    size = check_size("size", size)
    check_range("move_cost", move_cost, 0, float("inf"))
    if right is None:
        with jax.ensure_compile_time_eval():
            right = jax.random.bernoulli(jax.random.key(0), 0.5, (size, size))
    right = numbers("right", right).astype(np.float64)
    if right.shape != (size, size) or not np.isin(right, (0, 1)).all():
        raise ValueError(f"right must be the actions 0 or 1 of {size} x {size} cells, got {right.tolist()}")
    row, column = np.divmod(np.arange(size**2), size)
    goes_right = right.reshape(-1, 1) == np.arange(2)  # [S, 2]
    after = np.clip(column[:, None] + np.where(goes_right, 1, -1), 0, size - 1)
    successor = np.minimum(row + 1, size - 1)[:, None] * size + after
    treasure = goes_right & (column == size - 1)[:, None]
    reward = treasure - goes_right * float(move_cost) / size
    ends = np.broadcast_to((row == size - 1)[:, None], successor.shape)
    start = (np.arange(size**2) == 0).astype(np.float64)
    outcome, probability, pays, terminated = (x[..., None] for x in (successor, np.ones_like(reward), reward, ends))
    return from_outcomes(outcome, probability, pays, terminated, start)


@usual
def river_swim(length: int = 6, small: float = 5.0, large: float = 10_000.0) -> TabularMDP:
    """Return RiverSwim: a small reward downstream, a large one at the end of a swim against the current.

    Action 0 goes one state to the left for sure, and in the first state stays there for the small reward. Action 1
    goes to the right with 0.3, stays with 0.6 and goes to the left with 0.1; in the first state it stays with 0.7;
    in the last one it stays with 0.3, for the large reward, and goes to the left with 0.7. An episode begins in the
    second or the third state, and never terminates (Strehl and Littman 2008, figure 2).

    Args:
        length: states, at least 3.
        small: reward downstream.
        large: reward upstream.

    Raises:
        TypeError: the length is no whole number, or a reward is traced.
        ValueError: there are fewer than 3 states, or a reward is not finite.

    """
    length = check_size("length", length, least=3)
    for name, value in (("small", small), ("large", large)):
        check_range(name, value, -float("inf"), float("inf"))
    states = np.arange(length)
    p, reward = np.zeros((length, 2, length)), np.zeros((length, 2, length))
    p[states, 0, np.maximum(states - 1, 0)] = 1
    p[states, 1, states], p[states[1:], 1, states[:-1]], p[states[:-1], 1, states[1:]] = 0.6, 0.1, 0.3
    p[0, 1, 0] = 0.7
    p[-1, 1, -2:] = 0.7, 0.3
    reward[0, 0, 0], reward[-1, 1, -1] = float(small), float(large)
    start = np.isin(states, (1, 2)) / 2
    return from_dense(p, reward, np.zeros(length, bool), start)


@usual
def baird() -> tuple[TabularMDP, np.ndarray]:
    """Return Baird's counterexample, and features `[7, 2, 15]` of its states and actions (Baird 1995, figure 4).

    Action 0 leads to one of the six upper states, each as likely, and action 1 to the lower one, 6; nothing is paid
    and nothing ends, so every value is 0. Q(s, 1) = 2 w_s + w_7 in an upper state and w_6 + 2 w_7 in the lower one,
    as in Sutton and Barto 2018, figure 11.1; Q(s, 0) = w_{8 + s} is a number of its own. Q-learning diverges from
    what a policy does that takes action 0 six times in seven.
    """
    successor = np.broadcast_to(np.arange(6), (7, 2, 6)).copy()
    successor[:, 1] = 6
    probability = np.broadcast_to(np.array([[1 / 6] * 6, [1, 0, 0, 0, 0, 0]]), (7, 2, 6))
    none = np.zeros((7, 2, 6))
    features = np.zeros((7, 2, 15), np.float32)
    features[np.arange(6), 1, np.arange(6)] = 2
    features[:6, 1, 7] = 1
    features[6, 1, 6:8] = 1, 2
    features[np.arange(7), 0, 8 + np.arange(7)] = 1
    mdp = from_outcomes(successor, probability, none, none.astype(bool), np.full(7, 1 / 7))
    return mdp, features
