"""The sum-tree is an array with sums above it, and draws from it as a search in the prefix sums would."""

import functools

import compilation
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from qjax.replay import sum_tree

put = jax.jit(sum_tree.put)


@jax.jit
def put_block(tree, first, masses):
    leaves = jax.lax.dynamic_update_slice_in_dim(tree[0], masses, first, axis=0)
    return sum_tree.refresh(tree, leaves, [first], masses.size)


drawn = jax.jit(jax.vmap(sum_tree.draw, in_axes=(None, 0)), compiler_options=compilation.AS_USERS)

# No power of the branching factor, one node, one leaf, full nodes, several levels.
SHAPES = [(1, 2), (5, 2), (37, 3), (64, 4), (300, 48), (1000, 32)]


def tree_of(masses, branching):
    return put_block(sum_tree.zeros(len(masses), branching), jnp.int32(0), jnp.asarray(masses, jnp.float32))


def uniform_fractions(key, number, tree):
    return (jax.random.bits(key, (number, len(tree))) >> 8).astype(jnp.float32) * sum_tree.STEP


def assert_sums(tree, leaves):
    """Check every level against sums of the leaves alone, in 64 bits."""
    branching = tree[-1].size
    np.testing.assert_array_equal(tree[0][: len(leaves)], leaves)
    expected = np.asarray(tree[0], np.float64)
    assert not expected[len(leaves) :].any()
    for level in tree[1:]:
        sums = expected.reshape(-1, branching).sum(1)
        expected = np.zeros(level.size)
        expected[: len(sums)] = sums
        np.testing.assert_allclose(level, expected, rtol=1e-5)


# ---- what it holds


@pytest.mark.parametrize(("size", "branching"), SHAPES)
def test_random_updates_leave_an_array_and_its_sums(size, branching):
    rng = np.random.default_rng(size)
    tree, leaves = sum_tree.zeros(size, branching), np.zeros(size, np.float32)
    shapes = [(x.shape, x.dtype) for x in tree]
    number, block = 2 * size if size < 100 else 24, max(size // 3, 1)
    for _ in range(12):
        # Indices twice, more of them than leaves, and masses of very different sizes, 0 among them.
        index = rng.integers(0, size, number)
        masses = (rng.random(number) ** 8 * 100 * (rng.random(number) > 0.2)).astype(np.float32)
        tree = put(tree, jnp.asarray(index, jnp.int32), jnp.asarray(masses))
        leaves[index] = 0
        np.maximum.at(leaves, index, masses)
        assert_sums(tree, leaves)

        first, masses = rng.integers(0, size - block + 1), rng.random(block).astype(np.float32)
        tree = put_block(tree, jnp.int32(first), jnp.asarray(masses))
        leaves[first : first + block] = masses
        assert_sums(tree, leaves)
    assert [(x.shape, x.dtype) for x in tree] == shapes


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 6, 9, 37])
def test_a_block_written_anywhere_has_its_parents(length):
    rng = np.random.default_rng(length)
    leaves = rng.random(37).astype(np.float32)
    tree = tree_of(leaves, 4)
    for first in range(37 - length + 1):
        masses, after = rng.random(length).astype(np.float32), leaves.copy()
        after[first : first + length] = masses
        assert_sums(put_block(tree, jnp.int32(first), jnp.asarray(masses)), after)


def test_of_an_index_given_twice_the_largest_counts():
    tree = tree_of(np.full(40, 9.0), 3)
    index, masses = jnp.array([7, 7, 8, 7, 39, 8]), jnp.array([2.0, 3.0, 0.5, 1.0, 4.0, 0.25])
    expected = np.full(40, 9.0, np.float32)
    expected[[7, 8, 39]] = 3.0, 0.5, 4.0
    for order in (np.arange(6), np.arange(6)[::-1], np.array([3, 0, 5, 4, 2, 1])):
        assert_sums(put(tree, index[order], masses[order]), expected)


@pytest.mark.parametrize("number", [1, 40])  # parents one by one, and all of a level
@pytest.mark.parametrize("by_block", [False, True])
def test_parents_are_recomputed(number, by_block):
    """A difference added to a wrong parent would leave it wrong."""
    leaves = np.arange(1, 41, dtype=np.float32)
    tree = tree_of(leaves, 3)
    tree = (tree[0], *(level.at[0].set(1e6) for level in tree[1:]))
    masses = np.full(number, 5.0, np.float32)
    leaves[:number] = masses
    index = jnp.arange(number, dtype=jnp.int32)
    tree = put_block(tree, index[0], jnp.asarray(masses)) if by_block else put(tree, index, jnp.asarray(masses))
    assert_sums(tree, leaves)


def test_lanes_are_written_and_drawn_as_one():
    rng = np.random.default_rng(0)
    masses = rng.random((3, 50)).astype(np.float32)
    lanes = jax.vmap(functools.partial(tree_of, branching=4))(jnp.asarray(masses))
    index, new = rng.integers(0, 50, (3, 8)).astype(np.int32), rng.random((3, 8)).astype(np.float32)
    lanes = jax.vmap(sum_tree.put)(lanes, jnp.asarray(index), jnp.asarray(new))
    fractions = rng.random((3, 20, len(lanes))).astype(np.float32)
    leaf, mass = jax.vmap(drawn)(lanes, jnp.asarray(fractions))
    for i in range(3):
        one = put(tree_of(masses[i], 4), jnp.asarray(index[i]), jnp.asarray(new[i]))
        jax.tree.map(lambda x, y, i=i: np.testing.assert_array_equal(x[i], y), lanes, one)
        expected = drawn(one, jnp.asarray(fractions[i]))
        np.testing.assert_array_equal(leaf[i], expected[0])
        np.testing.assert_array_equal(mass[i], expected[1])


# ---- what is drawn


def kinds(size):
    rng = np.random.default_rng(size)
    yield "even", np.ones(size)
    yield "random", rng.random(size)
    yield "sparse", rng.random(size) * (rng.random(size) < 0.2) + np.eye(1, size)[0]
    yield "skewed", np.exp(rng.normal(0, 6, size))


@pytest.mark.parametrize(("size", "branching"), SHAPES)
def test_draws_are_those_of_a_search_in_the_prefix_sums(size, branching):
    """Up to rounding: the place lies inside the leaf drawn, give or take a millionth of the total."""
    place = np.concatenate([np.random.default_rng(1).random(500), [0, 2**-24, 0.5, 1 - 2**-24]]).astype(np.float32)
    for kind, masses in kinds(size):
        tree = tree_of(masses, branching)
        fractions = np.full((place.size, len(tree)), 0.5, np.float32)
        fractions[:, 0] = place
        leaf, mass = (np.asarray(x) for x in drawn(tree, jnp.asarray(fractions)))
        exact = np.asarray(tree[0], np.float64)[:size]
        ends = np.cumsum(exact)
        np.testing.assert_array_equal(mass, exact[leaf], err_msg=kind)
        assert (mass > 0).all(), kind
        error = 1e-6 * ends[-1]
        assert (ends[leaf] - exact[leaf] <= place * ends[-1] + error).all(), kind
        assert (ends[leaf] >= place * ends[-1] - error).all(), kind
        if kind == "even":
            assert (leaf == np.searchsorted(ends, place * ends[-1], side="right")).mean() > 0.99


@pytest.mark.parametrize("branching", [2, 3, 32])
def test_a_leaf_without_mass_is_never_drawn(branching):
    """At every place that rounding may make of one end or the other, and with every fraction below it."""
    rng = np.random.default_rng(branching)
    ends = np.array([0, 2**-24, 0.25, 0.5, 1 - 2**-23, 1 - 2**-24])
    for size in (1, 40, 200):
        for _ in range(20):
            masses = np.exp(rng.normal(0, 12, size)) * (rng.random(size) < rng.choice([0.05, 0.5, 0.95]))
            masses[rng.integers(size)] = 1.0
            tree = tree_of(masses, branching)
            exact = np.asarray(tree[0])
            # Places just around the ends of the leaves, too.
            inside = np.cumsum(exact, dtype=np.float64)[rng.integers(0, size, 300)] / exact.sum(dtype=np.float64)
            fractions = rng.choice(ends, (600, len(tree)))
            fractions[:300, 0] = np.clip(inside + rng.integers(-1, 2, 300) * 2**-24, 0, 1 - 2**-24)
            leaf, mass = drawn(tree, jnp.asarray(fractions, jnp.float32))
            assert (exact[leaf] > 0).all() and (np.asarray(mass) == exact[leaf]).all()


def test_a_tree_without_mass_says_so():
    for size, branching in SHAPES:
        tree = sum_tree.zeros(size, branching)
        leaf, mass = drawn(tree, uniform_fractions(jax.random.key(0), 504, tree))
        assert not leaf.any() and not mass.any()


@pytest.mark.parametrize(("size", "branching"), [(37, 2), (37, 32), (300, 4)])
def test_frequencies_are_the_masses(size, branching):
    for seed, (kind, raw) in enumerate(kinds(size)):
        masses = raw ** (1 / 3)
        tree = tree_of(masses, branching)
        leaf = drawn(tree, uniform_fractions(jax.random.key(seed), 200_000, tree))[0]
        counts, expected = np.bincount(leaf, minlength=size), masses / masses.sum() * 200_000
        assert not counts[masses == 0].any()
        often = expected > 5
        found = np.append(counts[often], counts[~often].sum() + 1)
        wanted = np.append(expected[often], expected[~often].sum() + 1)
        assert stats.chisquare(found, wanted / wanted.sum() * found.sum()).pvalue > 1e-3, kind


MILLION, BATCH = 10**6, 500_000


def test_a_million_masses_of_all_sizes():
    """Over groups of like mass, over neighbours, and over the children of all nodes, of which half have more."""
    rng = np.random.default_rng(3)
    masses = np.exp(rng.normal(0, 1.5, MILLION)).astype(np.float32)
    masses[::2] *= 3
    tree, rounds = tree_of(masses, sum_tree.BRANCHING), 6
    counts = np.zeros(MILLION)
    for key in jax.random.split(jax.random.key(5), rounds):
        counts += np.bincount(drawn(tree, uniform_fractions(key, BATCH, tree))[0], minlength=MILLION)
    expected = masses / masses.sum(dtype=np.float64) * BATCH * rounds
    by_mass = np.argsort(np.argsort(masses)) * 1000 // MILLION
    places = np.arange(MILLION)
    for groups in (by_mass, places // 1000, places // 50_000, places % 32, places // 32 % 32, places % 1024 % 601):
        assert stats.chisquare(np.bincount(groups, counts), np.bincount(groups, expected)).pvalue > 1e-3


@pytest.mark.parametrize("blurred", [True, False])
@pytest.mark.parametrize("at", [0.3, 0.7004])  # where a node of 1024 leaves begins
def test_neighbours_among_a_million_are_drawn_alike(at, blurred):
    """A thousandth of all places, many times: each leaf has about 17 of the places that float32 can tell apart.

    With these alone, leaves of the same mass would differ by several per cent.
    """
    tree, width = tree_of(np.ones(MILLION), sum_tree.BRANCHING), 2.0**-10
    counts = np.zeros(MILLION)
    for key in jax.random.split(jax.random.key(5), 4):
        fractions = uniform_fractions(key, BATCH, tree)
        # Whole steps, as all places are.
        fractions = fractions.at[:, 0].set(at + jnp.floor(fractions[:, 0] * width / sum_tree.STEP) * sum_tree.STEP)
        fractions = fractions if blurred else fractions.at[:, 1:].set(0.5)
        counts += np.bincount(drawn(tree, fractions)[0], minlength=MILLION)
    # Not those at the ends of the thousandth.
    inside = counts[round((at + width / 4) * MILLION) : round((at + width * 3 / 4) * MILLION)]
    found = stats.chisquare(inside).pvalue
    assert found > 1e-3 if blurred else found < 1e-12


# ---- bad input


def test_sizes():
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        sum_tree.zeros(0)
    with pytest.raises(ValueError, match="branching must be at least 2, got 1"):
        sum_tree.zeros(4, 1)
    with pytest.raises(ValueError, match=r"size must be below 2\*\*31 less a node of 32.* got 2147483640"):
        sum_tree.zeros(2**31 - 8)


def test_a_million_leaves_are_four_levels():
    assert [x.size for x in jax.eval_shape(lambda: sum_tree.zeros(MILLION))] == [1_000_000, 31_264, 992, 32]
    assert [x.size for x in sum_tree.zeros(32)] == [32]
    assert [x.size for x in sum_tree.zeros(33)] == [64, 32]
