"""Policies that remember: what they do is an episode's own, and epsilon-z-greedy repeats as its law says."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import probes
import pytest
import victim
from scipy import special, stats

import qjax
from qjax import algorithms
from qjax.core import clock as clocks
from qjax.sweeps import phases, saving
from qjax.training.lane import Lane
from qjax.types import StatefulPolicy, Time

KEY = jax.random.key(5)
START = Time(jnp.float32(0), jnp.int32(0), jnp.float32(0), jnp.int32(0))
Q = jnp.array([0.0, 2.0, 1.0])


def followed(policy, key, steps, q=Q, time=START):
    """Return the probabilities and the states after each of some steps of one policy."""

    def step(state, key):
        probabilities, state = policy.act(key, state, q, time)
        return state, (probabilities, state)

    return jax.lax.scan(step, policy.begin(key), jax.random.split(key, steps))[1]


def many(policy, chains, steps, q=Q):
    return jax.jit(jax.vmap(lambda key: followed(policy, key, steps, q)))(jax.random.split(KEY, chains))


# Epsilon-z-greedy --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mu", [1.5, 2.0, 3.0])
def test_durations_follow_the_zeta_law(mu):
    chains, longest = 20_000, 40
    _, state = many(qjax.epsilon_z_greedy(1.0, mu), chains, longest + 1)
    ended = state.steps[:, 1:] == 1  # another has begun
    duration = np.where(ended.any(1), ended.argmax(1) + 1, longest + 1)
    counts = np.bincount(duration, minlength=longest + 2)[1:]
    expected = np.arange(1, longest + 1) ** -mu / special.zeta(mu)
    expected = chains * np.append(expected, special.zeta(mu, longest + 1) / special.zeta(mu))
    few = expected < 5
    groups = lambda x: np.append(x[~few], x[few].sum()) if few.any() else x
    assert counts.sum() == chains
    assert stats.chisquare(groups(counts), groups(expected)).pvalue > 1e-3


def test_an_action_is_repeated_exactly_and_drawn_evenly():
    probabilities, state = many(qjax.epsilon_z_greedy(1.0, 1.5), 400, 50)
    np.testing.assert_array_equal(probabilities, np.eye(3)[state.action])
    goes_on = state.steps[:, 1:] > 1
    assert (state.steps[:, 1:] == np.where(goes_on, state.steps[:, :-1] + 1, 1)).all()
    assert (state.action[:, 1:] == state.action[:, :-1])[goes_on].all()
    begun = np.asarray(state.action)[np.asarray(state.steps) == 1]
    assert stats.chisquare(np.bincount(begun, minlength=3)).pvalue > 1e-3


def test_what_is_not_repeated_is_the_base():
    probabilities, state = many(qjax.epsilon_z_greedy(0.3, 2.0, qjax.boltzmann(1.0)), 4_000, 2)
    idle = np.asarray(state.steps)[:, 0] == 0
    np.testing.assert_allclose(probabilities[idle, 0], np.tile(special.softmax(Q), (idle.sum(), 1)), rtol=1e-5)
    assert stats.binomtest(int(idle.sum()), 4_000, 0.7).pvalue > 1e-3


@pytest.mark.parametrize("mu", [50.0, 1e30])
def test_towards_infinity_it_is_epsilon_greedy(mu):
    probabilities, state = many(qjax.epsilon_z_greedy(0.3, mu), 4_000, 8)
    assert state.steps.max() == 1
    mean = np.asarray(probabilities).mean((0, 1))
    np.testing.assert_allclose(mean, qjax.epsilon_greedy(0.3)(Q, START), atol=0.01)
    later = np.asarray(state.steps[:, 1:] == 1)  # begun, whether or not another was running
    for before in (0, 1):
        assert abs(later[np.asarray(state.steps[:, :-1]) == before].mean() - 0.3) < 0.02


def test_epsilon_is_read_at_its_time():
    policy = qjax.epsilon_z_greedy(qjax.schedules.linear(1.0, 0.0, 10))
    for step, busy in ((0.0, 1), (10.0, 0)):
        state = followed(policy, KEY, 5, time=START._replace(step=jnp.float32(step)))[1]
        assert ((state.steps > 0) == busy).all()


def test_a_repeated_action_that_became_illegal_is_not_taken():
    policy = qjax.epsilon_z_greedy(1.0, 1.01)
    for action in range(3):
        q = Q.at[action].set(-jnp.inf)
        running = policy.begin(KEY)._replace(action=jnp.int32(action), steps=jnp.int32(3))
        found, state = jax.vmap(lambda key, q=q, running=running: policy.act(key, running, q, START))(
            jax.random.split(KEY, 200)
        )
        assert (found[:, action] == 0).all() and (state.steps == 1).all()
        assert {*np.asarray(state.action)} == {0, 1, 2} - {action}


def test_traced_numbers_give_the_bits_of_concrete_ones():
    mus, epsilons = jnp.array([1.2, 2.0, 4.0]), jnp.array([0.9, 0.5, 0.2])
    swept = jax.vmap(lambda mu, epsilon: followed(qjax.epsilon_z_greedy(epsilon, mu), KEY, 60))(mus, epsilons)
    for number, (mu, epsilon) in enumerate(zip(mus.tolist(), epsilons.tolist(), strict=True)):
        alone = followed(qjax.epsilon_z_greedy(epsilon, mu), KEY, 60)
        jax.tree.map(lambda x, y, n=number: np.testing.assert_array_equal(x[n], y), swept[1], alone[1])


# In a loop ---------------------------------------------------------------------------------------------------


def endless(policy, agent=None, memory=None, **sizes):
    agent = qjax.tabular(1, 2, 0.5) if agent is None else agent
    memory = qjax.online() if memory is None else memory
    env = qjax.make(probes.Endless())  # episodes of three steps
    return qjax.make_loop(env, agent, policy, memory, gamma=0.9, num_envs=2, **sizes)


def counting(num_actions=2):
    """A policy that takes its actions in turn, from a random one on."""

    def act(key, state, q, time):
        return jax.nn.one_hot(state % num_actions, num_actions), state + 1

    return StatefulPolicy(lambda key: jax.random.randint(key, (), 0, 100) * num_actions, act)


@pytest.mark.parametrize("rollout", [1, 3])
def test_it_is_begun_anew_where_an_episode_ends(rollout):
    loop = endless(counting(), rollout=rollout)
    lane, seen = loop.init(KEY), []
    step = jax.jit(loop.step)
    for tick in range(0, 24, rollout):
        seen.append(np.asarray(lane.policy))
        lane = step(lane, clocks.at(tick))
    seen = np.stack(seen).reshape(8, -1, 2)
    assert (seen[:, 0] % 2 == 0).all() and len(np.unique(seen[:, 0])) > 8
    assert (seen == seen[:, :1] + np.arange(3 // rollout)[:, None]).all()


def test_no_repetition_goes_over_an_episode_s_end():
    loop = endless(qjax.epsilon_z_greedy(1.0, 1.01))
    lane, step = loop.init(KEY), jax.jit(loop.step)
    for tick in range(12):
        steps = np.asarray(lane.policy.steps)
        assert (steps <= tick % 3).all() and (tick % 3 == 0 or (steps > 0).all())
        lane = step(lane, clocks.at(tick))


def test_a_state_that_nothing_reads_changes_no_bit():
    """Actions, episodes and learning are those of the same policy without it."""
    plain = qjax.epsilon_greedy(0.5)
    carried = StatefulPolicy(jax.random.uniform, lambda key, state, q, time: (plain(q, time), state))
    lanes = []
    for policy in (plain, carried):
        loop = endless(policy, memory=qjax.ring(24, 4))
        lanes.append(loop.run(loop.init(KEY), clocks.at(0), 12)._replace(key=0, policy=()))
    jax.tree.map(np.testing.assert_array_equal, *lanes)


def test_a_plain_policy_has_no_state():
    lane = endless(qjax.greedy).init(KEY)
    assert lane.policy == () and isinstance(lane, Lane)


def test_the_memory_is_given_the_agent_s_carry_alone():
    agent = qjax.tabular(1, 2, 0.5)
    act = lambda noise, state, carry, obs: (agent.values(noise, state, obs), carry + 1)
    remembering = agent._replace(act=act, begin=lambda key, state: jnp.int32(0))
    loop = endless(counting(), remembering)
    lane = loop.run(loop.init(KEY), clocks.at(0), 4)
    carry = lane.memory[2]
    assert carry.shape == (2,) and (carry == 0).all()  # before the fourth tick
    assert (lane.carry == 1).all() and (lane.policy > 0).all()


def test_a_run_goes_on_bit_for_bit_in_the_middle_of_a_repetition(tmp_path, monkeypatch):
    monkeypatch.setattr(saving, "CHECKPOINT_SHARE", 0)
    monkeypatch.setattr(phases, "INNER_ITERATIONS", 7)
    build = lambda hyper: qjax.make_loop(
        qjax.make(probes.Countdown(limit=40)), qjax.tabular(7, 2, 0.5), qjax.epsilon_z_greedy(0.5, hyper["mu"]),
        qjax.online(), gamma=0.9, num_envs=2,
    )  # fmt: skip
    options = {"seeds": 3, "steps": 600, "log_points": 3, "chunk_seconds": 1e-9, "checkpoint_every": 0.0}
    options["hypers"] = qjax.grid(mu=[1.2, 3.0])

    def run(folder, after=None):
        with qjax.Run(folder, "repeats", {}, resume=True) as run:
            return qjax.sweep(build, run=run, on_progress=victim.crashing(after), **options)

    whole = run(tmp_path / "whole")
    with pytest.raises(victim.Crash):
        run(tmp_path / "broken", after=4)
    again = run(tmp_path / "broken")
    for one, other in zip(victim.leaves(whole), victim.leaves(again), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_seed_alone_is_the_seed_in_a_sweep():
    loop = endless(qjax.epsilon_z_greedy(0.5), rollout=2)
    keys = jax.random.split(KEY, 3)
    run = lambda key: loop.run(loop.init(key), clocks.at(0), 5)._replace(key=0)
    together = jax.vmap(run)(keys)
    alone = jax.tree.map(lambda *lanes: jnp.stack(lanes), *(run(key) for key in keys))
    jax.tree.map(np.testing.assert_array_equal, together, alone)


# By name -----------------------------------------------------------------------------------------------------

REPEATING = [name for name, one in algorithms.ALGORITHMS.items() if "epsilon_z" in algorithms.fields(one.config)]


@pytest.mark.parametrize("name", REPEATING)
def test_algorithms_that_explore_by_epsilon_may_repeat(name):
    env = qjax.make("FrozenLake-v1" if name in algorithms.TABULAR else "CartPole-v1")
    for mu, remembers in ((None, False), (2.0, True)):
        config = algorithms.config(name, epsilon_z=mu)
        lane = jax.eval_shape(algorithms.make(name, env, config).init, KEY)
        assert bool(jax.tree.leaves(lane.policy)) == remembers


def test_it_is_swept_by_name():
    build = lambda hyper: algorithms.make(
        "sarsa",
        qjax.make(probes.Countdown()),
        algorithms.config("sarsa", steps=300, epsilon=0.5, epsilon_z=hyper["mu"]),
    )
    result = qjax.sweep(build, hypers=qjax.grid(mu=[1.2, 60.0]), seeds=1, steps=300, log_points=1)
    assert (result.agents[0] != result.agents[1]).any()


def test_boltzmann_repeats_nothing():
    assert "epsilon_z" in algorithms.Tabular(temperature=1.0, epsilon_z=2.0).idle()


# Bad input ---------------------------------------------------------------------------------------------------


REFUSED = r"policy must be a function \(q, time\) -> probabilities|Expected type: <class 'qjax.types.Policy'>"
"""The second is what the tests' hook says before."""


@pytest.mark.parametrize("takes", [qjax.expected, qjax.sampled, qjax.action_taken])
def test_targets_of_a_policy_that_remembers_are_refused(takes):
    for each in (takes, inspect.unwrap(takes)):
        with pytest.raises(TypeError, match=REFUSED):
            each(qjax.epsilon_z_greedy(0.1))


def test_evaluation_by_a_policy_that_remembers_is_refused():
    loop = endless(counting())
    with pytest.raises(TypeError, match=REFUSED):
        qjax.evaluate(loop.env, loop.agent, jnp.zeros((1, 2)), KEY, 2, policy=counting(), max_steps=3)


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (lambda key, state, q, time: q, TypeError, r"must return \(probabilities, state\)"),
        (
            lambda key, state, q, time: (q, state / 2),
            ValueError,
            r"policy.begin returns, int32\[\]; it returned flo",
        ),
        (lambda key, state, q, time: (q, ()), ValueError, r"it returned \(\)"),
        (lambda key, state, q, time: (q[:1], state), ValueError, "probabilities float32"),
        (lambda key, state, q: (q, state), TypeError, r"policy.act must be a function \(key, state, q, time\)"),
        (lambda key, state, q, time: ("a", state), TypeError, "the policy must return probabilities, and a state"),
    ],
)
def test_a_policy_of_another_form_is_refused(act, error, message):
    with pytest.raises(error, match=message):
        endless(StatefulPolicy(lambda key: jnp.int32(0), act)).init(KEY)


def test_mu_is_above_one():
    with pytest.raises(ValueError, match=r"mu must lie in \(1, inf\), got 1"):
        qjax.epsilon_z_greedy(0.1, 1.0)
