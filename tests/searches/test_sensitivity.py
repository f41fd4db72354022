"""Sensitivity over environments, held against the definitions in loops and against cases that are known."""

import itertools

import numpy as np
import pytest

import qjax
from qjax import searches
from qjax.searches.sensitivities import around


def table(rng, shape=(3, 4, 2), envs=3):
    rows = list(itertools.product(*map(range, shape)))
    hypers = {name: np.array([row[i] for row in rows]) for i, name in enumerate("abc")}
    return hypers, rng.normal(size=(len(rows), envs)) * [1, 100, 0.01]


def test_sensitivity_is_its_definition():
    rng = np.random.default_rng(0)
    for _ in range(5):
        _, scores = table(rng)
        low, high = np.percentile(scores, [5, 95], axis=0)
        own = [[(x - a) / (b - a) for x, a, b in zip(row, low, high, strict=True)] for row in scores]
        best_each = np.mean([max(row[env] for row in own) for env in range(3)])
        best_one = max(np.mean(row) for row in own)
        found = searches.sensitivity(scores)
        assert np.isclose(found.value, best_each - best_one) and np.isclose(
            found.value, found.by_environment.mean()
        )
        assert np.allclose(searches.sensitivity(1000 * scores - 7).by_environment, found.by_environment)


def test_one_setting_that_is_best_everywhere_leaves_nothing_to_tune():
    hypers, scores = table(np.random.default_rng(1))
    scores[5] = scores.max(0) + 1
    found = searches.sensitivity(scores)
    assert found.value == 0 and found.best == 5 and found.each.tolist() == [5, 5, 5]
    assert searches.dimensionality(hypers, scores) == (0, ())


def test_dimensionality_counts_what_has_to_be_tuned():
    """Each environment wants another a, one of them another b as well, and c is of no effect."""
    hypers, _ = table(np.random.default_rng(0))
    a, b = hypers["a"], hypers["b"]
    wants = np.stack([-1.0 * (a != env) - 0.0 * b for env in range(3)], 1)
    assert searches.dimensionality(hypers, wants) == (1, ("a",))
    both = np.stack([-1.0 * (a != env) - 1.0 * (b != env) for env in range(3)], 1)
    assert searches.dimensionality(hypers, both) == (2, ("a", "b"))
    assert searches.dimensionality(hypers, both, share=0.0)[0] == 0


def test_settings_that_diverged_are_the_worst_and_stretch_no_scale():
    scores = np.array([[0.0, 0.0], [1.0, 1.0], [-np.inf, 0.5]])
    assert (
        np.isfinite(searches.scaled(scores)).all()
        and searches.scaled(scores)[2, 0] == searches.scaled(scores)[0, 0]
    )
    with pytest.raises(ValueError, match="a finite one in each environment"):
        searches.scaled(np.full((2, 2), -np.inf))
    with pytest.raises(ValueError, match=r"hypers\['a'\] must have 3 settings, got 2"):
        searches.dimensionality({"a": np.ones(2)}, scores)


def test_one_hyper_parameter_after_another_is_varied():
    space = {"rate": searches.log_uniform(1e-3, 1.0), "n": searches.integers(1, 3)}
    hypers, which = around({"rate": 0.2, "n": 2}, space, 4)
    assert hypers["rate"][which["rate"]].tolist() == [0.001, 0.01, 0.1, 0.2, 1.0]
    assert set(hypers["n"][which["rate"]]) == {2} and set(hypers["rate"][which["n"]]) == {0.2}
    assert hypers["n"][which["n"]].tolist() == [1, 2, 3]
    assert qjax.searches.sensitivity is searches.sensitivity
