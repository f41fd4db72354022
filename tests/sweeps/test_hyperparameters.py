"""Settings of a sweep: grids, what may be swept without a recompile, and what is wrong with the rest."""

import jax
import numpy as np
import optax
import probes
import pytest
from gymnax.environments.classic_control.cartpole import CartPole, EnvParams

import qjax
from qjax.exploration import schedules
from qjax.sweeps import described, hyperparameters


def test_grid_runs_the_last_name_fastest():
    found = qjax.grid(rate=[1e-3, 1e-4], period=[10, 20, 30])
    assert found["rate"].tolist() == [1e-3] * 3 + [1e-4] * 3
    assert found["period"].tolist() == [10, 20, 30] * 2 and found["period"].dtype == np.int64


def test_zipped_pairs():
    found = qjax.zipped(rate=[1e-3, 1e-4], gamma=(0.9, 0.99))
    assert {name: column.tolist() for name, column in found.items()} == {"rate": [1e-3, 1e-4], "gamma": [0.9, 0.99]}


@pytest.mark.parametrize("make", [qjax.grid, qjax.zipped])
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "an empty grid has no settings"),
        ({"rate": [1e-3], "gamma": []}, r"gamma needs a sequence of at least one value, got \[\]"),
        ({"rate": 1e-3}, "rate needs a sequence of at least one value, got 0.001"),
    ],
)
def test_empty_grids(make, values, message):
    with pytest.raises(ValueError, match=message):
        make(**values)


def test_zipped_of_different_lengths():
    with pytest.raises(ValueError, match=r"one length, got {'rate': 2, 'gamma': 3}"):
        qjax.zipped(rate=[1, 2], gamma=[1, 2, 3])


def test_columns_of_a_table():
    table = hyperparameters.columns({"network": {"rate": np.array([1, 2])}, "ends": np.array([[1, 2], [3, 4]])})
    assert {name: column.tolist() for name, column in table.items()} == {
        "ends.0": [1, 3], "ends.1": [2, 4], "network.rate": [1, 2],
    }  # fmt: skip


def everything(hyper):
    """Return a loop in which all that the documentation calls traced is swept."""
    env = qjax.make(CartPole(), EnvParams(length=hyper["length"], polemass_length=hyper["length"] * 0.1))
    rate = optax.adam(hyper["rate"])
    network = qjax.encoded(qjax.MLP(env.num_actions, (8,)), env.encode)
    copy, move = qjax.periodic(hyper["period"]), qjax.polyak(hyper["polyak"])

    def both(state, online, target, elapsed):
        state, target = copy.step(state, online, target, elapsed)
        return state, move.step((), online, target, elapsed)[1]

    target = qjax.types.Sync(copy.init, both)
    epsilon = schedules.linear(hyper["start"], hyper["end"], hyper["duration"])
    agent = qjax.dqn(network, rate, target=target)
    return qjax.make_loop(env, agent, qjax.epsilon_greedy(epsilon), qjax.ring(32, 8), gamma=hyper["gamma"])


VALUES = {
    "rate": [1e-2, 1e-3], "gamma": [0.9, 0.99], "start": [1.0, 0.5], "end": [0.1, 0.0], "duration": [30.0, 60.0],
    "length": [0.5, 0.7], "period": [8, 16], "polyak": [0.1, 0.5],
}  # fmt: skip


def test_everything_that_is_traced_has_an_effect():
    """One setting for the first values, and one for each value changed: no two learn the same network."""
    columns = {name: [first] for name, (first, _) in VALUES.items()}
    for changed, (_, second) in VALUES.items():
        for name, column in columns.items():
            column.append(second if name == changed else column[0])
    result = qjax.sweep(everything, hypers=qjax.zipped(**columns), seeds=[3], steps=64, log_points=1, width=2)
    kernels = result.agents.params["params"]["Dense_0"]["kernel"]
    assert len({row.tobytes() for row in kernels}) == len(VALUES) + 1 == len(kernels)


def tabular(hyper):
    env = qjax.make(probes.Walk())
    agent = qjax.tabular(env.num_states, 2, hyper["alpha"])
    return qjax.make_loop(env, agent, qjax.uniform, qjax.online(), gamma=0.9)


SMALL = {"seeds": 2, "steps": 20, "log_points": 1, "width": 2}


def test_a_sweep_compiles_once_whatever_its_values():
    """Six settings are traced and compiled as often as two."""
    traces, compiles, counts = 0, [], []

    def build(hyper):
        nonlocal traces
        traces += isinstance(hyper["alpha"], jax.core.Tracer)
        return tabular(hyper)

    jax.monitoring.register_event_duration_secs_listener(
        lambda event, duration, **_: compiles.append(event) if "backend_compile" in event else None
    )
    try:
        for number in (2, 2, 6):  # the first time small functions of NumPy's kind are compiled too
            work = {**SMALL, "seeds": 12 // number}
            traces = 0
            compiles.clear()
            qjax.sweep(build, hypers=qjax.grid(alpha=np.linspace(0.1, 1, number)), **work)
            counts.append((traces, len(compiles)))
    finally:
        jax.monitoring.clear_event_listeners()
    assert counts[1] == counts[2] and counts[2][0] > 0 and counts[2][1] >= 3


def test_a_value_without_effect_is_reported():
    with pytest.warns(UserWarning, match="hyper-parameter 'alhpa' has no effect"):
        qjax.sweep(tabular, hypers=qjax.grid(alpha=[0.1, 0.2], alhpa=[1, 2]), **SMALL)
    assert qjax.sweep.plan(tabular, hypers=qjax.grid(alpha=[0.1], beta=[1]), **SMALL).unused == ("beta",)


def test_an_unknown_name():
    message = r"build asks for the hyper-parameter 'alpha', which is not among \['alhpa'\]"
    with pytest.raises(ValueError, match=message):
        qjax.sweep(tabular, hypers=qjax.grid(alhpa=[0.1, 0.2]), **SMALL)


def test_a_value_that_leaves_out_a_part_of_the_agent():
    """No prior beside some: the one program has one, and what was trained could not be evaluated."""
    env = qjax.make("CartPole-v1")

    def build(hyper):
        config = qjax.algorithms.config("bootstrapped-dqn", hidden=(4,), members=2, prior_scale=hyper["scale"])
        return qjax.algorithms.make("bootstrapped-dqn", env, config)

    with pytest.raises(ValueError, match=r"\{'scale': 0.0\} makes an agent without the parts"):
        described.check(build, qjax.grid(scale=[3.0, 0.0]))
    described.check(build, qjax.grid(scale=[3.0, 1.0]))


@pytest.mark.parametrize("name", ["envs", "flag"])
def test_static_settings_passed_as_swept_ones(name, monkeypatch):
    def build(hyper):
        if name == "flag":
            return tabular({"alpha": 0.1 if hyper["flag"] else 0.2 * hyper["alpha"]})
        loop, envs = tabular(hyper), np.zeros(hyper["envs"]).size
        return qjax.make_loop(loop.env, loop.agent, qjax.uniform, qjax.online(), gamma=0.9, num_envs=envs)

    with pytest.raises(TypeError, match=rf"concrete value of \['{name}'\].*static_sweeps"):
        qjax.sweep(build, hypers=qjax.grid(alpha=[0.1, 0.2], **{name: [8, 9]}), **SMALL)


def test_static_sweeps_run_one_after_another_with_the_same_seeds(tmp_path):
    def build(hyper, num_envs):
        loop = tabular(hyper)
        return qjax.make_loop(loop.env, loop.agent, qjax.uniform, qjax.online(), gamma=0.9, num_envs=num_envs)

    arguments = {**SMALL, "hypers": qjax.grid(alpha=[0.1, 0.2]), "seeds": [5, 3]}
    folders = lambda i: qjax.Run(tmp_path / str(i), "static", {}, resume=True)
    one, two = qjax.static_sweeps(build, [{"num_envs": 1}, {"num_envs": 2}], run_for=folders, **arguments)
    assert one.seeds.tolist() == two.seeds.tolist() == [5, 3, 5, 3]
    alone = qjax.sweep(lambda hyper: build(hyper, 2), **arguments)
    assert two.agents.tobytes() == alone.agents.tobytes() != one.agents.tobytes()
    table = qjax.runs.load_metrics(tmp_path / "1")
    assert table["setting"].tolist() == [0, 0, 1, 1] and table["alpha"].tolist() == [0.1, 0.1, 0.2, 0.2]
    with pytest.raises(ValueError, match="at least one setting"):
        qjax.static_sweeps(build, [], **arguments)


def test_logged_schedules_with_swept_ends():
    hypers = qjax.grid(alpha=[0.5], end=[0.1, 0.3])
    logged = lambda hyper: {"epsilon": schedules.linear(1.0, hyper["end"], 10)}
    build = lambda hyper: tabular({"alpha": hyper["alpha"] + 0 * hyper["end"]})
    result = qjax.sweep(build, hypers=hypers, schedules=logged, **SMALL)
    np.testing.assert_allclose(result.points[-1].values["epsilon"], [0.1, 0.1, 0.3, 0.3], rtol=1e-6)


def test_a_report_on_the_agents_is_logged(tmp_path):
    """Computed from the agents as they are at each log point, of each lane's own setting, and kept in the table."""
    hypers = qjax.grid(alpha=[0.1, 0.5])

    def report(hyper, lane, clock, key):
        found = {"largest": lane.agent.max(), "scaled": lane.agent.sum() * hyper["alpha"]}
        return found | {"ticks": qjax.clock.as_float(clock) * 1, "steps": lane.stats.steps.astype(float)}

    seen = []
    with qjax.Run(tmp_path / "run", "tabular", {}) as run:
        work = {**SMALL, "log_points": 4, "hypers": hypers, "report": report, "run": run}
        result = qjax.sweep(tabular, on_log=seen.append, **work)
    last = result.points[-1].values
    tables = np.asarray(result.agents)
    np.testing.assert_allclose(last["largest"], tables.max((1, 2)), rtol=1e-6)
    np.testing.assert_allclose(last["scaled"], tables.sum((1, 2)) * [0.1, 0.1, 0.5, 0.5], rtol=1e-6)
    assert len(seen) == 4 and (seen[0].values["scaled"] != last["scaled"]).any()
    for point, again in zip(seen, qjax.load_points(tmp_path / "run"), strict=True):
        np.testing.assert_array_equal(again.values["scaled"], point.values["scaled"])


@pytest.mark.parametrize(
    ("report", "message"),
    [
        (
            lambda hyper, lane, clock, _: {"rows": lane.agent.max(1)},
            r"dict of numbers for one lane, got .*rows.*float32",
        ),
        (lambda hyper, lane, clock, _: lane.agent.max(), "dict of numbers for one lane"),
        (
            lambda hyper, lane, clock, key: {"loss": lane.agent.max()},
            r"logged values \['loss'\] have the name of another column",
        ),
        (
            lambda hyper, lane, clock, key: {"alpha": lane.agent.max()},
            r"hyper-parameters \['alpha'\] have the name of another",
        ),
    ],
)
def test_a_bad_report(report, message):
    with pytest.raises(ValueError, match=message):
        qjax.sweep(tabular, hypers=qjax.grid(alpha=[0.1, 0.5]), report=report, **SMALL)
