"""The tabular family by name: known values, whole and halved runs alike, and programs that touch no whole table."""

import itertools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import probes
import pytest
from compilation import FUSED
from constants import constants

import qjax
from qjax import algorithms
from qjax.core import clock as clocks
from qjax.exploration import schedules

GAMMA = 0.7
LANES = 2
UNIFORM = {"gamma": GAMMA, "epsilon": 1.0, "lam": 0.5, "planning": 3}
FOLLOWING = ("sarsa", "expected-sarsa", "sarsa-lambda", "n-step-q")
"""Algorithms whose values follow the actions taken, after the first step at least."""


def advance(loop):
    """Return `(lanes, clock, count) -> lanes`, of `count` times 50 iterations, compiled once for any count."""

    def run(lanes, clock, count):
        fifty = lambda i, lane: loop.run(lane, clocks.plus(clock, 50 * i), 50)
        return jax.vmap(lambda lane: jax.lax.fori_loop(0, count, fifty, lane))(lanes)

    return jax.jit(run)


def lanes_of(loop):
    return jax.jit(jax.vmap(loop.init))(jax.random.split(jax.random.key(1), LANES))


def close(name, probe):
    """Check the values an algorithm learns under uniform acting, and that a halved run is the whole one."""
    env = qjax.make(probe())
    # A step size that falls makes a plain average of what is drawn.
    rate = 0.1 if "lambda" in name else qjax.visit_count(0.7)
    loop = algorithms.make(name, env, constants(name, **UNIFORM, alpha=rate, num_envs=4))
    run, start = advance(loop), lanes_of(loop)
    whole = run(start, clocks.at(0), jnp.int32(30))
    half = run(run(start, clocks.at(0), jnp.int32(10)), clocks.at(500), jnp.int32(20))
    for x, y in zip(*(jax.tree.leaves(lanes._replace(key=0)) for lanes in (whole, half)), strict=True):
        np.testing.assert_array_equal(x, y)
    states = jnp.arange(env.num_states)
    values = lambda agent: jax.vmap(loop.agent.values, in_axes=(None, None, 0))(None, agent, states)
    found, known = np.asarray(jax.vmap(values)(whole.agent)), env.unwrapped.q(GAMMA)
    if name in FOLLOWING and probe is probes.TwoSteps:
        known[0] = GAMMA * known[1].mean()
    np.testing.assert_allclose(found, np.broadcast_to(known, found.shape), atol=0.1)


@pytest.mark.parametrize(
    ("name", "probe"), list(zip(algorithms.TABULAR, itertools.cycle(probes.ALL), strict=False))
)
def test_known_values(name, probe):
    """Each algorithm on one probe; the slow test has all of them on all."""
    close(name, probe)


@pytest.mark.slow
@pytest.mark.parametrize("probe", probes.ALL)
@pytest.mark.parametrize("name", algorithms.TABULAR)
def test_known_values_of_all_probes(name, probe):
    close(name, probe)


# ---- the compiled program

STATES, ACTIONS = 100_003, 3
KEPT = {"parameter", "get-tuple-element", "bitcast", "tuple", "while"}
"""What costs nothing, however large."""


class Large(probes.Walk):
    num_states, num_actions = STATES, ACTIONS


@pytest.mark.parametrize(
    ("name", "change", "count"),
    [
        ("sarsa", {}, 2),
        ("double-q-learning", {"alpha": qjax.visit_count(), "num_envs": 2}, 2),
        ("n-step-q", {"n": 6}, 2),
        ("dyna-q", {"planning": 7}, 2),
        ("q-learning", {}, 1),
        ("double-q-learning", {"alpha": qjax.visit_count()}, 1),
        ("dyna-q", {}, 1),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_a_step_touches_no_whole_table(name, change, count):
    """Every operation as large as a table updates it in place: the cost of a step does not grow with it.

    Of several lanes that is a scatter. Of one lane and environment it is a slice, whose rows the compiler may read
    again later, and for that copy the table, unless they are read as `tabular` and `dyna` do.
    """
    loop = algorithms.make(name, qjax.make(Large()), algorithms.config(name, **change))
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), count))
    lanes = jax.eval_shape(jax.vmap(loop.init), keys)
    run = jax.vmap(lambda lane, clock: loop.run(lane, clock, 20), in_axes=(0, None))
    lowered = jax.jit(run, donate_argnums=0).lower(lanes, clocks.at(0))
    text = lowered.compile(FUSED).as_text()
    found = []
    for match in re.finditer(r"= \w+\[([\d,]+)\]\S* ([\w-]+)\((.*)", text):
        dims, opcode, rest = match.groups()
        if math.prod(map(int, dims.split(","))) % STATES == 0 and opcode not in KEPT:
            found.append("scatter" if opcode == "fusion" and "scatter" in rest else opcode)
    assert found and set(found) <= {"scatter", "dynamic-update-slice"}


# ---- constants


def test_constants_are_swept_in_one_program():
    def build(hyper):
        numbers = {name: hyper[name] for name in ("alpha", "gamma", "epsilon", "initial", "lam")}
        config = constants("sarsa-lambda", **numbers)
        return algorithms.make("sarsa-lambda", qjax.make(probes.Countdown()), config)

    base = {"alpha": 0.1, "gamma": 0.9, "epsilon": 0.2, "initial": 0.0, "lam": 0.5}
    other = {"alpha": 0.5, "gamma": 0.5, "epsilon": 1.0, "initial": 1.0, "lam": 0.9}
    settings = [base, *({**base, name: value} for name, value in other.items())]
    hypers = {name: np.array([setting[name] for setting in settings], np.float32) for name in base}
    tables = qjax.sweep(build, seeds=1, hypers=hypers, steps=200, log_points=2, width=2).agents.table
    alike = (tables == tables[:1]).reshape(len(settings), -1).all(1)
    assert alike.sum() == 1  # itself


def test_epsilon():
    time = lambda step: qjax.Time(jnp.float32(step), jnp.int32(0), jnp.float32(0))
    falling = algorithms.Tabular(steps=1000, epsilon_fraction=0.5).epsilon_schedule()
    np.testing.assert_allclose([falling(time(t)) for t in (0, 250, 500, 900)], [1, 0.525, 0.05, 0.05], rtol=1e-6)
    assert algorithms.Tabular(epsilon=0.3).epsilon_schedule()(time(5)) == np.float32(0.3)
    chosen = schedules.constant(0.25)
    assert algorithms.Tabular(epsilon=chosen).epsilon_schedule() is chosen


def test_ties_are_shared_or_the_first():
    policy = lambda ties: algorithms.parts(
        "q-learning", qjax.make(probes.Walk()), algorithms.Tabular(epsilon=0.0, ties=ties)
    ).policy(jnp.zeros(2), qjax.Time(jnp.float32(0), jnp.int32(0), jnp.float32(0)))  # fmt: skip
    assert policy("random").tolist() == [0.5, 0.5] and policy("first").tolist() == [1, 0]


def test_any_policy_and_a_visit_count():
    """What acts is also what SARSA's expectations are taken under, and the step size is every algorithm's."""
    q, time = jnp.array([0.0, 1.0]), qjax.Time(jnp.float32(0), jnp.int32(0), jnp.float32(0), jnp.int32(0))
    walk = qjax.make(probes.Walk())
    for change, expected in (
        ({"temperature": 0.5}, qjax.boltzmann(0.5)),
        ({"policy": qjax.uniform, "temperature": 0.5}, qjax.uniform),
    ):
        for name in algorithms.TABULAR:
            config = constants(name, alpha=0.5, alpha_power=1.0, gamma=1.0, **change)
            parts = algorithms.parts(name, walk, config)
            np.testing.assert_allclose(parts.policy(q, time), expected(q, time), rtol=1e-6)
            state = parts.agent.init(jax.random.key(0), jnp.zeros(1, jnp.int32))
            assert np.shape(state.visits) == np.shape(state.table), name
    cell = lambda x, dtype: jnp.full((1, 1), x, dtype)
    seen = qjax.Transition(
        cell(0, int), cell(0, int), cell(0.0, float), cell(1.0, float), cell(1, int), cell(0, bool)
    )
    batch = qjax.Batch(seen, jnp.ones((1, 1)), jnp.zeros(1, int), jnp.zeros(1, int))
    soft = algorithms.Tabular(alpha=0.5, alpha_power=1.0, gamma=1.0, temperature=0.5)
    agent = algorithms.parts("expected-sarsa", walk, soft).agent
    state = qjax.agents.CountedState(jnp.zeros((8, 2)).at[1].set(q), jnp.full((8, 2), 3, jnp.int32))
    after, _ = agent.learn(jax.random.key(0), state, batch, time)
    assert float(after.table[0, 0]) == pytest.approx(0.5 / 4 * float(qjax.boltzmann(0.5)(q, time)[1]))


@pytest.mark.parametrize(
    ("agent", "memory", "said"),
    [
        (
            qjax.tabular(4, 4, 0.1),
            qjax.online(),
            "an agent for 4 states and 4 actions; FrozenLake-v1 has 16 states",
        ),
        (qjax.tabular(16, 3, 0.1, tables=2), qjax.online(), "an agent for 16 states and 3 actions"),
        (qjax.traces(64, 4, 0.1, 0.9), qjax.with_next_action(), "an agent for 64 states and 4 actions"),
        (qjax.tabular(16, 4, 0.1), qjax.dyna(4, 4, 2), "a memory for 4 states and 4 actions"),
    ],
)
def test_tables_of_another_environment(agent, memory, said):
    """A row that a table does not have would be clipped to its last one, and nobody would notice."""
    lake = qjax.make("FrozenLake-v1")
    with pytest.raises(ValueError, match=said):
        qjax.make_loop(lake, agent, qjax.greedy, memory, gamma=0.9)
    if "agent" in said:
        with pytest.raises(ValueError, match=said):
            qjax.evaluate(lake, agent, None, jax.random.key(0), episodes=1)


@pytest.mark.parametrize("name", algorithms.TABULAR)
def test_boxes_are_refused(name):
    with pytest.raises(TypeError, match=r"a table needs discrete observations; CartPole-v1 gives float32\[4\]"):
        algorithms.make(name, qjax.make("CartPole-v1"))


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("q-learning", {"alpha": 0.0}, r"alpha must lie in \(0, 1\], got 0.0"),
        ("q-lambda", {"alpha": 1.5, "alpha_power": 1.0}, r"alpha must lie in \(0, 1\], got 1.5"),
        ("sarsa", {"alpha_power": 2.0}, r"power must lie in \(0, 1\], got 2.0"),
        ("sarsa", {"temperature": 0.0}, r"temperature must lie in \(0, inf\), got 0.0"),
        ("sarsa", {"epsilon": 1.5}, r"epsilon must lie in \[0, 1\], got 1.5"),
        ("sarsa", {"epsilon_fraction": 0.0}, "epsilon_fraction must lie in"),
        ("q-lambda", {"lam": 1.5}, r"lambda must lie in \[0, 1\], got 1.5"),
        ("n-step-q", {"n": 0}, "n must be at least 1, got 0"),
        ("dyna-q", {"planning": -1}, "planning must be at least 0, got -1"),
        ("q-learning", {"steps": 0}, "steps must be at least 1, got 0"),
        ("q-learning", {"initial": np.zeros((4, 4))}, r"of shape \(4, 4\) for a table of shape \(16, 4\)"),
    ],
)
def test_constants_out_of_range(name, change, said):
    with pytest.raises(ValueError, match=said):
        algorithms.make(name, qjax.make("FrozenLake-v1"), algorithms.config(name, **change))


def test_each_algorithm_has_its_own_config():
    lake = qjax.make("FrozenLake-v1")
    with pytest.raises(TypeError, match="sarsa takes a Tabular, got a DQN"):
        algorithms.make("sarsa", lake, algorithms.DQN())
    with pytest.raises(TypeError, match="dqn takes a DQN, got a Tabular"):
        algorithms.make("dqn", lake, algorithms.Tabular())
    assert algorithms.make("dqn", lake).env.num_states == 16  # states become one-hot vectors
    with pytest.raises(ValueError, match="no algorithm 'sarsa-lamda'; did you mean sarsa-lambda"):
        algorithms.make("sarsa-lamda", lake)
