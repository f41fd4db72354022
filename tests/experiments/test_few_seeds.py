"""What a few seeds say against what all say: on scores of which the answer is known."""

import itertools
import json
import shutil

import numpy as np
import pytest

from experiments import records, seeds
from qjax import stats

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def fewer_draws(monkeypatch):
    monkeypatch.setattr(seeds, "DRAWS", 4_000)


@pytest.fixture
def wrong(monkeypatch):
    def of(better, worse, *counts):
        monkeypatch.setattr(seeds, "COUNTS", counts)
        return seeds.wrong_order(
            *(seeds.few_means(x, np.random.default_rng(i)) for i, x in enumerate((better, worse)))
        )

    return of


def test_one_seed_is_wrong_as_often_as_a_run_of_the_worse_beats_one_of_the_better(wrong):
    better, worse = RNG.integers(0, 9, 64) + 1.0, RNG.integers(0, 9, 64) + 0.0
    better[:3] = worse[:3] = 4.0
    (found,) = wrong(better, worse, 1)
    expected = 1 - stats.improvement(better, worse).value
    assert found == pytest.approx(expected, abs=4 * np.sqrt(0.25 / seeds.DRAWS))


def test_three_seeds_against_every_triple(wrong):
    better, worse = RNG.normal(0.5, 1, 6), RNG.normal(0, 1, 6)
    triples = np.array(list(itertools.product(range(6), repeat=3)))
    one, other = better[triples].mean(1), worse[triples].mean(1)
    more, ties = (other[None] > one[:, None]).mean(), (other[None] == one[:, None]).mean()
    (found,) = wrong(better, worse, 3)
    assert found == pytest.approx(more + ties / 2, abs=4 * np.sqrt(0.25 / seeds.DRAWS))
    assert wrong(better + 9, worse, 6) == [0]


def test_pairs_are_told_apart_where_their_difference_is_no_chance():
    base = RNG.normal(0, 1, 64)
    scores = {"low": base, "high": base + 5, "same": base[::-1] + 1e-3, "equal": base.copy()}
    found = {pair.names: pair for pair in seeds.pairs_of("t", scores, np.random.default_rng(0))}
    assert set(found) == {("high", "low"), ("same", "low"), ("high", "same"), ("high", "equal"), ("same", "equal")}
    assert [found[names].apart for names in (("high", "low"), ("same", "low"))] == [True, False]
    assert found["high", "low"].wrong[seeds.COUNTS.index(3)] < 0.01
    assert found["same", "low"].wrong[seeds.COUNTS.index(3)] == pytest.approx(0.5, abs=0.1)


def test_the_records_are_compared_and_drawn(tmp_path, capsys):
    (tmp_path / "records").mkdir()
    for path in sorted(records.RECORDS.glob("CartPole-v1-*-500000.json"))[:8]:
        shutil.copy(path, tmp_path / "records")
    seeds.main(out=tmp_path / "out", records=tmp_path / "records")
    found = json.loads((tmp_path / "out" / "seeds.json").read_text())
    assert (tmp_path / "out" / "seeds-networks.png").stat().st_size > 10_000
    assert not (tmp_path / "out" / "seeds-tables.png").exists()
    means = [np.mean(json.loads(path.read_text())["greedy"]) for path in (tmp_path / "records").iterdir()]
    assert len(found["pairs"]) == sum(a != b for i, a in enumerate(means) for b in means[:i])
    assert all(pair["task"] == "CartPole-v1, 500,000 steps" for pair in found["pairs"])
    apart = sum(pair["apart"] for pair in found["pairs"])
    assert f"{apart} of {len(found['pairs'])} pairs told apart by 64 seeds" in capsys.readouterr().out


def test_where_there_is_too_little(tmp_path):
    with pytest.raises(ValueError, match="has no 8 records of 64 seeds in one environment"):
        seeds.main(out=tmp_path / "out", records=tmp_path)
    assert not (tmp_path / "out").exists()
