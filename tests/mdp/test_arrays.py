"""An MDP's arrays: what is refused, dense arrays as outcomes, which states follow which, and draws of the first."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import qjax
from qjax.mdp import arrays as mdp
from qjax.mdp import solve
from qjax.mdp.alias import alias, draw_alias


def arrays(states=3, actions=2):
    """Two outcomes each: stay with probability 0.25, go on with 0.75; the last state's outcomes terminate."""
    here = np.arange(states)[:, None, None] * np.ones((1, actions, 1), int)
    successor = np.concatenate([here, (here + 1) % states], -1)
    return {
        "successor": successor,
        "probability": np.broadcast_to([0.25, 0.75], successor.shape).copy(),
        "reward": successor * 1.0,
        "terminated": np.broadcast_to(here == states - 1, successor.shape).copy(),
        "start": np.eye(states)[0],
    }


# The record and its checks -----------------------------------------------------------------------------------


def test_checked_arrays_are_the_same_in_the_devices_types():
    given_ = arrays()
    model = mdp.from_outcomes(**given_)
    for name, array in given_.items():
        np.testing.assert_array_equal(getattr(model, name), array)
    assert [x.dtype.name for x in model] == ["int32", "float32", "float32", "bool", "float32"]


def changed(name, where, value):
    new = arrays()
    new[name] = new[name].astype(float) if isinstance(value, float) else new[name]
    new[name][where] = value
    return new


@pytest.mark.parametrize(
    ("name", "where", "value", "message"),
    [
        ("probability", (1, 0, 1), 0.5, r"probabilities must sum to 1, got 0.75 at state 1, action 0$"),
        ("probability", (slice(1, 3), 0, 1), 1.0, r"must sum to 1, got 1.25 at state 1, action 0 \(and 1 more\)$"),
        ("probability", (1, 0, 1), -0.25, r"must not be negative, got -0.25 at state 1, action 0, outcome 1$"),
        ("probability", (2, 1, 0), np.nan, r"probability must be finite in float32, got nan at state 2, action 1"),
        ("reward", (2, 1, 0), np.inf, r"reward must be finite in float32, got inf at state 2, action 1"),
        ("successor", (0, 1, 0), 3, r"successors are states from 0 to 2, got 3 at state 0, action 1, outcome 0$"),
        ("successor", (0, 1, 0), -1, r"successors are states from 0 to 2, got -1 at state 0, action 1, outcome 0$"),
        ("start", (1,), 0.5, r"probabilities of the first state must sum to 1, got 1.5$"),
        ("start", (0,), -1.0, r"the first state must not be negative, got -1 at state 0$"),
    ],
)
def test_wrong_numbers_are_named(name, where, value, message):
    with pytest.raises(ValueError, match=message):
        mdp.from_outcomes(**changed(name, where, value))


def test_rounding_of_the_sum_is_no_error():
    thirds = np.full((2, 1, 3), 1 / 3, np.float32)
    states = np.zeros(thirds.shape, int)
    mdp.from_outcomes(states, thirds, thirds, states > 0, np.float32([0.1, 0.9]))


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("probability", np.ones((3, 2)), r"probability must have a shape \[S, A, K\], got \[3, 2\]"),
        ("probability", np.ones((3, 0, 2)), r"probability must have a shape \[S, A, K\], got \[3, 0, 2\]"),
        ("reward", np.ones((3, 2)), r"reward must have the shape \[3, 2, 2\], got \[3, 2\]"),
        ("terminated", np.ones((3, 2, 1), bool), r"terminated must have the shape \[3, 2, 2\], got \[3, 2, 1\]"),
        ("start", np.ones(2) / 2, r"start must have the shape \[3\], got \[2\]"),
    ],
)
def test_shapes_must_fit(name, array, message):
    with pytest.raises(ValueError, match=message):
        mdp.from_outcomes(**{**arrays(), name: array})


def test_what_is_no_number_and_what_is_traced_is_refused():
    with pytest.raises(TypeError, match="successors must be whole numbers, got float64"):
        mdp.from_outcomes(**{**arrays(), "successor": arrays()["successor"] * 1.0})
    with pytest.raises(TypeError, match="reward must be an array of numbers"):
        mdp.from_outcomes(**{**arrays(), "reward": np.full((3, 2, 2), "x")})
    with pytest.raises(TypeError, match="checked on the host"):
        jax.jit(lambda r: mdp.from_outcomes(**{**arrays(), "reward": r}))(jnp.ones((3, 2, 2)))


def test_a_record_is_checked_where_it_is_used():
    """`TabularMDP(...)` is not: an environment and a solver of it are, in the words of `from_outcomes`."""
    model = mdp.TabularMDP(**arrays())
    assert qjax.make(model, max_steps_in_episode=9).num_states == 3  # of NumPy's arrays, too
    for name, where, value, message in (
        ("probability", (1, 0, 1), 0.5, r"probabilities must sum to 1, got 0.75 at state 1, action 0$"),
        ("probability", (2, 1, 0), -0.25, r"must not be negative, got -0.25 at state 2, action 1, outcome 0$"),
    ):
        wrong = mdp.TabularMDP(**changed(name, where, value))
        for use in (qjax.make, qjax.MDPEnvironment, lambda m: solve.exact(m, 0.9)):
            with pytest.raises(ValueError, match=message):
                use(wrong)
    short = model._replace(reward=np.ones((3, 2, 1)))
    with pytest.raises(ValueError, match=r"reward must have the shape \[3, 2, 2\], got \[3, 2, 1\]"):
        jax.eval_shape(lambda m: solve.value_iteration(m, 0.9), short)  # shapes are known when it is traced


# Dense arrays --------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**31), st.integers(1, 6), st.integers(1, 3), st.booleans(), st.booleans())
@settings(max_examples=30, deadline=None)
def test_dense_arrays_come_back(seed, states, actions, wide_reward, wide_end):
    rng = np.random.default_rng(seed)
    shape = (states, actions, states)
    probability = rng.random(shape) * (rng.random(shape) < 0.5)
    probability[..., 0] += probability.sum(-1) == 0
    probability /= probability.sum(-1, keepdims=True)
    reward = rng.normal(size=shape if wide_reward else shape[:2])
    terminated = rng.random(shape if wide_end else states) < 0.3
    model = mdp.from_dense(probability, reward, terminated, np.eye(states)[0])
    assert model.successor.shape == (states, actions, (probability > 0).sum(-1).max())
    found = np.zeros(shape)
    for s, a, k in np.ndindex(model.successor.shape):
        p, after = float(model.probability[s, a, k]), int(model.successor[s, a, k])
        found[s, a, after] += p
        if p > 0:
            assert float(model.reward[s, a, k]) == np.float32(reward[s, a, after] if wide_reward else reward[s, a])
            assert bool(model.terminated[s, a, k]) == (terminated[s, a, after] if wide_end else terminated[after])
    np.testing.assert_allclose(found, probability, rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"probability": np.ones((2, 1, 3)) / 3}, r"probability must have a shape \[S, A, S\], got \[2, 1, 3\]"),
        ({"reward": np.ones(2)}, r"reward must be \[2, 1, 2\] or \[2, 1\], got \[2\]"),
        ({"terminated": np.ones((2, 1), bool)}, r"terminated must be \[2, 1, 2\] or \[2\], got \[2, 1\]"),
        ({"probability": np.array([[[0.5, 0.5]], [[0.5, 0.25]]])}, r"sum to 1, got 0.75 at state 1, action 0"),
        ({"probability": np.array([[[0.5, 0.5]], [[1.5, -0.5]]])}, r"negative, got -0.5 at state 1, action 0"),
    ],
)
def test_dense_arrays_are_checked(change, message):
    fine = {
        "probability": np.full((2, 1, 2), 0.5),
        "reward": np.ones((2, 1)),
        "terminated": np.zeros(2, bool),
        "start": np.ones(2) / 2,
    }
    with pytest.raises(ValueError, match=message):
        mdp.from_dense(**{**fine, **change})


# Which states follow which --------------------------------------------------------------------------------------


def corridor():
    """0 <-> 1 <-> 2 -> end (action 1 goes up); 3 goes to 0 or stays, 4 stays; an impossible way leads 0 -> end."""
    successor = np.array([[[0, 4], [1, 1]], [[0, 0], [2, 2]], [[1, 1], [2, 2]], [[3, 3], [0, 0]], [[4, 4], [4, 4]]])
    terminated = np.zeros(successor.shape, bool)
    terminated[2, 1] = terminated[0, 0, 1] = True
    probability = np.broadcast_to([1.0, 0.0], successor.shape)
    return mdp.from_outcomes(successor, probability, np.zeros(successor.shape), terminated, np.eye(5)[1])


def test_steps_to_the_end_and_reach():
    model, inf = corridor(), np.inf
    up = jnp.broadcast_to(jnp.array([0.0, 1.0]), (5, 2))
    assert mdp.steps_to_end(model).tolist() == [[4, 3], [4, 2], [3, 1], [5, 4], [inf, inf]]
    assert mdp.steps_to_end(model, up).tolist() == [[inf, 3], [inf, 2], [inf, 1], [inf, 4], [inf, inf]]
    assert np.isinf(mdp.steps_to_end(model, up[:, ::-1])).all()
    assert mdp.reachable(model).tolist() == [True, True, True, False, False]
    assert mdp.reachable(model, up).tolist() == [False, True, True, False, False]
    assert mdp.reachable(model, up, start=jnp.arange(5) == 3).tolist() == [True, True, True, True, False]


# Draws of the first state ---------------------------------------------------------------------------------------


def distribution(coins):
    """What the coins give, added up in float64."""
    n = coins.keep.size
    keep = np.asarray(coins.keep, np.float64)
    return (np.bincount(np.arange(n), keep, n) + np.bincount(np.asarray(coins.other), 1 - keep, n)) / n


@given(st.integers(0, 2**31), st.sampled_from([1, 2, 7, 40]), st.sampled_from([0.05, 1.0, 100.0]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_coins_have_the_distribution(seed, n, evenness, holes):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(n, evenness)) * (rng.random(n) < 0.5 if holes else 1)
    p = np.float32(p / p.sum() if p.sum() else np.eye(n)[seed % n])
    share = p / p.sum(dtype=np.float64) * n
    rounding = 2**-22 * n * share.max()  # of float32 sums up to n, in each coin that gives the likeliest category
    for make, tolerance in ((alias, 1e-6), (jax.jit(alias), rounding)):
        coins = make(jnp.asarray(p))
        np.testing.assert_allclose(distribution(coins) * n, share, atol=tolerance)
        assert (np.asarray(coins.keep)[p == 0] == 0).all()
        assert (p[np.asarray(coins.other)] > 0).all()


@pytest.mark.parametrize(
    "p",
    [
        np.ones(9) / 9,
        np.r_[np.zeros(5), np.ones(3) / 3],
        np.eye(4)[3],
        np.float32([0.1] * 10),
        np.array([2, 1, 3, 2]) / 8,
    ],
)
def test_coins_of_plain_distributions(p):
    np.testing.assert_allclose(distribution(alias(jnp.float32(p))), p, atol=1e-7)


def test_draws_follow_the_coins():
    p = jnp.array([0.05, 0.0, 0.4, 0.25, 0.3, 0.0])
    bits = jax.random.bits(jax.random.key(0), (20_000, 2), jnp.uint32)
    drawn = jax.vmap(draw_alias, in_axes=(0, None))(bits, alias(p))
    observed = np.bincount(drawn, minlength=6)
    assert observed[1] == observed[5] == 0
    some = np.asarray(p) > 0
    expected = np.asarray(p, np.float64)[some]
    assert stats.chisquare(observed[some], 20_000 * expected / expected.sum()).pvalue > 1e-3


def test_the_ends_of_the_uniform_number():
    coins = alias(jnp.array([0.0, 1.0]))
    for word in (0, 2**32 - 1):
        assert int(draw_alias(jnp.array([0, word], jnp.uint32), coins)) == 1
