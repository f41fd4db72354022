"""Evaluation while a sweep trains: whole greedy episodes at log points, on keys that nothing else draws from."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from qjax.core.checks import check_size
from qjax.runs.points import EVALUATED, Point
from qjax.training.evaluation import evaluate, evaluation_key
from qjax.training.lane import Best, Lane
from qjax.training.loop import Loop

RETURN, SPREAD = EVALUATED, "eval_std"
"""Columns: the mean of the episodes' returns, and their standard deviation."""

REPORT, GREEDY = 2**32 - 2, 2**32 - 1
"""Folded into a lane's evaluation key: the streams of its report, and of its episodes while it trains. What the
evaluation after a sweep splits that key into has small numbers."""


class Evaluation(NamedTuple):
    """What is evaluated while a sweep trains."""

    every: int
    """Log points between two evaluations; the last one is always evaluated."""
    episodes: int
    """Of each lane."""

    def due(self, point: int, done: bool) -> bool:
        """Return whether the log point of this number, from 0, is one, the last where the work is `done`."""
        return done or (point + 1) % self.every == 0

    def steps(self, loop: Loop, points: int) -> int:
        """Return how many environment steps it takes for each lane over so many log points, at most."""
        return -(-points // self.every) * self.episodes * int(loop.env.max_steps)


def check_evaluation(loop: Loop, every: int | None, episodes: int) -> Evaluation | None:
    """Return what is evaluated, checked, None for nothing.

    Raises:
        TypeError: a number is no whole one.
        ValueError: one is not positive, or the environment has no limit on an episode's steps.

    """
    episodes = check_size("evaluate_episodes", episodes)
    if every is None:
        return None
    every = check_size("evaluate_every", every)
    if loop.env.max_steps is None:
        raise ValueError(
            f"{loop.env.name} has no limit on an episode's steps, so an evaluation might not end: wrap it in"
            " qjax.wrappers.time_limit"
        )
    return Evaluation(every, episodes)


def key_at(root: Key[Array, ""], seed: Any, stream: int, point: Any) -> Key[Array, ""]:
    """Return the key of a lane for one log point, in the stream of its report or of its episodes."""
    return jax.random.fold_in(jax.random.fold_in(evaluation_key(root, seed), stream), point)


def unevaluated(lane: Lane) -> Lane:
    """Return a lane that has a place for the best of its agents."""
    return lane._replace(best=Best(jax.tree.map(jnp.copy, lane.agent), jnp.float32(-jnp.inf)))


def evaluated(loop: Loop, lane: Lane, key: Key[Array, ""], episodes: int) -> tuple[Lane, dict[str, Any]]:
    """Return the lane with the best of its agents so far, and what is logged: the returns' mean and spread."""
    returns = evaluate(loop.env, loop.agent, lane.agent, key, episodes).returns
    value, before = returns.mean(), lane.best
    better = value > before.value
    agent = jax.tree.map(lambda new, old: jnp.where(better, new, old), lane.agent, before.agent)
    best = Best(agent, jnp.where(better, value, before.value))
    return lane._replace(best=best), {RETURN: value, SPREAD: returns.std()}


def nothing(lanes: int) -> dict[str, np.ndarray]:
    """Return the columns of a log point at which nothing is evaluated."""
    return {name: np.full(lanes, np.nan, np.float32) for name in (RETURN, SPREAD)}


def steps_of_best(points: Sequence[Point]) -> np.ndarray:
    """Return each lane's environment steps at its best evaluation, the first of equal ones, 0 where it had none."""
    values = np.stack([point.values[RETURN] for point in points])
    steps = np.stack([point.env_steps for point in points])
    first = np.where(np.isnan(values), -np.inf, values).argmax(0)
    lanes = np.arange(values.shape[1])
    return np.where(np.isfinite(values[first, lanes]), steps[first, lanes], 0)
