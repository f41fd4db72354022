"""Spaces and samplers: values lie where they should, are told in four digits, and come again with their seed."""

import numpy as np
import pytest

import qjax
from qjax import searches
from qjax.searches.samplers import Trial, draw

SPACE = {
    "lr": searches.log_uniform(1e-5, 1e-2),
    "epsilon": searches.uniform(0.0, 0.2),
    "period": searches.integers(1, 1000, log=True),
    "n": searches.integers(1, 5),
    "flag": searches.choices([True, False]),
}


@pytest.mark.parametrize("sampler", [searches.sobol, searches.random])
def test_values_lie_in_their_ranges_as_they_should(sampler):
    drawn = draw(sampler, SPACE, 1024, 3, ())
    assert {name: len(column) for name, column in drawn.items()} == dict.fromkeys(SPACE, 1024)
    for name, (low, high) in {"lr": (1e-5, 1e-2), "epsilon": (0, 0.2), "period": (1, 1000), "n": (1, 5)}.items():
        assert drawn[name].min() >= low and drawn[name].max() <= high
    # A third of a log range is a decade of it, a half of a uniform one its lower half.
    assert abs((drawn["lr"] < 1e-4).mean() - 1 / 3) < 0.05
    assert abs((drawn["epsilon"] < 0.1).mean() - 1 / 2) < 0.05
    assert abs((drawn["period"] < 10).mean() - 1 / 3) < 0.06
    assert np.allclose(np.bincount(drawn["n"])[1:] / 1024, 1 / 5, atol=0.05)
    assert drawn["n"].dtype.kind == drawn["period"].dtype.kind == "i" and drawn["flag"].dtype == bool
    assert all(float(f"{value:.4g}") == value for value in drawn["lr"])


def test_a_seed_gives_the_same_settings_and_another_others():
    for sampler in (searches.sobol, searches.random):
        one, again, other = (draw(sampler, SPACE, 8, seed, ()) for seed in (0, 0, 1))
        assert all((one[name] == again[name]).all() for name in SPACE)
        assert (one["lr"] != other["lr"]).all()


def test_sobol_points_fill_more_evenly_than_random_ones():
    def emptiest(sampler):
        space = {name: searches.uniform(0.0, 1.0) for name in "ab"}
        drawn = sampler(space, 64, 0)
        cells = (drawn["a"] * 8).astype(int) * 8 + (drawn["b"] * 8).astype(int)
        return len(set(cells.tolist()))

    assert emptiest(searches.sobol) > emptiest(searches.random) + 8


def test_what_comes_twice_is_tried_once():
    drawn = draw(searches.sobol, {"n": searches.integers(1, 3), "m": searches.choices([0.5, 1.0])}, 64, 0, ())
    assert len(drawn["n"]) == 6 == len(set(zip(drawn["n"].tolist(), drawn["m"].tolist(), strict=True)))


def test_a_range_is_spread_over_its_ends():
    assert SPACE["lr"].spread(4).tolist() == [1e-5, 1e-4, 1e-3, 1e-2]
    assert SPACE["n"].spread(9).tolist() == [1, 2, 3, 4, 5]
    assert SPACE["flag"].spread(5).tolist() == [True, False]
    assert SPACE["period"].spread(4).tolist()[0] == 1 and SPACE["period"].spread(4).tolist()[-1] == 1000


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: searches.uniform(0.3, 0.1), "low must be below high, got 0.3 and 0.1"),
        (lambda: searches.log_uniform(0.0, 1.0), r"log_uniform: low must lie in \(0"),
        (lambda: searches.log_uniform(1.0, 1.0), "low must be below high, got 1 and 1"),
        (lambda: searches.integers(5, 5), "low must be below high, got 5 and 5"),
        (lambda: searches.integers(0, 5, log=True), "at least 1 for a logarithm, got 0"),
        (lambda: searches.choices([]), r"at least one number, got \[\]"),
        (lambda: searches.choices([1, 2, 1]), "choices must differ, got 1,2,1"),
        (lambda: draw(lambda *_: {"a": np.ones(2)}, SPACE, 3, 0, ()), r"must return columns \[3\] of \['lr'"),
    ],
)
def test_bad_ranges_are_refused_with_their_values(make, told):
    with pytest.raises(ValueError, match=told):
        make()


def test_optunas_samplers_may_be_plugged_in():
    optuna = pytest.importorskip("optuna")
    sampler = searches.from_optuna(lambda seed: optuna.samplers.TPESampler(seed=seed, n_startup_trials=5))
    first = draw(sampler, SPACE, 8, 0, ())
    assert all((first[name] == column).all() for name, column in draw(sampler, SPACE, 8, 0, ()).items())
    # Told that a small epsilon is good, it proposes smaller ones than without.
    rng = np.random.default_rng(0)
    space = {"epsilon": SPACE["epsilon"]}
    seen = [Trial({"epsilon": float(x)}, -abs(float(x) - 0.02)) for x in rng.uniform(0, 0.2, 40)]
    told, untold = (draw(sampler, space, 16, 1, known)["epsilon"].mean() for known in (seen, ()))
    assert told < 0.05 < untold


def test_without_optuna_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(ImportError, match=r"qjax-rl\[optuna\]"):
        searches.from_optuna(lambda seed: None)


def test_hypers_of_a_space_are_those_of_a_sweep():
    assert set(draw(searches.sobol, SPACE, 4, 0, ())) == set(SPACE)
    assert qjax.searches.uniform is searches.uniform
