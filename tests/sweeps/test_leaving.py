"""Lanes that leave a sweep: their numbers stay as they were then, and nothing of the others' changes."""

import jax
import numpy as np
import probes
import pytest

import qjax
from qjax.cli import command

SEEDS, POINTS = 7, 6
WORK = {"seeds": SEEDS, "steps": 240, "log_points": POINTS, "width": 2}
EPISODES = {
    "seeds": 5,
    "log_points": 30,
    "width": 2,
    "schedules": {"one": qjax.exploration.schedules.constant(1.0)},
}


def build(hyper=None, episodes=None):
    """Return a table on the probe whose returns depend on luck."""
    env = qjax.make(probes.Walk())
    alpha = 0.5 if hyper is None else hyper["alpha"]
    agent = qjax.tabular(env.num_states, env.num_actions, alpha)
    memory = qjax.online()
    return qjax.make_loop(env, agent, qjax.epsilon_greedy(0.3), memory, gamma=0.9, episodes=episodes)


def limited(hyper=None):
    return build(hyper, episodes=6)


def some(point, number):
    """Drop three lanes at the first log point, two at the third, and answer with nothing elsewhere."""
    return {0: np.isin(np.arange(SEEDS), [1, 4, 6]), 2: np.isin(np.arange(SEEDS), [0, 1, 5])}.get(number)


LAST = [2, 0, POINTS - 1, POINTS - 1, 0, 2, 0]
"""The last log point of each lane that `some` lets stay."""


@pytest.fixture(scope="module")
def whole():
    return qjax.sweep(build, **WORK)


@pytest.fixture(scope="module")
def dropped():
    return qjax.sweep(build, drop=some, **WORK)


def same(a, b):
    assert [x.tobytes() for x in jax.tree.leaves(a)] == [x.tobytes() for x in jax.tree.leaves(b)]


def agents_at(point):
    """Return the agents as they are after so many log points of the sweep."""
    return qjax.sweep(build, **{**WORK, "steps": 40 * (point + 1), "log_points": point + 1}).agents


def same_points(a, b):
    assert len(a) == len(b)
    for one, other in zip(a, b, strict=True):
        same(one._replace(seconds=0.0, done=0.0), other._replace(seconds=0.0, done=0.0))


def test_those_that_stay_do_not_notice_and_those_that_leave_are_as_they_were(whole, dropped):
    for lane, last in enumerate(LAST):
        assert dropped.agents[lane].tobytes() == agents_at(last)[lane].tobytes()
        for number, (point, full) in enumerate(zip(dropped.points, whole.points, strict=True)):
            there = number <= last
            assert point.changed[lane] == there and point.env_steps[lane] == 40 * (min(number, last) + 1)
            for name in ("mean_return", "episodes", "diverged_at"):
                found, known = (getattr(x, name)[lane] for x in (point, full))
                if there:
                    np.testing.assert_array_equal(found, known)
            assert there or np.isnan(point.mean_return[lane])
    same(dropped.agents[2:4], whole.agents[2:4])
    assert dropped.dropped_at.tolist() == [120, 40, -1, -1, 40, 120, 40] and (whole.dropped_at == -1).all()
    last = np.array(LAST)
    assert dropped.env_steps == dropped.points[-1].env_steps.sum() == 40 * (last + 1).sum()
    assert [point.updates for point in dropped.points] == [40 * (number <= last).sum() for number in range(POINTS)]


def test_the_answer_that_counts_is_one_bool_for_each_lane():
    for said in (np.zeros(SEEDS), np.zeros(3, bool), True, [[False] * SEEDS]):
        with pytest.raises(ValueError, match=rf"drop must return None or a bool for each of {SEEDS} lanes"):
            qjax.sweep(build, drop=lambda point, number, said=said: said, **WORK)
    with pytest.raises(TypeError, match="drop must be a function"):
        qjax.sweep(build, drop=lambda point: None, **WORK)
    named = {"dropped": qjax.exploration.schedules.constant(1.0)}
    with pytest.raises(ValueError, match=r"logged values \['dropped'\] have the name of another column"):
        qjax.sweep(build, drop=some, schedules=named, **WORK)


def test_all_may_leave_and_then_the_sweep_ends():
    seen = []
    ends = lambda point, number: [number == 1] * SEEDS
    result = qjax.sweep(build, drop=ends, on_progress=seen.append, **WORK)
    assert len(result.points) == 2 and seen[-1].done == result.points[-1].done == 1 and result.stopped is None
    assert result.env_steps == 80 * SEEDS and (result.dropped_at == 80).all()
    same(result.agents, agents_at(1))


def test_whose_work_is_done_is_not_dropped(whole):
    result = qjax.sweep(build, drop=lambda point, number: [point.done == 1] * SEEDS, **WORK)
    assert (result.dropped_at == -1).all() and (result.points[-1].values["dropped"] == 0).all()
    same(result.agents, whole.agents)


def test_a_table_has_a_lane_until_it_leaves(tmp_path, dropped):
    with qjax.Run(tmp_path / "run", "tabular", {}) as run:
        qjax.sweep(build, drop=some, run=run, **WORK)
    table = qjax.runs.load_metrics(tmp_path / "run")
    for lane, last in enumerate(LAST):
        own = {name: column[table["seed"] == lane] for name, column in table.items()}
        assert own["env_steps"].tolist() == [40 * (number + 1) for number in range(last + 1)]
        assert own["dropped"].tolist() == [0] * last + [float(last < POINTS - 1)]
    with pytest.warns(UserWarning, match="5 of 7 lanes were dropped before their end"):
        loaded = qjax.results.load(tmp_path / "run")
    assert loaded.complete and loaded.dropped_at.tolist() == [dropped.dropped_at.tolist()]
    assert dropped.table().dropped_at.tolist() == loaded.dropped_at.tolist()
    assert loaded.lengths.tolist() == [[last + 1 for last in LAST]] and "dropped" not in loaded.metrics
    assert qjax.load_config(tmp_path / "run")["sweep"]["drops"] == {"own": True, "diverged": False}
    same(qjax.load_agents(tmp_path / "run"), dropped.agents)


@pytest.mark.parametrize("fails_at", [0, 1, 4])
def test_a_run_goes_on_with_those_that_are_left(tmp_path, dropped, fails_at):
    """It is not asked again about the log points that it had."""
    asked = []

    def drop(point, number):
        asked.append(number)
        return some(point, number)

    def fail(point):
        if len(asked) > fails_at:
            raise RuntimeError

    work = {**WORK, "drop": drop}
    with pytest.raises(RuntimeError), qjax.Run(tmp_path / "run", "tabular", {}) as run:
        qjax.sweep(build, run=run, on_log=fail, **work)
    for _ in range(2):  # gone on with, and returned
        with qjax.Run(tmp_path / "run", "tabular", {}, resume=True) as run:
            again = qjax.sweep(build, run=run, **work)
        same(again.agents, dropped.agents)
        for name in ("dropped_at", "diverged_at", "env_steps"):
            np.testing.assert_array_equal(getattr(again, name), getattr(dropped, name))
        for one, other in zip(again.points, dropped.points, strict=True):
            np.testing.assert_array_equal(one.mean_return, other.mean_return)
            np.testing.assert_array_equal(one.values["dropped"], other.values["dropped"])
    assert asked == list(range(POINTS))
    with (
        pytest.raises(ValueError, match="drops"),
        qjax.Run(tmp_path / "run", "tabular", {}, resume=True) as run,
    ):
        qjax.sweep(build, run=run, **WORK)


def test_episodes_end_a_lane_and_its_last_agent_is_evaluated():
    """It leaves where that is done, and no later agent of its can be the best."""
    plain = qjax.sweep(limited, **EPISODES)
    result = qjax.sweep(limited, evaluate_every=4, evaluate_episodes=3, **EPISODES)
    same(plain.agents, result.agents)
    assert (result.dropped_at == -1).all()
    ended = np.array([point.episodes >= 6 for point in result.points]).argmax(0)
    for lane, number in enumerate(ended):
        values = [point.values["eval_return"][lane] for point in result.points]
        last = np.flatnonzero(np.isfinite(values))[-1]
        assert last >= number and last - number < 4 and ((last + 1) % 4 == 0 or last == len(values) - 1)
        ones = [point.values["one"][lane] for point in result.points]
        assert np.isnan(ones).tolist() == [False] * (last + 1) + [True] * (len(ones) - last - 1)
    assert len(set(ended.tolist())) > 2


def test_a_last_evaluation_has_a_row_though_the_lane_no_longer_steps(tmp_path):
    """So what is read back has the step of the best agent, too."""
    results = []
    for _ in range(2):
        with qjax.Run(tmp_path / "run", "walk", {}, resume=True) as run:
            results.append(qjax.sweep(limited, evaluate_every=4, evaluate_episodes=3, run=run, **EPISODES))
    live, read = results
    np.testing.assert_array_equal(live.best.env_steps, read.best.env_steps)
    steps = np.stack([point.env_steps for point in live.points])
    changed = np.stack([point.changed for point in live.points])
    assert (changed[1:] & (np.diff(steps, axis=0) == 0)).any()
    evaluated = np.stack([point.values["eval_return"] for point in live.points])
    assert np.isfinite(evaluated[changed.sum(0) - 1, np.arange(changed.shape[1])]).all()
    for one, other in zip(live.points, read.points, strict=True):
        np.testing.assert_array_equal(one.values["eval_return"], other.values["eval_return"])


def test_diverged_lanes_leave():
    hypers = qjax.grid(alpha=[0.5, 0.1])

    def bad(hyper):
        loop = build(hyper)

        def broken(key, state, batch, time):
            new, info = loop.agent.learn(key, state, batch, time)
            return new * jax.numpy.where(hyper["alpha"] > 0.3, np.inf, 1.0), info

        agent = loop.agent._replace(learn=broken)
        return qjax.make_loop(loop.env, agent, qjax.epsilon_greedy(0.3), qjax.online(), gamma=0.9)

    result = qjax.sweep(bad, hypers=hypers, drop_diverged=True, **{**WORK, "seeds": 2})
    assert result.dropped_at.tolist() == [40, 40, -1, -1] and (result.diverged_at[:2] > 0).all()
    assert result.points[-1].changed.tolist() == [False, False, True, True]


def test_the_command_line_tells_how_many_were_dropped(tmp_path, capsys):
    result = qjax.sweep(build, drop=some, **WORK)
    command._tell(result, several=False)
    assert "5 of 7 seeds were dropped before their end" in capsys.readouterr().err
    summary = command.outcome(result, np.zeros(SEEDS), None)
    assert summary["dropped"] == 5 and summary["dropped_seeds"][0] == {"seed": 0, "step": 120}
