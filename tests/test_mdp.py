"""The lake as arrays against gymnasium's table, and exact solutions against slow NumPy."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qjax
from qjax import mdp

LAKES = [("4x4", False), ("4x4", True), ("8x8", False), ("8x8", True)]


def lake(map_name, slippery):
    env = qjax.make("FrozenLake-v1", map_name=map_name, is_slippery=slippery)
    return env, mdp.frozen_lake(env)


def garnet(states=12, actions=3, outcomes=4, seed=0):
    """A random MDP with terminations and rewards everywhere."""
    rng = np.random.default_rng(seed)
    shape = (states, actions, outcomes)
    return mdp.TabularMDP(
        jnp.array(rng.integers(0, states, shape), jnp.int32),
        jnp.array(rng.dirichlet(np.ones(outcomes), shape[:2]), jnp.float32),
        jnp.array(rng.normal(size=shape), jnp.float32),
        jnp.array(rng.random(shape) < 0.1),
        jnp.array(rng.dirichlet(np.ones(states)), jnp.float32),
    )


def dense(model, policy):
    """A policy's transition matrix and rewards, entry by entry."""
    states, actions, outcomes = model.successor.shape
    step, reward = np.zeros((states, states)), np.zeros(states)
    for s, a, k in np.ndindex(states, actions, outcomes):
        weight = float(policy[s, a]) * float(model.probability[s, a, k])
        reward[s] += weight * float(model.reward[s, a, k])
        if not model.terminated[s, a, k]:
            step[s, int(model.successor[s, a, k])] += weight
    return step, reward


@pytest.mark.parametrize(("map_name", "slippery"), LAKES)
def test_the_lake_is_gymnasiums_outcome_for_outcome(map_name, slippery):
    _, model = lake(map_name, slippery)
    table = gymnasium.make("FrozenLake-v1", map_name=map_name, is_slippery=slippery).unwrapped.P
    tiles = gymnasium.make("FrozenLake-v1", map_name=map_name).unwrapped.desc.reshape(-1)
    for s, a in np.ndindex(model.successor.shape[:2]):
        outcomes = table[s][a]
        if tiles[s] in b"HG":  # gymnasium lists one outcome of a state that has ended, ours as many as elsewhere
            assert (np.asarray(model.successor[s, a]) == s).all()
            assert np.asarray(model.terminated[s, a]).all()
            assert not np.asarray(model.reward[s, a]).any()
            continue
        assert len(outcomes) == model.successor.shape[2]
        for k, (probability, successor, reward, terminated) in enumerate(outcomes):
            assert float(model.probability[s, a, k]) == pytest.approx(probability)
            assert int(model.successor[s, a, k]) == successor
            assert float(model.reward[s, a, k]) == reward
            assert bool(model.terminated[s, a, k]) == terminated


def test_value_iteration_solves_the_optimality_equation():
    model, gamma = garnet(), 0.9
    q = np.asarray(mdp.value_iteration(model, gamma))
    p, r, going = (np.asarray(x, np.float64) for x in (model.probability, model.reward, ~model.terminated))
    slow = np.zeros(12)
    for _ in range(400):
        slow = (p * (r + gamma * going * slow[np.asarray(model.successor)])).sum(-1).max(-1)
    np.testing.assert_allclose(q.max(-1), slow, atol=1e-5)
    greedy = jax.vmap(qjax.greedy)(jnp.asarray(q))
    np.testing.assert_allclose(mdp.policy_values(model, greedy, gamma), q.max(-1), atol=1e-4)


def test_policy_values_against_a_dense_solve():
    model, gamma = garnet(seed=1), 0.95
    policy = np.random.default_rng(2).dirichlet(np.ones(3), 12).astype(np.float32)
    step, reward = dense(model, policy)
    expected = np.linalg.solve(np.eye(12) - gamma * step, reward)
    np.testing.assert_allclose(mdp.policy_values(model, jnp.asarray(policy), gamma), expected, atol=1e-4)


def test_expected_return_against_a_slow_recursion():
    model = garnet(seed=3)
    policy = np.random.default_rng(4).dirichlet(np.ones(3), 12).astype(np.float32)
    step, reward = dense(model, policy)
    mass, total = np.asarray(model.start, np.float64), 0.0
    for _ in range(25):
        total += mass @ reward
        mass = mass @ step
    assert float(mdp.expected_return(model, jnp.asarray(policy), 25)) == pytest.approx(total, abs=1e-4)


def test_expected_return_is_what_episodes_give():
    env, model = lake("4x4", True)
    q = mdp.value_iteration(model, 0.99)
    policy = jax.vmap(qjax.first)(q)
    exact = float(mdp.expected_return(model, policy, int(env.max_steps)))
    agent = qjax.tabular(16, 4, 0.1)
    played = qjax.evaluate(env, agent, q, jax.random.key(0), episodes=4000, policy=qjax.first)
    mean = float(played.returns.mean())
    assert abs(mean - exact) < 4 * np.sqrt(exact * (1 - exact) / 4000)


@pytest.mark.parametrize(
    ("map_name", "slippery", "best"), [("4x4", True, 0.744), ("8x8", True, 0.913), ("4x4", False, 1)]
)
def test_the_best_success_probability_within_the_limit(map_name, slippery, best):
    env, model = lake(map_name, slippery)
    assert float(mdp.best_return(model, int(env.max_steps))) == pytest.approx(best, abs=1e-3)


def test_bad_input():
    with pytest.raises(TypeError, match="CartPole-v1 is not a FrozenLake"):
        mdp.frozen_lake(qjax.make("CartPole-v1"))
    with pytest.raises(ValueError, match=r"gamma must lie in \[0, 1\], got 1.5"):
        mdp.value_iteration(garnet(), 1.5)
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        mdp.expected_return(garnet(), jnp.ones((12, 3)) / 3, 0)
