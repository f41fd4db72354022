"""Data sets of arrays of one's own, and of several data sets."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from qjax.core.checks import check_listed, check_record, check_size, check_text, numbers
from qjax.core.text import shown
from qjax.datasets.dataset import Dataset, alike, check_dataset, known, one_of, told

NARROW = {"float64": np.float32, "int64": np.int32, "uint64": np.uint32}
"""What stands for numbers of 64 bits, which JAX does not have by default."""


def from_arrays(
    obs: Any,
    action: Any,
    reward: Any,
    terminated: Any,
    truncated: Any,
    next_obs: Any = None,
    *,
    num_actions: int,
    probability: Any = (),
    env: str = "",
) -> Dataset:
    """Return the data set of arrays `[T, ...]` of one stream, or `[T, N, ...]` of several, as `action` is.

    Numbers of 64 bits become those of 32 where that changes no whole number. Arrays that need no change are not
    copied, so they may be mapped from files.

    Args:
        obs: observations that were acted on, a pytree of arrays.
        action: actions, whole numbers from 0.
        reward: rewards.
        terminated: whether the episode ended for good, flags.
        truncated: whether it was cut, flags.
        next_obs: true successors, never observations after a reset. None where `obs` has a row more than the
            others, the last successor: one episode, or a part of one (`concatenate` joins several).
        num_actions: number of actions of the environment.
        probability: with which the action was taken, `()` where that is not known.
        env: name of the environment.

    Raises:
        TypeError: a field holds no numbers, or flags are none.
        ValueError: lengths differ, an episode ends before the last row where `next_obs` is None, an action is no
            whole number or none of `num_actions`, or a reward is NaN or infinite.

    """
    num_actions = check_size("num_actions", num_actions)
    check_text("env", env)
    action = _whole(numbers("action", action))
    if action.ndim not in (1, 2):
        raise ValueError(f"action must be an array [T] or [T, N], got {shown(action)}")
    plain = {"reward": _single("reward", reward)}
    plain |= {"terminated": _flags("terminated", terminated), "truncated": _flags("truncated", truncated)}
    if known(probability):
        plain["probability"] = _single("probability", probability)
    for name, array in plain.items():
        if array.shape != action.shape:
            raise ValueError(f"{name} must have the shape {list(action.shape)} of action, got {shown(array)}")
    obs = jax.tree.map(partial(_observed, "obs"), obs)
    if next_obs is None:
        obs, next_obs = _shifted(obs, plain["terminated"] | plain["truncated"])
    else:
        next_obs = jax.tree.map(partial(_observed, "next_obs"), next_obs)
    given = {"obs": obs, "action": action, "next_obs": next_obs, **plain}
    if action.ndim == 1:
        given = jax.tree.map(lambda x: x[:, None], given)
    data = Dataset(**given, num_actions=num_actions, env=env)
    check_dataset(data, "arrays")
    return data


def concatenate(parts: Sequence[Dataset]) -> Dataset:
    """Return data sets one after another, the rows of each stream of one after those of the same stream before.

    Where one ends and the next begins nothing goes on: if no episode has ended there, it is truncated.

    Raises:
        TypeError: one is no `Dataset`.
        ValueError: there is none, or they differ in streams, observations, actions, in the environment, or in
            whether probabilities are known.

    """
    parts = check_listed("parts", parts, "data sets")
    for part in parts:
        check_record("parts", part, Dataset)
        check_dataset(part, "parts")
    if not parts:
        raise ValueError("parts must hold a data set, got []")
    for number, part in enumerate(parts):
        _check_same(parts[0], part, number)
    last = parts.pop()
    parts = [part._replace(truncated=_cut(part)) for part in parts] + [last]
    names = [name for name in Dataset._fields if name not in ("num_actions", "env")]
    joined = {name: [getattr(part, name) for part in parts] for name in names}
    return last._replace(**{name: jax.tree.map(lambda *xs: np.concatenate(xs), *xs) for name, xs in joined.items()})


def _cut(part: Dataset) -> np.ndarray:
    """Return `truncated` with an end at the last row of every stream."""
    cut = np.array(part.truncated)
    cut[-1] |= ~np.asarray(part.terminated[-1])
    return cut


def _check_same(first: Dataset, part: Dataset, number: int) -> None:
    """Check that a data set can follow the first one."""
    for what, before, now in (
        ("the environment", first.env, part.env),
        ("actions", first.num_actions, part.num_actions),
        ("streams", first.action.shape[1], part.action.shape[1]),
        ("known probabilities", known(first.probability), known(part.probability)),
    ):
        if before != now:
            raise ValueError(
                f"parts differ in {what}: {shown(before)} in the first, {shown(now)} in number {number}"
            )
    if not alike(one := one_of(first.obs), other := one_of(part.obs)):
        raise ValueError(
            f"parts differ in observations: {told(one)} in the first, {told(other)} in number {number}"
        )


def _shifted(obs: Any, last: np.ndarray) -> tuple[Any, Any]:
    """Return observations and successors from the observations of one episode, of each stream one."""
    for leaf in jax.tree.leaves(obs):
        if len(leaf) != len(last) + 1:
            raise ValueError(
                f"without next_obs, obs needs one row more than the {len(last)} of action, got {shown(leaf)}"
            )
    if ends := np.argwhere(last[:-1]).tolist():
        raise ValueError(
            f"next_obs is needed: an episode ends at row {ends[0][0]}, and the observation after it is of another"
            " one; or make each episode by itself, and join them with qjax.datasets.concatenate"
        )
    return jax.tree.map(lambda x: x[:-1], obs), jax.tree.map(lambda x: x[1:], obs)


def _whole(array: np.ndarray) -> np.ndarray:
    """Return actions as int32."""
    if array.dtype == bool:
        raise TypeError(f"action must be whole numbers, got {shown(array)}")
    with np.errstate(invalid="ignore"):
        kept = array.astype(np.int32)
    if (strange := kept != array).any():
        raise ValueError(f"action must be whole numbers of 32 bits, got {array[strange][0]}")
    return kept if kept.dtype != array.dtype else array


def _flags(name: str, value: Any) -> np.ndarray:
    if (array := numbers(name, value)).dtype != bool:
        raise TypeError(f"{name} must be flags, True or False, got {shown(value)}")
    return array


def _single(name: str, value: Any) -> np.ndarray:
    """Return numbers as float32."""
    if (array := numbers(name, value)).dtype == bool:
        raise TypeError(f"{name} must be numbers, got {shown(value)}")
    with np.errstate(over="ignore"):
        return array if array.dtype == np.float32 else array.astype(np.float32)


def _observed(name: str, array: Any) -> np.ndarray:
    """Return an array of observations, of at most 32 bits."""
    if not hasattr(array, "dtype") or not np.ndim(array):
        raise TypeError(f"{name} must be an array, or a pytree of arrays, got {shown(array)}")
    array = np.asarray(array)
    if array.dtype.name not in NARROW:
        return array
    with np.errstate(over="ignore"):
        kept = array.astype(NARROW[array.dtype.name])
    strange = np.isfinite(array) & ~np.isfinite(kept) if array.dtype.kind == "f" else kept != array
    if strange.any():
        raise ValueError(f"{name} must be numbers of 32 bits, got {array[strange][0]}")
    return kept
