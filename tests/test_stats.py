"""Statistics over seeds against hand-computed cases."""

import numpy as np
import pytest

from qjax import stats


def test_iqm_is_the_mean_of_the_middle_half():
    assert stats.iqm([0, 1, 2, 3, 4, 5, 6, 1000]) == pytest.approx((2 + 3 + 4 + 5) / 4)
    assert stats.iqm([7.0]) == 7.0
    np.testing.assert_allclose(stats.iqm([[0, 1, 2, 99], [5, 5, 5, 5]]), [1.5, 5])


def test_the_interval_covers_as_often_as_it_says():
    # Of a symmetric distribution the interquartile mean is the centre; 200 intervals of 40 seeds each.
    rng = np.random.default_rng(0)
    inside = 0
    for i in range(200):
        low, high = stats.iqm_interval(rng.normal(3.0, 1.0, 40), resamples=500, seed=i)
        inside += low <= 3.0 <= high
    assert 0.88 <= inside / 200 <= 0.99


def test_the_interval_is_reproducible_and_needs_two_seeds():
    scores = [1.0, 2.0, 5.0, 3.0]
    assert stats.iqm_interval(scores) == stats.iqm_interval(scores)
    assert np.isnan(stats.iqm_interval([1.0])).all()


def test_wilson_against_the_formula():
    n, k, z = 50, 20, 1.959963984540054
    p = k / n
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert stats.wilson(k, n) == pytest.approx((centre - half, centre + half))
    assert stats.wilson(0, 10)[0] == 0
    assert stats.wilson(10, 10)[1] == 1
