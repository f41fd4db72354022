"""Iterations one after another, plainly or with their random numbers drawn ahead: the same numbers in either way.

An iteration's key depends on the lane and the clock, not on what the lane does. So what is drawn with it can be
drawn for many iterations at once: the hashes are then one vector operation in place of many small ones inside the
loop, and no kernel of the loop on a GPU. `cut` finds these draws. It reads JAX's jaxprs, which may change; where
they are not as it expects, iterations run plainly: each draws its own, the same.
"""

import math
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int, Key

from qjax.core import clock as clocks
from qjax.core.text import failure
from qjax.training.cut import Cut, cut
from qjax.training.lane import Lane
from qjax.types import Clock

AHEAD_ITERATIONS, AHEAD_BYTES = 64, 2**16
"""Random numbers are drawn ahead for at most so many iterations, and into at most so much memory of a lane."""

Iterate = Callable[[Lane, Clock, Key[Array, ""]], Lane]
"""`(lane, clock, key) -> lane`: an iteration, with the key of its own that is folded from the clock."""
Several = Callable[[Lane, Clock], Lane]
"""`(lane, clock) -> lane`: a number of iterations, the first at `clock`."""


def repeated(iterate: Iterate, key: Key[Array, ""], ticks: int, count: int, lane: Lane) -> Several:
    """Return `count` iterations, random numbers drawn ahead where that can be done.

    Args:
        iterate: an iteration.
        key: the lane's, from which each iteration's is folded.
        ticks: of the clock in an iteration.
        count: how many there are.
        lane: an example, for its shapes.

    """
    halves = cut(lambda early, lane: iterate(lane, early[1], early[0]), (key, clocks.at(0)), lane)

    def several(lane: Lane, clock: Clock) -> Lane:
        try:
            return _drawn_ahead(halves, key, ticks, count)(lane, clock)
        except Exception as error:  # of whatever kind: what is raised by the iteration itself comes up again
            why = failure(error)
        new = plainly(iterate, key, ticks, count)(lane, clock)
        warnings.warn(f"{NOT_AHEAD}: {why}", stacklevel=2)
        return new

    return several


NOT_AHEAD = f"random numbers are not drawn ahead, which is slower: jax {jax.__version__} is not as expected"


def plainly(iterate: Iterate, key: Key[Array, ""], ticks: int, count: int) -> Several:
    """Return `count` iterations, each of which draws its own random numbers."""

    def several(lane: Lane, begun: Clock) -> Lane:
        def one(number: Int[Array, ""], lane: Lane) -> Lane:
            clock = clocks.plus(begun, number * ticks)
            return iterate(lane, clock, clocks.fold(key, clock))

        return lax.fori_loop(0, count, one, lane)

    return several


def _drawn_ahead(halves: Cut, key: Key[Array, ""], ticks: int, count: int) -> Several:
    """Return `count` iterations, cut in two: in stretches of `size` of them, whose numbers are drawn first."""
    size = _stretch(count, jax.eval_shape(halves.draw, (key, clocks.at(0))))

    def stretch(lane: Lane, begun: Clock) -> Lane:
        after = jnp.arange(size) * ticks
        keys = clocks.folds(key, begun, after)
        numbers = jax.vmap(lambda key, tick: halves.draw((key, clocks.plus(begun, tick))))(keys, after)

        def one(lane: Lane, x: Any) -> tuple[Lane, None]:
            drawn, key, tick = x
            return halves.use(drawn, (key, clocks.plus(begun, tick)), lane), None

        return lax.scan(one, lane, (numbers, keys, after))[0]

    def several(lane: Lane, begun: Clock) -> Lane:
        def one(number: Int[Array, ""], lane: Lane) -> Lane:
            return stretch(lane, clocks.plus(begun, number * size * ticks))

        return stretch(lane, begun) if count == size else lax.fori_loop(0, count // size, one, lane)

    return several


def _stretch(iterations: int, numbers: list[Any]) -> int:
    """Return for how many iterations at once `numbers`, those of one of them, are drawn: a divisor of all."""
    each = sum(math.prod(x.shape) * x.dtype.itemsize for x in numbers)
    most = min(AHEAD_ITERATIONS, max(AHEAD_BYTES // max(each, 1), 1))
    return max(n for n in range(1, min(most, iterations) + 1) if iterations % n == 0)
