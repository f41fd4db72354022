"""Profiles and single seeds: steps and dots stand where the scores are."""

import numpy as np
import pytest

from qjax.plot import scores


@pytest.mark.parametrize("lower", [False, True])
def test_profiles_are_exact_steps(lower):
    own = {"a": np.array([3.0, 1, 2, 2]), "b": np.array([5.0])}
    figure = scores.profiles(own, lower=lower)
    for line in figure.axes[0].lines:
        at, shares = line.get_data()
        between = {"steps-pre": shares[1:], "steps-post": shares[:-1]}[line.get_drawstyle()]
        for tau, share in zip([*at, *(at[1:] + at[:-1]) / 2], [*shares, *between], strict=True):
            scores_ = own[line.get_label()]
            assert share == np.mean(scores_ < tau if lower else scores_ > tau)
    assert len(figure.axes[0].collections) == 1  # one seed has no interval


def test_dots_of_a_distribution_lie_at_their_scores_and_not_on_each_other():
    own = np.round(np.random.default_rng(5).normal(size=300), 1)
    figure = scores.distribution({"a": own, "b": own[:1] + 9})
    many, one = (dots.get_offsets() for dots in figure.axes[0].collections)
    np.testing.assert_array_equal(many[:, 0], np.sort(own))
    assert len({tuple(np.round(dot, 6)) for dot in many}) == 300 and np.abs(many[:, 1]).max() <= 0.25
    assert one.tolist() == [[own[0] + 9, 1]]
