"""Argument checks that name the values. Traced values pass: a sweep checks them on the host before tracing."""

import difflib
import inspect
import os
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from qjax.core.text import shown

T = TypeVar("T")

MOST = 24
"""Names that an error lists."""


def one_of(what: str, name: Any, known: Mapping[str, T]) -> T:
    """Return what a name stands for.

    Raises:
        ValueError: it stands for nothing; the nearest names are given.

    """
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"no {what} {shown(name)}; {nearest(str(name), known)}")
    return known[name]


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint at the names that are like a mistyped one, or at all where none is."""
    known = list(known)
    lower = {each.lower(): each for each in known}
    near = [lower[each] for each in difflib.get_close_matches(name.lower(), lower, n=3)]
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"there are {', '.join(known[:MOST])}" + (f" and {len(known) - MOST} more" if len(known) > MOST else "")


LARGEST = 2**31 - 1
"""The largest size: what counts on the device is int32."""

MOST_STEPS = 2**53
"""The most environment steps of a lane: hosts count them in 64 bits, and take shares of them in float64."""

TINY = float(np.finfo(np.float32).tiny)
"""What is nearer to 0 is 0 on some devices, and may not be divided by."""


def check_size(name: str, value: Any, least: int = 1, most: int = LARGEST) -> int:
    """Return `value`, a static whole number from `least` to `most`.

    Raises:
        TypeError: it is traced (sizes shape the program and cannot be swept) or not a whole number.
        ValueError: it is smaller or larger.

    """
    if not concrete(value):
        raise TypeError(f"{name} is static: it shapes the compiled program and cannot be swept")
    check_whole(name, value)
    number = int(value)
    if number < least:
        raise ValueError(f"{name} must be at least {least}, got {shown(number)}")
    if number > most:
        raise ValueError(f"{name} must be at most {most}, got {shown(number)}")
    return number


def check_pairs(num_states: Any, num_actions: Any, tables: int = 1) -> tuple[int, int]:
    """Return the numbers of states and of actions, static whole numbers whose pairs an int32 can count.

    Raises:
        TypeError: one is traced or no whole number.
        ValueError: one is not positive, or there are 2**31 pairs or more, in all `tables` together.

    """
    shape = check_size("num_states", num_states), check_size("num_actions", num_actions)
    if (pairs := shape[0] * shape[1] * tables) > LARGEST:
        of = f" in {tables} tables" if tables > 1 else ""
        raise ValueError(f"{shape[0]} states x {shape[1]} actions{of} make {pairs} pairs, not below 2**31")
    return shape


def check_range(
    name: str,
    value: Any,
    low: float,
    high: float,
    open_low: bool = False,
    whole: bool = False,
    infinite: bool = False,
) -> None:
    """Check that a number lies in [low, high], or (low, high], as float32; of a traced one, that it is one number.

    Infinity lies in none of them unless it is `infinite`, where it has a meaning; nor does, in (0, high], what is 0
    in float32.

    Raises:
        TypeError: it is not one real number.
        ValueError: it does not lie there, or it is to be `whole` and is not.

    """
    if not is_number(value, np.integer, np.floating):
        raise TypeError(f"{name} must be a number, got {shown(value)}")
    if np.shape(value):
        raise TypeError(f"{name} must be one number, got {shown(value)}")
    if not concrete(value):
        return
    number, single = _floats(value)
    ends = [end if infinite or abs(end) < np.inf else None for end in (low, high)]
    if not (number > low if open_low else number >= low) or not number <= high or np.isinf(number) > infinite:
        left = "(" if open_low or ends[0] is None else "["
        right = ")" if ends[1] is None else "]"
        raise ValueError(f"{name} must lie in {left}{low:.10g}, {high:.10g}{right}, got {shown(value)}")
    if np.isinf(single) and not np.isinf(number):
        raise ValueError(f"{name} must be finite in float32, got {shown(value)}")
    if open_low and low == 0 and single < TINY:
        raise ValueError(f"{name} must be positive in float32, got {shown(value)}")
    if whole and number % 1:
        raise ValueError(f"{name} must be a whole number, got {shown(value)}")


def check_whole(name: str, value: Any) -> None:
    """Check that a value is one whole number, or a traced one.

    Raises:
        TypeError: it is not.

    """
    if not is_number(value, np.integer) or np.shape(value):
        raise TypeError(f"{name} must be a whole number, got {shown(value)}")


def check_number(name: str, value: Any) -> None:
    """Check that a value is one number, finite in float32, or a traced one.

    Raises:
        TypeError: it is not one real number.
        ValueError: it is not finite.

    """
    check_range(name, value, -np.inf, np.inf)


def check_array(name: str, value: Any) -> None:
    """Check that a value is an array of numbers, all of them finite in float32 where they are concrete.

    Raises:
        TypeError: it holds no real numbers.
        ValueError: one is not finite.

    """
    array = numbers(name, value) if concrete(value) else value
    if not is_number(array, np.integer, np.floating):
        raise TypeError(f"{name} must be an array of numbers, got {shown(value)}")
    if concrete(array) and not (finite := is_finite(array)).all():
        raise ValueError(f"{name} must be finite in float32, got {array[~finite].ravel()[0]}")


def numbers(name: str, value: Any) -> np.ndarray:
    """Return concrete numbers, or flags, as a NumPy array.

    Raises:
        TypeError: they are none, or a ragged list.

    """
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):
        array = np.asarray(None)
    if not is_number(array, np.integer, np.floating, np.bool_):
        raise TypeError(f"{name} must be an array of numbers, got {shown(value)}")
    return array


def is_finite(array: np.ndarray) -> np.ndarray:
    """Return which numbers are finite in float32."""
    with np.errstate(over="ignore"):
        return np.asarray(np.isfinite(array.astype(np.float32)))


def check_index(name: str, value: Any, count: int) -> None:
    """Check that numbers of actions, or of states, are those of a table's, where they are concrete.

    Raises:
        ValueError: there is no such one; JAX would take the nearest.

    """
    if concrete(value) and ((wrong := np.asarray(value)) < 0).any() | (wrong >= count).any():
        raise ValueError(f"{name} must lie in [0, {count}), got {shown(value)}")


def check_initial(initial: Any, shape: tuple[int, int]) -> None:
    """Check that initial values are one finite number, or one for each entry of a table, -inf of a masked action.

    Raises:
        TypeError: they are no numbers.
        ValueError: they have another shape, or one is not finite.

    """
    given = numbers("initial", initial) if concrete(initial) else initial
    masked = concrete(initial) and np.shape(given) == shape and given.dtype.kind == "f"
    check_array("initial", np.where(np.isneginf(given), 0, given) if masked else given)
    if np.shape(given) not in ((), shape):
        raise ValueError(f"initial values of shape {np.shape(given)} for a table of shape {shape}")


def check_flag(name: str, value: Any) -> bool:
    """Return `value`, a static True or False and nothing that is merely taken for it, as "false" would be for True.

    Raises:
        TypeError: it is traced, or neither.

    """
    if not concrete(value):
        raise TypeError(f"{name} is static: it shapes the compiled program and cannot be swept")
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, got {shown(value)}")
    return bool(value)


def check_text(name: str, value: Any) -> None:
    """Check that a value is a string.

    Raises:
        TypeError: it is none.

    """
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, got {shown(value)}")


def check_callable(name: str, value: Any, signature: str) -> None:
    """Check that `value` can be called with the arguments of a signature, "(q, time) -> probabilities".

    Only positions count, names are free. What says nothing of its arguments passes.

    Raises:
        TypeError: it cannot.

    """
    if not callable(value):
        raise TypeError(f"{name} must be a function {signature}, got {shown(value)}")
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


FUNCTIONS = {
    "Agent": {
        "init": "(key, obs) -> state",
        "act": "(noise, state, carry, obs) -> (q, carry)",
        "learn": "(key, state, batch, time) -> (state, info)",
        "sync": "(key, state, elapsed) -> state",
        "observe": "(state, block) -> state",
        "begin": "(key, state) -> carry",
    },
    "Env": {
        "reset": "(key) -> (obs, state)",
        "step": "(key, state, action) -> Step",
        "encode": "(obs) -> features",
    },
    "Head": {
        "q": "(out) -> q",
        "target": "(reward, discount, next_out, weights) -> y",
        "loss": "(out, action, y) -> (loss, priority)",
    },
    "Memory": {
        "init": "(block, carry) -> state",
        "add": "(state, block, clock, carry) -> state",
        "sample": "(key, state, clock, time) -> batch",
        "update": "(state, slot, priority) -> state",
        "check": "(env)",
    },
    "Network": {"init": "(key, obs) -> params", "apply": "(params, obs, noise) -> out"},
    "RecurrentNetwork": {
        "init": "(key, obs) -> params",
        "begin": "(params) -> carry",
        "features": "(params, obs, noise) -> x",
        "cell": "(params, carry, x) -> (y, carry)",
        "output": "(params, y, noise) -> out",
    },
    "StatefulPolicy": {
        "begin": "(key) -> state",
        "act": "(key, state, q, time) -> (probabilities, state)",
    },
    "Trace": {"step": "(q, weights, action, probability) -> (c, b)"},
    "Sync": {"init": "() -> state", "step": "(state, online, target, elapsed) -> (state, target)"},
}
"""What the functions of the records take, by the record's kind (`qjax.types`, `qjax.Env`)."""


def check_record(name: str, value: Any, *kinds: type) -> None:
    """Check that a value is a record of one of some kinds, whose functions take what they are called with.

    Raises:
        TypeError: it is none, or a function takes another number of arguments.

    """
    if not isinstance(value, kinds):
        own = [f"{'qjax.' * (kind.__module__.split('.')[0] == 'qjax')}{kind.__name__}" for kind in kinds]
        wanted = " or ".join(f"{'an' if name[0] in 'AEIOU' else 'a'} {name}" for name in own)
        raise TypeError(f"{name} must be {wanted}, got {shown(value)}")
    for field, signature in FUNCTIONS.get(type(value).__name__, {}).items():
        check_callable(f"{name}.{field}", getattr(value, field), signature)


def check_listed(name: str, value: Any, what: str) -> list[Any]:
    """Return a sequence of `what` as a list; a string is none.

    Raises:
        TypeError: it is no sequence.

    """
    one = isinstance(value, str | bytes | Mapping) or getattr(value, "shape", None) == ()
    if one or not isinstance(value, Iterable):
        raise TypeError(f"{name} must be a sequence of {what}, got {shown(value)}")
    return list(np.asarray(value) if isinstance(value, jax.Array) and concrete(value) else value)


def check_mapping(name: str, value: Any) -> None:
    """Check that a value is a mapping from names.

    Raises:
        TypeError: it is none.

    """
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise TypeError(f"{name} must be a mapping from names, got {shown(value)}")


def check_path(name: str, value: Any) -> None:
    """Check that a value names a file or a folder.

    Raises:
        TypeError: it is neither a string nor a path.

    """
    if not isinstance(value, str | os.PathLike):
        raise TypeError(f"{name} must be a path, got {shown(value)}")


def is_number(value: Any, *kinds: Any) -> bool:
    """Return whether a scalar or an array, traced or not, is of some of NumPy's kinds of numbers."""
    if isinstance(value, bool):
        return np.bool_ in kinds
    if isinstance(value, int | float):
        return np.floating in kinds or (isinstance(value, int) and np.integer in kinds)
    if not isinstance(value, np.ndarray | np.generic | jax.Array):
        return False
    return any(jnp.issubdtype(value.dtype, kind) for kind in kinds)


def _floats(value: Any) -> tuple[float, np.float32]:
    """Return a concrete number as float64, and as float32; infinite where it is too large."""
    try:
        number = float(value)
    except OverflowError:
        number = np.inf if value > 0 else -np.inf
    with np.errstate(over="ignore", under="ignore"):
        return number, np.float32(number)


def check_unit(unit: str, name: str = "unit") -> None:
    """Check that a unit, an argument of that name, is a field of `qjax.types.Time` that counts.

    Raises:
        ValueError: it does not.

    """
    units = ("step", "episode", "update")
    if not isinstance(unit, str) or unit not in units:
        raise ValueError(f"{name} must be one of {', '.join(units)}, got {shown(unit)}")


def check_key(key: Any) -> None:
    """Check that `key` is one typed key.

    Raises:
        TypeError: it is a legacy uint32 key, or no key at all.

    """
    dtype = getattr(key, "dtype", None)
    if dtype is None or not jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key):
        found = f"{dtype}{list(key.shape)}" if dtype is not None else shown(key)
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
            " qjax.with_next_action() or qjax.online()"
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
