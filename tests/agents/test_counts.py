"""Exploration by counts equals slow loops over recorded transitions, and finds what chance does not."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from test_tabular import ACTIONS, GAMMA, KEY, START, STATES, batch_of, record

import qjax
from qjax.agents.counts import counted_in

BETA, HIGHEST = 0.4, 1 / (1 - GAMMA)


def learned(agent, blocks, weights):
    """Return the states after each block, which the agent sees before it learns from it."""
    state, found = agent.init(KEY, blocks[0].obs[0]), []
    for block, weight in zip(blocks, weights, strict=True):
        state = agent.observe(state, block)
        state, info = agent.learn(KEY, state, batch_of(block, weight), START)
        found.append((state, info))
    return found


def test_a_bonus_is_that_of_the_visits_so_far():
    blocks = [record(2, 3, seed) for seed in range(30)]
    weights = [np.ones((2, 3), np.float32)] * len(blocks)
    plain = qjax.tabular(STATES, ACTIONS, 0.3, initial=0.5)
    found = learned(qjax.count_bonus(plain, BETA), blocks, weights)
    visits, state = np.zeros((STATES, ACTIONS)), plain.init(KEY, blocks[0].obs[0])
    for block, weight, (seen, _) in zip(blocks, weights, found, strict=True):
        for entry in zip(block.obs.ravel(), block.action.ravel(), strict=True):
            visits[entry] += 1
        bonus = BETA / np.sqrt(visits[block.obs, block.action])
        rewarded = block._replace(reward=(block.reward + bonus).astype(np.float32))
        state, _ = plain.learn(KEY, state, batch_of(rewarded, weight), START)
        assert (seen.visits == visits).all()
        np.testing.assert_allclose(seen.agent, state, rtol=1e-5, atol=1e-6)


def slow(history, sweeps, q):
    """Return MBIE-EB's values after everything in `history`, iterated from `q`: the paper's equation 6 in loops."""
    for _ in range(sweeps):
        new = np.full_like(q, HIGHEST)
        for s in range(STATES):
            for a in range(ACTIONS):
                rows = [row for row in history if row[:2] == (s, a)]
                if rows:
                    backups = [reward + discount * q[following].max() for _, _, reward, discount, following in rows]
                    new[s, a] = min(np.mean(backups) + BETA / np.sqrt(len(rows)), HIGHEST)
        q = new
    return q


def test_mbie_eb_equals_the_slow_loop():
    rng = np.random.default_rng(0)
    blocks = [record(2, 3, seed) for seed in range(12)]
    weights = [(rng.random((2, 3)) < 0.8).astype(np.float32) for _ in blocks]
    found = learned(qjax.mbie_eb(STATES, ACTIONS, BETA, HIGHEST, sweeps=3), blocks, weights)
    history, q = [], np.full((STATES, ACTIONS), HIGHEST)
    for block, weight, (state, info) in zip(blocks, weights, found, strict=True):
        before = q
        rows = (x[weight > 0] for x in (block.obs, block.action, block.reward, block.discount, block.next_obs))
        history += zip(*rows, strict=True)
        q = slow(history, 3, q)
        np.testing.assert_allclose(state.q, q, rtol=1e-5, atol=1e-5)
        moved = (q - before)[block.obs, block.action] * (weight > 0)
        np.testing.assert_allclose(info["priority"], np.abs(moved).max(0), rtol=1e-4, atol=1e-4)
    assert state.visits.sum() == len(history)


def test_what_has_no_weight_is_not_counted():
    agent = qjax.mbie_eb(STATES, ACTIONS, BETA, HIGHEST)
    block = record(2, 3)
    odd = block._replace(reward=np.full_like(block.reward, np.nan))
    state = agent.init(KEY, block.obs[0])
    same, info = agent.learn(KEY, state, batch_of(odd, np.zeros((2, 3))), START)
    assert all(map(np.array_equal, same, state)) and info["loss"] == 0
    assert counted_in(state, jax.device_put(block), jnp.ones((2, 3), bool)).visits.sum() == 6


def test_masked_actions_stay_masked():
    initial = np.full((STATES, ACTIONS), HIGHEST)
    initial[:, 0] = -np.inf
    block = record(2, 3)
    agent = qjax.mbie_eb(STATES, ACTIONS, BETA, initial)
    legal = block._replace(action=np.maximum(block.action, 1))
    state, _ = agent.learn(KEY, agent.init(KEY, block.obs[0]), batch_of(legal), START)
    assert agent.masks and (state.q[:, 0] == -jnp.inf).all() and jnp.isfinite(state.q[:, 1:]).all()


def regret(mdp, agent, policy, gamma, seeds, steps, max_steps=None):
    """Return the exact regret of the greedy policies that seeds have learned."""
    env = qjax.make(qjax.MDPEnvironment(mdp, max_steps=max_steps))
    loop = qjax.make_loop(env, agent, policy, qjax.online(), gamma=gamma)
    result = qjax.sweep(lambda _: loop, seeds=seeds, steps=steps, log_points=1)
    best = qjax.mdp.solve.exact(mdp, gamma)
    table = lambda state: jax.vmap(lambda s: agent.values(None, state, s))(jnp.arange(env.num_states))
    gap = lambda state: qjax.mdp.solve.report(best, mdp, table(state), gamma)["regret"]
    return np.asarray(jax.jit(jax.vmap(gap))(result.agents))


def test_counts_and_optimism_find_the_treasure_of_a_deep_sea():
    """Uniform actions would find it once in 256 episodes; these have 200."""
    mdp, shape = qjax.mdp.deep_sea(8), (64, 2)
    bonus = qjax.count_bonus(qjax.tabular(*shape, 1.0, initial=1.0), 0.001)
    found = {
        "mbie-eb": regret(mdp, qjax.mbie_eb(*shape, 0.01, 1.0), qjax.greedy, 0.99, 8, 1_600),
        "bonus": regret(mdp, bonus, qjax.greedy, 0.99, 8, 1_600),
        "chance": regret(mdp, qjax.tabular(*shape, 1.0), qjax.epsilon_greedy(0.1), 0.99, 8, 1_600),
    }
    assert (found["mbie-eb"] < 1e-5).all() and (found["bonus"] < 1e-5).all()
    assert (found["chance"] > 0.5).sum() >= 6


def test_mbie_eb_swims_up_the_river():
    mdp = qjax.mdp.river_swim()
    agent = qjax.mbie_eb(6, 2, 2_000.0, 10_000 / (1 - 0.95))
    found = regret(mdp, agent, qjax.greedy, 0.95, 8, 5_000, max_steps=50)
    chance = regret(mdp, qjax.tabular(6, 2, 0.1), qjax.epsilon_greedy(0.1), 0.95, 8, 5_000, max_steps=50)
    best = qjax.mdp.solve.exact(mdp, 0.95).start_value
    assert (found < 0.2 * best).all() and (chance > 0.9 * best).all()


def test_bad_input():
    with pytest.raises(TypeError, match=r"takes an agent with a table"):
        qjax.count_bonus(qjax.dqn(qjax.MLP(2, (4,)), optax.adam(1e-3)), 0.1)
    with pytest.raises(ValueError, match=r"beta must .* got -1"):
        qjax.count_bonus(qjax.tabular(2, 2, 0.1), -1)
    with pytest.raises(ValueError, match=r"beta must .* got -1"):
        qjax.mbie_eb(2, 2, -1, 1.0)
    with pytest.raises(ValueError, match=r"initial values of shape \(3,\)"):
        qjax.mbie_eb(2, 2, 0.1, np.ones(3))
    with pytest.raises(ValueError, match="single steps"):
        env = qjax.make("FrozenLake-v1")
        bonus = qjax.count_bonus(qjax.tabular(16, 4, 0.1), 0.1)
        qjax.make_loop(env, bonus, qjax.greedy, qjax.online(3), gamma=0.99)
