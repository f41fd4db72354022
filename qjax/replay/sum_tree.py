"""A sum-tree: leaves are drawn in proportion to their masses (Schaul et al. 2016, appendix B.2.1).

A tree is a tuple of arrays: the leaves, the sums of every `branching` of them, the sums of every `branching` of
those, and so on up to one node of `branching` entries; levels are padded with zeros. Nodes are wide, as what costs
is the number of gathers that wait for one another: a million leaves have four levels.

Sums are always taken again from the children, never changed by a difference: rounding errors do not add up, and an
index given twice does no harm.
"""

from collections.abc import Sequence
from itertools import accumulate

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from qjax.core.checks import check_size
from qjax.replay.slices import write_slice

Tree = tuple[Float[Array, " _"], ...]
"""Leaves first; the last level's size is the number of children of a node."""

BRANCHING = 32
"""Children of a node. A draw reads so many masses at each level and the levels wait for one another: with 16 there
is one more of them for 10,000 leaves and for a million, with 128 one less and almost thrice as much to read."""

STEP = 2.0**-24
"""Distance of the fractions that a draw takes: the places below 1 that float32 can tell apart."""

BLUR = 2.0**-13
"""How far, in units of a node's sum, places inside its child are spread to be even again."""


def zeros(size: int, branching: int = BRANCHING) -> Tree:
    """Return the tree of `size` leaves without mass.

    Raises:
        TypeError: a size is traced or no whole number.
        ValueError: `size` is less than 1 or too large for int32, or `branching` less than 2.

    """
    entries = [-(-check_size("size", size) // check_size("branching", branching, least=2)) * branching]
    if entries[0] >= 2**31:
        raise ValueError(
            f"size must be below 2**31 less a node of {branching}: leaves are int32 numbers, got {size}"
        )
    while entries[-1] > branching:
        nodes = entries[-1] // branching
        entries.append(-(-nodes // branching) * branching)
    return tuple(jnp.zeros(number, jnp.float32) for number in entries)


def refresh(tree: Tree, leaves: Float[Array, " _"], firsts: Sequence[Int[Array, ""]], size: int) -> Tree:
    """Return the tree with new leaves, which differ from the old ones in blocks alone: `size` from each first on.

    Sums are written by slices, which they stay under `vmap` where the firsts are the same in all lanes.
    """
    branching, levels = tree[-1].size, [leaves]
    for level in tree[1:]:
        # The parents of so many entries, wherever they begin; at the end of a level, some more before them.
        nodes = levels[-1].size // branching
        size = min((size + branching - 2) // branching + 1, nodes)
        firsts = [jnp.minimum(first // branching, nodes - size) for first in firsts]
        sums = level
        for first in firsts:
            children = lax.dynamic_slice_in_dim(levels[-1], first * branching, size * branching, axis=0)
            sums = write_slice(sums, children.reshape(size, branching).sum(-1), first)
        levels.append(sums)
    return tuple(levels)


def put(tree: Tree, index: Int[Array, " B"], masses: Float[Array, " B"]) -> Tree:
    """Return the tree with the mass of some leaves replaced; where the new one is negative, the old one stays.

    Of an index that is given more than once the largest counts.
    """
    branching, held = tree[-1].size, tree[0][index]
    # Not one `set`, which leaves open what is kept of an index given twice. And what is set in the first place
    # depends on all that is read, or the compiler would copy the leaves.
    stays = masses < 0
    cleared = tree[0].at[index].set(jnp.where(stays, held, 0))
    levels = [cleared.at[index].max(jnp.where(stays, held, masses))]
    for level in tree[1:]:
        children = levels[-1].reshape(-1, branching)
        nodes = children.shape[0]
        if nodes <= index.size:  # all of them: no gather and no scatter
            levels.append(jnp.pad(children.sum(-1), (0, level.size - nodes)))
        else:
            index = index // branching
            levels.append(level.at[index].set(children[index].sum(-1)))
    return tuple(levels)


def draw(tree: Tree, fractions: Float[Array, " levels"]) -> tuple[Int[Array, ""], Float[Array, ""]]:
    """Return the leaf at a place of the total mass, and its mass: 0 where there is no mass at all, else positive.

    `fractions[0]` in [0, 1) is the place, in units of the total: uniform ones draw leaves in proportion to their
    masses. float32 has 24 bits for a place, spread unevenly after a product, and going down to one of 32 children
    uses up five of them: the leaves of a large tree would differ by several per cent. So at each level below, the
    place inside the child is moved a little, by a fraction of its own, a uniform multiple of `STEP`, and reflected
    at the child's ends. That leaves what is uniform so, and makes even what is not. A half moves nothing.
    """
    branching = tree[-1].size
    node, place, mass = jnp.int32(0), fractions[0], jnp.float32(0)
    for level, fresh in zip(reversed(tree), [*fractions[1:], 0.5], strict=True):
        children = list(level.reshape(-1, branching)[node])
        # One after another, unlike jnp.cumsum, so that a child without mass ends exactly where it begins.
        ends = list(accumulate(children))
        # Below the total after rounding, too: the last child with mass is the last one to be reached.
        target = jnp.minimum(place, 1 - STEP) * ends[-1]
        child, begin, mass = jnp.int32(0), jnp.float32(0), children[0]
        for end, following in zip(ends[:-1], children[1:], strict=True):
            passed = end <= target
            child, begin, mass = child + passed, jnp.where(passed, end, begin), jnp.where(passed, following, mass)
        node = node * branching + jnp.where(ends[-1] > 0, child, 0)
        place = (target - begin + (fresh - 0.5) * BLUR * ends[-1]) / mass
        place = jnp.abs(place - 2 * jnp.round(place / 2))
    return node, mass
