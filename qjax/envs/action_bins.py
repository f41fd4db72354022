"""Continuous actions cut into a few values: each combination of them is one discrete action."""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from qjax.core.checks import check_size, concrete, numbers
from qjax.core.text import shown

MOST = 10_000
"""The most actions that are counted through."""


class Binned:
    """An environment object with continuous actions, whose actions are numbers of a list's values."""

    def __init__(self, env: Any, values: Any) -> None:
        """Make it from the object and its actions `[A, ...]`."""
        self.env, self.values = env, values

    def reset(self, key: Any, params: Any) -> Any:
        """Return the first observation and state of an episode."""
        return self.env.reset(key, params)

    def step(self, key: Any, state: Any, action: Any, params: Any) -> Any:
        """Return what a step returns."""
        return self.env.step(key, state, self.values[action], params)


def action_values(name: str, space: Any, bins: Any) -> Any:
    """Return the actions `[A, ...]` of an environment with continuous ones, evenly spaced; None of a discrete one.

    The last dimension's change first, as `numpy.unravel_index` counts.

    Args:
        name: the environment's.
        space: its actions.
        bins: values of each dimension, or of all; None where none are given.

    Raises:
        TypeError: bins are no whole numbers, or given for discrete actions.
        ValueError: they are missing, less than 2, not one for each dimension, or too many; the space is neither
            discrete nor bounded, or its numbers do not begin at 0.

    """
    if hasattr(space, "n"):
        if start := int(getattr(space, "start", 0)):
            raise ValueError(f"{name} has actions that begin at {start}; qjax's begin at 0")
        if bins is not None:
            raise TypeError(f"{name} has {int(space.n)} discrete actions, action_bins={shown(bins)} cuts none")
        return None
    if not all(hasattr(space, field) for field in ("low", "high", "shape")):
        several = " of several numbers" if hasattr(space, "nvec") else ""
        raise ValueError(
            f"{name} has the action space {type(space).__name__} {shown(space)}{several}; qjax needs one number"
            " (numpy.ravel_multi_index makes one of several), or a box to cut"
        )
    if bins is None:
        raise ValueError(
            f"{name} has a continuous action space, {space}; qjax needs discrete actions: give action_bins=5, for"
            " instance"
        )
    shape = tuple(space.shape)
    low, high = (jnp.broadcast_to(jnp.asarray(end, jnp.float32), shape).ravel() for end in (space.low, space.high))
    if concrete(low, high) and not (np.isfinite(low).all() and np.isfinite(high).all() and (low < high).all()):
        raise ValueError(f"{name} has actions without bounds, {space}, which cannot be cut into bins")
    counts = _counts(name, bins, math.prod(shape))
    lines = [jnp.linspace(least, most, count) for least, most, count in zip(low, high, counts, strict=True)]
    grid = jnp.stack([each.ravel() for each in jnp.meshgrid(*lines, indexing="ij")], -1)
    return grid.reshape(-1, *shape).astype(getattr(space, "dtype", jnp.float32))


def _counts(name: str, bins: Any, size: int) -> list[int]:
    """Return the number of values of each dimension of an action."""
    if not concrete(bins):
        raise TypeError("action_bins is static: it shapes the compiled program and cannot be swept")
    given = numbers("action_bins", bins)
    if given.shape not in ((), (size,)):
        raise ValueError(f"action_bins must be one number, or {size}, one for each dimension, got {shown(bins)}")
    counts = [check_size("action_bins", each, least=2) for each in np.broadcast_to(given, (size,)).tolist()]
    if (actions := math.prod(counts)) > MOST:
        raise ValueError(
            f"action_bins make {' x '.join(map(str, counts))} = {actions:,} actions of {name}; at most {MOST:,}"
        )
    return counts
