"""Recorded transitions as arrays, with what they were recorded in, and what of them is checked."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from qjax.core.checks import check_size, check_text, describe
from qjax.core.text import shown
from qjax.types import Env

PIECE = 2**20
"""Entries that are looked at together: a file that is mapped need not fit into memory."""

ROUNDED = 1e-5
"""How far above 1 the float32 sum of a policy's probabilities may come."""


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


def one_of(obs: Any) -> Any:
    """Return one observation of those of a data set, `[T, N, ...]`, as `jax.ShapeDtypeStruct`s."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[2:], x.dtype), obs)


def alike(one: Any, other: Any) -> bool:
    """Return whether two observations have the same structure, shapes and dtypes."""
    kinds: list[Any] = [
        (jax.tree.structure(tree), [(x.shape, np.dtype(x.dtype)) for x in jax.tree.leaves(tree)])
        for tree in (one, other)
    ]
    return bool(kinds[0] == kinds[1])


def told(obs: Any) -> str:
    """Return what one observation is, in words: that of several arrays by their names."""
    leaves = jax.tree_util.tree_leaves_with_path(obs)
    if len(leaves) == 1 and not leaves[0][0]:
        return describe(obs)
    return ", ".join(f"{jax.tree_util.keystr(path)} {describe(x)}" for path, x in leaves)


def check_dataset(data: Dataset, where: str) -> None:
    """Check that a data set is as `Dataset` says, and that its numbers are some.

    Observations are taken as they are. Rewards, actions and probabilities are read, in pieces.

    Args:
        data: what is checked.
        where: it stands, for messages.

    Raises:
        TypeError: a field is no array, or of another dtype.
        ValueError: shapes do not fit, there is no transition, a reward is NaN or infinite, an action is none of
            `num_actions`, or a probability does not lie in (0, 1].

    """
    check_size(f"{where}: num_actions", data.num_actions)
    check_text(f"{where}: env", data.env)
    axes = _check_plain(where, data)
    _check_obs(where, data, axes)
    actions = data.num_actions
    _refuse(where, "action", data.action, lambda x: (x < 0) | (x >= actions), f"none of {actions} actions")
    _refuse(where, "reward", data.reward, lambda x: ~np.isfinite(x), "no finite number")
    if not known(data.probability):
        return
    _refuse(where, "probability", data.probability, _impossible, "not in (0, 1]")


def check_env(data: Dataset, where: str, env: Env) -> None:
    """Check that the observations and actions of a data set are an environment's.

    Raises:
        ValueError: there are others, or the environment has not so many states.

    """
    of = f" of {data.env}" if data.env else ""
    if not alike(one := one_of(data.obs), env.obs_spec):
        raise ValueError(
            f"{where} holds observations{of} {told(one)}; those of {env.name} are {told(env.obs_spec)}"
        )
    if data.num_actions != env.num_actions:
        raise ValueError(
            f"{where} holds data{of} with {data.num_actions} actions; {env.name} has {env.num_actions}"
        )
    if (states := env.num_states) is not None:
        for name in ("obs", "next_obs"):
            strange = f"no state of {env.name}, which has {states}"
            _refuse(where, name, getattr(data, name), lambda x: (x < 0) | (x >= states), strange)


def _impossible(probability: np.ndarray) -> np.ndarray:
    return ~((probability > 0) & (probability <= 1 + ROUNDED))


def known(probability: Any) -> bool:
    """Return whether the probabilities of a data set are there."""
    return not (isinstance(probability, tuple) and not probability)


def _check_plain(where: str, data: Dataset) -> tuple[int, int]:
    """Check the fields that are one array, and return the axes `[T, N]` of all."""
    kinds = {"action": "int32", "reward": "float32", "terminated": "bool", "truncated": "bool"}
    if known(data.probability):
        kinds["probability"] = "float32"
    shape: tuple[int, ...] | None = None
    for name, kind in kinds.items():
        array = getattr(data, name)
        if not hasattr(array, "shape") or not hasattr(array, "dtype") or array.dtype != np.dtype(kind):
            raise TypeError(f"{where}: {name} must be {kind}[T, N], got {shown(array)}")
        shape = array.shape if shape is None else shape
        if array.shape != shape or len(shape) != 2:
            raise ValueError(f"{where}: {name} must be {kind}[T, N] as action is, got {shown(array)}")
    assert shape is not None
    if 0 in shape:
        raise ValueError(f"{where}: there is no transition, action is {shown(data.action)}")
    return shape[0], shape[1]


def _check_obs(where: str, data: Dataset, axes: tuple[int, int]) -> None:
    """Check that both observations are pytrees of the same arrays, which a file can hold."""
    for name, obs in (("obs", data.obs), ("next_obs", data.next_obs)):
        if not (leaves := jax.tree.leaves(obs)):
            raise TypeError(f"{where}: {name} holds no array, it is {shown(obs)}")
        for x in leaves:
            if not _holds_numbers(x):
                raise TypeError(
                    f"{where}: {name} must be arrays of flags or numbers of at most 32 bits, got {shown(x)}"
                )
            if x.shape[:2] != axes:
                raise ValueError(f"{where}: {name} must begin with the axes {list(axes)} of action, got {shown(x)}")
    if not alike(one := one_of(data.obs), after := one_of(data.next_obs)):
        raise ValueError(f"{where}: obs is {told(one)}, next_obs {told(after)}")


def _holds_numbers(array: Any) -> bool:
    """Return whether it is an array of flags or numbers that JAX, and any reader of its file, takes as they are."""
    dtype = getattr(array, "dtype", None)
    return dtype is not None and dtype.kind in "biuf" and dtype.itemsize <= 4 and dtype.isnative


def _refuse(where: str, name: str, array: Any, wrong: Callable[[Any], Any], what: str) -> None:
    """Raise ValueError where entries `[T, N]` are wrong, with their number and the first of them."""
    rows, count, first = max(1, PIECE // array.shape[1]), 0, None
    for begin in range(0, len(array), rows):
        found = np.argwhere(wrong(np.asarray(array[begin : begin + rows])))
        count += len(found)
        if first is None and len(found):
            first = begin + int(found[0][0]), int(found[0][1])
    if first is not None:
        at = f"row {first[0]} of stream {first[1]}"
        raise ValueError(f"{where}: {name} is {what} in {count} places, the first is {at}: {array[first]}")
