"""Evaluation while a sweep trains: on keys of its own, as often as asked, and without a trace in training."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import probes
import pytest

import qjax
from qjax.sweeps import evaluating

EPISODES = 3
WORK = {"seeds": 3, "steps": 240, "log_points": 6, "width": 2}


def build(hyper=None):
    """Return a table on the probe whose returns depend on luck."""
    env = qjax.make(probes.Walk())
    alpha = 0.5 if hyper is None else hyper["alpha"]
    agent = qjax.tabular(env.num_states, env.num_actions, alpha)
    return qjax.make_loop(env, agent, qjax.epsilon_greedy(0.3), qjax.online(), gamma=0.9)


@pytest.fixture(scope="module")
def evaluated():
    return qjax.sweep(build, evaluate_every=2, evaluate_episodes=EPISODES, **WORK)


def test_the_columns_are_what_evaluate_returns_on_those_keys(evaluated):
    """The last log point has the agents that the result has."""
    loop, last = build(), evaluated.points[-1]
    number = len(evaluated.points) - 1
    for lane, seed in enumerate(evaluated.seeds):
        key = evaluating.key_at(jax.random.key(0), seed, evaluating.GREEDY, number)
        agent = jax.tree.map(lambda x, lane=lane: x[lane], evaluated.agents)
        returns = np.asarray(qjax.evaluate(loop.env, loop.agent, agent, key, EPISODES).returns)
        np.testing.assert_allclose(last.values["eval_return"][lane], returns.mean(), rtol=1e-6)
        np.testing.assert_allclose(last.values["eval_std"][lane], returns.std(), rtol=1e-5, atol=1e-6)


def test_it_is_due_at_every_second_log_point_and_at_the_last_one():
    due = [evaluating.Evaluation(2, EPISODES).due(number, number == 6) for number in range(7)]
    assert due == [False, True] * 3 + [True]


def test_every_second_log_point_and_the_last_one_have_it(evaluated):
    due = [bool(np.isfinite(point.values["eval_return"]).all()) for point in evaluated.points]
    none = [bool(np.isnan(point.values["eval_std"]).all()) for point in evaluated.points]
    assert due == [False, True] * 3 and none == [not each for each in due]
    odd = qjax.sweep(build, evaluate_every=4, evaluate_episodes=EPISODES, **WORK)
    assert [bool(np.isfinite(p.values["eval_return"][0])) for p in odd.points] == [False] * 3 + [True, False, True]


def test_training_does_not_change(evaluated):
    plain = qjax.sweep(build, **WORK)
    assert np.asarray(plain.agents).tobytes() == np.asarray(evaluated.agents).tobytes()
    for a, b in zip(plain.points, evaluated.points, strict=True):
        np.testing.assert_array_equal(a.mean_return, b.mean_return)
        assert "eval_return" not in a.values


def test_no_key_is_drawn_from_twice():
    """Neither by two log points or lanes, nor by the evaluation after the sweep, nor by a report."""
    root, key_data = jax.random.key(0), lambda key: tuple(jax.random.key_data(key).tolist())
    found = [
        key_data(evaluating.key_at(root, seed, stream, point))
        for seed in range(3)
        for stream in (evaluating.REPORT, evaluating.GREEDY)
        for point in range(5)
    ]
    for seed in range(3):
        after = qjax.training.evaluation.evaluation_key(0, seed)
        found += [key_data(key) for key in (after, *jax.random.split(after), jax.random.fold_in(root, seed))]
    assert len(set(found)) == len(found)


def test_a_report_has_a_key_for_each_lane_and_log_point():
    report = lambda hyper, lane, clock, key: {"drawn": jax.random.uniform(key)}
    drawn = np.array([point.values["drawn"] for point in qjax.sweep(build, report=report, **WORK).points])
    assert drawn.shape == (6, 3) and len(np.unique(drawn)) == drawn.size


def test_settings_are_evaluated_as_themselves_and_the_table_has_it(tmp_path):
    with qjax.Run(tmp_path / "run", "tabular", {}) as run:
        work = {**WORK, "evaluate_every": 3, "evaluate_episodes": EPISODES, "hypers": qjax.grid(alpha=[0.1, 0.5])}
        result = qjax.sweep(build, run=run, **work)
    for point, again in zip(result.points, qjax.load_points(tmp_path / "run"), strict=True):
        for name in ("eval_return", "eval_std"):
            np.testing.assert_array_equal(again.values[name], point.values[name])
    assert qjax.load_config(tmp_path / "run")["sweep"]["evaluation"] == {"every": 3, "episodes": EPISODES}


def test_the_best_agent_is_the_one_of_the_best_evaluation(tmp_path):
    """The first of equal ones; a run that goes on, or has ended, has the same."""
    total = lambda table: (table * jnp.arange(table.size).reshape(table.shape)).sum()
    sums = lambda hyper, lane, clock, key: {"sum": total(lane.agent)}
    work = {**WORK, "evaluate_every": 1, "evaluate_episodes": EPISODES, "report": sums}
    result = qjax.sweep(build, **work)
    values = np.array([point.values["eval_return"] for point in result.points])
    first = values.argmax(0)
    assert len(set(first.tolist()) - {5}) > 0  # not only the last ones
    for lane, point in enumerate(first):
        assert total(result.best.agents[lane]) == result.points[point].values["sum"][lane]
        assert result.best.env_steps[lane] == result.points[point].env_steps[lane]

    def fail(point):
        if point.done > 0.5:
            raise RuntimeError

    with pytest.raises(RuntimeError), qjax.Run(tmp_path / "run", "tabular", {}) as run:
        qjax.sweep(build, run=run, on_log=fail, **work)
    for _ in range(2):  # gone on with, and returned
        with qjax.Run(tmp_path / "run", "tabular", {}, resume=True) as run:
            again = qjax.sweep(build, run=run, **work)
        np.testing.assert_array_equal(again.best.agents, result.best.agents)
        np.testing.assert_array_equal(again.best.env_steps, result.best.env_steps)
    np.testing.assert_array_equal(qjax.load_agents(tmp_path / "run", which="best"), result.best.agents)
    np.testing.assert_array_equal(qjax.load_agents(tmp_path / "run"), result.agents)
    with pytest.raises(ValueError, match="did you mean best"):
        qjax.load_agents(tmp_path / "run", which="bset")
    (tmp_path / "run/best_agents/structure.json").write_text("{}")
    with pytest.raises(ValueError, match="damaged"):
        qjax.load_agents(tmp_path / "run", which="best")


def test_a_better_evaluation_and_no_equal_one_makes_the_best_agent():
    loop, key = build(), jax.random.key(2)
    lane = evaluating.unevaluated(loop.init(jax.random.key(1)))
    fresh, found = evaluating.evaluated(loop, lane, key, EPISODES)
    assert fresh.best.value == found["eval_return"] and jnp.isfinite(fresh.best.value)
    for before, better in ((-jnp.inf, True), (found["eval_return"], False), (jnp.inf, False)):
        best = lane.best._replace(agent=lane.agent + 1, value=jnp.float32(before))
        after, _ = evaluating.evaluated(loop, lane._replace(best=best), key, EPISODES)
        np.testing.assert_array_equal(after.best.agent, lane.agent if better else best.agent)
        assert after.best.value == (found["eval_return"] if better else before)


def test_without_an_evaluation_there_is_no_best_agent(tmp_path):
    with qjax.Run(tmp_path / "run", "tabular", {}) as run:
        assert qjax.sweep(build, run=run, **WORK).best is None
    with pytest.raises(FileNotFoundError, match="none were evaluated while it trained"):
        qjax.load_agents(tmp_path / "run", which="best")


def test_a_run_goes_on_with_the_evaluations_it_would_have_had(evaluated, tmp_path):
    work = {**WORK, "evaluate_every": 2, "evaluate_episodes": EPISODES}

    def fail(point):
        if point.done > 0.5:
            raise RuntimeError

    with pytest.raises(RuntimeError), qjax.Run(tmp_path / "run", "tabular", {}) as run:
        qjax.sweep(build, run=run, on_log=fail, **work)
    with qjax.Run(tmp_path / "run", "tabular", {}, resume=True) as run:
        again = qjax.sweep(build, run=run, **work)
    for a, b in zip(evaluated.points, again.points, strict=True):
        np.testing.assert_array_equal(a.values["eval_return"], b.values["eval_return"])
    other = {**work, "evaluate_episodes": EPISODES + 1}
    with (
        pytest.raises(ValueError, match="evaluation"),
        qjax.Run(tmp_path / "run", "tabular", {}, resume=True) as run,
    ):
        qjax.sweep(build, run=run, **other)


def test_the_plan_and_the_progress_tell_of_it():
    seen = []
    qjax.sweep(
        build, evaluate_every=2, evaluate_episodes=EPISODES, chunk_seconds=1e-9, on_progress=seen.append, **WORK
    )
    assert np.isnan(seen[0].iqm_evaluation) and np.isfinite(seen[-1].iqm_evaluation)
    planned = qjax.sweep.plan(build, evaluate_every=2, evaluate_episodes=EPISODES, **WORK)
    assert planned.evaluation_steps == 3 * EPISODES * build().env.max_steps
    assert f"{planned.evaluation_steps:,} steps of each lane" in str(planned)
    assert "evaluation" not in str(qjax.sweep.plan(build, **WORK))


def test_bad_input():
    with pytest.raises(ValueError, match=r"evaluate_every must be .* got 0"):
        qjax.sweep(build, evaluate_every=0, **WORK)
    with pytest.raises(ValueError, match=r"evaluate_episodes must be .* got 0"):
        qjax.sweep(build, evaluate_every=1, evaluate_episodes=0, **WORK)
    endless = qjax.make("CartPole-v1", max_episode_steps=-1)
    agent = qjax.dqn(qjax.MLP(2, (4,)), optax.adam(1e-3))
    loop = qjax.make_loop(endless, agent, qjax.greedy, qjax.ring(100, 4), gamma=0.9, warmup=4)
    with pytest.raises(ValueError, match="CartPole-v1 has no limit on an episode's steps"):
        qjax.sweep(lambda _: loop, evaluate_every=1, seeds=1, steps=20, log_points=1)
    report = lambda hyper, lane, clock, key: {"eval_return": lane.agent.sum()}
    with pytest.raises(ValueError, match=r"logged values \['eval_return'\] have the name of another column"):
        qjax.sweep(build, report=report, evaluate_every=1, **WORK)
