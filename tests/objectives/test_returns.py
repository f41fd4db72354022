"""Lambda-returns against the mixture of n-step returns they stand for, and against rlax."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rlax
from hypothesis import given, settings
from hypothesis import strategies as st

import qjax

GAMMA = 0.9
returns = jax.jit(qjax.lambda_returns)


class Rows(NamedTuple):
    """Consecutive steps of one environment, `[T]`."""

    reward: jax.Array
    discount: jax.Array
    last: jax.Array
    next_value: jax.Array


def rows(kinds, seed=0):
    """Return random steps: `.` goes on, `T` terminates, and `L` is cut by the time limit."""
    rng, kinds = np.random.default_rng(seed), np.array(list(kinds))
    reward, value = rng.normal(size=(2, len(kinds))).astype(np.float32)
    discount = np.where(kinds == "T", 0, GAMMA).astype(np.float32)
    return Rows(*jax.device_put((reward, discount, kinds != ".", 3 * value)))


def n_step_return(rows, start, n):
    """Return n rewards, discounted, and the value of the n-th successor."""
    total, factor = 0.0, 1.0
    for k in range(start, start + n):
        total += factor * float(rows.reward[k])
        factor *= float(rows.discount[k])
    return total + factor * float(rows.next_value[start + n - 1])


def mixture(rows, lam):
    """Return (1 - lambda) sum_n lambda**(n - 1) G^(n), the longest with all the weight that is left.

    Sutton and Barto 2018, equation 12.3; the longest stops at the end of the episode or of the rows.
    """
    found, rows = [], jax.device_get(rows)
    for start in range(len(rows.reward)):
        longest = next((k for k in range(start, len(rows.last)) if rows.last[k]), len(rows.last) - 1) - start + 1
        shorter = [(1 - lam) * lam ** (n - 1) * n_step_return(rows, start, n) for n in range(1, longest)]
        found.append(sum(shorter) + lam ** (longest - 1) * n_step_return(rows, start, longest))
    return np.array(found)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    kinds=st.sampled_from([1, 2, 9]).flatmap(lambda n: st.lists(st.sampled_from(".TL"), min_size=n, max_size=n)),
    lam=st.sampled_from([0.0, 1.0]) | st.floats(0, 1, width=32),
    seed=st.integers(0, 2**16),
)
def test_returns_are_the_mixture_of_n_step_returns(kinds, lam, seed):
    data = rows(kinds, seed)
    np.testing.assert_allclose(returns(*data, lam), mixture(data, lam), rtol=1e-4, atol=1e-5)


def test_values_and_gradients_agree_with_rlax():
    # Theirs does not know `last`: it stops where its lambda of the step is 0, a vector it takes as well.
    data, lam = rows("..L...T.LT.."), 0.7
    cotangent = np.random.default_rng(1).normal(size=12).astype(np.float32)

    def ours(reward, value):
        return qjax.lambda_returns(reward, data.discount, data.last, value, lam)

    def theirs(reward, value):
        return rlax.lambda_returns(reward, data.discount, value, lam * (1.0 - data.last))

    found, expected = (
        jax.value_and_grad(lambda *x, f=f: (cotangent * f(*x)).sum(), argnums=(0, 1))(data.reward, data.next_value)
        for f in (ours, theirs)
    )
    assert np.count_nonzero(expected[1][1]) == 10  # every successor but the two of terminated steps
    for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("lam", [0.0, 0.65, 1.0])
def test_nothing_of_a_later_episode_leaks_in(lam):
    # At the cut, r + discount v, and what comes after it, a NaN even, changes neither it nor what is before.
    data = rows("..L...T.")
    found = np.asarray(returns(*data, lam))
    for end in (2, 6):
        np.testing.assert_allclose(
            found[end], data.reward[end] + data.discount[end] * data.next_value[end], rtol=1e-6
        )
        for other in (np.nan, 1e9):
            changed = Rows(*(jnp.where(jnp.arange(8) > end, jnp.asarray(other, x.dtype), x) for x in data))
            np.testing.assert_array_equal(returns(*changed, lam)[: end + 1], found[: end + 1])
    assert data.discount[2] > 0  # truncated: it does bootstrap


def test_between_ends_and_in_the_last_row():
    data, lam = rows("..L...T."), np.float32(0.65)
    found = np.asarray(returns(*data, lam))
    for t in (0, 1, 3, 4, 5):
        mixed = lam * found[t + 1] + (1 - lam) * data.next_value[t]
        np.testing.assert_allclose(found[t], data.reward[t] + data.discount[t] * mixed, rtol=1e-5)
    np.testing.assert_allclose(found[7], data.reward[7] + data.discount[7] * data.next_value[7], rtol=1e-6)


def test_lambda_zero_is_one_step_and_one_is_monte_carlo():
    data = rows("...L..T..")
    np.testing.assert_allclose(returns(*data, 0.0), data.reward + data.discount * data.next_value, rtol=1e-6)
    left = [3, 2, 1, 0, 2, 1, 0, 1, 0]  # steps to the end of the episode or of the rows
    expected = [n_step_return(data, t, 1 + n) for t, n in enumerate(left)]
    np.testing.assert_allclose(returns(*data, 1.0), expected, rtol=1e-5)


@pytest.mark.parametrize(("lam", "named"), [(1.5, "1.5"), (-0.25, "-0.25"), (float("nan"), "nan")])
def test_lambda_outside_the_unit_interval(lam, named):
    with pytest.raises(ValueError, match=rf"lambda must lie in \[0, 1\], got {named}$"):
        qjax.lambda_returns(*rows(".."), lam)
