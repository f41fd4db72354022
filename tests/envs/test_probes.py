"""Tabular Q-learning, DQN and PQN reach the known values of every probe; corrupted transitions do not.

All probes, whole and corrupted, are lanes of one program, as MDPs padded to one shape.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import probes
import pytest

import qjax
from qjax.core import clock as clocks
from qjax.mdp.environment import mdp_params

GAMMA = 0.7
LANES = 2
# The probes are deterministic given observation and action, so a table converges to them exactly; a network has to
# fit a handful of numbers, which Adam does to a few hundredths.
TOLERANCE = {"tabular": 1e-3, "dqn": 0.05, "pqn": 0.05}
KINDS = list(TOLERANCE)
LAMBDA = 0.65
STATES = max(probe.num_states for probe in probes.ALL)


def mdp_of(probe):
    """Return a probe's MDP, with states that are never entered."""
    states = np.arange(STATES)
    moves = [[probe.move(jnp.int32(min(s, probe.num_states - 1)), jnp.int32(a)) for a in range(2)] for s in states]
    after, reward, terminated = (np.array([[x[i] for x in row] for row in moves])[..., None] for i in range(3))
    return qjax.mdp.from_outcomes(
        after, np.ones(after.shape), reward, terminated, np.isin(states, probe.starts) / len(probe.starts)
    )


def cut_for_end(step):
    """The classic bug of taking truncation for termination."""
    return step._replace(terminated=step.terminated | step.truncated)


def reset_for_successor(step):
    """The classic bug of taking the observation after the reset for the true successor."""
    return step._replace(final_obs=step.obs)


CORRUPT = [lambda step: step, cut_for_end, reset_for_successor]
# The two bugs, put in on purpose: a probe that did not notice them would prove nothing.
BUGS = [
    (probes.Endless, cut_for_end, probes.Endless.q_if_terminated),
    (probes.Successor, cut_for_end, probes.Successor.q_if_reset),
    (probes.Successor, reset_for_successor, probes.Successor.q_if_reset),
]
CASES = [*((probe, CORRUPT[0]) for probe in probes.ALL), *((probe, bug) for probe, bug, _ in BUGS)]


def learner(kind, env):
    """Return an agent, its memory, the number of iterations and the loop's sizes."""
    network = qjax.encoded(qjax.MLP(env.num_actions, (16,)), env.encode)
    if kind == "tabular":
        return qjax.tabular(STATES, env.num_actions, alpha=0.5), qjax.online(), 150, {"num_envs": 4}
    if kind == "dqn":
        agent = qjax.dqn(network, optax.adam(1e-2), target=qjax.periodic(16))
        return agent, qjax.ring(128, 32), 1200, {"num_envs": 4}
    iterations = 200
    optimizer = optax.adam(optax.linear_schedule(1e-2, 0.0, 8 * iterations))
    agent = qjax.pqn(network, optimizer, lam=LAMBDA, epochs=4, minibatches=2)
    return agent, qjax.online(), iterations, {"num_envs": 16, "rollout": 8}


@functools.cache
def trained(kind):
    """Return the values of all lanes, states and actions of each case, `{case: [LANES, S, A]}`."""
    mdps = jax.tree.map(lambda *x: jnp.stack(x), *(mdp_of(probe()) for probe, _ in CASES))
    limits = jnp.array([probe.limit or 10**6 for probe, _ in CASES])
    which = jnp.array([CORRUPT.index(change) for _, change in CASES])
    one = qjax.MDPEnvironment(jax.tree.map(lambda x: x[0], mdps))

    def learned(mdp, limit, which, key):
        env = qjax.make(one, mdp_params(mdp, limit))
        step = lambda *given: jax.lax.switch(which, CORRUPT, env.step(*given))
        agent, memory, iterations, sizes = learner(kind, env)
        # Uniform acting visits every action everywhere; what is learned is still the greedy value, but see `known`.
        loop = qjax.make_loop(env._replace(step=step), agent, qjax.uniform, memory, gamma=GAMMA, **sizes)
        lane = loop.run(loop.init(key), clocks.at(0), iterations)
        return jax.vmap(agent.values, in_axes=(None, None, 0))(None, lane.agent, jnp.arange(STATES))

    lanes = jax.vmap(jax.vmap(learned, in_axes=(None, None, None, 0)), in_axes=(0, 0, 0, None))
    found = np.asarray(jax.jit(lanes)(mdps, limits, which, jax.random.split(jax.random.key(0), LANES)))
    return {case: values[:, : case[0].num_states] for case, values in zip(CASES, found, strict=True)}


def known(probe, kind):
    """Return the values that an agent reaches under uniform acting, `[S, A]`.

    With lambda-returns part of a value follows the actions that were taken, not the best ones; of the probes only
    `TwoSteps` has a choice after its first step, and its ends fall on those of the rollouts.
    """
    q = probe.q(GAMMA)
    if kind == "pqn" and isinstance(probe, probes.TwoSteps):
        q[0] = GAMMA * ((1 - LAMBDA) * q[1].max() + LAMBDA * q[1].mean())
    return q


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("probe", probes.ALL)
def test_known_values(probe, kind):
    found, expected = trained(kind)[probe, CORRUPT[0]], known(probe(), kind)
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), atol=TOLERANCE[kind])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("probe", "bug", "wrong"), BUGS)
def test_bugs_would_show(probe, bug, wrong, kind):
    expected, tolerance = probe().q(GAMMA), TOLERANCE[kind]
    assert abs(expected - wrong(probe(), GAMMA)).max() > 10 * tolerance
    # Every lane misses somewhere by far more than the tolerance, not just on paper.
    missed = abs(trained(kind)[probe, bug] - expected).max(axis=(1, 2))
    assert (missed > 5 * tolerance).all(), missed


@pytest.mark.parametrize("probe", probes.ALL)
@pytest.mark.parametrize("box", [False, True])
def test_expected_values_solve_bellmans_equation(probe, box):
    """The stated values are checked themselves: Q(s, a) = r + gamma (1 - terminated) max Q(s', .)."""
    env = qjax.make(probe(box))
    q, states, act = env.unwrapped.q(GAMMA), env.unwrapped.observations(), jax.jit(env.step)
    assert q.shape == (env.unwrapped.num_states, env.num_actions)
    for where in range(env.unwrapped.num_states):
        for action in range(env.num_actions):
            state = probes.State(jnp.int32(where), jnp.int32(0))
            step = act(jax.random.key(where), state, jnp.int32(action))
            (after,) = np.flatnonzero((np.asarray(states) == np.asarray(step.final_obs)).reshape(len(q), -1).all(1))
            target = step.reward + GAMMA * (1 - step.terminated) * q[after].max()
            assert target == pytest.approx(q[where, action])
