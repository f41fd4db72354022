"""Sums of many float32 numbers that do not drift: two words in place of one.

A float32 sum of 2^19 rewards of 0.1 is off by four thousandths, as each addition rounds to the sum's last digit.
Here what a rounding leaves out is kept in a second number (Dekker 1971; Knuth 1998, 4.2.2, theorem B), without a
branch, and without float64, which JAX does not have by default.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float


class Sum(NamedTuple):
    """A sum, or an array of sums."""

    total: Float[Array, "*axes"]
    """Rounded to float32 once."""
    rest: Float[Array, "*axes"]
    """What that rounding left out."""


def zero(*shape: int) -> Sum:
    """Return sums of nothing."""
    return Sum(jnp.zeros(shape, jnp.float32), jnp.zeros(shape, jnp.float32))


def plus(found: Sum, number: Float[Array, "*axes"]) -> Sum:
    """Return the sum with a number more. One that is infinite or NaN makes it so, for good."""
    total, rest = found
    about = total + number
    part = about - total
    error = (total - (about - part)) + (number - part) + rest
    error = jnp.where(jnp.isfinite(about), error, 0)
    exact = about + error
    return Sum(exact, error - (exact - about))


def together(found: Sum) -> Float[Array, ""]:
    """Return the sum of an array of sums, rounded once."""
    total, rest = (x.ravel() for x in found)
    while (size := total.size) > 1:
        half = size // 2  # by halves; of an odd number the last one goes along
        joined = plus(plus(Sum(total[:half], rest[:half]), total[half : 2 * half]), rest[half : 2 * half])
        total, rest = (jnp.append(x, left[2 * half :]) for x, left in zip(joined, (total, rest), strict=True))
    return total[0]
