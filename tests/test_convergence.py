"""Convergence: every tabular algorithm comes to its exact values on the lake, CliffWalking and ten random MDPs.

All twelve are lanes of one program, padded to one shape with states that are never entered. Episodes start anywhere
and are cut after 20 steps: neither changes the values, as a cut episode bootstraps, and on CliffWalking acting at
random is otherwise at the start nearly always.

Dyna-Q replays the last outcome of a pair until the pair is met again, so on a stochastic MDP it counts outcomes by
how long they stay the last: it does not come to Q* (`test_dyna` has a case whose values are known), and varies the
more the longer a pair is not met. So it acts at random here, and meets all pairs about alike. What an outcome
weighs then follows from the mean times to the next meeting: that is within 0.04 of Q* on the lake and 0.03 on the
random MDPs.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compilation import AS_USERS
from constants import constants

import qjax
from qjax import algorithms
from qjax.core import clock as clocks
from qjax.mdp import examples
from qjax.mdp.arrays import TabularMDP, reachable
from qjax.mdp.environment import mdp_params

GAMMA, EPSILON = 0.9, 0.5
SHAPE = S, A, K = 48, 4, 3
FOLLOWS = {"q-learning": "best", "double-q-learning": "best", "dyna-q": "best", "q-lambda": "best"}
FOLLOWS |= {"sarsa": "soft", "expected-sarsa": "soft", "sarsa-lambda": "soft", "n-step-q": "steps"}
"""What an algorithm's values are: of the best policy, of the best epsilon-soft one, or of n-step targets."""


def padded(mdp):
    """Return an MDP with more states, actions and outcomes, and episodes that start wherever it can act."""
    add = [(0, to - size) for to, size in zip(SHAPE, mdp.successor.shape, strict=True)]
    acts = np.asarray(reachable(mdp), np.float32)
    successor, probability, reward, terminated = (np.pad(np.asarray(x), add) for x in mdp[:4])
    probability[len(acts) :, :, 0] = 1
    return TabularMDP(successor, probability, reward, terminated, np.pad(acts / acts.sum(), add[0]))


def problems():
    lake = examples.frozen_lake(qjax.make("FrozenLake-v1", is_slippery=True))
    cliff = qjax.make("CliffWalking-v1").params.mdp
    drawn = [examples.garnet(key, 20, A, K, termination=0.1) for key in jax.random.split(jax.random.key(5), 10)]
    return jax.tree.map(lambda *x: jnp.asarray(np.stack(x)), *map(padded, [lake, cliff, *drawn]))


def own_values(mdp, follows):
    """Return the values that an algorithm should come to, `[S, A]`, by a slow iteration."""
    successor, probability, reward, terminated, _ = (np.asarray(x, np.float64) for x in mdp)
    backup = lambda v: (probability * (reward + GAMMA * (1 - terminated) * v[successor.astype(int)])).sum(-1)
    q = np.zeros((S, A))
    for _ in range(600):
        best = np.eye(A)[q.argmax(-1)]
        soft = (1 - EPSILON) * best + EPSILON / A
        q_next = backup((q * (soft if follows == "soft" else best)).sum(-1))
        for _ in range(2 if follows == "steps" else 0):
            q_next = backup((q_next * soft).sum(-1))
        q = q_next
    return q


def errors(name, steps, options=None):
    """Return the largest error of each problem's values where it acts, relative to what they span, `[12]`."""
    given = problems()
    one = qjax.MDPEnvironment(jax.tree.map(lambda x: x[0], given))
    limit = None if FOLLOWS[name] == "steps" else 20

    @partial(jax.jit, compiler_options=options)
    @jax.vmap
    def learned(mdp, key):
        env = qjax.make(one, mdp_params(mdp, max_steps=limit))
        given = {"gamma": GAMMA, "epsilon": 1.0 if name == "dyna-q" else EPSILON, "lam": 0.5, "planning": 2}
        config = constants(name, alpha=1.0, alpha_power=0.7, **given)
        loop = algorithms.make(name, env, config)
        lane = loop.run(loop.init(key), clocks.at(0), steps)
        return jax.vmap(loop.agent.values, in_axes=(None, None, 0))(None, lane.agent, jnp.arange(S))

    tables = np.asarray(learned(given, jax.random.split(jax.random.key(0), 12)))
    found = []
    for i, table in enumerate(tables):
        mdp = jax.tree.map(lambda x, i=i: np.asarray(x[i]), given)
        own, acts = own_values(mdp, FOLLOWS[name])[mdp.start > 0], table[mdp.start > 0]
        found.append(abs(acts - own).max() / np.ptp(own))
    return np.array(found)


@pytest.mark.parametrize("name", ["q-learning", "sarsa"])
def test_two_algorithms_come_near(name):
    """Off-policy and on-policy: near their own values after 50,000 steps, and not near each other's."""
    assert errors(name, 50_000).max() < 0.15


@pytest.mark.slow
@pytest.mark.parametrize("name", FOLLOWS)
def test_every_algorithm_comes_close(name):
    assert errors(name, 400_000, AS_USERS).max() < 0.1
