"""Steps until a level is reached, held against slow loops and a published table."""

import numpy as np
import pytest

from qjax.plot import reach


@pytest.mark.parametrize("lower", [False, True])
def test_steps_to_a_level_against_a_slow_loop(lower):
    rng, levels = np.random.default_rng(5), np.array([-0.5, 0.2, 0.7, 3.0])
    values = np.linspace(0, 1, 12) + rng.normal(0, 0.1, (7, 12))
    values[rng.random((7, 12)) < 0.05] = np.nan
    values[2] = np.nan
    for x in (np.arange(12) * 10 + 5, np.arange(12) * 10 + np.arange(7)[:, None]):
        found = reach.steps_to_reach(x, values, levels, lower)
        axes = np.broadcast_to(x, values.shape)
        for seed, at in np.ndindex(found.shape):
            there = [
                step
                for step, value in zip(axes[seed], values[seed], strict=True)
                if (value <= levels[at] if lower else value >= levels[at])
            ]
            assert found[seed, at] == (there[0] if there else np.inf)


def test_a_median_of_times_of_which_some_never_come():
    """16 seeds: the 95% interval goes from the 4th to the 13th (Conover 1999, table A3)."""
    times = np.random.default_rng(5).permutation(np.array([np.arange(1.0, 17)] * 3), axis=1).T
    times[times[:, 1] > 11, 1] = np.inf
    times[times[:, 2] > 7, 2] = np.inf
    value, low, high = reach.median(times)
    np.testing.assert_array_equal(value, [8, 8, np.nan])
    np.testing.assert_array_equal([low, high], [[4, 4, 4], [13, np.inf, np.inf]])
    few = reach.median(times[:5])
    assert np.isnan(few.low).all() and np.isnan(few.high).all() and few.value[0] == np.sort(times[:5, 0])[2]
