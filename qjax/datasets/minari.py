"""Minari's data sets of discrete actions, where that package is installed."""

from typing import Any

import numpy as np
from gymnasium import spaces

from qjax.core.distribution import needs
from qjax.core.text import short, shown
from qjax.datasets.arrays import concatenate, from_arrays
from qjax.datasets.dataset import Dataset


def from_minari(dataset: Any) -> Dataset:
    """Return a data set of Minari's as one stream, episode after episode.

    Actions and states are counted from 0, wherever their spaces begin. Of a dict's entries those that are text are
    left out. An episode whose recording breaks off is truncated there. All of it is read into memory.

    Args:
        dataset: a `minari.MinariDataset`, or the name of one that is installed.

    Raises:
        ImportError: `dataset` is a name, and Minari is not installed.
        TypeError: its actions are not discrete, its observations are no arrays of numbers, or it is none.
        ValueError: it holds no episode, or what `from_arrays` refuses; the episode is named.

    """
    if isinstance(dataset, str):
        try:
            import minari
        except ImportError as error:
            raise ImportError(needs("from_minari", "minari", "minari")) from error
        dataset = minari.load_dataset(dataset)
    if not hasattr(dataset, "iterate_episodes"):
        raise TypeError(f"dataset must be one of Minari's, or the name of one, got {shown(dataset)}")
    if not isinstance(actions := dataset.action_space, spaces.Discrete):
        raise TypeError(f"dataset must have discrete actions, got {short(str(actions))}")
    spec = dataset.spec.env_spec
    name = "" if spec is None else spec.id
    parts = [_episode(dataset, each, name) for each in dataset.iterate_episodes() if len(each.rewards)]
    if not parts:
        raise ValueError(f"dataset {dataset.spec.dataset_id} holds no episode")
    return concatenate(parts)


def _episode(dataset: Any, episode: Any, name: str) -> Dataset:
    """Return one episode."""
    actions, ended = dataset.action_space, np.array(episode.truncations, bool)
    ended[-1] |= not episode.terminations[-1]
    try:
        return from_arrays(
            _observed(dataset.observation_space, episode.observations),
            np.asarray(episode.actions) - actions.start,
            episode.rewards,
            np.asarray(episode.terminations, bool),
            ended,
            num_actions=int(actions.n),
            env=name,
        )
    except ValueError as error:
        raise ValueError(f"episode {episode.id} of dataset {dataset.spec.dataset_id}: {error}") from None


def _observed(space: Any, obs: Any) -> Any:
    """Return observations of a space as a pytree of arrays."""
    if isinstance(space, spaces.Dict):
        kept = {name: each for name, each in space.items() if not isinstance(each, spaces.Text)}
        return {name: _observed(each, obs[name]) for name, each in kept.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_observed(each, part) for each, part in zip(space, obs, strict=True))
    if isinstance(space, spaces.Discrete):
        return np.asarray(obs) - space.start
    if isinstance(space, spaces.Box | spaces.MultiBinary | spaces.MultiDiscrete):
        return np.asarray(obs)
    raise TypeError(f"dataset must have observations of numbers, got {short(str(space))}")
