"""Named recurrent agents and ensembles are the compositions that they are called, and say what does not fit."""

from functools import partial

import jax
import numpy as np
import optax
import probes
import pytest
from constants import constants

import qjax
from qjax import algorithms
from qjax.core import clock as clocks
from qjax.networks.recurrent import CELLS

KEY = qjax.fast_key(0)


def r2d2(env):
    torso, output = qjax.MLP(None, (5,)), qjax.MLP(env.num_actions, (4,), dueling=True)
    agent = qjax.recurrent_dqn(
        qjax.encoded(qjax.recurrent(CELLS["lstm"](6), output, torso), env.encode),
        optax.adam(1e-2),
        n=2,
        head=qjax.scalar(rescale=qjax.signed_hyperbolic()),
        target_policy=qjax.double,
        target=qjax.periodic(16),
        eta=0.7,
    )
    beta = qjax.schedules.linear(0.4, 1.0, 200)
    memory = qjax.sequences(48, 4, 6, 2, partial(qjax.prioritized, alpha=0.8, beta=beta))
    policy = qjax.epsilon_greedy(qjax.schedules.linear(1.0, 0.05, 100.0))
    sizes = {"num_envs": 2, "rollout": 2, "warmup": 3, "sync_every": 4}
    return qjax.make_loop(env, agent, policy, memory, gamma=0.99, **sizes)


R2D2 = {
    "steps": 200, "hidden": (5,), "hidden_after": (4,), "cell": "lstm", "cell_size": 6, "dueling": True,
    "learning_rate": 1e-2, "n": 2, "eta": 0.7, "alpha": 0.8, "beta": 0.4, "capacity": 46, "batch_size": 4,
    "length": 6, "burn_in": 2, "target_period": 16, "num_envs": 2, "rollout": 2, "warmup": 12,
}  # fmt: skip


def bootstrapped_dqn(env):
    network = qjax.with_prior(qjax.encoded(qjax.MLP(env.num_actions, (5,)), env.encode), 2.0)
    agent = qjax.bootstrapped(qjax.dqn(network, optax.adam(1e-2), target=qjax.periodic(16)), 3, 0.7, vote=True)
    sizes = {"num_envs": 2, "warmup": 6, "sync_every": 8}
    return qjax.make_loop(env, agent, qjax.greedy, qjax.ring(48, 4), gamma=0.99, **sizes)


BOOTSTRAPPED_DQN = {
    "hidden": (5,), "learning_rate": 1e-2, "members": 3, "mask_probability": 0.7, "prior_scale": 2.0, "vote": True,
    "capacity": 48, "batch_size": 4, "target_period": 16, "num_envs": 2, "warmup": 12,
}  # fmt: skip


def of_several(make, **numbers):
    """Return a function that composes a loop of one of two agents with several networks or copies."""

    def composed(env):
        network = qjax.encoded(qjax.MLP(env.num_actions, (5,)), env.encode)
        agent = make(network, optax.adam(1e-2), target=qjax.periodic(16), **numbers)
        policy = qjax.epsilon_greedy(qjax.schedules.linear(1.0, 0.05, 100.0))
        sizes = {"num_envs": 2, "warmup": 6, "sync_every": 8}
        return qjax.make_loop(env, agent, policy, qjax.ring(48, 4), gamma=0.99, **sizes)

    return composed


OF_SEVERAL = {
    "steps": 200, "hidden": (5,), "learning_rate": 1e-2, "capacity": 48, "batch_size": 4, "target_period": 16,
    "num_envs": 2, "warmup": 12,
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "composed", "given"),
    [
        ("r2d2", r2d2, R2D2),
        ("bootstrapped-dqn", bootstrapped_dqn, BOOTSTRAPPED_DQN),
        ("averaged-dqn", of_several(qjax.averaged_dqn, copies=3), {**OF_SEVERAL, "copies": 3}),
        (
            "maxmin-dqn",
            of_several(qjax.maxmin_dqn, size=3, learners=2),
            {**OF_SEVERAL, "members": 3, "learners": 2},
        ),
    ],
)
def test_a_name_is_its_composition(name, composed, given):
    env = qjax.make(probes.Walk(box=True, limit=5))
    loops = composed(env), algorithms.make(name, env, algorithms.config(name, **given))
    assert loops[0][7:] == loops[1][7:]  # the sizes
    lanes = [jax.jit(lambda lane, loop=loop: loop.run(lane, clocks.at(0), 16))(loop.init(KEY)) for loop in loops]
    for one, other in zip(*(jax.tree.leaves(lane._replace(key=0)) for lane in lanes), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("name", ["drqn", "r2d2", "recurrent-pqn"])
def test_what_only_memory_can_know_is_known(name, cell):
    steps = 30_000
    config = constants(name, steps=steps, cell=cell, length=10, burn_in=0, cell_size=32, hidden=(32,))
    env = qjax.make(probes.Recall(3))
    loop = algorithms.make(name, env, config)
    result = qjax.sweep(lambda _: loop, seeds=2, steps=steps, log_points=1)
    played = qjax.evaluate_seeds(env, loop.agent, result.agents, [0, 1], 0, 50, max_steps=4)
    assert (played.returns.mean(1) > 0.95).all(), played.returns.mean(1)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("r2d2", {"length": 10, "burn_in": 10}, "a burn_in of 10 rows leaves none of a sequence's 10"),
        ("drqn", {"length": 12}, "sequences of 12 rows .* are not made of whole blocks of 5"),
        ("drqn", {"cell_size": 0}, "cell_size must be at least 1, got 0"),
        ("r2d2", {"eta": 1.5}, r"eta must lie in \[0, 1\], got 1.5"),
        ("recurrent-pqn", {"minibatches": 5}, "16 environments does not divide into 5 minibatches"),
        ("bootstrapped-dqn", {"members": 1}, "members must be at least 2, got 1"),
        ("bootstrapped-dqn", {"mask_probability": 0.0}, r"mask_probability must lie in \(0, 1\], got 0.0"),
        ("bootstrapped-dqn", {"prior_scale": -1.0}, "prior_scale must lie in"),
        ("maxmin-dqn", {"members": 1}, "members must be at least 2, got 1"),
        ("maxmin-dqn", {"learners": 5}, "learners must be at most 4, got 5"),
        ("averaged-dqn", {"copies": 0}, "copies must be at least 1, got 0"),
    ],
)
def test_constants_that_do_not_fit(name, change, said):
    with pytest.raises(ValueError, match=said):
        loop = algorithms.make(name, qjax.make("CartPole-v1"), constants(name, hidden=(4,), **change))
        jax.eval_shape(lambda lane: loop.run(lane, clocks.at(0), 1), jax.eval_shape(loop.init, KEY))


def test_without_a_prior_there_are_no_parameters_of_one():
    env = qjax.make("CartPole-v1")
    params = [
        jax.eval_shape(algorithms.make("bootstrapped-dqn", env, constants("bootstrapped-dqn", **given)).init, KEY)
        .agent.members.params for given in ({}, {"prior_scale": 0.0})
    ]  # fmt: skip
    assert len(jax.tree.leaves(params[0])) == 2 * len(jax.tree.leaves(params[1]))
