"""What is traced once: agents that are made of the same functions, and a start and an iteration of a sweep."""

from collections import Counter

import jax
import numpy as np
import pytest

import qjax
from qjax import algorithms
from qjax.sweeps import described, hyperparameters
from qjax.sweeps.alike import likeness

ENV = qjax.make("CartPole-v1")


def agent(name="dqn", **constants):
    return algorithms.make(name, ENV, algorithms.config(name, **constants)).agent.init


@pytest.mark.parametrize("name", ["dqn", "rainbow", "pqn", "bootstrapped-dqn", "recurrent-pqn"])
def test_numbers_make_no_difference(name):
    assert likeness(agent(name, learning_rate=1e-3)) == likeness(agent(name, learning_rate=2e-3))


def test_functions_sizes_and_zeros_do():
    made = [
        agent(), agent("rainbow"), agent(hidden=(8,)), agent(hidden=(8, 8)), agent(optimizer="rmsprop"),
        agent("bootstrapped-dqn", prior_scale=0.0), agent("bootstrapped-dqn", prior_scale=3.0),
    ]  # fmt: skip
    assert len(set(map(likeness, made))) == len(made)


def test_what_cannot_be_looked_into_is_like_nothing_else():
    class Opaque:
        def __call__(self):
            pass

    one, other = Opaque(), Opaque()
    assert likeness(lambda: one) != likeness(lambda: other)
    assert likeness(one) == likeness(one) != likeness(other)


def test_many_settings_are_traced_once(monkeypatch):
    """The start of a sweep of 64 settings traces no more agents than one of two."""
    traced, trace = [], jax.eval_shape

    def counting(function, *arguments):
        traced.append(function)
        return trace(function, *arguments)

    def build(hyper):
        return algorithms.make("dqn", ENV, algorithms.config("dqn", learning_rate=hyper["rate"]))

    monkeypatch.setattr(hyperparameters.jax, "eval_shape", counting)
    counts = []
    for settings in (2, 64):
        traced.clear()
        described.check(build, {"rate": np.geomspace(1e-4, 1e-2, settings)})
        counts.append(sum("init" in getattr(each, "__qualname__", "") for each in traced))
    assert counts[0] == counts[1]


def test_nothing_is_traced_again_that_was_traced(tmp_path):
    """A start by the first setting's values, traced, and compiled; an iteration traced, and in the one program."""
    counts = Counter()

    def build(hyper):
        lake = qjax.make("FrozenLake-v1")
        agent = qjax.tabular(lake.num_states, lake.num_actions, hyper["alpha"])
        loop = qjax.make_loop(lake, agent, qjax.epsilon_greedy(0.1), qjax.online(), gamma=0.9)

        def counted(name, function):
            return lambda *args, **kwargs: counts.update([name]) or function(*args, **kwargs)

        return loop._replace(init=counted("init", loop.init), run=counted("run", loop.run))

    with qjax.Run(tmp_path / "run", "counted", {}) as run:
        qjax.sweep(build, run=run, hypers=qjax.grid(alpha=[0.1, 0.2]), seeds=2, steps=20, log_points=2)
    assert counts == {"init": 3, "run": 2}
