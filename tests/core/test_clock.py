"""The two-word clock agrees with Python's unbounded integers, carries and borrows included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qjax.core import clock as clocks

WORD = 2**32
LAST = 2**63 - 1  # the largest number of ticks that a clock can be set to
EDGES = [0, 1, 255, 256, 2**24 - 1, 2**24, 2**31 - 1, 2**31, WORD - 2, WORD - 1, WORD, WORD + 1]
EDGES += [2 * WORD - 1, 2**33 + 12345, 10**12, 2**62, LAST]
RANDOM = [int(x) for x in np.random.default_rng(0).integers(0, 2**63, 40, dtype=np.uint64)]
TICKS = EDGES + RANDOM
STRIDES = [0, 1, 2, 1000, 2**24, 2**31 - 1]
MODULI = [1, 2, 3, 7, 255, 256, 257, 1000, 65536, 99991, 10**6, 2**23 + 1, 2**24 - 3, 2**24 - 1, 2**24]


def signed(value):
    """A clock counts modulo 2**64; the upper half stands before the start."""
    value %= 2**64
    return value - 2**64 if value >= 2**63 else value


def clock_of(value):
    """Unlike `at`, take numbers before the start as well."""
    value %= 2**64
    return clocks.Clock(jnp.uint32(value // WORD), jnp.uint32(value % WORD))


def stack(values):
    return jax.tree.map(lambda *x: jnp.stack(x), *map(clock_of, values))


def unstack(batch):
    words = zip(*map(np.asarray, batch), strict=True)
    return [signed(int(high) * WORD + int(low)) for high, low in words]


@pytest.mark.parametrize("value", TICKS)
def test_ticks_reads_back_what_at_was_given(value):
    clock = clocks.at(value)
    assert clock.high.dtype == clock.low.dtype == jnp.uint32
    assert clocks.ticks(clock) == value


def test_at_stands_at_the_start_by_default():
    assert clocks.ticks(clocks.at()) == 0


@pytest.mark.parametrize("value", [-1, 2**63, 2**64])
def test_at_refuses_what_no_clock_holds(value):
    with pytest.raises(ValueError, match=rf"ticks must be at (least 0|most {2**63 - 1}), got {value}$"):
        clocks.at(value)


@pytest.mark.parametrize("stride", STRIDES)
def test_plus_carries(stride):
    # Values short of a word by less than the stride are where the carry must happen, and only there.
    values = [*TICKS, WORD - stride, WORD - stride - 1, 5 * WORD - stride]
    after = jax.jit(jax.vmap(clocks.plus, in_axes=(0, None)))(stack(values), jnp.int32(stride))
    assert unstack(after) == [signed(value + stride) for value in values]


@pytest.mark.parametrize("stride", STRIDES)
def test_minus_borrows_also_below_the_start(stride):
    values = [*TICKS, stride, max(stride - 1, 0), WORD + stride - 1, -1, -5, -WORD, -WORD - 3]
    before = jax.jit(jax.vmap(clocks.minus, in_axes=(0, None)))(stack(values), jnp.int32(stride))
    assert unstack(before) == [signed(value - stride) for value in values]


@pytest.mark.parametrize("value", [0, WORD - 1, WORD, 10**12])
def test_plus_and_minus_take_python_numbers(value):
    clock = clocks.at(value)
    assert clocks.ticks(clocks.plus(clock, 3)) == value + 3
    assert clocks.ticks(clocks.minus(clock, 3)) == value - 3
    assert clocks.ticks(clocks.plus(clocks.minus(clock, 2**31 - 1), 2**31 - 1)) == value


def test_a_word_overflows_at_one_tick_and_no_other():
    # Single steps through the boundary, as a loop takes them.
    for start in (WORD - 3, 2 * WORD - 3):
        clock = clocks.at(start)
        for count in range(1, 6):
            clock = clocks.plus(clock, 1)
            assert clocks.ticks(clock) == start + count


@pytest.mark.parametrize("modulus", MODULI)
def test_modulo_is_exact(modulus):
    values = [*TICKS, modulus - 1, modulus, modulus + 1, WORD // modulus * modulus, WORD // modulus * modulus - 1]
    rest = jax.jit(jax.vmap(lambda clock: clocks.modulo(clock, modulus)))(stack(values))
    assert rest.dtype == jnp.int32
    assert rest.tolist() == [value % modulus for value in values]


def test_modulo_is_exact_for_random_moduli():
    # Outside jit: every modulus would be a program of its own.
    rng = np.random.default_rng(1)
    clock = stack(RANDOM)
    for modulus in rng.integers(1, clocks.MODULUS_LIMIT + 1, 20).tolist():
        rest = jax.vmap(clocks.modulo, in_axes=(0, None))(clock, modulus)
        assert rest.tolist() == [value % modulus for value in RANDOM]


@pytest.mark.parametrize("divisor", [1, 2, 3, 40, 127, 2**16, 2**24 - 1, 2**24])
def test_division_is_exact(divisor):
    values = [0, 1, divisor - 1, divisor, 7 * divisor + 3, 2**32 - 1, 2**32, 2**32 + divisor, 2**63 - 1]
    found = jax.jit(jax.vmap(lambda clock: clocks.divided(clock, divisor)))(stack(values))
    assert [(int(high) << 32) + int(low) for high, low in zip(*found, strict=True)] == [
        n // divisor for n in values
    ]


@pytest.mark.parametrize("modulus", [0, -1, 2**24 + 1, 2**32])
def test_modulo_refuses_a_modulus_it_is_not_exact_for(modulus):
    with pytest.raises(ValueError, match=rf"modulus must be at (least 1|most {2**24}), got {modulus}$"):
        clocks.modulo(clocks.at(0), modulus)


BEFORE = [-1, -2, -7, -1000, -(2**31), -WORD + 1]


@pytest.mark.parametrize("most", [1, 5, 1000, 2**24, 2**31 - 1])
def test_capped_and_missing(most):
    values = [*TICKS, most - 1, most, most + 1, *BEFORE]
    clock = stack(values)
    capped = jax.jit(jax.vmap(lambda clock: clocks.capped(clock, most)))(clock)
    missing = jax.jit(jax.vmap(lambda clock: clocks.missing(clock, most)))(clock)
    assert capped.dtype == missing.dtype == jnp.int32
    assert capped.tolist() == [min(max(value, 0), most) for value in values]
    assert missing.tolist() == [min(max(-value, 0), most) for value in values]


def test_as_float_is_exact_to_2_to_the_24():
    values = [0, 1, 2, 3, 65537, 2**24 - 1, 2**24, *np.random.default_rng(2).integers(0, 2**24, 100).tolist()]
    found = jax.vmap(clocks.as_float)(stack(values))
    assert found.dtype == jnp.float32
    assert found.tolist() == values


def test_as_float_is_close_beyond():
    # Documented: one part in 10**7. Runs end long before 2**56 ticks, where a second rounding sets in.
    values = [value for value in TICKS if value < 2**56] + [value >> 8 for value in RANDOM]
    found = np.asarray(jax.vmap(clocks.as_float)(stack(values)), np.float64)
    np.testing.assert_allclose(found, np.array(values, np.float64), rtol=1e-7)


def test_fold_gives_every_tick_its_own_key():
    # Both words must reach the key: 2**32 apart, or the words exchanged, are different ticks.
    values = [0, 1, 2, 5, WORD, WORD + 1, 2 * WORD, 5 * WORD, 5 * WORD + 1, WORD + 5, 10**12, LAST]
    keys = jax.vmap(clocks.fold, in_axes=(None, 0))(jax.random.key(0), stack(values))
    data = {tuple(row) for row in jax.random.key_data(keys).tolist()}
    assert len(data) == len(values)


def test_fold_depends_on_key_and_tick_alone():
    # A resumed run reaches a tick by `at`, an uninterrupted one by many `plus`: the same randomness.
    key, other = jax.random.key(0), jax.random.key(1)
    reached = clocks.plus(clocks.plus(clocks.at(WORD - 7), 5), 9)
    draw = lambda key, clock: jax.random.key_data(clocks.fold(key, clock)).tolist()
    assert draw(key, reached) == draw(key, clocks.at(WORD + 7))
    assert draw(key, reached) != draw(other, reached)
