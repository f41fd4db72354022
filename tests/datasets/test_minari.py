"""Minari's data sets, by an object with its interface, and by the package itself where it is installed."""

from types import SimpleNamespace
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from qjax import datasets


class Episode(NamedTuple):
    """As `minari.EpisodeData`."""

    id: int
    observations: Any
    actions: Any
    rewards: Any
    terminations: Any
    truncations: Any


class Stored(NamedTuple):
    """As `minari.MinariDataset`."""

    observation_space: Any
    action_space: Any
    episodes: Any
    env: Any = "CartPole-v1"

    @property
    def spec(self):
        return SimpleNamespace(env_spec=self.env and SimpleNamespace(id=self.env), dataset_id="own/random-v0")

    def iterate_episodes(self):
        return iter(self.episodes)


def episode(number, length, obs, ended=(False, False), **changed):
    rng = np.random.default_rng(number)
    flags = [np.array([False] * (length - 1) + [end]) for end in ended]
    given = Episode(number, obs(length + 1), rng.integers(2, size=length), rng.normal(size=length), *flags)
    return given._replace(**changed)


def box(length):
    return np.random.default_rng(length).normal(size=(length, 3))


BOX, TWO = spaces.Box(-1, 1, (3,), np.float64), spaces.Discrete(2)


def test_episodes_follow_one_another_with_their_true_successors():
    given = [episode(0, 4, box, (True, False)), episode(1, 3, box, (False, True)), episode(2, 5, box)]
    found = datasets.from_minari(Stored(BOX, TWO, given))
    assert (found.num_actions, found.env, found.action.shape) == (2, "CartPole-v1", (12, 1))
    at = 0
    for each in given:
        for t in range(len(each.rewards)):
            np.testing.assert_array_equal(found.obs[at, 0], each.observations[t].astype(np.float32))
            np.testing.assert_array_equal(found.next_obs[at, 0], each.observations[t + 1].astype(np.float32))
            assert found.action[at, 0] == each.actions[t] and found.reward[at, 0] == np.float32(each.rewards[t])
            at += 1
    assert np.flatnonzero(found.terminated[:, 0]).tolist() == [3]
    assert np.flatnonzero(found.truncated[:, 0]).tolist() == [6, 11]  # the last one's recording breaks off


def test_spaces_that_begin_elsewhere_and_observations_of_several_arrays():
    space = spaces.Dict({"at": spaces.Discrete(5, start=-2), "seen": spaces.Tuple([BOX, spaces.MultiBinary(2)])})
    observed = lambda n: {"at": np.arange(n) - 2, "seen": (box(n), np.zeros((n, 2), np.int8))}
    actions = {"actions": np.array([7, 8, 7])}
    given = Stored(space, spaces.Discrete(2, start=7), [episode(0, 3, observed, (True, False), **actions)], None)
    found = datasets.from_minari(given)
    assert found.obs["at"][:, 0].tolist() == [0, 1, 2] and found.next_obs["at"][:, 0].tolist() == [1, 2, 3]
    assert found.action[:, 0].tolist() == [0, 1, 0] and found.env == ""
    assert [str(x.dtype) for x in (found.obs["at"], *found.obs["seen"])] == ["int32", "float32", "int8"]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (Stored(BOX, BOX, []), TypeError, "dataset must have discrete actions, got Box"),
        (Stored(spaces.Text(3), TWO, [episode(0, 3, box)]), TypeError, "observations of numbers, got Text"),
        (Stored(BOX, TWO, []), ValueError, "own/random-v0 holds no episode"),
        (Stored(BOX, TWO, [episode(0, 3, box), episode(1, 2, box, rewards=np.array([0, np.nan]))]), ValueError,
         "episode 1 of dataset own/random-v0: arrays: reward is no finite number in 1 places"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named(given, error, message):
    with pytest.raises(error, match=message):
        datasets.from_minari(given)


def test_without_the_package_a_name_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "minari", None)
    with pytest.raises(ImportError, match=r"from_minari needs minari: pip install 'qjax-rl\[minari\]'"):
        datasets.from_minari("cartpole/random-v0")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["CartPole-v1", "FrozenLake-v1"])
def test_what_minari_itself_collected(name, tmp_path, monkeypatch):
    minari = pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    env, steps, rng = minari.DataCollector(gymnasium.make(name)), [], np.random.default_rng(0)
    for seed in range(4):
        obs, _ = env.reset(seed=seed)
        for _ in range(12):
            action = int(rng.integers(env.action_space.n))
            after, reward, terminated, truncated, _ = env.step(action)
            steps.append((obs, action, reward, after, terminated))
            obs = after
            if terminated or truncated:
                break
        steps[-1] += (True,)  # the last of its episode
    stored = env.create_dataset(dataset_id="own/random-v0")
    for given in (stored, "own/random-v0"):
        found = datasets.from_minari(given)
        assert (found.env, found.num_actions, len(found.action)) == (name, env.action_space.n, len(steps))
        for t, (obs, action, reward, after, terminated, *last) in enumerate(steps):
            np.testing.assert_array_equal(found.obs[t, 0], obs)
            np.testing.assert_array_equal(found.next_obs[t, 0], after)
            assert (found.action[t, 0], found.reward[t, 0]) == (action, reward)
            assert found.terminated[t, 0] == terminated
            assert (found.terminated | found.truncated)[t, 0] == bool(last)
