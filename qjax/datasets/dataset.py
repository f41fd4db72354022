"""Recorded transitions as arrays, with what they were recorded in."""

from typing import Any, NamedTuple


class Dataset(NamedTuple):
    """Recorded transitions: `T` consecutive rows of `N` streams, in NumPy arrays that may be mapped from files.

    A stream is what one environment went through, episode after episode. What belongs to no stream, single
    transitions in any order, is one stream of which no two rows are taken together.
    """

    obs: Any
    """Observations that were acted on, a pytree of arrays `[T, N, ...]`."""
    action: Any
    """Actions, int32 `[T, N]`."""
    reward: Any
    """Rewards, float32 `[T, N]`."""
    terminated: Any
    """Whether the episode ended for good, bool `[T, N]`: nothing comes after."""
    truncated: Any
    """Whether it was cut, bool `[T, N]`: what comes after still counts."""
    next_obs: Any
    """True successors, as `obs`: never an observation after a reset."""
    num_actions: int
    """Number of actions of the environment."""
    probability: Any = ()
    """With which the action was taken, float32 `[T, N]`; `()` where that is not known."""
    env: str = ""
    """Name of the environment, for messages; empty where it is not known."""
