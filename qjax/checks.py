"""Argument checks that name the values. Traced values pass: a sweep checks them on the host before tracing."""

import difflib
import inspect
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

T = TypeVar("T")


def one_of(what: str, name: Any, known: Mapping[str, T]) -> T:
    """Return what a name stands for.

    Raises:
        ValueError: it stands for nothing; the nearest names are given.

    """
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"no {what} {name!r}; {nearest(str(name), known)}")
    return known[name]


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint at the names that are like a mistyped one, or at all where none is."""
    known = list(known)
    lower = {each.lower(): each for each in known}
    near = [lower[each] for each in difflib.get_close_matches(name.lower(), lower, n=3)]
    return f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known)}"


def check_size(name: str, value: Any, least: int = 1) -> int:
    """Return `value`, a static whole number of at least `least`.

    Raises:
        TypeError: it is traced (sizes shape the program and cannot be swept) or not a whole number.
        ValueError: it is smaller than `least`.

    """
    if not concrete(value):
        raise TypeError(f"{name} is static: it shapes the compiled program and cannot be swept")
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    return int(value)


def check_range(
    name: str, value: Any, low: float, high: float, open_low: bool = False, whole: bool = False
) -> None:
    """Check that a concrete number, or every entry of an array, lies in [low, high], or (low, high].

    Raises:
        TypeError: it is no number.
        ValueError: it does not lie there, or it is to be `whole` and is not.

    """
    if not concrete(value):
        return
    try:
        array = np.asarray(value).astype(np.float64, casting="same_kind")
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, got {value!r}") from None
    inside = (array > low if open_low else array >= low) & (array <= high)
    if not inside.all():
        raise ValueError(f"{name} must lie in {'(' if open_low else '['}{low:.10g}, {high:.10g}], got {value}")
    if whole and (array % 1).any():
        raise ValueError(f"{name} must be a whole number, got {value}")


def check_flag(name: str, value: Any) -> bool:
    """Return `value`, a static True or False.

    Raises:
        TypeError: it is traced or anything else.

    """
    if not concrete(value):
        raise TypeError(f"{name} is static: it shapes the compiled program and cannot be swept")
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def check_callable(name: str, value: Any, signature: str) -> None:
    """Check that `value` can be called with the arguments of a signature, "(q, time) -> probabilities".

    Only positions count, names are free. What says nothing of its arguments passes.

    Raises:
        TypeError: it cannot.

    """
    if not callable(value):
        raise TypeError(f"{name} must be a function {signature}, got {value!r}")
    try:
        found = inspect.signature(value)
    except (TypeError, ValueError):
        return
    arguments = signature[1 : signature.index(")")]
    try:
        found.bind(*filter(None, arguments.split(", ")))
    except TypeError:
        raise TypeError(f"{name} must be a function {signature}, got one of {_arguments(found)}") from None


def _arguments(signature: inspect.Signature) -> str:
    """Return what a function takes, without annotations."""
    bare = [each.replace(annotation=each.empty) for each in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=signature.empty))


def check_unit(unit: str) -> None:
    """Check that `unit` names a field of `qjax.types.Time` that counts.

    Raises:
        ValueError: it does not.

    """
    units = ("step", "episode", "update")
    if unit not in units:
        raise ValueError(f"unit must be one of {', '.join(units)}, got {unit!r}")


def check_key(key: Any) -> None:
    """Check that `key` is one typed key.

    Raises:
        TypeError: it is a legacy uint32 key, or no key at all.

    """
    dtype = getattr(key, "dtype", None)
    if dtype is None or not jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key):
        found = f"{dtype}{list(key.shape)}" if dtype is not None else repr(key)
        raise TypeError(f"expected a typed key as jax.random.key(seed) makes it, got {found}")
    if key.shape:
        raise TypeError(f"expected one key, got an array of keys of shape {key.shape}")


def check_states(what: str, obs: Any, axes: int) -> None:
    """Check that observations with so many leading axes are integer scalars, numbers of states.

    Raises:
        TypeError: they are not; `what` needs them.

    """
    one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(np.shape(x)[axes:], jnp.result_type(x)), obs)
    leaves = jax.tree.leaves(one)
    if len(leaves) != 1 or leaves[0].shape or not jnp.issubdtype(leaves[0].dtype, jnp.integer):
        raise TypeError(f"{what} needs integer scalar observations, got {describe(one)}")


def check_table(what: str, table: tuple[int, int] | None, env: Any) -> None:
    """Check that a table, if there is one, has the states and actions of an environment with discrete observations.

    Raises:
        ValueError: it has others.

    """
    if table is None or env.num_states is None:
        return  # what is observed is checked when it is known
    if table != (env.num_states, env.num_actions):
        raise ValueError(
            f"{what} for {table[0]} states and {table[1]} actions; {env.name} has {env.num_states} states and"
            f" {env.num_actions} actions"
        )


def check_fit(agent: Any, memory: Any) -> None:
    """Check that what a memory hands on is what an agent can learn from.

    Raises:
        ValueError: the agent takes single steps, or each of them in order, and the memory folds or replays them.

    """
    if agent.one_step and memory.steps > 1:
        raise ValueError(
            f"an agent with {agent.one_step} learns from single steps; the memory's transitions are of"
            f" {memory.steps} steps: give it n = 1"
        )
    if agent.in_order and memory.replays:
        raise ValueError(
            f"an agent with {agent.one_step} learns each step once, in order; the memory replays them: take"
            " qjax.pairs() or qjax.latest()"
        )


def check_map(rows: list[str]) -> None:
    """Check that a lake's map is a rectangle of tiles with a goal, and has a path from every start to one.

    Raises:
        ValueError: it is not, or has none; the map is shown.

    """
    shown = " ".join(rows)
    if not rows or len({len(row) for row in rows}) > 1 or not rows[0]:
        raise ValueError(f"a map is a rectangle of tiles, got {shown or 'nothing'}")
    tiles = {(y, x): tile for y, row in enumerate(rows) for x, tile in enumerate(row)}
    if strange := sorted(set(tiles.values()) - set("SFHG")):
        raise ValueError(f"the map has tiles {' '.join(strange)} beside S, F, H and G: {shown}")
    starts = [at for at, tile in tiles.items() if tile == "S"]
    if not starts:
        raise ValueError(f"the map has no start, a tile S: {shown}")
    if "G" not in tiles.values():
        raise ValueError(f"the map has no goal, a tile G: {shown}")
    for start in starts:
        seen, found = {start}, [start]
        for y, x in found:
            for at in ((y, x - 1), (y + 1, x), (y, x + 1), (y - 1, x)):
                if at in tiles and at not in seen and tiles[y, x] not in "HG":
                    seen.add(at)
                    found.append(at)
        if not any(tiles[at] == "G" for at in seen):
            raise ValueError(
                f"the map has no path from the start at row {start[0]}, column {start[1]} to a goal: {shown}"
            )


def concrete(*trees: Any) -> bool:
    """Return whether no leaf is traced, so that its values can be checked."""
    return not any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(trees))


def describe(tree: Any) -> str:
    """Return dtypes and shapes of a pytree's leaves, short: `float32[4]`."""
    leaves = [f"{np.dtype(jax.dtypes.result_type(x)).name}{list(np.shape(x))}" for x in jax.tree.leaves(tree)]
    return leaves[0] if len(leaves) == 1 else "(" + ", ".join(leaves) + ")"
