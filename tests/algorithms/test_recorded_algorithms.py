"""Algorithms on recorded data: every one that learns from replay, and those that are made for it."""

import jax
import numpy as np
import probes
import pytest
from constants import constants
from recorded_data import at_random
from working import works

import qjax
from qjax import algorithms
from qjax.core import clock as clocks

CARTPOLE = qjax.make("CartPole-v1")
SMALL = {"hidden": (6, 6), "batch_size": 8, "quantiles": 5, "levels": 5, "atoms": 5, "bins": 5, "members": 2}
UNIFORM = [
    name
    for name, each in algorithms.DEEP.items()
    if "data" in algorithms.fields(each.config) and not {"alpha", "beta"} <= {*algorithms.fields(each.config)}
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A data set of CartPole."""
    path = tmp_path_factory.mktemp("data") / "cartpole"
    qjax.datasets.save(path, at_random(CARTPOLE, 60)._replace(env="CartPole-v1"))
    return str(path)


def made(name, folder, env=CARTPOLE, **given):
    return algorithms.make(name, env, constants(name, **SMALL, **given).replace(data=folder), sync_every=1)


SOME = ("dqn", "cql", "bcq")


@pytest.mark.parametrize("name", [x if x in SOME else pytest.param(x, marks=pytest.mark.slow) for x in UNIFORM])
def test_learns_from_a_data_set(name, folder):
    """Ten finite steps, one program, resumed bit for bit: from the first iteration on, and holding nothing."""
    loop = made(name, folder)
    assert loop.warmup == 0 and jax.tree.leaves(jax.eval_shape(loop.init, jax.random.key(0)).memory) == []
    works(loop)


def test_targets_of_several_steps_and_sequences(folder):
    works(made("dqn", folder, n=3))
    works(made("drqn", folder, length=8, burn_in=2, cell_size=4, rollout=1))


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("prioritized-dqn", {}, "drawn uniformly, not by priority: leave out data"),
        ("rainbow", {}, "drawn uniformly, not by priority: leave out data"),
        ("r2d2", {}, "drawn uniformly, not by priority: leave out data"),
        ("drqn", {"stored_state": True}, "give stored_state=False"),
        ("dqn", {"frames": 1}, "recorded transitions are stored whole: leave out frames, got 1"),
    ],
)
def test_what_does_not_go_with_data(name, given, message, folder):
    with pytest.raises(ValueError, match=message):
        made(name, folder, **given)


def test_another_environment(folder):
    with pytest.raises(ValueError, match=r"observations of CartPole-v1 float32\[4\]; those of Acrobot-v1"):
        made("dqn", folder, qjax.make("Acrobot-v1"))


def learned(name, env, **given):
    """Return values of an algorithm that sees what uniform actions do in an environment."""
    config = constants(
        name, steps=4_000, hidden=(16,), learning_rate=1e-2, capacity=256, batch_size=32, quantiles=16,
        target_period=20, gamma=0.7, **given,
    )  # fmt: skip
    parts = algorithms.parts(name, env, config)
    loop = qjax.make_loop(env, parts.agent, qjax.uniform, parts.memory, gamma=0.7, num_envs=4)
    lane = jax.jit(loop.run, static_argnums=2)(loop.init(qjax.fast_key(0)), clocks.at(0), 1_000)
    act = jax.vmap(parts.agent.values, in_axes=(None, None, 0))
    return np.asarray(act(None, lane.agent, env.unwrapped.observations()))


@pytest.mark.parametrize(("name", "neutral"), [("cql", {"alpha": 0.0}), ("bcq", {"threshold": 0.0})])
def test_without_what_is_theirs_they_are_q_learning(name, neutral):
    env = qjax.make(probes.TwoSteps(box=True))
    np.testing.assert_allclose(learned(name, env, **neutral), env.unwrapped.q(0.7), atol=0.1)
