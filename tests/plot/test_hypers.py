"""Axes of hyper-parameters."""

import pytest

from qjax.plot import hypers


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1e-4, 2.5e-4, 1e-3], "log"),
        ([0.9, 0.95, 0.99], "linear"),
        ([0.9, 0.99, 0.999], "logit"),
        ([0, 0.25, 0.5, 1], "linear"),
        ([0, 1e-3, 1e-2, 1e-1, 1], None),
        (["64,64", "120,84"], None),
        ([False, True], None),
        ([16, 128], "linear"),
    ],
)
def test_the_axis_fits_the_values(values, kind):
    assert hypers.scale(values) == kind
