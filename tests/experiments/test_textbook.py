"""Sutton and Barto's examples come out as in the book, and the family's page is drawn."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qjax
from experiments import exploration, family, textbook
from qjax.mdp import examples, solve


def arguments(tmp_path, seeds):
    return textbook.Arguments(seeds=seeds, out=tmp_path)


def walk(table, limit=100):
    """Return the cells (row, column) of the greedy path on the cliff, from the start to its end or the limit."""
    at, cells = 36, []
    for _ in range(limit):
        cells.append(divmod(at, 12))
        row, column = cells[-1]
        move = ((-1, 0), (0, 1), (1, 0), (0, -1))[int(np.argmax(table[at]))]
        row, column = min(max(row + move[0], 0), 3), min(max(column + move[1], 0), 11)
        at = 12 * row + column
        if at == 47 or (row == 3 and column):
            break
    return cells, at == 47


@pytest.mark.slow
def test_sarsa_is_safe_and_q_learning_walks_along_the_edge(tmp_path):
    """Example 6.6: Q-learning learns the best path and falls more often; SARSA goes round and earns more online."""
    curves, runs = textbook.cliff(arguments(tmp_path, 24))
    online = {name: curve[:, 30:].mean() for name, curve in curves.items()}
    assert -35 < online["sarsa"] < -18 and -65 < online["q-learning"] < -38, online
    edge = [walk(table) for table in np.asarray(runs["q-learning"].agents)]
    assert np.mean([arrives and len(cells) == 13 for cells, arrives in edge]) > 0.7
    safe = [min(row for row, _ in walk(table)[0]) for table in np.asarray(runs["sarsa"].agents)]
    assert np.mean(np.array(safe) <= 1) > 0.9  # a row or more away from the edge


@pytest.mark.slow
def test_two_tables_are_less_biased(tmp_path):
    """Example 6.7: left is never worth it; plain Q-learning takes it most of the time at first."""
    left = textbook.bias(arguments(tmp_path, 200))
    q, double = (left[name].mean(0) for name in ("q-learning", "double-q-learning"))
    assert q[:100].max() > 0.6 and q[:100].mean() - double[:100].mean() > 0.15
    assert double[-50:].mean() < 0.12 < q[-50:].mean() + 0.05


@pytest.mark.slow
def test_planning_learns_the_maze_in_fewer_episodes(tmp_path):
    """Figure 8.2: a good path after some 25 episodes without planning, 5 with five steps, 3 with fifty."""
    steps = {name: curve.mean(0) for name, curve in textbook.maze(arguments(tmp_path, 24)).items()}
    none, five, fifty = (steps[f"{n} planning steps"] for n in (0, 5, 50))
    assert none[3] > 150 and five[3] < 0.6 * none[3] and fifty[3] < 40
    assert none[-5:].mean() < 30 and five[-5:].mean() < 22


def test_steps_per_episode_between_log_points():
    point = lambda steps, episodes: SimpleNamespace(env_steps=np.array([steps]), episodes=np.array([episodes]))
    points = [point(10, 0), point(20, 1), point(30, 1), point(40, 3)]
    np.testing.assert_allclose(textbook.steps_per_episode(points, 3), [[15.5, 19.5, 5]])


def test_no_episode_is_shorter_for_being_the_last():
    """The steps of a seed that is done end with its last episode, those of other intervals anywhere."""
    rng = np.random.default_rng(0)
    lengths = np.concatenate([rng.integers(14, 200, (2000, 1)), rng.integers(14, 20, (2000, 29))], axis=1)
    ends = np.cumsum(lengths, axis=1)
    at = [np.minimum(ends[:, -1], steps) for steps in range(10, 800, 10)]  # at most one in an interval
    points = [SimpleNamespace(env_steps=now, episodes=(ends <= now[:, None]).sum(1)) for now in at]
    found = textbook.steps_per_episode(points, 30).mean(0)
    np.testing.assert_allclose(found[1:], 16.5, atol=0.3)


def test_the_maze_and_the_biased_mdp_are_the_books():
    shortest = solve.value_iteration(textbook.dyna_maze(), 0.5).max(-1)[18]
    assert float(shortest) == pytest.approx(0.5**13)  # 14 steps
    q = solve.value_iteration(textbook.biased(), 1.0)
    assert float(q[0, 0]) == 0 and float(q[0, 1]) == pytest.approx(-0.1, abs=1e-5)


@pytest.mark.slow
def test_the_page(tmp_path, capsys):
    """Short runs: folders and pictures are there, a second call trains nothing, and errors are logged."""
    args = family.Arguments(seeds=3, tasks=("lake-4x4", "cliff"), names=("q-learning", "sarsa-lambda"), shorten=50,
                            log_points=4, out=tmp_path)  # fmt: skip
    family.run(args)
    assert {x.name for x in tmp_path.glob("*.png")} == {"family.png", "policies-lake-4x4.png", "policies-cliff.png"}
    points = qjax.load_points(tmp_path / "cliff" / "sarsa-lambda")
    assert len(points) == 4 and np.isfinite(points[-1].values["regret"]).all()
    written = (tmp_path / "cliff" / "q-learning" / "metrics.csv").read_bytes()
    assert "env-steps/s" in capsys.readouterr().out
    family.run(args)
    assert "env-steps/s" not in capsys.readouterr().out  # the progress of a run
    assert (tmp_path / "cliff" / "q-learning" / "metrics.csv").read_bytes() == written


def test_the_page_reports_the_exact_distance(tmp_path):
    """What is logged is computed from the table at hand."""
    args = family.Arguments(seeds=2, shorten=20, log_points=2, out=tmp_path)
    env = qjax.make("FrozenLake-v1", map_name="4x4", is_slippery=False)
    points, tables = family.trained(args, "lake-4x4", "double-q-learning", env)
    mdp = examples.from_env(env)
    optimal = np.asarray(solve.value_iteration(mdp, 0.99))
    inside = np.asarray(solve.exact(mdp, 0.99).acts)
    distance = np.abs(tables - optimal)[:, inside].max((1, 2))
    np.testing.assert_allclose(points[-1].values["distance"], distance, rtol=1e-5)
    policies = jax.vmap(jax.vmap(qjax.greedy))(jnp.asarray(tables))
    worth = [float(solve.policy_values(mdp, policy, 0.99) @ mdp.start) for policy in policies]
    np.testing.assert_allclose(points[-1].values["greedy_start_value"], worth, atol=1e-5)


def test_a_task_or_algorithm_that_there_is_not(tmp_path):
    with pytest.raises(ValueError, match=r"\['lake'\] is none of lake-4x4, "):
        family.run(family.Arguments(seeds=2, tasks=("lake",), out=tmp_path))


def test_who_explores_comes_to_the_treasure_of_a_small_sea():
    args, task = exploration.Arguments(seeds=4, log_points=1), exploration.sea(4, episodes=200)
    found = {name: exploration.trained(args, task, *pieces) for name, pieces in exploration.agents(task).items()}
    regret = {name: points[-1].values["regret"] for name, points in found.items()}
    assert all((regret[name] < 1e-5).all() for name in ("MBIE-EB", "count bonus", "optimism"))


def test_when_a_seed_lost_its_regret_for_good():
    point = lambda steps, *regret: SimpleNamespace(env_steps=np.full(3, steps), values={"regret": np.array(regret)})
    points = [point(10, 0.0, 0.5, 0.5), point(20, 0.0, 0.0, 0.0), point(30, 0.0, 0.0, 0.3)]
    found = exploration.ended(points)
    assert found == {"regret": [0.0, 0.0, 0.3], "steps_until_none": [10, 20, None]}
