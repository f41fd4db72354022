"""A 64-bit tick counter in two 32-bit words, as JAX has no 64-bit integers by default.

The clock stands outside the lanes: whatever is equal in all of them (ring cursors, steps, updates) is computed
from it, and their randomness is folded from it, so there is nothing to carry and resuming is exact. Counts are
taken modulo 2**64, so a clock may be set back by a few ticks: `minus(at(0), 2)` is two ticks before the start.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, Key

from qjax.core.annotations import checked
from qjax.core.checks import LARGEST, check_range, check_size, check_whole
from qjax.types import Clock

MODULUS_LIMIT = 2**24
"""The largest modulus `modulo` is exact for."""

_WORD = 2**32


def at(ticks: int = 0) -> Clock:
    """Return the clock that stands at a number of ticks, an `int` of any size up to 2**63 - 1."""
    ticks = check_size("ticks", ticks, least=0, most=2**63 - 1)
    return Clock(*(jnp.asarray(np.uint32(word)) for word in divmod(ticks, _WORD)))


@checked
def ticks(clock: Clock) -> int:
    """Return a concrete clock's number of ticks as an `int`, negative before the start."""
    value = int(clock.high) * _WORD + int(clock.low)
    return value - 2**64 if value >= 2**63 else value


@checked
def plus(clock: Clock, ticks: int | Int[Array, ""]) -> Clock:
    """Return the clock after `ticks` more, with 0 <= ticks < 2**31."""
    _check_ticks(ticks)
    low = clock.low + jnp.asarray(ticks).astype(jnp.uint32)
    return Clock(clock.high + (low < clock.low).astype(jnp.uint32), low)


@checked
def minus(clock: Clock, ticks: int | Int[Array, ""]) -> Clock:
    """Return the clock `ticks` before, with 0 <= ticks < 2**31."""
    _check_ticks(ticks)
    low = clock.low - jnp.asarray(ticks).astype(jnp.uint32)
    return Clock(clock.high - (low > clock.low).astype(jnp.uint32), low)


@checked
def modulo(clock: Clock, modulus: int) -> Int[Array, ""]:
    """Return ticks mod `modulus` as int32, exactly, for any clock that is not before the start.

    Horner's rule over the clock's eight bytes: no product reaches 2**32.

    Raises:
        TypeError: `modulus` is traced or no whole number.
        ValueError: `modulus` is not in [1, 2**24].

    """
    modulus = check_size("modulus", modulus, most=MODULUS_LIMIT)
    rest = jnp.uint32(0)
    for word in clock:
        for shift in (24, 16, 8, 0):
            # On unsigned words the same as %, which would be traced as ten operations.
            rest = lax.rem((rest << 8) | ((word >> shift) & 0xFF), jnp.uint32(modulus))
    return rest.astype(jnp.int32)


@checked
def divided(clock: Clock, divisor: int) -> Clock:
    """Return ticks // `divisor` as a clock, exactly, for any clock that is not before the start.

    Raises:
        TypeError: `divisor` is traced or no whole number.
        ValueError: `divisor` is not in [1, 2**24].

    """
    divisor = check_size("divisor", divisor, most=MODULUS_LIMIT)
    if divisor == 1:
        return clock
    rest, words = jnp.uint32(0), []
    for word in clock:
        quotient = jnp.uint32(0)
        for shift in (24, 16, 8, 0):
            rest = (rest << 8) | ((word >> shift) & 0xFF)
            quotient = (quotient << 8) | lax.div(rest, jnp.uint32(divisor))
            rest = lax.rem(rest, jnp.uint32(divisor))
        words.append(quotient)
    return Clock(*words)


@checked
def capped(clock: Clock, most: int) -> Int[Array, ""]:
    """Return min(ticks, `most`) as int32, and 0 before the start."""
    most, before = check_size("most", most, least=0), clock.high >= jnp.uint32(2**31)
    reached = jnp.where(clock.high > 0, jnp.uint32(most), jnp.minimum(clock.low, jnp.uint32(most)))
    return jnp.where(before, 0, reached).astype(jnp.int32)


@checked
def missing(clock: Clock, most: int) -> Int[Array, ""]:
    """Return how many ticks the clock stands before the start, at most `most`, as int32; 0 from the start on.

    For clocks set back by less than 2**32 ticks.
    """
    most, before = check_size("most", most, least=0), clock.high >= jnp.uint32(2**31)
    return jnp.where(before, jnp.minimum(jnp.uint32(0) - clock.low, jnp.uint32(most)), 0).astype(jnp.int32)


@checked
def as_float(clock: Clock) -> Float[Array, ""]:
    """Return the number of ticks, from the start on, as float32: exact to 2**24, then to one part in 10**7."""
    return clock.high.astype(jnp.float32) * float(_WORD) + clock.low.astype(jnp.float32)


def _check_ticks(ticks: Any) -> None:
    check_whole("ticks", ticks)
    check_range("ticks", ticks, 0, LARGEST)


@checked
def fold(key: Key[Array, ""], clock: Clock) -> Key[Array, ""]:
    """Return the key of this tick."""
    return jax.random.fold_in(jax.random.fold_in(key, clock.high), clock.low)


@checked
def folds(key: Key[Array, ""], clock: Clock, ticks: Int[Array, " n"]) -> Key[Array, " n"]:
    """Return the keys of the clock after each of `ticks`, as `fold` does; the high word is folded twice at most."""
    this, after = (jax.random.fold_in(key, clock.high + jnp.uint32(carry)) for carry in (0, 1))
    times = jax.vmap(plus, in_axes=(None, 0))(clock, ticks)
    high = jnp.where(times.high == clock.high, this, after)
    return jax.vmap(jax.random.fold_in)(high, times.low)
