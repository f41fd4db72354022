"""Statistics over seeds and tasks against hand-computed cases, slow definitions, SciPy and rliable's numbers."""

import time
import warnings
from functools import partial

import numpy as np
import pytest
import scipy.stats

from qjax import stats
from qjax.stats import resampling

X = np.array([[0.1, 0.9, 0.4], [0.3, 1.2, 0.5], [0.2, 0.7, 2.0], [0.8, 0.6, 0.45], [0.35, 1.5, 0.0]])
Y = np.array([[0.2, 0.8, 0.4], [0.1, 1.1, 0.6], [0.3, 0.7, 0.1], [0.5, 0.9, 0.3]])
NAN = float("nan")


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def with_gaps(shape, seed=0, share=0.2):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 20, shape) / 4.0  # with ties
    return np.where(rng.random(shape) < share, NAN, scores)


# ---- the slow definitions, of scores [seeds, tasks]


def slow_iqm(scores):
    known = sorted(score for score in np.ravel(scores) if score == score)
    cut = int(0.25 * len(known))
    middle = known[cut : len(known) - cut]
    return sum(middle) / len(middle) if middle else NAN


def slow_task_means(scores):
    columns = [[score for score in column if score == score] for column in scores.T]
    return [sum(column) / len(column) if column else NAN for column in columns]


def slow_mean(scores):
    return np.mean(slow_task_means(scores))


def slow_median(scores):
    return np.median(slow_task_means(scores))


def slow_gap(scores):
    return 2.0 - np.mean(slow_task_means(np.where(scores > 2.0, 2.0, scores)))


def slow_improvement(x, y):
    found = []
    for i in range(x.shape[1]):
        pairs = [(a > b) + (a == b) / 2 for a in x[:, i] for b in y[:, i] if a == a and b == b]
        found.append(sum(pairs) / len(pairs) if pairs else NAN)
    return np.mean(found)


def slow_interval(statistic, samples, draws, confidence):
    """Resample each task of each sample [seeds, tasks] by its draws [resamples, tasks, seeds]."""
    values = []
    for drawn in zip(*draws, strict=True):
        again = [
            np.array([[sample[seed, task] for task, seed in enumerate(row)] for row in i.T])
            for sample, i in zip(samples, drawn, strict=True)
        ]
        values.append(statistic(*again))
    values = [value for value in values if value == value]
    return np.percentile(values, [50 * (1 - confidence), 50 * (1 + confidence)])


# ---- statistics


def test_iqm_is_the_mean_of_the_middle_half():
    assert stats.iqm([0, 1, 2, 3, 4, 5, 6, 1000]) == pytest.approx((2 + 3 + 4 + 5) / 4)
    assert stats.iqm([7.0]) == 7.0
    np.testing.assert_allclose(stats.iqm([[0, 1, 2, 99], [5, 5, 5, 5]], axis=1), [1.5, 5])
    assert stats.iqm([[0, 1, 2, 99], [5, 5, 5, 5]]) == pytest.approx((2 + 5 + 5 + 5) / 4)


@pytest.mark.parametrize("axis", [0, 1, 2, (0, 1), (1, 2), (2, 0)])
def test_iqm_is_scipys(axis):
    scores = with_gaps((7, 5, 4), share=0.4)
    scores[0, 0], scores[:, 1], scores[1, 2] = NAN, NAN, np.inf
    with np.errstate(invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of slices without a score
        expected = scipy.stats.trim_mean(scores, 0.25, axis=axis, nan_policy="omit")
    np.testing.assert_allclose(stats.iqm(scores, axis), expected)


@pytest.mark.parametrize("statistic", [stats.iqm, stats.mean, stats.median, stats.optimality_gap])
def test_all_statistics_take_the_same_axes(statistic):
    """Seeds and tasks together by default, further axes as columns; or the axis that is given."""
    scores = np.random.default_rng(0).normal(size=(6, 3, 2))
    assert statistic(np.ones((3, 2))).shape == statistic([1.0, 2.0]).shape == statistic(2.0).shape == ()
    np.testing.assert_allclose(statistic(scores), [statistic(scores[..., i]) for i in range(2)])
    np.testing.assert_allclose(statistic(scores), statistic(np.moveaxis(scores, 2, 0), axis=(1, 2)))
    columns = [[statistic(scores[:, j, i]) for i in range(2)] for j in range(3)]
    np.testing.assert_allclose(statistic(scores, axis=0), columns)
    np.testing.assert_allclose(statistic(scores[:, 0, 0], axis=0), columns[0][0])


def test_statistics_are_rliables():
    # What rliable 1.2.0's `metrics` and `library` return for these scores.
    assert stats.mean(X) == pytest.approx(0.6666666666666666)
    assert stats.median(X) == pytest.approx(0.67)
    assert stats.iqm(X) == pytest.approx(0.5555555555555556)
    assert stats.optimality_gap(X) == pytest.approx(0.44666666666666677)
    assert stats.optimality_gap(X, target=0.5) == pytest.approx(0.11333333333333334)
    assert stats.improvement(X, Y).value == pytest.approx(0.5833333333333334)
    assert stats.improvement(Y, X).value == pytest.approx(0.4166666666666667)
    levels = [0, 0.3, 0.5, 0.9, 1.2]
    np.testing.assert_allclose(stats.profile(X, levels).value, np.array([14, 11, 7, 3, 2]) / 15)
    np.testing.assert_allclose(stats.profile(X, levels, average=True).value, [1, 1, 2 / 3, 1 / 3, 0])


def test_statistics_leave_out_seeds_without_a_score():
    gaps = with_gaps((9, 4))
    assert stats.iqm(gaps) == pytest.approx(slow_iqm(gaps))
    assert stats.mean(gaps) == pytest.approx(slow_mean(gaps)) != pytest.approx(np.nanmean(gaps))
    assert stats.median(gaps) == pytest.approx(slow_median(gaps))
    assert stats.optimality_gap(gaps, target=2.0) == pytest.approx(slow_gap(gaps))
    assert stats.mean([1.0, None, 4.0]) == 2.5  # as JSON says NaN
    assert np.isnan(stats.iqm([NAN, NAN])) and np.isnan(stats.mean([[1.0, NAN], [2.0, NAN]]))


# ---- intervals


def test_the_interval_covers_as_often_as_it_says():
    # Of a symmetric distribution the interquartile mean is the centre; 200 intervals of 40 seeds each.
    rng = np.random.default_rng(0)
    inside = 0
    for i in range(200):
        low, high = stats.iqm_interval(rng.normal(3.0, 1.0, 40), resamples=500, seed=i)
        inside += low <= 3.0 <= high
    assert 0.88 <= inside / 200 <= 0.99


@pytest.mark.parametrize("seeds", [2, 3, 16, 101])
def test_intervals_of_one_task_are_scipys(seeds):
    scores = np.random.default_rng(seeds).normal(size=seeds)
    for statistic, theirs in ((stats.iqm, stats.iqm), (stats.mean, np.mean), (np.median, np.median)):
        found = stats.estimate(scores, statistic, 0.9, 300, seed=5)
        expected = scipy.stats.bootstrap(
            (scores,),
            theirs,
            confidence_level=0.9,
            n_resamples=300,
            method="percentile",
            rng=np.random.default_rng(5),
        ).confidence_interval
        np.testing.assert_allclose((found.low, found.high), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("statistic", "slow"),
    [
        (stats.iqm, slow_iqm),
        (partial(stats.iqm), slow_iqm),  # copied in place of counted
        (stats.mean, slow_mean),
        (stats.median, slow_median),
        (partial(stats.optimality_gap, target=2.0), slow_gap),
    ],
    ids=["iqm", "copied", "mean", "median", "gap"],
)
def test_stratified_intervals_are_the_slow_loops(statistic, slow, monkeypatch):
    scores = with_gaps((7, 3, 2))
    draws = np.random.default_rng(1).integers(0, 7, (40, 3, 7))
    monkeypatch.setattr(resampling, "COUNTED", 21 * 16)
    monkeypatch.setattr(resampling, "GATHERED", 42 * 16)  # blocks of 16, 16 and 8
    found = stats.estimate(scores, statistic, 0.8, 40, seed=1)
    for i in range(2):
        assert found.value[i] == pytest.approx(slow(scores[..., i]))
        expected = slow_interval(slow, [scores[..., i]], [draws], 0.8)
        np.testing.assert_allclose((found.low[i], found.high[i]), expected)


def test_seeds_are_drawn_within_their_task_and_with_all_their_points():
    apart = np.stack([np.zeros(5), np.full(5, 100.0)], axis=1)
    assert stats.estimate(apart, stats.mean) == (50.0, 50.0, 50.0)
    curve = np.random.default_rng(0).normal(size=(8, 1))
    low, high = stats.iqm_interval(np.concatenate([curve, curve + 5, -curve], axis=1))
    np.testing.assert_allclose([low[1], high[1]], [low[0] + 5, high[0] + 5])
    np.testing.assert_allclose([low[2], high[2]], [-high[0], -low[0]])


def test_intervals_are_reproducible():
    assert stats.estimate(X) == stats.estimate(X)
    assert stats.estimate(X, seed=1) != stats.estimate(X)
    assert stats.improvement(X, Y) == stats.improvement(X, Y)
    low, high = stats.iqm_interval(X[:, 0])
    assert f"{low:.1f} {high:.1f}" == "0.1 0.7"


def test_points_with_fewer_than_two_scores_have_no_interval():
    curve = np.array([[NAN, NAN, 1.0, 1.0], [NAN, 2.0, NAN, 2.0], [NAN, NAN, 3.0, 3.0]])
    found = stats.estimate(curve[:, None])
    np.testing.assert_array_equal(found.value, [NAN, 2, 2, 2])
    np.testing.assert_array_equal(np.isnan(found.low), [True, True, False, False])
    np.testing.assert_array_equal(np.isnan(found.high), [True, True, False, False])
    assert found.low[2] == 1 and found.high[2] == 3
    # A statistic that is NaN has no interval, though some resamples miss the seed that makes it NaN.
    assert np.isnan(stats.estimate([1.0, 2.0, 3.0, NAN], np.mean)).all()
    # Two tasks, one of them with a single score.
    assert np.isnan(stats.estimate([[1.0, 2.0], [2.0, NAN], [3.0, NAN]], stats.mean)[1:]).all()


def test_an_infinite_score_is_one_that_is_cut_off():
    wild = [-np.inf, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0]
    tame = [-1e9, *wild[1:]]
    assert stats.iqm(wild) == stats.iqm(tame)
    low, high = stats.iqm_interval(wild, 0.5)
    assert (low, high) == stats.iqm_interval(tame, 0.5) and 4 < low < high < 8
    low, high = stats.iqm_interval([-np.inf, 1.0, 2.0, 3.0], 0.9)
    assert not np.isfinite(low) and high > 2


@pytest.mark.parametrize("statistic", [stats.iqm, stats.mean, stats.median, partial(stats.iqm)])
def test_an_interval_reaches_to_infinity_where_scores_do(statistic):
    """At the end, and there alone, at which it has a number too large to matter in the place of infinity."""
    wild = np.array([1, 2, np.inf, 4, 5, 6, 7, 8])
    tame = stats.estimate(np.where(np.isinf(wild), 1e300, wild), statistic)
    found = stats.estimate(wild, statistic)
    assert tame.high > 1e200 > tame.low > 2
    assert found.high == np.inf and found.low == pytest.approx(tame.low, rel=1e-12)
    assert stats.estimate(-wild, statistic) == pytest.approx((-found.value, -found.high, -found.low))


def test_both_infinities_have_an_interval():
    assert stats.estimate([-np.inf, 2, np.inf, 4, 5, 6, 7, 8]) == (5.5, -np.inf, np.inf)


def test_what_lies_between_finite_values_and_an_infinite_one():
    ends = resampling.percentiles(np.array([[-np.inf, 1.0, 2.0, 3.0, NAN, np.inf]]).T, 0.5)
    np.testing.assert_array_equal(ends.ravel(), [1, 3])
    assert resampling.percentiles(np.array([-np.inf, np.inf]), 0.5).tolist() == [-np.inf, np.inf]
    assert resampling.percentiles(np.array([1.0, np.inf, np.inf]), 0.5).tolist() == [np.inf, np.inf]


def test_equal_infinities_do_not_differ():
    found = stats.paired([np.inf, 1.0, 2.0], [np.inf, 0.0, 0.0]).difference
    assert found.value == 1 and (found.low, found.high) == (0, 2)


NO_SCORES = [["1", "2"], [b"1", 2], [1.0, None, "2"], [1j, 2], [{}, 1], np.array(["NaT"], "M8[s]")]


@pytest.mark.parametrize("scores", NO_SCORES)
@pytest.mark.parametrize(
    "call",
    [
        stats.iqm,
        stats.mean,
        stats.median,
        stats.optimality_gap,
        stats.estimate,
        stats.iqm_interval,
        lambda x: stats.profile(x, [1]),
        lambda x: stats.profile([1, 2], x),
        lambda x: stats.improvement([1, 2], x),
        lambda x: stats.paired(x, [1, 2]),
        lambda x: stats.area(x, [1, 2]),
        lambda x: stats.area([1, 2], x),
    ],
)
def test_scores_are_real_numbers(call, scores):
    with pytest.raises(TypeError, match="must be real numbers, got"):
        call(scores)


def test_flags_are_scores():
    assert stats.mean([True, False, True, True]) == 0.75
    assert stats.estimate(np.array([True, True])) == (1, 1, 1)


@pytest.mark.slow
def test_a_thousand_seeds_at_a_hundred_points_take_a_few_seconds():
    scores = np.random.default_rng(0).normal(size=(1000, 100))
    start = time.process_time()
    low, high = stats.iqm_interval(scores)
    assert time.process_time() - start < 10  # 2 s on an idle core
    assert (low < high).all()


# ---- comparisons


def test_profiles_are_the_slow_loops():
    scores, levels = with_gaps((6, 3)), np.array([0.0, 1.0, 2.5])
    draws = np.random.default_rng(2).integers(0, 6, (30, 3, 6))
    for average in (False, True):
        found = stats.profile(scores, levels, average, 0.9, 30, seed=2)
        for i, level in enumerate(levels):

            def share(again, average=average, level=level):
                if average:
                    means = slow_task_means(again)
                    return NAN if np.isnan(means).any() else np.mean([mean > level for mean in means])
                return np.mean(slow_task_means(np.where(again == again, again > level, NAN)))

            assert found.value[i] == pytest.approx(share(scores))
            expected = slow_interval(share, [scores], [draws], 0.9)
            np.testing.assert_allclose((found.low[i], found.high[i]), expected, atol=1e-12)


def test_improvement_is_the_mann_whitney_u():
    x, y = np.random.default_rng(0).integers(0, 9, (2, 12, 3)).astype(float)
    u = scipy.stats.mannwhitneyu(x, y[:10], axis=0).statistic
    assert stats.improvement(x, y[:10]).value == pytest.approx((u / 120).mean())
    assert stats.improvement([3, 4], [1, 2, 2.5]) == (1, 1, 1)
    assert stats.improvement(x, x).value == 0.5
    assert np.isnan(stats.improvement([[1.0, NAN], [2.0, NAN]], [[1.0, 2.0], [1.0, 2.0]])).all()


def test_improvements_interval_is_the_slow_loops():
    x, y = with_gaps((6, 2), 0), with_gaps((4, 2), 1)
    found = stats.improvement(x, y, 0.8, 30, seed=3)
    streams = np.random.default_rng(3).spawn(2)
    draws = [rng.integers(0, len(z), (30, 2, len(z))) for rng, z in zip(streams, (x, y), strict=True)]
    assert found.value == pytest.approx(slow_improvement(x, y))
    np.testing.assert_allclose((found.low, found.high), slow_interval(slow_improvement, [x, y], draws, 0.8))


def test_paired_compares_seed_by_seed():
    x, y = [5.0, 3.0, 9.0, 1.0], [7.0, 2.0, 3.0, 2.0]
    found = stats.paired(x, y, x_seeds=[4, 1, 2, 8], y_seeds=[8, 1, 4, 5])  # 1: 3 - 2, 4: 5 - 3, 8: 1 - 7
    assert found.seeds.tolist() == [1, 4, 8]
    assert found.difference == stats.estimate([1.0, 2.0, -6.0])
    assert found.difference.value == -1
    assert found.improvement.value == pytest.approx(2 / 3)
    # Ties count half; a seed without a score in either is left out of both.
    found = stats.paired([1.0, 2.0, 5.0, NAN], [1.0, 1.0, NAN, 0.0], statistic=stats.mean)
    assert found.difference.value == 0.5 and found.improvement.value == 0.75
    found = stats.paired(X[:4], Y)
    assert found.difference.value == pytest.approx(slow_iqm(X[:4] - Y))
    assert found.improvement.value == pytest.approx(np.mean((X[:4] > Y) + (X[:4] == Y) / 2))


def test_pairing_takes_out_what_seeds_share():
    rng = np.random.default_rng(0)
    luck, noise = rng.normal(0, 10, 30), rng.normal(0, 1, (2, 30))
    x, y = luck + 1 + noise[0], luck + noise[1]
    by_seed, apart = stats.paired(x, y), stats.improvement(x, y)
    assert 0 < by_seed.difference.low < by_seed.difference.high < 2
    assert by_seed.improvement.low > 0.5 > apart.low
    low, high = stats.iqm_interval(x)
    assert by_seed.difference.high - by_seed.difference.low < (high - low) / 3


# ---- area


def test_area_is_the_mean_height():
    assert stats.area([2.0, 2.0, 2.0], [10, 11, 400]) == 2
    assert stats.area([0.0, 1.0, 3.0], [0, 10, 40]) == pytest.approx((5 + 60) / 40)
    np.testing.assert_allclose(stats.area([[0, 4], [1, 1]], [100, 300]), [2, 1])
    each = stats.area([[[0.0, 1.0, 3.0]], [[0.0, 1.0, 3.0]]], [[[0, 10, 40]], [[0, 30, 40]]])
    np.testing.assert_allclose(each, [[65 / 40], [35 / 40]])


def test_area_of_a_curve_whose_first_episode_ends_late():
    steps = [10, 20, 30, 60]
    assert stats.area([NAN, NAN, 4.0, 1.0], steps) == pytest.approx((20 * 4 + 30 * 2.5) / 50)
    assert stats.area([0.0, NAN, 2.0, 2.0], steps) == pytest.approx((20 * 1 + 30 * 2) / 50)
    assert stats.area([0.0, 2.0, NAN, NAN], steps) == pytest.approx((10 * 1 + 40 * 2) / 50)
    np.testing.assert_array_equal(stats.area([[NAN] * 4, [1.0] * 4], steps), [NAN, 1])
    assert np.isnan(stats.area([1.0, 1.0], [5, 5]))


# ---- bad input


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: stats.iqm([]), "no scores: their shape is [0]"),
        (lambda: stats.iqm([[1, 2], [3]]), "scores are no array: rows have different lengths: 2, 1; NaN is a seed"),
        (lambda: stats.estimate([[1, 2], 3]), "scores are no array: rows have different lengths: 2, 1; NaN is"),
        (lambda: stats.mean([[[1], [2, 3]], [[4], [5]]]), "scores are no array: rows have different lengths; NaN"),
        (lambda: stats.wilson(11, 10), "trials must be at least 11, got 10"),
        (lambda: stats.wilson(0, 0), "trials must be at least 1, got 0"),
        (lambda: stats.wilson(3, 10, confidence=NAN), "confidence must lie in (0, 1), got nan"),
        (lambda: stats.optimality_gap([1.0], target=NAN), "target must lie in"),
        (lambda: stats.mean(np.zeros((3, 0))), "no scores: their shape is [3, 0]"),
        (lambda: stats.iqm_interval([1.0]), "an interval needs at least 2 seeds, got 1"),
        (lambda: stats.iqm_interval(1.0), "an interval needs at least 2 seeds, got 1"),
        (lambda: stats.estimate(np.zeros((1, 5))), "an interval needs at least 2 seeds, got 1"),
        (lambda: stats.profile([1.0], [0.5]), "an interval needs at least 2 seeds, got 1"),
        (lambda: stats.improvement(X, Y[:1]), "an interval needs at least 2 seeds, got 1"),
        (lambda: stats.estimate([1.0, 2.0], confidence=95), "confidence must lie in (0, 1), got 95"),
        (lambda: stats.estimate([1.0, 2.0], confidence=1.0), "confidence must lie in (0, 1), got 1.0"),
        (lambda: stats.improvement(X, Y, confidence=0.0), "confidence must lie in (0, 1), got 0.0"),
        (lambda: stats.estimate([1.0, 2.0], resamples=0), "resamples must be at least 1, got 0"),
        (
            lambda: stats.estimate(X, lambda scores, axis: scores.mean()),
            "must reduce the first two axes and keep others; it returned [], and",
        ),
        (lambda: stats.improvement(X, Y[:, :2]), "of the same tasks, got [5, 3] and [4, 2]"),
        (lambda: stats.profile(X, []), "no thresholds: their shape is [0]"),
        (lambda: stats.profile(X, [0.5, NAN]), "thresholds must be a list of numbers, got [0.5, nan]"),
        (lambda: stats.profile(X[..., None], [0.5]), "a profile needs scores [seeds, tasks], got shape [5, 3, 1]"),
        (lambda: stats.paired(X[:4], Y[:, :2]), "of the same tasks, got shapes [4, 3] and [4, 2]"),
        (lambda: stats.paired(X, Y), "give x_seeds and y_seeds to pair 5 seeds with 4"),
        (lambda: stats.paired(X, Y, x_seeds=range(5)), "give x_seeds and y_seeds to pair 5 seeds with 4"),
        (
            lambda: stats.paired(X, Y, range(5), range(4, 8)),
            "an interval needs at least 2 seeds in common, got 1 of 5 and 4",
        ),
        (lambda: stats.paired(X, Y, range(5), range(3)), "y has scores of 4 seeds, y_seeds has shape [3]"),
        (lambda: stats.paired(X, Y, [0, 1, 2, 1, 1], range(4)), "x_seeds has 1 3 times"),
        (lambda: stats.area([1.0], [1]), "values must have at least 2 points, got shape [1]"),
        (lambda: stats.area([1.0, 2.0], [1, 2, 3]), "env_steps must be of the values' points, got [3] for [2]"),
        (
            lambda: stats.area(np.ones((2, 3)), [[1, 2, 3], [1, 4_000_000, 3]]),
            "env_steps must not decrease, got 3 after 4000000",
        ),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, said):
    with pytest.raises(ValueError, match=r".*") as raised:
        call()
    assert said in str(raised.value)


def test_wilson_against_the_formula():
    n, k, z = 50, 20, 1.959963984540054
    p = k / n
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert stats.wilson(k, n) == pytest.approx((centre - half, centre + half))
    assert stats.wilson(0, 10)[0] == 0
    assert stats.wilson(10, 10)[1] == 1
