"""The fast keys as a random number generator: every stream that the library draws from, against what chance gives.

Seeds are fixed, so a test passes or fails for good; `LEAST` is far below the smallest of the p-values there are.
"""

import compilation
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats as scipy_stats

import qjax
from qjax.core import random
from qjax.core.random import FAST, UNROLLED, fast_key, mix, root_key, unrolled

LEAST = 1e-4
WORDS = 2**16


def stream(seed):
    """Return consecutive words of one key."""
    return jax.random.bits(fast_key(seed), (WORDS,))


def folded(seed):
    """Return the first word of keys folded from one key and consecutive numbers, as the clock folds them."""
    key = fast_key(seed)
    return jax.vmap(lambda number: jax.random.bits(jax.random.fold_in(key, number)))(jnp.arange(WORDS))


def children(seed):
    """Return the first word of each child of a split."""
    return jax.vmap(jax.random.bits)(jax.random.split(fast_key(seed), WORDS))


def seeds(seed):
    """Return the first word of consecutive seeds."""
    return jax.vmap(lambda number: jax.random.bits(fast_key(number)))(seed * WORDS + jnp.arange(WORDS))


def key_words(seed):
    """Return both words of folded keys, one after the other."""
    key = fast_key(seed)
    return jax.vmap(lambda n: jax.random.key_data(jax.random.fold_in(key, n)))(jnp.arange(WORDS // 2)).reshape(-1)


def chained(seed):
    """Return a word of each key of a chain in which every key is split from the one before."""

    def body(key, _):
        key, use = jax.random.split(key)
        return key, jax.random.bits(use)

    return jax.lax.scan(body, fast_key(seed), None, length=WORDS)[1]


STREAMS = {f.__name__: f for f in (stream, folded, children, seeds, key_words, chained)}


@pytest.fixture(scope="module")
def words():
    return {(name, seed): np.asarray(f(seed)) for name, f in STREAMS.items() for seed in (0, 1, 2)}


def each(words, name):
    return [found for (which, _), found in words.items() if which == name]


@pytest.mark.parametrize("name", STREAMS)
def test_every_bit_is_set_half_of_the_time(words, name):
    for found in each(words, name):
        ones = (found[:, None] >> np.arange(32) & 1).sum(0)
        chi2 = (ones - len(found) / 2) ** 2 / (len(found) / 4)
        assert scipy_stats.chi2.sf(chi2, 1).min() > LEAST / 32
        assert scipy_stats.chi2.sf(chi2.sum(), 32) > LEAST


@pytest.mark.parametrize("name", STREAMS)
def test_every_byte_takes_every_value_equally_often(words, name):
    for found in each(words, name):
        for shift in (0, 8, 16, 24):
            counts = np.bincount(found >> shift & 255, minlength=256)
            assert scipy_stats.chisquare(counts).pvalue > LEAST


@pytest.mark.parametrize("lag", [1, 2, 3, 7, 16, 1024])
@pytest.mark.parametrize("name", STREAMS)
def test_a_word_says_nothing_of_a_later_one(words, name, lag):
    for found in each(words, name):
        u = found / 2**32 - 0.5
        assert abs(z_of_correlation(u[:-lag], u[lag:])) < scipy_stats.norm.isf(LEAST / 2)
        assert same_bits(found[:-lag], found[lag:]) > LEAST


@pytest.mark.parametrize("name", STREAMS)
def test_streams_of_neighbouring_seeds_are_uncorrelated(words, name):
    first, second, third = each(words, name)
    for one, other in ((first, second), (second, third), (first, third)):
        assert abs(z_of_correlation(one / 2**32 - 0.5, other / 2**32 - 0.5)) < scipy_stats.norm.isf(LEAST / 2)
        assert same_bits(one, other) > LEAST


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_streams_of_related_keys_are_uncorrelated(seed):
    """A key, its children by splitting and by folding, and a grandchild: every pair of their streams."""
    key = fast_key(seed)
    split = jax.random.split(key, 8)
    fold = jax.vmap(lambda number: jax.random.fold_in(key, number))(jnp.arange(8))
    grandchild = jax.random.split(split[0], 2)
    keys = [key, *split, *fold, *grandchild]
    found = np.asarray(jax.vmap(lambda key: jax.random.bits(key, (WORDS,)))(jnp.stack(keys)))
    pairs = [(i, j) for j in range(len(keys)) for i in range(j)]
    u = found / 2**32 - 0.5
    z = np.array([z_of_correlation(u[i], u[j]) for i, j in pairs])
    assert np.abs(z).max() < scipy_stats.norm.isf(LEAST / 2 / len(pairs))
    agree = np.array([same_bits(found[i], found[j]) for i, j in pairs])
    assert agree.min() > LEAST / len(pairs)
    assert scipy_stats.kstest(agree, "uniform").pvalue > LEAST
    assert same_bits(found[0], found[0]) < LEAST  # one and the same stream is found


def z_of_correlation(one, other):
    return (one * other).sum() / (len(one) ** 0.5 / 12)


def same_bits(one, other):
    """Return the p-value of how often each bit agrees."""
    ones = ((one ^ other)[:, None] >> np.arange(32) & 1).sum(0)
    return scipy_stats.chi2.sf(((ones - len(one) / 2) ** 2 / (len(one) / 4)).sum(), 32)


@pytest.mark.parametrize("kind", ["random keys", "small keys"])
@pytest.mark.parametrize("output", ["word", "folded", "split"])
def test_avalanche(kind, output):
    """Every bit of a key and of the number folded in flips every bit of what comes of it, half of the time."""
    count = 2**13
    if kind == "random keys":
        draws = np.random.default_rng(0).integers(0, 2**32, (count, 3), dtype=np.uint32)
    else:  # few bits set, in all three words
        i = np.arange(count, dtype=np.uint32)
        draws = np.stack([i % 128, i // 128, i % 13], 1)

    @jax.jit
    @jax.vmap
    def function(three):
        key = jax.random.wrap_key_data(three[:2], impl=FAST)
        if output == "word":
            return jax.random.bits(jax.random.fold_in(key, three[2]))[None]
        child = jax.random.fold_in(key, three[2]) if output == "folded" else jax.random.split(key, 2)[1]
        return jax.random.key_data(child)

    base = np.asarray(function(draws))
    inputs = 64 if output == "split" else 96  # a split takes no number
    flips = np.empty((inputs, base.shape[1] * 32))
    for bit in range(inputs):
        change = np.zeros(3, np.uint32)
        change[bit // 32] = 1 << (bit % 32)
        differs = np.asarray(function(draws ^ change)) ^ base
        flips[bit] = (differs[..., None] >> np.arange(32, dtype=np.uint32) & 1).sum(0).reshape(-1)
    z = (flips - count / 2) / (count / 4) ** 0.5
    assert np.abs(z).max() < scipy_stats.norm.isf(LEAST / 2 / z.size)
    assert 0.9 < z.std() < 1.1


@pytest.mark.parametrize("name", STREAMS)
def test_birthday_spacings(words, name):
    """Equal spacings among 4096 sorted words are Poisson with mean n**3 / 4m (Marsaglia 1985; Knuth 3.3.2 J)."""
    n, m = 4096, 2**32
    found = np.concatenate(each(words, name)).reshape(-1, n).astype(np.uint64)
    spacings = np.sort(np.diff(np.sort(found, 1), axis=1), 1)
    equal = (np.diff(spacings, axis=1) == 0).sum()
    mean = len(found) * n**3 / (4 * m)
    low, high = scipy_stats.poisson.cdf(equal, mean), scipy_stats.poisson.sf(equal - 1, mean)
    assert min(low, high) > LEAST, (equal, mean)


def test_the_tests_can_fail():
    """A counter, a Weyl sequence and a hash of one round are caught."""
    i = np.arange(WORDS, dtype=np.uint32)
    weyl = i * np.uint32(0x9E3779B9)
    u = weyl / 2**32 - 0.5
    assert abs(z_of_correlation(u[:-1], u[1:])) > 10
    assert scipy_stats.chisquare(np.bincount(i >> 24, minlength=256)).pvalue < LEAST
    ones = (i[:, None] >> np.arange(32) & 1).sum(0)  # of a counter: its upper half is 0
    assert scipy_stats.chi2.sf(((ones - WORDS / 2) ** 2 / (WORDS / 4)).max(), 1) < LEAST / 32
    equal = (np.diff(np.sort(np.diff(np.sort(weyl[:4096].astype(np.uint64))))) == 0).sum()
    assert scipy_stats.poisson.sf(equal - 1, 4) < LEAST  # spacings of a Weyl sequence take three values
    once = (weyl ^ (weyl >> 16)) * np.uint32(0x21F0AAAD)
    assert same_bits(once[:-1], once[1:]) < LEAST


def test_mix_is_one_to_one():
    words = np.asarray(mix(jnp.arange(2**20, dtype=jnp.uint32)))
    assert len(np.unique(words)) == 2**20
    assert int(mix(jnp.uint32(1))) == reference_mix(1)
    assert int(mix(jnp.uint32(0xDEADBEEF))) == reference_mix(0xDEADBEEF)


def reference_mix(x):
    x = (x ^ x >> 16) * 0x21F0AAAD % 2**32
    x = (x ^ x >> 15) * 0x735A2D97 % 2**32
    return x ^ x >> 15


def test_children_of_all_kinds_and_words_are_different():
    key = fast_key(5)
    data = [jax.random.key_data(k).reshape(-1, 2) for k in (key, jax.random.split(key, 1000))]
    data.append(jax.random.key_data(jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(1000))))
    data.append(jax.random.key_data(jax.vmap(fast_key)(jnp.arange(1000))))
    assert len(np.unique(np.concatenate(data), axis=0)) == 3000  # the key itself is one of those seeds
    assert not np.isin(np.concatenate(data), jax.random.bits(key, (1000,))).any()


def test_a_stream_does_not_depend_on_what_stands_beside_it():
    keys = jax.random.split(fast_key(0), 7)
    beside = jax.vmap(lambda key: jax.random.uniform(key, (5,)))(keys)
    for i in range(7):
        np.testing.assert_array_equal(beside[i], jax.random.uniform(keys[i], (5,)))
    np.testing.assert_array_equal(jax.random.bits(keys[0], (9,))[:4], jax.random.bits(keys[0], (4,)))
    np.testing.assert_array_equal(jax.random.bits(keys[0], (2, 3)).reshape(-1), jax.random.bits(keys[0], (6,)))


def test_a_million_floats_are_uniform():
    u = np.asarray(jax.random.uniform(fast_key(1), (10**6,)))
    assert scipy_stats.kstest(u[:50_000], "uniform").pvalue > LEAST
    assert scipy_stats.chisquare(np.histogram(u, 1000, (0, 1))[0]).pvalue > LEAST
    assert scipy_stats.kstest(np.asarray(jax.random.normal(fast_key(2), (50_000,))), "norm").pvalue > LEAST


def test_narrow_and_wide_words():
    key = fast_key(3)
    words = np.asarray(jax.random.bits(key, (64,)))
    for bits in (8, 16):
        np.testing.assert_array_equal(jax.random.bits(key, (64,), f"uint{bits}"), words >> (32 - bits))
    with jax.enable_x64(True):
        wide = np.asarray(jax.random.bits(key, (1000,), "uint64"))
        assert fast_key(2**40) != fast_key(0)
    assert len(np.unique(wide & 0xFFFFFFFF)) == len(np.unique(wide >> np.uint64(32))) == 1000


def test_too_many_words_are_refused():
    with pytest.raises(ValueError, match="4294967297 were asked for"):
        jax.jit(lambda: jax.random.bits(fast_key(0), (2**32 + 1,))).lower()


@pytest.mark.slow
def test_learning_curves_on_the_lake_agree_with_threefrys():
    """The 95% interval of the difference of success rates, 512 seeds each, lies within 0.03 at every log point."""
    env = qjax.make("FrozenLake-v1", is_slippery=True)
    agent = qjax.tabular(env.num_states, env.num_actions, alpha=0.1)
    loop = qjax.make_loop(env, agent, qjax.epsilon_greedy(0.1), qjax.online(), gamma=0.99)
    work = {"seeds": 512, "steps": 20_000, "log_points": 4}
    one, other = (qjax.sweep(lambda _: loop, seed=seed, **work) for seed in (0, fast_key(0)))
    for a, b in zip(one.points, other.points, strict=True):
        difference = np.nanmean(a.mean_return) - np.nanmean(b.mean_return)
        error = 1.96 * ((np.nanvar(a.mean_return) + np.nanvar(b.mean_return)) / 512) ** 0.5
        assert abs(difference) + error < 0.03, (difference, error)
    assert np.nanmean(one.points[-1].mean_return) > 0.2  # they do learn


def test_unrolled_threefry_is_threefry():
    key = jax.random.key(7)
    same = unrolled(key)
    assert jax.random.key_impl(same) != jax.random.key_impl(key)
    keys = jax.random.split(key, 3)
    for draw in (
        lambda k: jax.random.bits(k, (5, 3)),
        lambda k: jax.random.bits(k, (5,), "uint8"),
        lambda k: jax.random.bits(k, (), "uint16"),
        lambda k: jax.random.key_data(jax.random.split(k, (2, 3))),
        lambda k: jax.random.key_data(jax.random.fold_in(k, 2**32 - 1)),
        lambda k: jax.random.normal(jax.random.split(k)[1], (4,)),
        lambda k: jax.random.permutation(k, 10),
    ):
        np.testing.assert_array_equal(draw(same), draw(key))
        np.testing.assert_array_equal(jax.vmap(draw)(jax.vmap(unrolled)(keys)), jax.vmap(draw)(keys))
    made = jax.random.key(2**31 + 5, impl=UNROLLED)
    np.testing.assert_array_equal(jax.random.key_data(made), jax.random.key_data(jax.random.key(2**31 + 5)))
    with jax.enable_x64(True):
        np.testing.assert_array_equal(jax.random.bits(same, (9,), "uint64"), jax.random.bits(key, (9,), "uint64"))


@pytest.mark.parametrize("count", [1, 2, 8])
def test_keys_of_keys_compile(count):
    """Fused into one another, unrolled hashes are more than the compiler of jax 0.11 comes to an end with."""

    def draw(key):
        return jax.random.key_data(jax.random.split(jax.random.split(key, 3)[1], 3))

    keys = jax.random.split(jax.random.key(1), count)
    program = jax.jit(jax.vmap(lambda key: draw(unrolled(key)))).lower(keys)
    drawn = program.compile(compiler_options=compilation.AS_USERS)(keys)
    np.testing.assert_array_equal(drawn, jax.vmap(draw)(keys))


def test_other_keys_are_left_alone():
    for key in (fast_key(1), jax.random.key(1, impl="rbg"), unrolled(jax.random.key(1))):
        assert unrolled(key) is key
    with jax.threefry_partitionable(False):
        key = jax.random.key(1)
        assert unrolled(key) is key


@pytest.mark.parametrize("bad, error", [(-1, ValueError), (2**32, ValueError), (1.5, TypeError), ("a", TypeError)])
def test_a_bad_root_is_refused(bad, error):
    with pytest.raises(error, match="seed"):
        root_key(bad)


def test_a_root_is_a_number_or_a_key():
    assert root_key(3) == jax.random.key(3) == root_key(np.int64(3))
    assert root_key(fast_key(3)) == fast_key(3)
    with pytest.raises(TypeError, match="typed key"):
        root_key(jnp.uint32([1, 2]))


@pytest.mark.parametrize("seed", [0, 5, 2**31 + 5, 2**32 - 1])
def test_a_number_means_one_key_whatever_jax_makes_by_default(seed):
    usual = jax.random.key(seed)
    with jax.default_prng_impl("rbg"):
        assert jax.random.key_impl(jax.random.key(seed)) != jax.random.key_impl(usual)
        assert root_key(seed) == usual
    with jax.enable_x64(True):
        assert root_key(seed) == usual


def test_no_use_is_another_at_other_counters():
    """Uses are offsets on one Weyl sequence, some counters apart: there, too, their words are unrelated."""
    uses = [random._BITS, random._WIDE, *random._SPLIT, *random._FOLD, *random._SEED]
    key = jax.random.key_data(fast_key(0))
    inverse, counters = pow(random._WEYL, -1, 2**32), np.arange(2**10, dtype=np.uint32)
    for one in uses:
        for other in set(uses) - {one}:
            shift = np.uint32((one - other) * inverse % 2**32)
            words = random._word(key, counters, jnp.uint32(one))
            shifted = random._word(key, counters + shift, jnp.uint32(other))
            assert not (words == shifted).any() and same_bits(np.asarray(words), np.asarray(shifted)) > LEAST / 56


def test_all_bits_of_a_wide_seed_count():
    with jax.enable_x64(True):
        seeds = [0, 2, 2**32, 0x3C6EF37200000000, 2**63 - 1, 2**40, 2**41]
        keys = {tuple(np.asarray(jax.random.key_data(fast_key(seed))).tolist()) for seed in seeds}
    assert len(keys) == len(seeds)
