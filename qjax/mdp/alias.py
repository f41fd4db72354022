"""Draws from a fixed distribution over many categories, at a cost that does not depend on their number."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, UInt32

from qjax.core.checks import concrete


class Alias(NamedTuple):
    """A distribution over `n` categories as `n` equally likely coins, each between its own category and another."""

    keep: Float[Array, " n"]
    """Probability with which coin i gives i."""
    other: Int[Array, " n"]
    """What it gives otherwise."""


def alias(probability: Float[Array, " n"]) -> Alias:
    """Return the coins of a distribution (Walker 1977, "An efficient method for generating random variables").

    In units of 1/n, a heavy category (1 or more) fills up light ones until it is below 1 itself, and is then filled
    by the next heavy. With both taken in order, who fills whom follows by bisection from sums of what lights lack
    and heavies can spare (the sweep of Hübschle-Schneider and Sanders 2022, "Parallel weighted random sampling").
    Concrete probabilities are summed in float64, traced ones in float32.
    """
    n = probability.shape[0]
    xp: Any
    p: Any
    xp, p = (np, np.asarray(probability, np.float64)) if concrete(probability) else (jnp, probability)
    share = p / p.sum() * n
    heavy = share >= xp.minimum(share.max(), 1)  # rounding may leave all of them just below 1
    last = xp.where(heavy, xp.arange(n), 0).max()
    lack, excess = xp.where(heavy, 0, 1 - share), xp.where(heavy, share - 1, 0)
    lacked, spared = xp.concatenate([xp.zeros(1), xp.cumsum(lack)]), xp.cumsum(excess)
    # A light is filled by the first heavy that has something to spare after the lights before it.
    filler = xp.searchsorted(spared, lacked[:-1], side="right")
    # A heavy is done with the first light that takes all that it and those before it can spare.
    done = xp.minimum(xp.searchsorted(lacked, spared), n)
    rank = xp.cumsum(heavy)
    following = xp.searchsorted(rank, rank, side="right")
    keep = xp.where(heavy, 1 + spared - lacked[done], share)
    keep = xp.where(xp.arange(n) == last, 1, xp.clip(keep, 0, 1))
    other = xp.minimum(xp.where(heavy, following, filler), last)
    return Alias(jnp.asarray(keep, jnp.float32), jnp.asarray(other, jnp.int32))


def draw_alias(bits: UInt32[Array, " 2"], coins: Alias) -> Int[Array, ""]:
    """Return the category that two random words pick; never one of probability 0.

    The remainder that picks the coin is biased by less than n / 2**32.
    """
    coin = lax.rem(bits[0], jnp.uint32(coins.keep.size)).astype(jnp.int32)
    u = (bits[1] >> 8).astype(jnp.float32) * 2.0**-24
    return jnp.where(u < coins.keep[coin], coin, coins.other[coin])
