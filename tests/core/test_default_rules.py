"""Whatever JAX's settings for 64-bit numbers and promotion are, everything runs, and gives the same numbers."""

import contextlib
import functools
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import probes
import pytest
from constants import constants

import qjax
from qjax import algorithms
from qjax.core import clock as clocks
from qjax.core.default_rules import makes_usual, usual
from qjax.exploration import schedules
from qjax.mdp import examples, solve

SETTINGS = {
    "x64": functools.partial(jax.enable_x64, True),
    "strict": functools.partial(jax.numpy_dtype_promotion, "strict"),
    "raise": functools.partial(jax.numpy_rank_promotion, "raise"),
}
MEMBERS = ["q-learning", "dqn", "c51", "pqn"]
SWEPT = MEMBERS[:2]
KEY = qjax.core.random.root_key(0)


@contextlib.contextmanager
def all_settings():
    with contextlib.ExitStack() as stack:
        for setting in SETTINGS.values():
            stack.enter_context(setting())
        yield


def shapes(tree):
    """Return names, shapes and types of a pytree's leaves."""
    return [(jax.tree_util.keystr(p), x.shape, str(x.dtype)) for p, x in jax.tree_util.tree_leaves_with_path(tree)]


def traced(name):
    """Return the lanes of an algorithm at the start, after warm-up and learning, and what is taken of them."""
    tables = name in algorithms.TABULAR
    env = qjax.make("FrozenLake-v1" if tables else "CartPole-v1")
    loop = algorithms.make(name, env, constants(name, hidden=(8,)))
    lanes = [jax.eval_shape(loop.init, KEY)]
    for learning in (False, True):
        run = lambda lane, learning=learning: loop.run(lane, clocks.at(0), loop.sync_every, learning)
        lanes.append(jax.eval_shape(run, lanes[-1]))
    return [shapes(x) for x in (*lanes, jax.eval_shape(qjax.training.pop_metrics, lanes[-1]))]


as_usual = functools.cache(traced)


def same_shapes(name, setting):
    with setting():
        found = traced(name)
    assert found == as_usual(name)
    assert not {kind for _, _, kind in found[-1]} & {"float64", "int64", "uint64"}


@pytest.mark.parametrize("name", MEMBERS)
@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
def test_algorithms_are_traced_alike(name, setting):
    same_shapes(name, setting)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*algorithms.DEEP, *algorithms.TABULAR])
def test_every_algorithm_is_traced_alike(name):
    same_shapes(name, all_settings)


RUN = """
import sys
sys.path[:0] = {folders!r}
import qjax
qjax.use_cores(2)
import test_default_rules
print(*map(test_default_rules.trained, test_default_rules.SWEPT))
"""


def trained(name):
    """Return the bits of a sweep over a rate, given in 64 bits, and of an evaluation of its agents."""
    tables = name in algorithms.TABULAR
    env = qjax.make(probes.Walk(box=not tables, limit=20))
    small = {"hidden": (4,), "batch_size": 4, "capacity": 64, "warmup": 8, "num_envs": 4}

    def build(hyper):
        if tables:
            given = {"alpha": hyper["rate"], "steps": None, "epsilon": 0.1}
        else:
            given = {"learning_rate": hyper["rate"], "target_period": 20, **small}
        return algorithms.make(name, env, constants(name, **given))

    epsilon = schedules.linear(1.0, 0.1, 50)
    kwargs = {"seeds": 2, "hypers": {"rate": np.array([0.1, 0.01])}, "log_points": 2, "width": 2}
    result = qjax.sweep(build, steps=80, schedules={"epsilon": epsilon}, **kwargs)
    assert {str(x.dtype) for x in jax.tree.leaves(result.agents)} <= {"float32", "int32"}
    agent = build({"rate": 0.1}).agent
    played = qjax.evaluate_seeds(env, agent, result.agents, [0, 1, 2, 3], 0, episodes=2)
    leaves = jax.tree.leaves((result.agents, [point[:7] for point in result.points], played))
    return "".join(np.asarray(x).tobytes().hex() for x in leaves)


@pytest.mark.slow
def test_sweeps_give_the_same_numbers():
    """In a process with all three settings from its start, as users set them."""
    names = {"JAX_ENABLE_X64": "1", "JAX_NUMPY_DTYPE_PROMOTION": "strict", "JAX_NUMPY_RANK_PROMOTION": "raise"}
    command = [sys.executable, "-c", RUN.format(folders=[str(folder) for folder in Path(__file__).parents[:2]])]
    done = subprocess.run(command, env={**os.environ, **names}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [trained(name) for name in SWEPT]


# ---- pieces called by themselves

TIME = qjax.Time(np.float32(3), np.int32(1), np.float32(2), np.int32(0), 2)


@jax.jit
def acts():
    q, line = jnp.array([1.0, 2.0, 0.5]), schedules.linear(1, 0.1, 9, "episode")
    policies = (
        qjax.greedy,
        qjax.argmax,
        qjax.uniform,
        qjax.boltzmann(0.3),
        qjax.epsilon_greedy(schedules.ladder(2)),
    )
    return [policy(q, TIME) for policy in policies], line(TIME)


@jax.jit
def targets():
    q, one = jnp.array([1.0, 2.0, 0.5]), jnp.asarray(1.0)
    steps = jnp.ones(5), jnp.full(5, 0.9), jnp.zeros(5, bool), jnp.ones(5)
    return qjax.td_target(one, one, q, jnp.array([0.0, 1.0, 0.0])), qjax.lambda_returns(*steps, 0.5)


@jax.jit
def heads():
    out = jnp.arange(15, dtype=jnp.float32).reshape(3, 5)
    found = []
    for head in (qjax.categorical(-1.0, 1.0, 5), qjax.quantile()):
        q = head.q(out)
        y = head.target(np.float64(1), 0.9, out, qjax.greedy(q))
        found.append((q, jax.grad(lambda out, head=head, y=y: head.loss(out, jnp.int32(1), y)[0])(out)))
    return found


@jax.jit
def learns():
    """As in a loop of one's own; observations and the rate of 64 bits."""
    obs = jnp.arange(8.0).reshape(1, 2, 4) / 8
    data = qjax.Transition(
        obs, jnp.zeros((1, 2), int), jnp.ones((1, 2)), jnp.full((1, 2), 0.9), obs, jnp.zeros((1, 2), bool)
    )
    batch = qjax.Batch(data, jnp.ones((1, 2)), jnp.arange(2), jnp.arange(2))
    agent = qjax.dqn(qjax.MLP(2, (4,), levels=4, noisy=True), optax.adam(np.float64(0.1)), head=qjax.quantile())
    state = agent.init(KEY, obs[0])
    return agent.sync(KEY, agent.learn(KEY, state, batch, TIME)[0], TIME), agent.values(None, state, obs[0, 0])


def solutions():
    """The checks of an MDP need concrete numbers."""
    mdp = examples.garnet(KEY, states=6, actions=2, branching=2, termination=0.1)
    even = jnp.full((6, 2), 0.5)
    return mdp, solve.exact(mdp, 0.9), solve.expected_return(mdp, even, 10)


def steps():
    found = []
    for env in (qjax.make("CartPole-v1"), qjax.make("CliffWalking-v1", reward_noise=0.1)):
        obs, state = env.reset(KEY)
        found.append((obs, env.encode(obs), env.step(KEY, state, jnp.asarray(1))))
    return found


@jax.jit
def keys():
    key = qjax.fast_key(5)
    return jax.random.split(key, 5), jax.random.uniform(key, (3,), jnp.float32), jax.random.fold_in(key, 3)


@pytest.mark.parametrize("piece", [acts, targets, heads, learns, solutions, steps, keys], ids=lambda f: f.__name__)
def test_pieces_give_the_same_numbers(piece):
    with all_settings():
        found = jax.tree.leaves(piece())
    for a, b in zip(found, jax.tree.leaves(piece()), strict=True):
        assert a.dtype == b.dtype
        words = lambda x: jax.random.key_data(x) if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key) else x
        np.testing.assert_array_equal(words(a), words(b))


def test_what_is_the_users_own_stays_under_his_rules():
    """A function is run under other rules; what is around it is not."""
    with all_settings():
        inner = usual(lambda x: (x + jnp.int32(1), jax.config.jax_enable_x64))
        total, wide = inner(jnp.float64(0.5))
        assert total.dtype == jnp.float32 and total == 1.5 and not wide
        with pytest.raises(Exception, match="promotion"):
            jnp.float32(0.5) + jnp.int32(1)
        assert jnp.arange(3.0).dtype == jnp.float64


def test_factories_keep_what_is_known_of_them():
    assert usual(usual(qjax.greedy)) is qjax.greedy
    assert qjax.online().update is qjax.types.no_update
    made = makes_usual(lambda: {"one": jnp.sin})()
    assert made["one"](0.0) == 0 and made["one"].__name__ == "sin"
