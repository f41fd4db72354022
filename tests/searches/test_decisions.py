"""What a search decides, held against slow references, the papers' tables and numbers worked out by hand."""

import math

import numpy as np
import pytest
from folders import written

import qjax
from qjax.searches.decisions import best, brackets, merits, normalised
from qjax.searches.scores import Score


def test_hyperband_has_the_papers_numbers():
    """Li et al. 2018, table 1: R = 81, eta = 3."""
    table = [
        [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
        [(34, 3), (11, 9), (3, 27), (1, 81)],
        [(15, 9), (5, 27), (1, 81)],
        [(8, 27), (2, 81)],
        [(5, 81)],
    ]
    found = brackets("hyperband", 81, 81, 3, None)
    assert [list(zip((each.settings, *each.kept), each.rungs, strict=False)) for each in found] == table


def test_halving_by_hand():
    (found,) = brackets("halving", 27, 9000, 3, None)
    assert found == (27, (333, 1000, 3000, 9000), (9, 3, 1, 1))
    assert found.steps == 27 * 333 + 9 * 667 + 3 * 2000 + 6000
    (found,) = brackets("halving", 32, 900, 4, 2)
    assert found == (32, (225, 900), (8, 1))


@pytest.mark.parametrize("eta", [2, 3, 5])
def test_brackets_of_hyperband_take_about_the_same_steps(eta):
    found = [each.steps for each in brackets("hyperband", 40, 10**6, eta, None)]
    assert len(found) == 1 + math.floor(math.log(40, eta) + 1e-9)
    # Each is at most as much as if every rung began anew, as in the paper, and rounding up adds settings.
    assert max(found) < 2.5 * min(found)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("halving", 9, 100, 1, None), "eta must be at least 2, got 1"),
        (("halving", 0, 100, 3, None), "settings must be at least 1, got 0"),
        (("halving", 8, 100, 3, 3), "3 rungs with eta 3 need at least 9 settings, got 8"),
        (("halving", 27, 26, 3, 4), "26 steps do not make 4 rungs with eta 3"),
        (("hyperband", 27, 26, 3, None), "26 steps do not make 4 rungs with eta 3"),
        (("halfing", 9, 100, 3, None), "no method 'halfing'; did you mean halving"),
    ],
)
def test_what_makes_no_rungs_is_refused(given, told):
    with pytest.raises(ValueError, match=told):
        brackets(*given)


def test_the_best_are_those_of_a_slow_sort():
    rng = np.random.default_rng(0)
    for _ in range(50):
        merit = rng.integers(0, 4, 9).astype(float)
        merit[rng.random(9) < 0.2] = -np.inf
        alive, number = rng.random(9) < 0.7, int(rng.integers(1, 6))
        order = sorted(np.flatnonzero(alive), key=lambda i: (-merit[i], i))
        assert np.flatnonzero(best(merit, number, alive)).tolist() == sorted(order[:number])


def test_merits_are_interquartile_means_and_the_diverged_are_worst():
    scores = np.array([[0, 10, 20, 30], [-np.inf, 10, 20, 30], [-np.inf, -np.inf, 20, 30], [np.nan] * 4])
    assert merits(scores).tolist() == [15, 15, -np.inf, -np.inf]
    assert best(merits(scores), 2, np.ones(4, bool)).tolist() == [True, True, False, False]


def test_environments_count_alike_whatever_their_units():
    merit = np.array([[0.0, 900.0], [1.0, 1000.0], [0.9, -np.inf], [5.0, 5000.0]])
    alive = np.array([True, True, True, False])
    assert np.allclose(normalised(merit, alive)[:3], [0, 1, 0.45])
    assert np.allclose(normalised(1000 * merit + 3, alive)[:3], [0, 1, 0.45])
    given = (np.array([-1.0, 0.0]), np.array([1.0, 2000.0]))
    assert np.allclose(normalised(merit, alive, given)[:2], [(0.5 + 0.45) / 2, (1.0 + 0.5) / 2])
    same = np.full((3, 2), 7.0)
    assert normalised(same, np.ones(3, bool)).tolist() == [0, 0, 0]


def test_what_diverged_has_the_worst_score_of_all(tmp_path):
    given = {"scores": np.zeros((1, 2)), "diverged": [[-1, 100]]}
    table = qjax.results.load(written(tmp_path / "run", [[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]], **given))
    assert Score().of(table).tolist() == [[3.0, -np.inf]]
    assert Score(lower=True).of(table).tolist() == [[3.0, np.inf]]
