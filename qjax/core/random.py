"""Random keys: a fast counter-based hash in the place of threefry, and threefry itself with its rounds unrolled.

Both stand behind JAX's own interface for keys. Threefry is a reduced cipher, and takes about a hundred operations
for a word; a small loop with an environment that splits keys spends most of its time there. `fast_key` makes keys
whose words cost about twenty. They are typed keys as any other: `jax.random.split`, `fold_in`, `uniform` and
unmodified environments take them. Not for cryptography.

The hash is a permutation `mix` of 32-bit words of the form of MurmurHash3's finaliser (Appleby 2011), with
constants and shifts searched for the least avalanche bias (Wellons, "Prospecting for Hash Functions", 2018;
they are the ones of TheIronBorn that its update links to). A key is two words k0, k1; with a counter c, a
constant u for each use, the golden ratio's Weyl constant w (Steele, Lea and Flood 2014, "Fast splittable
pseudorandom number generators", section 4) and sums modulo 2**32, a word is

    mix((mix(k0 + w c + u) ^ k1) + u)

The c-th word of a key has one u, the two words of the c-th key split or folded from it have two others each. For
one key, the words of all 2**32 counters are different.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Int, Key, UInt32

from qjax.core.checks import check_key, check_size, check_whole, concrete, describe

__all__ = ["FAST", "UNROLLED", "describe_key", "fast_key", "root_key", "unrolled"]

_WEYL = 0x9E3779B9
# The first digits of pi.
_BITS, _WIDE = 0x243F6A88, 0x85A308D3
_SPLIT, _FOLD, _SEED = (0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0), (0x082EFA98, 0xEC4E6C89)
_WIDTHS = (8, 16, 32, 64)
SEPARATE = 4
"""So many children of a key are computed one by one, more as an array."""


def mix(word: UInt32[Array, "*axes"]) -> UInt32[Array, "*axes"]:
    """Return a permutation of 32-bit words in which every input bit changes every output bit half of the time."""
    word = (word ^ (word >> 16)) * jnp.uint32(0x21F0AAAD)
    word = (word ^ (word >> 15)) * jnp.uint32(0x735A2D97)
    return word ^ (word >> 15)


def _word(key: Any, counter: Any, use: Any) -> Any:
    # The use stands in both places: in the first alone, uses would be the same sequence at different counters.
    return mix((mix(key[0] + counter * jnp.uint32(_WEYL) + use) ^ key[1]) + use)


def _child(key: Any, counter: Any, uses: tuple[int, int]) -> Any:
    """Return the key that is split or folded from another."""
    return _key_of(*(_word(key, counter, jnp.uint32(use)) for use in uses))


def _key_of(first: Any, second: Any) -> Any:
    """Return a key of two words, each `[*shape]`, as `[*shape, 2]`.

    In memory the words lie apart, so a CPU computes them with vector instructions.
    """
    return jnp.moveaxis(jnp.stack([first, second]), 0, -1)


def _counters(shape: tuple[int, ...]) -> Any:
    size = math.prod(shape)
    if size > 2**32:
        raise ValueError(f"a key has 2**32 words, {size} were asked for: split it")
    return lax.iota(jnp.uint32, size).reshape(shape)


def _check_width(bit_width: int) -> None:
    if bit_width not in _WIDTHS:
        raise TypeError(f"words have one of {_WIDTHS} bits, not {bit_width}")


def _seed(seed: Any) -> Any:
    seed = jnp.asarray(seed)
    high = (seed >> 32).astype(jnp.uint32) if seed.dtype.itemsize > 4 else jnp.uint32(0)
    return _child((jnp.uint32(0), high), seed.astype(jnp.uint32), _SEED)


def _children(child: Callable[[Any], Any], shape: tuple[int, ...]) -> Any:
    """Return the keys `[*shape, 2]` of all counters, each from `child`.

    A few are computed one by one: an array of two or three for each of many keys gives a CPU nothing to vectorise,
    and all of them would be computed where one is used.
    """
    counters = _counters(shape)
    if counters.size > SEPARATE:
        return child(counters)
    return jnp.stack([child(jnp.uint32(number)) for number in range(counters.size)]).reshape(*shape, 2)


def _split(key: Any, shape: tuple[int, ...]) -> Any:
    return _children(lambda counters: _child(key, counters, _SPLIT), shape)


def _fold_in(key: Any, data: Any) -> Any:
    return _child(key, jnp.asarray(data).astype(jnp.uint32), _FOLD)


def _random_bits(key: Any, bit_width: int, shape: tuple[int, ...]) -> Any:
    _check_width(bit_width)
    word = _word(key, _counters(shape), jnp.uint32(_BITS))
    if bit_width == 64:
        other = _word(key, _counters(shape), jnp.uint32(_WIDE))
        return word.astype(jnp.uint64) << 32 | other.astype(jnp.uint64)
    return (word >> (32 - bit_width)).astype(f"uint{bit_width}")


FAST = jax.extend.random.define_prng_impl(
    key_shape=(2,),
    seed=_seed,
    split=_split,
    random_bits=_random_bits,
    fold_in=_fold_in,
    name="qjax_fast",
    tag="fast",
)
"""The key implementation, for `jax.random.key(seed, impl=FAST)` and `jax.random.wrap_key_data(data, impl=FAST)`."""


def fast_key(seed: int | Int[Array, ""]) -> Key[Array, ""]:
    """Return a key of the fast implementation, to be used as any key of `jax.random.key`.

    Args:
        seed: a whole number in [0, 2**32), in [0, 2**63) where JAX has 64-bit integers enabled; it may be traced.

    Raises:
        TypeError: it is no whole number.
        ValueError: it does not lie there: two seeds would make one key.

    """
    check_whole("seed", seed)
    if concrete(seed):
        wide = jax.dtypes.canonicalize_dtype(np.int64) == np.int64
        check_size("seed", seed, least=0, most=2**63 - 1 if wide else 2**32 - 1)
    return jax.random.key(seed, impl=FAST)


_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA


def _threefry(key: Any, counters: Any) -> tuple[Any, Any]:
    """Return the two words of Threefry-2x32, 20 rounds (Salmon et al. 2011, section 3.3), for each counter."""
    rounds: Any = _rounds
    for _ in counters.shape:
        rounds = jax.vmap(rounds, in_axes=(None, None, 0))
    return rounds(key[0], key[1], counters)


# Programs hold many of these. On scalars, with `lax` and as a function of its own, one takes a third of the time to
# trace and lower that operators on arrays take.
@jax.jit
def _rounds(first: Any, second: Any, counter: Any) -> tuple[Any, Any]:
    def rotated(word: Any, bits: int) -> Any:
        left, right = (np.uint32(count) for count in (bits, 32 - bits))
        return lax.bitwise_or(lax.shift_left(word, left), lax.shift_right_logical(word, right))

    words = (first, second, lax.bitwise_xor(lax.bitwise_xor(first, second), np.uint32(_PARITY)))
    x, y = words[0], lax.add(counter, words[1])
    for number in range(5):
        for bits in _ROTATIONS[number % 2]:
            x = lax.add(x, y)
            y = lax.bitwise_xor(rotated(y, bits), x)
        x = lax.add(x, words[(number + 1) % 3])
        y = lax.add(lax.add(y, words[(number + 2) % 3]), np.uint32(number + 1))
    return x, y


def _threefry_key(key: Any, counters: Any) -> Any:
    """Return the key, or keys `[*counters, 2]`, that a key's hashes of counters are.

    On a CPU behind a barrier: of a hash fused into that of a key's key, each round is emitted again for each of its
    uses, and the compiler of jax 0.11 does not come to an end.
    """
    words = _threefry(key, counters)
    return _key_of(*lax.platform_dependent(words, cpu=lax.optimization_barrier, default=lambda same: same))


def _threefry_bits(key: Any, bit_width: int, shape: tuple[int, ...]) -> Any:
    _check_width(bit_width)
    high, low = _threefry(key, _counters(shape))
    if bit_width == 64:
        return high.astype(jnp.uint64) << 32 | low.astype(jnp.uint64)
    return (high ^ low).astype(f"uint{bit_width}")


UNROLLED = jax.extend.random.define_prng_impl(
    key_shape=(2,),
    seed=lambda seed: jax.random.key_data(jax.random.key(seed, impl="threefry2x32")),
    split=lambda key, shape: _children(lambda counters: _threefry_key(key, counters), shape),
    random_bits=_threefry_bits,
    fold_in=lambda key, data: _threefry_key(key, jnp.asarray(data).astype(jnp.uint32)),
    name="threefry2x32_unrolled",
    tag="unrolled",
)
"""JAX's default keys, bit for bit. On a CPU JAX runs threefry's rounds as a loop, several times as slow."""


def unrolled(key: Key[Array, ""]) -> Key[Array, ""]:
    """Return a key of the same words, from which a CPU draws faster: see `UNROLLED`.

    Any key that is not one of JAX's default kind is returned as it is.
    """
    check_key(key)
    if jax.random.key_impl(key) != "threefry2x32" or not jax.config.jax_threefry_partitionable:  # type: ignore[attr-defined]
        return key
    return jax.random.wrap_key_data(jax.random.key_data(key), impl=UNROLLED)


def root_key(seed: Any) -> Key[Array, ""]:
    """Return the key that a whole number stands for, or the key itself.

    That is `jax.random.key(seed)` as JAX makes it by default, whatever its settings are now.

    Raises:
        TypeError: it is neither a whole number nor one typed key.
        ValueError: the number is not in [0, 2**32).

    """
    if jax.dtypes.issubdtype(getattr(seed, "dtype", None), jax.dtypes.prng_key):
        check_key(seed)
        return seed
    if np.ndim(seed):
        raise TypeError(f"seed must be a whole number, or a typed key as of jax.random.key, got {describe(seed)}")
    number = check_size("seed", seed, least=0, most=2**32 - 1)
    return jax.random.wrap_key_data(jnp.asarray(np.array([0, number], np.uint32)), impl="threefry2x32")


def describe_key(key: Key[Array, ""]) -> dict[str, Any]:
    """Return a key as plain values: the name of its implementation, and its words."""
    check_key(key)
    return {"impl": str(jax.random.key_impl(key)), "data": np.asarray(jax.random.key_data(key)).tolist()}
