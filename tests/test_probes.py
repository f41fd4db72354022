"""Tabular Q-learning, DQN and PQN reach the known values of every probe; corrupted transitions do not."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import probes
import pytest

import qjax
from qjax import clock as clocks

GAMMA = 0.7
LANES = 2
# The probes are deterministic given observation and action, so a table converges to them exactly; a network has to
# fit a handful of numbers, which Adam does to a few hundredths.
TOLERANCE = {"tabular": 1e-3, "dqn": 0.05, "pqn": 0.05}
KINDS = list(TOLERANCE)
LAMBDA = 0.65


def train(env, kind):
    """Return the values of all lanes, states and actions, `[LANES, S, A]`."""
    if kind == "tabular":
        agent, memory = qjax.tabular(env.num_states, env.num_actions, alpha=0.5), qjax.latest()
        iterations, sizes = 150, {"num_envs": 4}
    elif kind == "pqn":
        iterations, sizes = 200, {"num_envs": 16, "rollout": 8}
        optimizer = optax.adam(optax.linear_schedule(1e-2, 0.0, 8 * iterations))
        net = qjax.MLP(env.num_actions, (16,))
        agent, memory = qjax.pqn(net, optimizer, lam=LAMBDA, epochs=4, minibatches=2), qjax.latest()
    else:
        net = qjax.MLP(env.num_actions, (16,))
        agent = qjax.dqn(net, optax.adam(1e-2), target=qjax.periodic(16))
        memory = qjax.ring(128, 32)
        iterations, sizes = 1200, {"num_envs": 4}
    # Uniform acting visits every action everywhere; what is learned is still the greedy value, but see `known`.
    loop = qjax.make_loop(env, agent, qjax.uniform, memory, gamma=GAMMA, **sizes)
    obs = env.unwrapped.observations()

    # One program, compiled quickly rather than well: most of a test's time is compilation.
    @partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False})
    @jax.vmap
    def learned(key):
        lane = loop.run(loop.init(key), clocks.at(0), iterations)
        return jax.vmap(agent.values, in_axes=(None, None, 0))(None, lane.agent, obs)

    return np.asarray(learned(jax.random.split(jax.random.key(0), LANES)))


def known(env, kind):
    """Return the values that an agent reaches under uniform acting, `[S, A]`.

    With lambda-returns part of a value follows the actions that were taken, not the best ones; of the probes only
    `TwoSteps` has a choice after its first step, and its ends fall on those of the rollouts.
    """
    q = env.unwrapped.q(GAMMA)
    if kind == "pqn" and isinstance(env.unwrapped, probes.TwoSteps):
        q[0] = GAMMA * ((1 - LAMBDA) * q[1].max() + LAMBDA * q[1].mean())
    return q


def reset_for_successor(env):
    """Return the environment with the observation after the reset in place of the true successor."""

    def step(key, state, action):
        step = env.step(key, state, action)
        return step._replace(final_obs=step.obs)

    return env._replace(step=step)


def cut_for_end(env):
    """Return the environment with truncation taken for termination."""

    def step(key, state, action):
        step = env.step(key, state, action)
        return step._replace(terminated=step.terminated | step.truncated)

    return env._replace(step=step)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("probe", probes.ALL)
def test_known_values(probe, kind):
    env = qjax.make(probe(box=kind != "tabular"))
    found, expected = train(env, kind), known(env, kind)
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), atol=TOLERANCE[kind])


# The two classic bugs, put in on purpose: a probe that did not notice them would prove nothing.
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("probe", "broken", "wrong"),
    [
        (probes.Endless, cut_for_end, probes.Endless.q_if_terminated),
        (probes.Successor, cut_for_end, probes.Successor.q_if_reset),
        (probes.Successor, reset_for_successor, probes.Successor.q_if_reset),
    ],
)
def test_bugs_would_show(probe, broken, wrong, kind):
    env = qjax.make(probe(box=kind != "tabular"))
    expected, tolerance = env.unwrapped.q(GAMMA), TOLERANCE[kind]
    assert abs(expected - wrong(env.unwrapped, GAMMA)).max() > 10 * tolerance
    # Every lane misses somewhere by far more than the tolerance, not just on paper.
    missed = abs(train(broken(env), kind) - expected).max(axis=(1, 2))
    assert (missed > 5 * tolerance).all(), missed


@pytest.mark.parametrize("probe", probes.ALL)
@pytest.mark.parametrize("box", [False, True])
def test_expected_values_solve_bellmans_equation(probe, box):
    """The stated values are checked themselves: Q(s, a) = r + gamma (1 - terminated) max Q(s', .)."""
    env = qjax.make(probe(box))
    q, states = env.unwrapped.q(GAMMA), env.unwrapped.observations()
    assert q.shape == (env.unwrapped.num_states, env.num_actions)
    for where in range(env.unwrapped.num_states):
        for action in range(env.num_actions):
            state = probes.State(jnp.int32(where), jnp.int32(0))
            step = env.step(jax.random.key(where), state, jnp.int32(action))
            (after,) = np.flatnonzero((np.asarray(states) == np.asarray(step.final_obs)).reshape(len(q), -1).all(1))
            target = step.reward + GAMMA * (1 - step.terminated) * q[after].max()
            assert target == pytest.approx(q[where, action])
