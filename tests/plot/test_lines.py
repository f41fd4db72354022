"""Learning curves: what is drawn where values are missing."""

import numpy as np

from qjax.plot import lines


def test_a_curve_passes_over_intervals_without_an_episode():
    """Every second one, as where episodes are long: the line, its interval and the seeds are drawn all the same."""
    x, values = np.arange(1, 8) * 100, np.full((3, 7), np.nan)
    values[:, ::2] = [[1, 2, 3, 4], [2, 3, 4, 5], [np.nan, np.nan, np.nan, 6]]
    (axes,) = lines.curves({"mean": (x, values)}, singles=2).axes
    *singles, middle = axes.get_lines()
    np.testing.assert_array_equal(middle.get_xydata(), [[100, 1.5], [300, 2.5], [500, 3.5], [700, 5]])
    assert [line.get_xydata().tolist() for line in singles] == [
        [[100, 1], [300, 2], [500, 3], [700, 4]],
        [[100, 2], [300, 3], [500, 4], [700, 5]],
    ]
    (band,) = axes.collections
    (shape,) = band.get_paths()  # one piece
    assert set(shape.vertices[:, 0]) == {100, 300, 500, 700}


def test_a_lane_that_has_ended_keeps_its_last_value():
    values = np.array([[1.0, np.nan, 3.0, np.nan, np.nan], [np.nan, 2.0, np.nan, 4.0, np.nan]])
    found = lines.held(values, np.array([3, 5]))
    np.testing.assert_array_equal(found, [[1, np.nan, 3, 3, 3], values[1]])
