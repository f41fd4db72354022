"""The experiment on recorded data: its data, what is judged, its pictures; its runs are those of `qjax train`."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import qjax
from experiments import offline
from qjax import datasets, solve
from qjax.cli import train

LAKE = qjax.make("FrozenLake-v1")


def episodes():
    """Return a stream of an episode of return 3, one of return 5, and a piece of one."""
    ends = np.array([0, 1, 0, 0, 1, 0], bool)
    return datasets.from_arrays(
        np.zeros(6, np.int32), [0] * 6, [1, 2, 1, 1, 3, 9], ends, np.zeros(6, bool), np.zeros(6, np.int32),
        num_actions=1,
    )  # fmt: skip


def test_the_behaviour_s_return_is_that_of_whole_episodes():
    assert offline.behaviour_return(episodes()) == 4.0


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(offline, "ROWS", 300)


def test_data_are_recorded_once_and_better_agents_get_more(small, tmp_path):
    args = offline.Arguments(out=tmp_path)
    folders = offline.recorded(args, "lake")
    found = [datasets.load(folder, LAKE) for folder in folders.values()]
    returns = [offline.behaviour_return(data) for data in found]
    assert returns == sorted(returns) and returns[0] < returns[-1]
    before = (tmp_path / "data" / "lake-random" / "dataset.json").stat().st_mtime_ns
    offline.recorded(args, "lake")
    assert (tmp_path / "data" / "lake-random" / "dataset.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("task", offline.TASKS)
def test_every_run_can_be_made(task, tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(train, "run", given.append)
    monkeypatch.setitem(offline.TASKS, task, offline.TASKS[task]._replace(behaviours=acting_at_random))
    args = offline.Arguments(seeds=3, out=tmp_path)
    monkeypatch.setattr(offline, "ROWS", 20)
    for quality, data in offline.recorded(args, task).items():
        folders = offline.trained(args, task, quality, data)
        assert [each.out for each in given[-5:]] == list(folders.values()) and len({*folders.values()}) == 5
    for each in given[:5]:
        assert train.build(train.resolve(each)).updates == 10
    assert {each.data for each in given} == {f"{tmp_path / 'data' / task}-{x}" for x in offline.QUALITIES}


def acting_at_random(env, seed):
    """Return agents that act at random."""
    agent = qjax.dqn(qjax.encoded(qjax.MLP(env.num_actions, (2,)), env.encode), optax.sgd(0.1))
    obs = jax.tree.map(lambda x: jnp.zeros((1, *x.shape), x.dtype), env.obs_spec)
    state = agent.init(jax.random.key(0), obs)
    return dict.fromkeys(offline.QUALITIES, (agent, state, qjax.uniform))


def test_a_policy_is_judged_by_exact_values(monkeypatch, small, tmp_path):
    """An agent that holds the optimal values believes what its policy is worth; so nearly say the data."""
    mdp = qjax.mdp.from_env(LAKE)
    optimal = solve.value_iteration(mdp, offline.GAMMA)
    data = datasets.load(offline.recorded(offline.Arguments(out=tmp_path), "lake")["expert"])
    loop = qjax.make_loop(LAKE, qjax.tabular(16, 4, 0.1), qjax.greedy, qjax.online(), gamma=offline.GAMMA)
    monkeypatch.setattr(train, "load", lambda folder: (loop, jnp.stack([optimal, jnp.zeros_like(optimal)])))
    found = offline.judged(tmp_path, data, mdp)
    assert list(found) == list(offline.JUDGED) and all(len(x) == 2 for x in found.values())
    best = float(mdp.start @ optimal.max(-1))
    np.testing.assert_allclose([found["exact"][0], found["believed"][0]], best, rtol=1e-5)
    assert abs(found["model"][0] - best) < 0.1 and abs(found["fitted Q"][0] - best) < 0.1
    # The other always goes left, which the expert hardly ever does.
    assert found["believed"][1] == 0 and found["exact"][1] == pytest.approx(0, abs=1e-6)


FOUND = {
    quality: {
        "behaviour": 1.0 + number,
        "optimal": 0.5,
        "return": {line: [float(number), 2.0] for line in offline.LINES},
        "judged": {
            line: {"exact": [0.1 * number, 0.2], "believed": [0.3, 0.4], "model": [None, 0.1]}
            for line in offline.LINES
        },
    }
    for number, quality in enumerate(offline.QUALITIES)
}


def heights(axes):
    return [np.asarray(line.lines[0].get_ydata()) for line in axes.containers]


def test_pictures():
    (axes,) = offline.draw_returns(FOUND).axes
    np.testing.assert_allclose(heights(axes), [[1.0, 1.5, 2.0]] * 5)
    left, right = offline.draw_values(FOUND).axes
    np.testing.assert_allclose(heights(left), [[0.1, 0.15, 0.2]] * 5)
    np.testing.assert_allclose(heights(right), [[0.25, 0.2, 0.15]] * 5)


def test_what_is_drawn_is_written(monkeypatch, small, tmp_path):
    monkeypatch.setattr(offline, "trained", lambda args, task, quality, data: {"DQN": tmp_path})
    monkeypatch.setattr(offline, "greedy_returns", lambda folder: [1.0, 2.0])
    monkeypatch.setattr(offline, "judged", lambda *_: {"exact": [0.1, 0.2], "believed": [0.1, 0.2]})
    monkeypatch.setattr(offline, "command", lambda arguments, out: "qjax train")
    monkeypatch.setattr(qjax, "load_config", lambda folder: {"arguments": {}})
    offline.run(offline.Arguments(tasks=("lake",), out=tmp_path))
    kept = json.loads((tmp_path / "offline-lake.json").read_text())
    assert list(kept["seeds"]) == list(offline.QUALITIES) and (tmp_path / "offline-lake.png").exists()
    with pytest.raises(ValueError, match="'pond' is none of cartpole, lake"):
        offline.run(offline.Arguments(tasks=("pond",), out=tmp_path))
