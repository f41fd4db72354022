"""Data sets from a loop's ring and from an agent that acts: the same rows as a loop over the environment sees."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

import qjax
from qjax import datasets
from qjax.exploration.policies import as_stateful

CART = qjax.make("CartPole-v1", max_steps_in_episode=12)
START = qjax.clock.at(0)
RINGS = {
    "ring": lambda capacity: qjax.ring(capacity, 2),
    "prioritized": lambda capacity: qjax.prioritized(capacity, 2, alpha=0.6, beta=0.4),
    "n_step": lambda capacity: qjax.n_step(qjax.ring(capacity, 2, window=3), 3),
    "frames": lambda capacity: qjax.ring(capacity, 2, frames=qjax.Frames(12)),
    "sequences": lambda capacity: qjax.sequences(capacity, 2, length=4),
    "prioritized sequences": lambda capacity: qjax.sequences(
        capacity, 2, length=4, replay=partial(qjax.prioritized, alpha=0.6, beta=0.4)
    ),
}


def dqn(env, **options):
    return qjax.dqn(qjax.MLP(env.num_actions, (4,)), optax.sgd(1e-2), **options)


@pytest.mark.parametrize("name", RINGS)
@pytest.mark.parametrize("ticks", [8, 20, 44])
def test_a_ring_is_read_oldest_first_and_no_further_than_it_was_written(name, ticks):
    """Of 24 rows: less than a ring, and more."""
    rollout, rows = 2, 24
    make = lambda memory: qjax.make_loop(
        CART, dqn(CART), qjax.epsilon_greedy(0.5), memory, gamma=0.9, num_envs=3, rollout=rollout
    )
    loop, keys = make(RINGS[name](rows * 3)), jax.random.split(jax.random.key(1), 2)
    run = lambda loop, n: jax.jit(jax.vmap(lambda key: loop.run(loop.init(key), START, n, learning=False).memory))
    state = run(loop, ticks // rollout)(keys)
    all_of = run(make(qjax.ring(ticks * 3, 1)), ticks // rollout)(keys).unpacked()
    one = lambda i: jax.tree.map(lambda x: x[i], state)
    found = datasets.from_ring(state, qjax.clock.at(ticks), 2, "CartPole-v1")
    stored = min(ticks, rows)
    assert found.action.shape == (stored, 6) and found.num_actions == 2 and found.env == "CartPole-v1"
    for lane in range(2):
        expected = jax.tree.map(lambda x, lane=lane: np.asarray(x[lane, ticks - stored :]), all_of)
        own = jax.tree.map(
            lambda x, lane=lane: x[:, 3 * lane : 3 * lane + 3], found._replace(num_actions=(), env=())
        )
        alone = datasets.from_ring(one(lane), qjax.clock.at(ticks), 2)._replace(num_actions=(), env=())
        jax.tree.map(np.testing.assert_array_equal, own, alone)
        for field in ("obs", "action", "reward"):
            np.testing.assert_array_equal(getattr(own, field), getattr(expected, field))
        np.testing.assert_array_equal(own.terminated | own.truncated, expected.last)
        np.testing.assert_array_equal(own.terminated, expected.discount == 0)
        unknown = own.terminated[..., None] if name == "frames" else False
        np.testing.assert_array_equal(own.next_obs, np.where(unknown, expected.obs, expected.next_obs))
    assert ticks < 44 or (found.truncated.any() and found.terminated.any())


def slow(env, agent, state, policy, key, rows, num_envs):
    """What `collect` records, step by step, environment by environment."""
    actor = agent._replace(reads_probability=True)
    loop = qjax.make_loop(env, actor, policy, qjax.online(), gamma=1.0, num_envs=num_envs)
    lane, found = loop.init(key, agent=state), []
    for tick in range(rows):
        before = lane
        lane = loop.step(before, qjax.clock.at(tick))
        block = jax.tree.map(lambda x: np.asarray(x[0]), lane.memory[0])
        for n in range(num_envs):
            q = agent.values(None, state, before.obs[n])
            chances = as_stateful("policy", policy).act(key, (), q, qjax.Time(tick, 0, 0))[0]
            np.testing.assert_allclose(block.probability[n], chances[block.action[n]], rtol=1e-6)
        found.append(block)
    return jax.tree.map(lambda *xs: np.stack(xs), *found)


def test_collected_are_the_transitions_of_a_slow_loop():
    agent = dqn(CART)
    state = agent.init(jax.random.key(3), jnp.zeros((2, 4)))
    policy, key = qjax.epsilon_greedy(0.3), jax.random.key(7)
    found = datasets.collect(CART, agent, state, policy, key, 60, num_envs=2)
    rows = slow(CART, agent, state, policy, key, 30, 2)
    for field in ("obs", "action", "reward", "next_obs", "probability"):
        np.testing.assert_allclose(getattr(found, field), getattr(rows, field), rtol=1e-5, atol=1e-6)
        assert isinstance(getattr(found, field), np.ndarray)
    np.testing.assert_array_equal(found.terminated, rows.last & (rows.discount == 0))
    np.testing.assert_array_equal(found.truncated, rows.last & (rows.discount == 1))
    assert found.truncated.any() and found.terminated.any() and set(np.unique(found.probability)) == {
        np.float32(0.15), np.float32(0.85)
    }  # fmt: skip


def test_of_a_policy_that_remembers_no_probabilities_are_kept():
    """It says 1 of a repeated action, which was not the chance that it had."""
    lake = qjax.make("FrozenLake-v1")
    agent, policy = qjax.tabular(16, 4, 0.1), qjax.epsilon_z_greedy(0.5)
    found = datasets.collect(lake, agent, jnp.zeros((16, 4)), policy, jax.random.key(0), 40)
    assert found.probability == () and found.action.shape == (40, 1)


def test_the_key_decides_and_the_agent_stays_as_it_is():
    """Normalisation of observations, which the loop would go on with, stands still."""
    agent = qjax.normalized(dqn(CART), observations=True)
    state = agent.init(jax.random.key(3), jnp.zeros((2, 4)))
    one, same, other = (
        datasets.collect(CART, agent, state, qjax.boltzmann(0.01), jax.random.key(k), 40, num_envs=2)
        for k in (0, 0, 1)
    )
    jax.tree.map(np.testing.assert_array_equal, one, same)
    assert (one.obs != other.obs).any()
    rows = slow(
        CART, agent._replace(observe=qjax.types.no_update), state, qjax.boltzmann(0.01), jax.random.key(0), 20, 2
    )
    np.testing.assert_array_equal(one.action, rows.action)


@pytest.mark.parametrize("agent", ["traces", "sarsa", "recurrent"])
def test_any_agent_may_act(agent):
    lake = qjax.make("FrozenLake-v1")
    if agent == "recurrent":
        net = qjax.encoded(qjax.recurrent(nn.GRUCell(3), qjax.MLP(4, (3,))), lake.encode)
        made = qjax.recurrent_dqn(net, optax.sgd(0.1), n=1)
    elif agent == "traces":
        made = qjax.traces(16, 4, 0.1, lam=0.5)
    else:
        made = qjax.tabular(16, 4, 0.1, target_policy=qjax.action_taken(qjax.epsilon_greedy(0.5)))
    state = made.init(jax.random.key(0), jnp.zeros(3, jnp.int32))
    found = datasets.collect(lake, made, state, qjax.epsilon_greedy(0.5), jax.random.key(0), 90, num_envs=3)
    assert found.obs.shape == (30, 3) and found.obs.dtype == np.int32
    going = ~(found.terminated | found.truncated)[:-1]
    np.testing.assert_array_equal(found.next_obs[:-1][going], found.obs[1:][going])
    assert (found.obs[1:][~going] == 0).all() and (~going).any()


def test_of_one_step_episodes_and_a_discount_factor_of_zero():
    def memory(env, gamma):
        agent = qjax.tabular(env.num_states, env.num_actions, 0.1)
        loop = qjax.make_loop(env, agent, qjax.uniform, qjax.ring(8, 1), gamma=gamma)
        return loop.run(loop.init(jax.random.key(0)), qjax.clock.at(0), 8, learning=False).memory

    shape = (1, 2, 1)
    arms = qjax.mdp.from_outcomes(np.zeros(shape, int), np.ones(shape), np.ones(shape), np.ones(shape, bool), [1.0])
    bandit = qjax.make(arms, max_steps_in_episode=5)
    assert datasets.from_ring(memory(bandit, 0.9), qjax.clock.at(8), 2).terminated.all()
    lake = qjax.make("FrozenLake-v1")
    with pytest.raises(ValueError, match="a discount factor of 0: whether an episode terminated"):
        datasets.from_ring(memory(lake, 0.0), qjax.clock.at(8), 4)


def test_what_is_no_ring_or_holds_nothing_is_refused():
    agent = qjax.tabular(16, 4, 0.1)
    lake = qjax.make("FrozenLake-v1")
    make = lambda memory: qjax.make_loop(lake, agent, qjax.uniform, memory, gamma=0.9)
    online = make(qjax.online()).init(jax.random.key(0)).memory
    with pytest.raises(TypeError, match="state must be that of a ring"):
        datasets.from_ring(online, qjax.clock.at(3), 4)
    empty = make(qjax.ring(8, 1)).init(jax.random.key(0)).memory
    with pytest.raises(ValueError, match="holds nothing at clock 0"):
        datasets.from_ring(empty, qjax.clock.at(0), 4)
    with pytest.raises(ValueError, match="steps must be a multiple of num_envs, got 7 steps of 2"):
        datasets.collect(lake, agent, jnp.zeros((16, 4)), qjax.uniform, jax.random.key(0), 7, 2)


def test_nan_rewards_and_other_actions_are_refused():
    agent = dqn(CART)
    state = agent.init(jax.random.key(3), jnp.zeros((1, 4)))
    broken = CART._replace(
        step=lambda *a: (s := CART.step(*a))._replace(reward=jnp.where(s.obs[0] > 0, jnp.nan, 1.0))
    )
    with pytest.raises(ValueError, match=r"state: reward is no finite number in \d+ places, the first is row \d+"):
        datasets.collect(broken, agent, state, qjax.uniform, jax.random.key(0), 64)
    loop = qjax.make_loop(CART, agent, qjax.uniform, qjax.ring(32, 1), gamma=0.9)
    lane = loop.run(loop.init(jax.random.key(0)), qjax.clock.at(0), 32, learning=False)
    with pytest.raises(
        ValueError, match=r"action is none of 1 actions in \d+ places, the first is row \d+ of stream 0: 1"
    ):
        datasets.from_ring(lane.memory, qjax.clock.at(32), 1)
