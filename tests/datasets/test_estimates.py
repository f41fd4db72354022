"""Estimates of a policy's value against loops over episodes, exact values, and the laws of their errors."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qjax import datasets, mdp, solve
from qjax.datasets import Dataset, fitted_q, importance_sampling, model

GAMMA = 0.9


# Data -----------------------------------------------------------------------------------------------------------


def plain(world):
    """Return an MDP in NumPy, in float64 and with probabilities that sum to 1."""
    successor, probability, reward, terminated, start = (np.asarray(x) for x in world)
    p, start = probability.astype(float), start.astype(float)
    return successor, p / p.sum(-1, keepdims=True), reward, terminated, start / start.sum()


def drawn(rng, probabilities):
    """Return which entry of each row of probabilities a uniform number picks."""
    below = probabilities.cumsum(-1) > rng.random(probabilities.shape[:-1])[..., None]
    return below.argmax(-1)


def recorded(rng, world, behaviour, rows, streams, limit=None):
    """Return transitions of streams that go on after an end; the first is drawn, a limit truncates."""
    successor, probability, reward, terminated, start = plain(world)
    states = drawn(rng, np.broadcast_to(start, (streams, len(start))))
    age, found = np.zeros(streams, int), []
    for _ in range(rows):
        action = drawn(rng, behaviour[states].astype(float))
        at = (states, action, drawn(rng, probability[states, action]))
        age += 1
        ends = terminated[at]
        cut = ~ends & (age == limit) if limit else np.zeros(streams, bool)
        taken = behaviour[states, action]
        found.append((states, action, reward[at], ends, cut, successor[at], taken))
        again = drawn(rng, np.broadcast_to(start, (streams, len(start))))
        states, age = np.where(ends | cut, again, successor[at]), np.where(ends | cut, 0, age)
    obs, action, reward, ends, cut, after, taken = (np.array(x) for x in zip(*found, strict=True))
    return Dataset(
        obs.astype(np.int32), action.astype(np.int32), reward.astype(np.float32), ends, cut,
        after.astype(np.int32), behaviour.shape[1], taken.astype(np.float32),
    )  # fmt: skip


def softened(policy, epsilon):
    """Return an epsilon-greedy policy around another one."""
    return (epsilon / policy.shape[1] + (1 - epsilon) * policy).astype(np.float32)


def garnet(seed=0, states=6, termination=0.25):
    return mdp.garnet(jax.random.key(seed), states, 2, 2, termination)


def lake():
    return mdp.toy_text("FrozenLake-v1").default_params.mdp


def random_policy(rng, world):
    states, actions, _ = world.successor.shape
    return rng.dirichlet(np.ones(actions), states).astype(np.float32)


def greedy(q):
    return np.eye(q.shape[1], dtype=np.float32)[np.asarray(q).argmax(-1)]


def exact(world, policy, gamma=GAMMA):
    """Return what a policy is worth at an episode's start."""
    return float(world.start @ solve.policy_values(world, jnp.asarray(policy), gamma))


# Slow references ------------------------------------------------------------------------------------------------


def episodes_of(data):
    """Return the whole episodes as lists of (state, action, reward, probability), and how each ended."""
    whole, cut, left = [], 0, 0
    for n in range(data.action.shape[1]):
        episode = []
        for t in range(data.action.shape[0]):
            episode.append(
                (
                    int(data.obs[t, n]),
                    int(data.action[t, n]),
                    float(data.reward[t, n]),
                    float(data.probability[t, n]),
                )
            )
            if data.terminated[t, n] or data.truncated[t, n]:
                whole.append(episode)
                cut += not data.terminated[t, n]
                episode = []
        left += bool(episode)
    return whole, cut, left


def slow_sampling(data, policy, gamma):
    """Return weights, returns and per-decision returns of every episode, and what was cut and left out."""
    whole, cut, left = episodes_of(data)
    weights, returns, decided = [], [], []
    for episode in whole:
        weight, total, own = 1.0, 0.0, 0.0
        for t, (s, a, r, b) in enumerate(episode):
            weight *= float(policy[s, a]) / b
            total += gamma**t * r
            own += gamma**t * weight * r
        weights, returns, decided = [*weights, weight], [*returns, total], [*decided, own]
    return np.array(weights), np.array(returns), np.array(decided), cut, left


def slow_fitted_q(data, states, gamma, policy, iterations, initial):
    """Return fitted Q after so many regressions, row by row."""
    q = np.full((states, data.num_actions), float(initial))
    for _ in range(iterations):
        targets = {}
        for at in np.ndindex(data.action.shape):
            s, a, r, s2 = int(data.obs[at]), int(data.action[at]), float(data.reward[at]), int(data.next_obs[at])
            after = (
                max(q[s2]) if policy is None else sum(float(p) * x for p, x in zip(policy[s2], q[s2], strict=True))
            )
            targets.setdefault((s, a), []).append(r + gamma * (0 if data.terminated[at] else after))
        q = np.array(
            [[np.mean(targets[s, a]) if (s, a) in targets else initial for a in range(data.num_actions)]
             for s in range(states)]
        )  # fmt: skip
    return q


def slow_model(data, states):
    """Return shares of (successor, terminated) and mean rewards of every pair, as dictionaries."""
    seen = {}
    for at in np.ndindex(data.action.shape):
        pair = seen.setdefault((int(data.obs[at]), int(data.action[at])), {})
        pair.setdefault((int(data.next_obs[at]), bool(data.terminated[at])), []).append(float(data.reward[at]))
    return {
        pair: {what: (len(r) / sum(map(len, found.values())), np.mean(r)) for what, r in found.items()}
        for pair, found in seen.items()
    }


def outcomes_of(world):
    """Return an MDP's possible outcomes in the form of `slow_model`; equal ones are added."""
    found = {}
    successor, probability, reward, terminated, _ = (np.asarray(x) for x in world)
    for s, a, k in np.ndindex(successor.shape):
        if probability[s, a, k] > 0:
            pair = found.setdefault((s, a), {})
            what = (int(successor[s, a, k]), bool(terminated[s, a, k]))
            share, mean = pair.get(what, (0.0, 0.0))
            total = share + probability[s, a, k]
            pair[what] = (total, (share * mean + probability[s, a, k] * reward[s, a, k]) / total)
    return found


def same_outcomes(found, expected, tolerance=1e-6):
    assert found.keys() == expected.keys()
    for pair, outcomes in found.items():
        assert outcomes.keys() == expected[pair].keys(), pair
        for what, numbers in outcomes.items():
            assert numbers == pytest.approx(expected[pair][what], abs=tolerance), (pair, what)


# Importance sampling --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [0.0, 0.9, 1.0])
@pytest.mark.parametrize("limit", [None, 4])
def test_importance_sampling_against_loops(gamma, limit):
    rng, world = np.random.default_rng(1), garnet()
    behaviour, policy = random_policy(rng, world), random_policy(rng, world)
    policy[0] = [1, 0]  # some weights are 0
    data = recorded(rng, world, behaviour, 40, 5, limit)
    found = importance_sampling(data, policy, gamma)
    w, g, d, cut, left = slow_sampling(data, policy, gamma)
    n, weighted = len(w), (w * g).sum() / w.sum()
    assert (found.episodes, found.truncated, found.unfinished) == (n, cut, left)
    assert (left > 0) and (cut > 0) == (limit is not None) and 0 < (w == 0).sum() < n
    for estimate, each in ((found.ordinary, w * g), (found.per_decision, d), (found.behaviour, g)):
        assert estimate == pytest.approx((each.mean(), each.std(ddof=1) / n**0.5), rel=1e-12)
    error = np.sqrt((w**2 * (g - weighted) ** 2).sum()) / w.sum()
    assert found.weighted == pytest.approx((weighted, error), rel=1e-12)
    assert found.effective_sample_size == pytest.approx(w.sum() ** 2 / (w**2).sum(), rel=1e-12)


def test_of_streams_that_begin_within_an_episode():
    rng, world = np.random.default_rng(12), garnet()
    behaviour, policy = random_policy(rng, world), random_policy(rng, world)
    data = recorded(rng, world, behaviour, 20, 30)
    found = importance_sampling(data, policy, GAMMA, from_start=False)
    ends = data.terminated | data.truncated
    later = [data._replace(**{x: getattr(data, x)[:, n : n + 1] for x in RECORDED}) for n in range(30)]
    later = [
        one._replace(**{x: getattr(one, x)[ends[:, n].argmax() + 1 :] for x in RECORDED})
        for n, one in enumerate(later)
        if ends[:-1, n].any()
    ]
    w, g, d = (
        np.concatenate(x) for x in list(zip(*(slow_sampling(x, policy, GAMMA) for x in later), strict=True))[:3]
    )
    assert found.ordinary.value == pytest.approx((w * g).mean(), rel=1e-12)
    assert found.per_decision.value == pytest.approx(d.mean(), rel=1e-12)
    whole = importance_sampling(data, policy, GAMMA)
    assert found.episodes == len(w) == whole.episodes - ends.any(0).sum()
    assert found.unfinished == whole.unfinished + ends.any(0).sum()


def test_of_the_behaviour_itself_all_are_the_mean_return():
    """Bit for bit: its weights are 1, in whatever precision it is given."""
    rng, world = np.random.default_rng(2), lake()
    behaviour = random_policy(rng, world)
    data = recorded(rng, world, behaviour, 300, 4, 30)
    for policy in (behaviour, behaviour.astype(float), behaviour.tolist(), jnp.asarray(behaviour)):
        found = importance_sampling(data, policy, GAMMA)
        assert found.ordinary == found.per_decision == found.behaviour and found.behaviour.standard_error > 0
        assert found.weighted.value == pytest.approx(found.behaviour.value, rel=1e-12)
        assert found.effective_sample_size == found.episodes
    double = rng.dirichlet(np.ones(4), 16)  # which float32 rounds to what acts
    found = importance_sampling(recorded(rng, world, double.astype(np.float32), 300, 4), double, GAMMA)
    assert found.ordinary == found.behaviour


def of_streams(data, count):
    """Return the first `count` whole episodes of each stream alone, all in one stream.

    How many there are then does not depend on how they went.
    """
    ends = data.terminated | data.truncated
    assert (ends.sum(0) >= count).all()
    keep = (ends.cumsum(0) - ends < count).T
    fields = {name: np.asarray(getattr(data, name)).T[keep][:, None] for name in RECORDED}
    return data._replace(**fields)


RECORDED = ("obs", "action", "reward", "terminated", "truncated", "next_obs", "probability")


@pytest.mark.parametrize(("build", "rows"), [(garnet, 150), (lake, 700)])
def test_without_bias_over_many_repetitions(build, rows):
    """Ordinary and per-decision estimates of 10 episodes, 500 times: their mean is the exact value."""
    rng, world, repetitions = np.random.default_rng(3), build(), 500
    policy = softened(greedy(solve.value_iteration(world, GAMMA)), 0.2)
    data = recorded(rng, world, softened(policy, 0.4), rows, repetitions)
    streams = (data._replace(**{x: getattr(data, x)[:, n : n + 1] for x in RECORDED}) for n in range(repetitions))
    estimates = [importance_sampling(of_streams(one, 10), policy, GAMMA) for one in streams]
    assert {each.episodes for each in estimates} == {10}
    for name in ("ordinary", "per_decision"):
        values, errors = np.array([getattr(each, name) for each in estimates]).T
        assert abs(values.mean() - exact(world, policy)) < 4 * values.std() / repetitions**0.5, name
        assert (errors**2).mean() == pytest.approx(values.var(), rel=0.5), name  # the variance without bias, too


@pytest.mark.parametrize("build", [garnet, lake])
def test_all_come_to_the_exact_value(build):
    rng, world = np.random.default_rng(4), build()
    policy = softened(greedy(solve.value_iteration(world, GAMMA)), 0.2)
    behaviour = softened(policy, 0.2)
    data = of_streams(recorded(rng, world, behaviour, 2_000, 100), 20)
    found, value = importance_sampling(data, policy, GAMMA), exact(world, policy)
    for name in ("ordinary", "weighted", "per_decision"):
        estimate = getattr(found, name)
        assert abs(estimate.value - value) < 4 * estimate.standard_error < 0.5 * abs(value), name
    # The lake's only reward is an episode's last, whose weight is the whole one.
    same = found.per_decision == pytest.approx(found.ordinary, rel=1e-9)
    assert same == (build is lake) and found.per_decision.standard_error <= found.ordinary.standard_error * (
        1 + 1e-9
    )
    assert 100 < found.effective_sample_size < found.episodes == 2_000
    other = found.behaviour
    assert abs(other.value - exact(world, behaviour)) < 4 * other.standard_error
    states = len(world.start)
    built = model(data, states)
    q = fitted_q(data, states, GAMMA, policy)
    assert exact(built, policy) == pytest.approx(value, rel=0.15)
    assert built.start @ (policy * q).sum(-1) == pytest.approx(exact(built, policy), rel=1e-5)


def episode(*steps, actions=2, truncated=False):
    """Return one episode of (obs, action, reward, next_obs, probability)."""
    obs, action, reward, after, taken = (np.array(x)[:, None] for x in zip(*steps, strict=True))
    last = np.arange(len(steps))[:, None] == len(steps) - 1
    ends = (last & ~np.bool_(truncated), last & np.bool_(truncated))
    obs, action, after = (x.astype(np.int32) for x in (obs, action, after))
    return Dataset(obs, action, reward.astype(np.float32), *ends, after, actions, taken.astype(np.float32))


def test_a_textbook_episode_by_hand():
    data = episode((0, 0, 1.0, 1, 0.5), (1, 1, 2.0, 0, 0.25), (0, 1, 4.0, 0, 0.5))
    found = importance_sampling(data, [[0.75, 0.25], [0.5, 0.5]], 0.5)
    assert found.ordinary.value == pytest.approx(1.5 * 2 * 0.5 * (1 + 1 + 1), rel=1e-14)
    assert found.per_decision.value == pytest.approx(1.5 * 1 + 1.5 * 2 * 1 + 1.5 * 2 * 0.5 * 1, rel=1e-14)
    assert found.weighted.value == found.behaviour.value == 3
    assert np.isnan([found.ordinary.standard_error, found.weighted.standard_error]).all()
    assert (found.effective_sample_size, found.episodes, found.truncated, found.unfinished) == (1, 1, 0, 0)


def test_what_the_policy_never_does():
    data = episode((0, 0, 1.0, 1, 0.5), (1, 1, 2.0, 0, 0.25))
    found = importance_sampling(data, [[1.0, 0.0], [1.0, 0.0]], 0.5)
    assert found.ordinary.value == 0 and found.per_decision.value == 2 * 1.0
    assert np.isnan(found.weighted.value) and found.effective_sample_size == 0


def test_weights_that_are_no_float64_still_weigh():
    """Of 3,000 steps at a probability of 1/4 for each of the behaviour's 1/2: a weight of 2 ** -3000."""
    steps = [(0, 0, 1.0, 0, 0.5)] * 3_000
    one, other = episode(*steps), episode(*steps[:-1], (0, 1, 5.0, 0, 0.5))
    both = one._replace(**{x: np.concatenate([getattr(one, x), getattr(other, x)]) for x in RECORDED})
    found = importance_sampling(both, [[0.25, 0.75]], 1.0)
    assert found.weighted.value == pytest.approx((3_000 + 3 * 3_004) / 4, rel=1e-9)
    assert found.effective_sample_size == pytest.approx(4**2 / (1 + 3**2), rel=1e-9) and found.ordinary.value == 0


def test_a_time_limit_makes_it_the_return_within_it():
    rng, world, limit = np.random.default_rng(5), garnet(termination=0.05), 3
    policy = random_policy(rng, world)
    data = recorded(rng, world, softened(policy, 0.5), 300, 100, limit)
    found = importance_sampling(data, policy, 1.0)
    within = float(solve.expected_return(world, jnp.asarray(policy), limit))
    assert found.truncated > found.episodes / 2
    for estimate in (found.ordinary, found.weighted, found.per_decision):
        assert abs(estimate.value - within) < 4 * estimate.standard_error
    assert abs(found.per_decision.value - exact(world, policy, 1.0)) > 4 * found.per_decision.standard_error


# Fitted Q and the model -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("iterations", [1, 2, 7])
@pytest.mark.parametrize("initial", [0.0, -3.0])
def test_fitted_q_against_regressions_row_by_row(iterations, initial):
    rng, world = np.random.default_rng(6), garnet(states=8, termination=0.1)
    data = recorded(rng, world, random_policy(rng, world), 5, 4, 3)
    for policy in (None, random_policy(rng, world)):
        found = fitted_q(data, 8, GAMMA, policy, initial, max_iterations=iterations)
        expected = slow_fitted_q(data, 8, GAMMA, policy, iterations, initial)
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    seen = np.zeros((8, 2), bool)
    seen[data.obs, data.action] = True
    assert (found[~seen] == initial).all() and (~seen).any()


def test_a_table_of_initial_values():
    rng, world = np.random.default_rng(7), garnet()
    data = recorded(rng, world, random_policy(rng, world), 3, 2)
    initial = rng.normal(size=(6, 2))
    found = fitted_q(data, 6, GAMMA, initial=initial)
    seen = np.zeros((6, 2), bool)
    seen[data.obs, data.action] = True
    assert (found[~seen] == initial[~seen]).all() and (found[seen] != initial[seen]).all()


@pytest.mark.parametrize("build", [garnet, lake])
@pytest.mark.parametrize("gamma", [0.0, 0.9, 0.99])
def test_certainty_equivalence(build, gamma):
    """Fitted Q comes to the values of the data's own MDP: of a policy, and the optimal ones."""
    rng, world = np.random.default_rng(8), build()
    data = recorded(rng, world, random_policy(rng, world), 50, 4, 20)
    states, policy = len(world.start), random_policy(rng, world)
    built = model(data, states)
    close = {"rtol": 0, "atol": 40 * 2.0**-24 * np.abs(np.asarray(built.reward)).max() / (1 - gamma) ** 2}
    found = fitted_q(data, states, gamma, policy)
    np.testing.assert_allclose(found, solve.action_values(built, jnp.asarray(policy), gamma), **close)
    np.testing.assert_allclose(fitted_q(data, states, gamma), solve.value_iteration(built, gamma), **close)
    # And without float32 between them, to float64's rounding.
    dense, earned = np.zeros((states, states)), np.zeros(states)
    for (s, a), outcomes in slow_model(data, states).items():
        for (after, ends), (share, mean) in outcomes.items():
            dense[s, after] += float(policy[s, a]) * share * (not ends)
            earned[s] += float(policy[s, a]) * share * mean
    values = np.linalg.solve(np.eye(states) - gamma * dense, earned)
    atol = 1e-11 * max(np.abs(values).max(), 1e-3) / (1 - gamma)
    np.testing.assert_allclose((policy * found).sum(-1), values, rtol=0, atol=atol)


def test_below_all_returns_only_actions_that_were_taken_count():
    rng, world = np.random.default_rng(9), garnet()
    always = np.tile(np.float32([1, 0]), (6, 1))
    data = recorded(rng, world, always, 50, 4)
    assert set(data.obs.flat) >= set(data.next_obs[~data.terminated])
    found = fitted_q(data, 6, GAMMA, initial=-1e3)
    np.testing.assert_allclose(found[:, 0], fitted_q(data, 6, GAMMA, always, 0.0)[:, 0], rtol=1e-9)


@pytest.mark.parametrize("limit", [None, 3])
@pytest.mark.parametrize("build", [garnet, lake])
def test_the_model_against_counts(build, limit):
    rng, world = np.random.default_rng(10), build()
    data = recorded(rng, world, random_policy(rng, world), 30, 5, limit)
    states, actions, _ = world.successor.shape
    expected = slow_model(data, states)
    without = {(s, a) for s, a in np.ndindex(states, actions)} - expected.keys()
    assert without
    for unseen, ends in (("terminal", True), ("self-loop", False)):
        own = {(s, a): {(s, ends): (1.0, 0.0)} for s, a in without}
        same_outcomes(outcomes_of(model(data, states, unseen)), {**expected, **own})
    starts = [episode[0][0] for episode in episodes_of(data)[0]]
    ended = (data.terminated | data.truncated)[-1]
    for n in np.flatnonzero(~ended):  # one that has not ended has begun
        before = np.flatnonzero((data.terminated | data.truncated)[:, n])
        starts.append(data.obs[before[-1] + 1 if len(before) else 0, n])
    np.testing.assert_allclose(
        model(data, states).start, np.bincount(starts, minlength=states) / len(starts), atol=1e-7
    )
    given = rng.dirichlet(np.ones(states))
    np.testing.assert_allclose(model(data, states, start=given).start, given, atol=1e-7)


def test_the_model_of_a_deterministic_mdp_is_that_mdp():
    world = mdp.toy_text("FrozenLake-v1", is_slippery=False).default_params.mdp
    states, actions, _ = world.successor.shape
    rng, evenly = np.random.default_rng(11), np.full((states, actions), 1 / actions, np.float32)
    data = recorded(rng, world, evenly, 500, 20, 7)  # truncations are not ends
    built, seen = model(data, states), np.zeros((states, actions), bool)
    seen[data.obs, data.action] = True
    acts = np.asarray(mdp.reachable(world))
    assert data.truncated.any() and (seen == acts[:, None]).all()
    for found, expected in zip(built[:4], world[:4], strict=True):
        assert (np.asarray(found)[seen] == np.asarray(expected)[seen]).all()
    assert (built.start == world.start).all()
    assert exact(built, evenly) == pytest.approx(exact(world, evenly), rel=1e-5)


def test_where_what_follows_ends_only_sometimes():
    """The same successor with an end and without one are two outcomes, each with its own mean reward."""
    data = Dataset(
        obs=np.zeros((4, 1), np.int32), action=np.zeros((4, 1), np.int32), reward=np.float32([[1], [3], [8], [4]]),
        terminated=np.array([[0], [0], [1], [0]], bool), truncated=np.array([[0], [1], [1], [0]], bool),
        next_obs=np.zeros((4, 1), np.int32), num_actions=1,
    )  # fmt: skip
    same_outcomes(outcomes_of(model(data, 1)), {(0, 0): {(0, False): (0.75, 8 / 3), (0, True): (0.25, 8.0)}})
    assert fitted_q(data, 1, 0.5)[0, 0] == pytest.approx(4 / (1 - 0.75 * 0.5), rel=1e-9)


# What is refused ------------------------------------------------------------------------------------------------


def good():
    return episode((0, 0, 1.0, 1, 0.5), (1, 1, 2.0, 0, 0.25), (0, 1, 4.0, 0, 0.5))


def with_one(name, value, row=1):
    field = np.array(getattr(good(), name))
    field[row, 0] = value
    return good()._replace(**{name: field})


def numbered(kind):
    """Return data with observations of another dtype, or shape."""
    obs = np.zeros(kind, np.int32) if isinstance(kind, tuple) else good().obs.astype(kind)
    return good()._replace(obs=obs, next_obs=obs)


EVENLY = np.full((2, 2), 0.5, np.float32)


@pytest.mark.parametrize(
    ("data", "arguments", "message"),
    [
        (lambda: good()._replace(probability=()), {}, "must hold the probability of each action taken"),
        (lambda: with_one("probability", 0), {}, r"probability is not in \(0, 1\] .* row 1 of stream 0: 0.0"),
        (lambda: with_one("probability", np.nan), {}, "row 1 of stream 0: nan"),
        (lambda: with_one("probability", 1.5), {}, "row 1 of stream 0: 1.5"),
        (lambda: with_one("terminated", False, 2), {}, "a whole episode, got 0 ends in 3 rows"),
        (good, {"from_start": False}, "a whole episode, got 1 ends in 3 rows"),
        (good, {"policy": np.full((2, 3), 1 / 3)}, r"a policy of shape \[2, 3\] for data of a table \[S, 2\]"),
        (good, {"policy": [0.5, 0.5]}, r"a policy of shape \[2\]"),
        (good, {"policy": [[0.5, 0.5], [0.5, 0.4]]}, "must sum to 1, got 0.9 at state 1"),
        (good, {"policy": [[1.5, -0.5], [0.5, 0.5]]}, "must not be negative, got -0.5 at state 0, action 1"),
        (good, {"policy": [[np.nan, 1], [0.5, 0.5]]}, "got nan at state 0, action 0"),
        (good, {"gamma": 1.5}, r"gamma must lie in \[0, 1\], got 1.5"),
        (good, {"policy": [[0.5, 0.5]]}, r"obs must lie in \[0, 1\), got 1 at row 1, stream 0"),
    ],
)
def test_importance_sampling_refuses(data, arguments, message):
    with pytest.raises(ValueError, match=message):
        importance_sampling(data(), **{"policy": EVENLY, "gamma": 0.9, **arguments})


@pytest.mark.parametrize("estimate", [lambda data: fitted_q(data, 2, 0.9), lambda data: model(data, 2)])
@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (lambda: with_one("obs", 2), ValueError, r"obs must lie in \[0, 2\), got 2 at row 1, stream 0"),
        (lambda: with_one("next_obs", -1), ValueError, r"next_obs must lie in \[0, 2\), got -1 at row 1, stream 0"),
        (lambda: with_one("action", 2), ValueError, "action is none of 2 actions in 1 places, the first is row 1"),
        (lambda: with_one("reward", np.inf), ValueError, "reward is no finite number .* row 1 of stream 0: inf"),
        (lambda: good()._replace(action=good().action * 1.0), TypeError, r"action must be int32\[T, N\]"),
        (lambda: numbered(np.float32), TypeError, "integer scalar observations, got float32"),
        (lambda: numbered((3, 1, 4)), TypeError, "integer scalar observations"),
        (lambda: good()._replace(reward=np.ones(3, np.float32)), ValueError, r"reward must be float32\[T, N\]"),
    ],
)  # fmt: skip
def test_tables_refuse(estimate, data, error, message):
    with pytest.raises(error, match=message):
        estimate(data())


def test_tables_refuse_arguments():
    with pytest.raises(ValueError, match=r"a policy of shape \[3, 2\] for data of a table \[2, 2\]"):
        fitted_q(good(), 2, 0.9, np.full((3, 2), 0.5))
    with pytest.raises(ValueError, match=r"initial values of shape \(3,\) for a table of shape \(2, 2\)"):
        fitted_q(good(), 2, 0.9, initial=np.zeros(3))
    with pytest.raises(ValueError, match="no unseen 'loop'"):
        model(good(), 2, "loop")
    with pytest.raises(ValueError, match=r"first state must sum to 1, got 0\.5"):
        model(good(), 2, start=[0.5, 0])
    with pytest.raises(ValueError, match="gamma = 1 needs episodes that end: the policy cannot"):
        solve.policy_values(model(good(), 3, "self-loop"), jnp.full((3, 2), 0.5), 1.0)


def test_weights_beyond_all_floats_leave_numbers_where_nothing_was_paid():
    """The odds of 1,200 steps are 2**1200, and nothing times that is nothing."""
    rows = 1_200
    data = datasets.from_arrays(
        np.zeros(rows, np.int32), [0] * rows, [0.0] * rows, np.arange(rows) == rows - 1, np.zeros(rows, bool),
        np.zeros(rows, np.int32), num_actions=2, probability=[0.5] * rows,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = datasets.importance_sampling(data, [[1.0, 0.0]], 1.0)
    assert found.ordinary.value == found.per_decision.value == found.weighted.value == 0.0


def test_values_that_do_not_settle_are_told():
    zero = np.zeros(1, np.int32)
    data = datasets.from_arrays(zero, [0], [1.0], [False], [True], zero, num_actions=1)
    with pytest.warns(UserWarning, match="fitted Q still moves by 1 after 100000 iterations"):
        datasets.fitted_q(data, 1, 1.0)
