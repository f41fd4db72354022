"""Settings of a sweep: pytrees of arrays whose first axis runs over settings, and what is wrong with them."""

import itertools
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np

from qjax.core.checks import is_finite, numbers
from qjax.core.random import root_key
from qjax.core.text import short, shown
from qjax.sweeps.alike import likeness
from qjax.training.loop import Loop
from qjax.types import Agent


@runtime_checkable
class Build(Protocol):
    """A function of yours that says what a sweep trains."""

    def __call__(self, hyper: Any, /) -> Loop:
        """Return the loop of one setting.

        Args:
            hyper: the setting: `hypers` with a number, traced or not, in place of each array; None where nothing is
                swept.

        """


Values = Sequence[Any] | np.ndarray | jax.Array | int | float
"""Of one name; a single number is refused."""


def grid(**values: Values) -> dict[str, np.ndarray]:
    """Return the hypers of every combination of the values, the last name running fastest.

    Args:
        values: a sequence of numbers for each name.

    Raises:
        TypeError: values are no sequence, or no numbers.
        ValueError: there is no name, one without values, or a number that float32 does not hold.

    """
    columns = _columns(values)
    rows = list(itertools.product(*columns.values()))
    return {name: np.array([row[i] for row in rows]) for i, name in enumerate(columns)}


def zipped(**values: Values) -> dict[str, np.ndarray]:
    """Return the hypers whose setting i has the i-th value of every name.

    Args:
        values: a sequence of numbers for each name.

    Raises:
        TypeError: values are no sequence, or no numbers.
        ValueError: there is no name, one without values, the lengths differ, or a number that float32 does not
            hold.

    """
    columns = _columns(values)
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"zipped values need one length, got {shown(lengths)}")
    return columns


def names(hypers: Any) -> list[str]:
    """Return the names of the hypers' leaves, `rate` or `network.width`."""
    paths = jax.tree_util.tree_leaves_with_path(hypers)
    return [jax.tree_util.keystr(path, simple=True, separator=".") or "hypers" for path, _ in paths]


def setting(hypers: Any, number: int) -> Any:
    """Return one setting, None where there are no hypers."""
    return None if hypers is None else jax.tree.map(lambda x: x[number], hypers)


def columns(hypers: Any) -> dict[str, np.ndarray]:
    """Return the hypers as columns of a table, `[settings]` each; a vector's entries are `name.0`, ..."""
    table = {}
    for name, leaf in zip(names(hypers), jax.tree.leaves(hypers), strict=True):
        if leaf.ndim == 1:
            table[name] = leaf
        else:
            flat = leaf.reshape(len(leaf), -1)
            table.update({f"{name}.{i}": flat[:, i] for i in range(flat.shape[1])})
    return table


class Settings(NamedTuple):
    """Settings that were checked, every one by building it once."""

    hypers: Any
    """Their values as NumPy arrays `[settings, ...]`; None where nothing is swept."""
    num_settings: int
    """How many there are."""
    loop: Loop
    """The loop of the first one."""
    agents: list[tuple[int, Agent]]
    """The agents that are not made of the same functions, each with the number of its first setting."""


def check(build: Build, hypers: Any) -> Settings:
    """Return hypers with the number of settings, every one checked by building it once.

    Raises:
        ValueError: arrays of different lengths or without settings, a name that `build` asks for and does not
            find, or a value that a factory refuses.

    """
    if hypers is None:
        return Settings(None, 1, build(None), [])
    given, structure = jax.tree.flatten(hypers)
    arrays = [checked(name, leaf) for name, leaf in zip(names(hypers), given, strict=True)]
    hypers = jax.tree.unflatten(structure, arrays)
    leaves = dict(zip(names(hypers), jax.tree.leaves(hypers), strict=True))
    single = [name for name, x in leaves.items() if x.ndim == 0]
    if single or not leaves:
        got = f"numbers for {shown(single)}, {shown(hypers)}" if single else shown(hypers)
        raise ValueError(f"hypers must be arrays with a first axis of settings, got {got}")
    lengths = {name: len(x) for name, x in leaves.items()}
    num_settings = next(iter(lengths.values()))
    if set(lengths.values()) != {num_settings} or not num_settings:
        raise ValueError(f"every array of hypers needs the same, positive number of settings, got {shown(lengths)}")
    first = _built(build, hypers, 0)
    lane = jax.eval_shape(first.init, root_key(0))
    different: dict[Hashable, tuple[int, Agent]] = {}
    for number in range(num_settings):
        loop = _built(build, hypers, number) if number else first
        loop.check(lane)
        different.setdefault(likeness(loop.agent.init), (number, loop.agent))
    return Settings(hypers, num_settings, first, list(different.values()))


def checked(name: str, values: Any) -> np.ndarray:
    """Return the values of a hyper-parameter as a NumPy array of numbers, or of flags.

    Raises:
        TypeError: they are none.
        ValueError: one is NaN, or in float32 or int32 another number: an infinity, 0, or any.

    """
    array = numbers(name, values)
    if array.dtype.kind == "f":
        kind = np.dtype(np.float32)
        with np.errstate(all="ignore"):
            wrong = ~is_finite(array) & ~np.isinf(array) | ((array.astype(kind) == 0) & (array != 0))
    else:
        kind = jax.dtypes.canonicalize_dtype(array.dtype)
        wrong = array.astype(kind).astype(array.dtype) != array
    if wrong.any():
        raise ValueError(f"{name} must be numbers that {kind} holds, got {array[wrong][0]}")
    return array


def _columns(values: Mapping[str, Values]) -> dict[str, np.ndarray]:
    if not values:
        raise ValueError("an empty grid has no settings: give at least one name with its values")
    found = {}
    for name, column in values.items():
        found[name] = checked(name, column)
    for name, column in found.items():
        if column.ndim != 1 or not len(column):
            raise ValueError(f"{name} needs a sequence of at least one value, got {shown(values[name])}")
    return found


def _built(build: Build, hypers: Any, number: int) -> Loop:
    """Return the loop of one setting; a name that is missing is named with those that are there."""
    try:
        return build(setting(hypers, number))
    except (KeyError, AttributeError) as error:
        missing = error.args[0] if isinstance(error, KeyError) else error.name
        if missing is None or missing in names(hypers):
            raise
        raise ValueError(
            f"build asks for the hyper-parameter {missing!r}, which is not among {shown(names(hypers))}"
        ) from error


def check_alike(settings: Settings, lane: Any) -> None:
    """Check that the agents of settings have the parts of that in the program, a `lane`'s, where values are traced.

    Tracing one takes some 50 ms, so of those made of the same functions one is looked at.

    Raises:
        ValueError: a setting's agent lacks parts that others have.

    """
    for number, agent in settings.agents:
        own = jax.eval_shape(agent.init, root_key(0), lane.obs)
        if len(jax.tree.leaves(own)) != len(jax.tree.leaves(lane.agent)):
            values = map(np.asarray, jax.tree.leaves(setting(settings.hypers, number)))
            given = dict(zip(names(settings.hypers), values, strict=True))
            raise ValueError(
                f"{shown({name: x.tolist() for name, x in given.items()})} makes an agent without the parts that"
                " others have in the same program: give it a sweep of its own (qjax.static_sweeps)"
            )


def check_traced(build: Build, hypers: Any, error: TypeError) -> None:
    """Raise what `build` needs the concrete values of, where tracing them led to an error.

    Raises:
        TypeError: `build` needs the concrete value of a hyper-parameter, which is then static.

    """
    key = root_key(0)

    def start(hyper: Any) -> Any:
        return build(hyper).init(key)

    try:
        jax.eval_shape(start, setting(hypers, 0))
    except TypeError:
        leaves, structure = jax.tree.flatten(setting(hypers, 0))
        static = []
        for i, name in enumerate(names(hypers)):

            def one(leaf: Any, i: int = i) -> Any:
                return start(jax.tree.unflatten(structure, [*leaves[:i], leaf, *leaves[i + 1 :]]))

            try:
                jax.eval_shape(one, leaves[i])
            except TypeError:
                static.append(name)
        raise TypeError(
            f"build needs the concrete value of {static or names(hypers)}: it shapes the compiled program and"
            " cannot be swept; run one sweep for each of its values (qjax.static_sweeps)."
            f" {short(str(error).splitlines()[0], 200)}"
        ) from error
