"""Arrays of one's own become a data set, or are refused by name; several data sets become one."""

import jax
import numpy as np
import pytest

from qjax import datasets

T = 5
FLAG = np.zeros(T, bool)
LAST = np.arange(T) == T - 1


def arrays(**changed):
    """One episode of five steps that terminates."""
    obs = np.arange(2 * (T + 1), dtype=np.float32).reshape(T + 1, 2)
    given = {"obs": obs, "action": np.array([0, 1, 2, 1, 0]), "reward": np.arange(T), "terminated": LAST,
             "truncated": FLAG, "num_actions": 3}  # fmt: skip
    return given | changed


def test_one_stream_or_several_with_the_dtypes_of_jax():
    found = datasets.from_arrays(**arrays(probability=np.full(T, 0.5), env="mine"))
    assert found.obs[:, 0].tolist() == arrays()["obs"][:-1].tolist() and found.obs.shape == (T, 1, 2)
    assert found.next_obs[:, 0].tolist() == arrays()["obs"][1:].tolist()
    kinds = {name: str(getattr(found, name).dtype) for name in ("action", "reward", "terminated", "probability")}
    assert kinds == {"action": "int32", "reward": "float32", "terminated": "bool", "probability": "float32"}
    assert (found.num_actions, found.env) == (3, "mine") and found.action[:, 0].tolist() == [0, 1, 2, 1, 0]
    two = {name: np.stack([x, x], 1) if isinstance(x, np.ndarray) else x for name, x in arrays().items()}
    both = datasets.from_arrays(**two)
    for name in ("obs", "action", "reward", "terminated", "next_obs"):
        np.testing.assert_array_equal(getattr(both, name)[:, :1], getattr(found, name))
        np.testing.assert_array_equal(getattr(both, name)[:, 1:], getattr(found, name))
    assert both.action.shape == (T, 2)


def test_observations_of_several_arrays_keep_their_structure():
    obs = {"at": np.arange(T), "seen": (np.zeros((T, 2, 2), np.uint8), np.zeros(T, bool))}
    found = datasets.from_arrays(**arrays(obs=obs, next_obs=obs))
    told = jax.tree.map(lambda x: (x.shape, str(x.dtype)), found.obs)
    assert told == {"at": ((T, 1), "int32"), "seen": (((T, 1, 2, 2), "uint8"), ((T, 1), "bool"))}


def test_what_needs_no_change_is_not_copied():
    obs, after = np.zeros((T, 2), np.float32), np.ones((T, 2), np.float32)
    reward = np.zeros(T, np.float32)
    found = datasets.from_arrays(**arrays(obs=obs, next_obs=after, reward=reward))
    assert np.shares_memory(found.obs, obs) and np.shares_memory(found.reward, reward)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"reward": [0, 1, np.nan, np.nan, 2]}, ValueError, "is no finite number in 2 places, the first is row 2"),
        ({"reward": [0, 1, 2, 3, 1e39]}, ValueError, "is no finite number in 1 places, the first is row 4 of"),
        ({"reward": np.zeros(4)}, ValueError, r"reward must have the shape \[5\] of action, got float32\[4\]"),
        ({"reward": FLAG}, TypeError, r"reward must be numbers, got bool\[5\]"),
        ({"action": [0, 1, 3, 1, 3]}, ValueError, "none of 3 actions in 2 places, the first is row 2"),
        ({"action": [0, 1, -1, 1, 0]}, ValueError, "the first is row 2 of stream 0: -1"),
        ({"action": [0, 1, 1.5, 1, 0]}, ValueError, "action must be whole numbers of 32 bits, got 1.5"),
        ({"action": [0, 1, np.nan, 1, 0]}, ValueError, "action must be whole numbers of 32 bits, got nan"),
        ({"action": np.array([0, 2**32, 0, 0, 0])}, ValueError, "whole numbers of 32 bits, got 4294967296"),
        ({"action": FLAG}, TypeError, r"action must be whole numbers, got bool\[5\]"),
        ({"action": np.zeros((1, 1, 1), int)}, ValueError, r"action must be an array \[T\] or \[T, N\]"),
        ({"terminated": LAST.astype(int)}, TypeError, "terminated must be flags"),
        ({"truncated": FLAG[:3]}, ValueError, r"truncated must have the shape \[5\] of action, got bool\[3\]"),
        ({"truncated": np.arange(T) == 1}, ValueError, "next_obs is needed: an episode ends at row 1"),
        ({"obs": np.zeros((T, 2))}, ValueError, r"needs one row more than the 5 of action, got float32\[5, 2\]"),
        ({"obs": 3}, TypeError, "obs must be an array, or a pytree of arrays, got 3"),
        ({"obs": {}, "next_obs": {}}, TypeError, "obs holds no array"),
        ({"next_obs": np.zeros((T, 2))}, ValueError, r"obs must begin with the axes \[5, 1\] of action, got"),
        ({"obs": np.ones((T, 2)), "next_obs": np.ones((T, 3))}, ValueError, r"\[2\], next_obs float32\[3\]"),
        ({"obs": np.full((T + 1, 2), 1e300)}, ValueError, r"obs must be numbers of 32 bits, got 1e\+300"),
        ({"obs": np.full(T + 1, 2**40)}, ValueError, "obs must be numbers of 32 bits, got 1099511627776"),
        ({"obs": np.full(T + 1, "a")}, TypeError, "obs must be arrays of flags or numbers of at most 32 bits"),
        ({"probability": np.zeros(T)}, ValueError, r"probability is not in \(0, 1\] in 5 places"),
        ({"probability": np.full(T, np.nan)}, ValueError, r"probability is not in \(0, 1\] in 5 places"),
        ({"num_actions": 0}, ValueError, "num_actions must be at least 1, got 0"),
        ({"obs": np.zeros((1, 2)), "action": [], "reward": [], "terminated": FLAG[:0], "truncated": FLAG[:0]},
         ValueError, "there is no transition, action is .*0"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(changed, error, message):
    with pytest.raises(error, match=message):
        datasets.from_arrays(**arrays(**changed))


def test_all_places_are_looked_at_piece_by_piece(monkeypatch):
    monkeypatch.setattr(datasets.dataset, "PIECE", 4)
    reward = np.zeros(50)
    reward[[17, 18, 49]] = np.inf, np.nan, -np.inf
    many = dict.fromkeys(("terminated", "truncated"), np.zeros(50, bool))
    with pytest.raises(ValueError, match="in 3 places, the first is row 17 of stream 0: inf"):
        datasets.from_arrays(np.zeros(51), np.zeros(50, int), reward, **many, num_actions=1)


def test_several_follow_one_another_and_nothing_goes_on_between_them():
    ended = datasets.from_arrays(**arrays())
    cut = datasets.from_arrays(**arrays(terminated=FLAG))
    found = datasets.concatenate([cut, ended, cut])
    assert np.flatnonzero(found.truncated[:, 0]).tolist() == [4] and not cut.truncated.any()
    assert np.flatnonzero(found.terminated[:, 0]).tolist() == [9]
    for name in ("obs", "action", "reward", "next_obs"):
        np.testing.assert_array_equal(getattr(found, name), np.concatenate([getattr(ended, name)] * 3))
    alone = datasets.concatenate([cut])
    jax.tree.map(np.testing.assert_array_equal, alone._replace(env=()), cut._replace(env=()))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"num_actions": 4}, "parts differ in actions: 3 in the first, 4 in number 1"),
        ({"env": "b"}, "parts differ in the environment: '' in the first, 'b' in number 1"),
        ({"probability": np.ones(T)}, "parts differ in known probabilities: False in the first, True"),
        (
            {"obs": np.zeros(T + 1, int)},
            r"parts differ in observations: float32\[2\] in the first, int32\[\] in number 1",
        ),
    ],
)
def test_only_what_belongs_together_is_joined(changed, message):
    with pytest.raises(ValueError, match=message):
        datasets.concatenate([datasets.from_arrays(**arrays()), datasets.from_arrays(**arrays(**changed))])
