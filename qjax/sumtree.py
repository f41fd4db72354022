"""A sum-tree: leaves are drawn in proportion to their masses (Schaul et al. 2016, appendix B.2.1).

A tree is a tuple of arrays: the leaves, the sums of every `fan` of them, the sums of every `fan` of those, and so
on up to one node of `fan` entries; levels are padded with zeros. Nodes are wide, as what costs is the number of
gathers that wait for one another: a million leaves have four levels.

Sums are always taken again from the children, never changed by a difference: rounding errors do not add up, and an
index given twice does no harm.
"""

from itertools import accumulate

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from qjax.checks import check_size

Tree = tuple[Float[Array, " _"], ...]
"""Leaves first; the last level's size is the fan-out."""

FAN = 32
"""Children of a node. A draw reads `FAN` masses at each level and the levels wait for one another: with 16 there is
one more of them for 10,000 leaves and for a million, with 128 one less and two to three times as much to read."""

STEP = 2.0**-24
"""Distance of the fractions that a draw takes: the places below 1 that float32 can tell apart."""

BLUR = 2.0**-13
"""Width, in units of a node's sum, over which the place inside its child is made even again."""


def zeros(size: int, fan: int = FAN) -> Tree:
    """Return the tree of `size` leaves without mass.

    Raises:
        TypeError: a size is traced or no whole number.
        ValueError: `size` is less than 1 or `fan` less than 2.

    """
    entries = [-(-check_size("size", size) // check_size("fan", fan, least=2)) * fan]
    while entries[-1] > fan:
        nodes = entries[-1] // fan
        entries.append(-(-nodes // fan) * fan)
    return tuple(jnp.zeros(number, jnp.float32) for number in entries)


def put(tree: Tree, first: Int[Array, ""], masses: Float[Array, " block"]) -> Tree:
    """Return the tree with the leaves from `first` on replaced, as many as there are masses.

    One slice is written in each level, so it stays one under `vmap` where `first` is the same in all lanes. Every
    leaf written must exist: a slice that reached over the end would be moved.
    """
    fan, values, levels = tree[-1].size, masses, []
    for level in tree:
        written = lax.dynamic_update_slice_in_dim(level, values, first, axis=0)
        levels.append(written)
        # The parents of so many entries, wherever they begin; at the end of the level, some more before them.
        nodes = level.size // fan
        parents = min((values.size + fan - 2) // fan + 1, nodes)
        first = jnp.minimum(first // fan, nodes - parents)
        children = lax.dynamic_slice_in_dim(written, first * fan, parents * fan, axis=0)
        values = children.reshape(parents, fan).sum(-1)
    return tuple(levels)


def put_at(tree: Tree, index: Int[Array, " B"], masses: Float[Array, " B"]) -> Tree:
    """Return the tree with the mass of some leaves replaced; of an index given more than once the largest counts.

    Masses are not negative.
    """
    fan = tree[-1].size
    # Not one `set`, which leaves open what of an index given twice is kept.
    levels = [tree[0].at[index].set(0).at[index].max(masses)]
    for level in tree[1:]:
        children = levels[-1].reshape(-1, fan)
        nodes = children.shape[0]
        if nodes <= index.size:  # all of them: no gather and no scatter
            levels.append(jnp.pad(children.sum(-1), (0, level.size - nodes)))
        else:
            index = index // fan
            levels.append(level.at[index].set(children[index].sum(-1)))
    return tuple(levels)


def draw(tree: Tree, fractions: Float[Array, " levels"]) -> tuple[Int[Array, ""], Float[Array, ""]]:
    """Return the leaf at a place of the total mass, and its mass: 0 where there is no mass at all, else positive.

    `fractions[0]` in [0, 1) is the place, in units of the total: uniform ones draw leaves in proportion to their
    masses. float32 has 24 bits for a place, spread unevenly after a product, and going down to one of 32 children
    uses up five of them: the leaves of a large tree would differ by several per cent. So each level below adds a
    little to the place inside the child, modulo 1, from a fraction of its own, a uniform multiple of `STEP`. That
    leaves what is uniform so, and makes even what is not. With fractions of 0, it is the plain descent.
    """
    fan = tree[-1].size
    node, place, mass = jnp.int32(0), fractions[0], jnp.float32(0)
    for level, fresh in zip(reversed(tree), [*fractions[1:], 0.0], strict=True):
        children = level.reshape(-1, fan)[node]
        # One after another, unlike jnp.cumsum, so that a child without mass ends exactly where it begins.
        ends = list(accumulate(children[k] for k in range(fan)))
        # Below the total after rounding, too: the last child with mass is the last one to be reached.
        target = jnp.minimum(place, 1 - STEP) * ends[-1]
        child, begin = jnp.int32(0), jnp.float32(0)
        for end in ends[:-1]:
            child, begin = child + (end <= target), jnp.where(end <= target, end, begin)
        node = node * fan + jnp.where(ends[-1] > 0, child, 0)
        mass = level[node]
        place = (target - begin + fresh * BLUR * ends[-1]) / mass
        place = place - jnp.floor(place)
    return node, mass
