"""Wrappers of what is observed: parts of it, other types, several frames, what was done and paid before."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from qjax.core.checks import (
    LARGEST,
    check_callable,
    check_listed,
    check_record,
    check_size,
    concrete,
    describe,
    nearest,
    numbers,
)
from qjax.core.default_rules import usual
from qjax.core.returned import returning_arrays, told
from qjax.core.text import shown, telling
from qjax.envs.encoding import encoder
from qjax.envs.wrappers.base import legal_of, observing, original_of, words
from qjax.types import Env

Function = Callable[[Any], Any]


class Masked(NamedTuple):
    """What is observed where the legal actions can no longer be told from it; no network sees the mask."""

    obs: PyTree[Array]
    """What is observed."""
    legal: Bool[Array, " A"]
    """Which actions may be taken."""


def observe(
    env: Env,
    function: Function,
    encode: Function | None = None,
    inverse: Function | None = None,
    num_states: int | None = None,
) -> Env:
    """Return an environment whose observations are a function of its own.

    Where there are illegal actions and no inverse, the mask of the legal ones is kept beside (`Masked`).

    Args:
        env: the environment.
        function: `obs -> obs`.
        encode: `obs -> features` of the new observation; default that of the old one where there is an inverse,
            else float32.
        inverse: `obs -> obs`, the old observation from the new one, or what `env.encode` and `env.legal` take for
            it.
        num_states: the number of values of a new observation that is a whole number from 0.

    Raises:
        TypeError: it is no function, or returns no arrays.
        ValueError: it fails.

    """
    check_callable("function", function, "(obs) -> obs")
    if encode is not None:
        check_callable("encode", encode, "(obs) -> features")
    if inverse is not None:
        check_callable("inverse", inverse, "(obs) -> obs")
    if num_states is not None:
        num_states = check_size("num_states", num_states)
    name = getattr(function, "__name__", "function")
    return _observe(env, words("observe", name), function, encode, inverse, num_states)


def _observe(
    env: Env,
    word: str,
    function: Function,
    encode: Function | None = None,
    inverse: Function | None = None,
    num_states: int | None = None,
) -> Env:
    check_record("env", env, Env)
    if inverse is None and env.legal is not None:
        return _beside_mask(env, word, function, encode)
    spec = _seen(env, word, function, env.obs_spec)
    if num_states is not None and not _is_number(spec):
        raise ValueError(f"{word}: states are whole numbers from 0 to {num_states - 1}, not {describe(spec)}")
    fields: dict[str, Any] = {"num_states": num_states, "original": None}
    if inverse is None:
        fields["encode"] = encode or encoder(f"{env.name} {word}", spec)
    else:
        _check_alike(f"{word}: the inverse", _seen(env, word, inverse, spec), env.obs_spec)
        fields["encode"] = encode or (lambda obs: env.encode(inverse(obs)))
        fields |= {"legal": legal_of(env, inverse), "original": original_of(env, inverse)}
    return observing(
        env,
        word,
        lambda obs: (function(obs), ()),
        lambda own, action, reward, obs: (function(obs), ()),
        **fields,
    )


def _beside_mask(env: Env, word: str, function: Function, encode: Function | None) -> Env:
    """Return an environment whose observations are a function of its own, beside the mask of its legal actions."""
    legal: Any = env.legal
    before: Function = (lambda obs: obs.obs) if isinstance(env.obs_spec, Masked) else (lambda obs: obs)
    chosen = encode or encoder(f"{env.name} {word}", _seen(env, word, function, before(env.obs_spec)))

    def seen(obs: Any) -> Masked:
        return Masked(function(before(obs)), legal(obs))

    return observing(
        env,
        word,
        lambda obs: (seen(obs), ()),
        lambda own, action, reward, obs: (seen(obs), ()),
        encode=lambda obs: chosen(obs.obs),
        legal=lambda obs: obs.legal,
        original=None,
    )


def _seen(env: Env, word: str, function: Function, spec: Any) -> Any:
    """Return the shapes of what a function makes of an observation."""
    with telling(f"{env.name} {word} fails on {describe(spec)}"):
        found = jax.eval_shape(usual(returning_arrays(word, function)), spec)
    if not jax.tree.leaves(found):
        raise TypeError(f"{word} must give at least one array of an observation, got {told(found)}")
    return found


def _is_number(spec: Any) -> bool:
    """Return whether an observation is one whole number."""
    leaves = jax.tree.leaves(spec)
    return len(leaves) == 1 and leaves[0].shape == () and jnp.issubdtype(leaves[0].dtype, jnp.integer)


def _check_alike(what: str, found: Any, wanted: Any) -> None:
    structure: Any = jax.tree.structure(found)
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=False)
    if structure != jax.tree.structure(wanted) or any(x.shape != like.shape for x, like in pairs):
        raise ValueError(f"{what} gives {told(found)}, not {describe(wanted)}")


def select(env: Env, which: Any) -> Env:
    """Return an environment that shows parts of its observation alone.

    Args:
        env: the environment; what it encodes has the parts of the observation.
        which: of a dict or a NamedTuple a name, whose array is then the observation, or several, which make a dict;
            of an array the numbers of entries of its last axis, or a flag for each of them.

    Raises:
        TypeError: there are no such parts, or `which` names none.
        ValueError: a name or a number is unknown, or none is given.

    """
    check_record("env", env, Env)
    spec = env.obs_spec.obs if isinstance(env.obs_spec, Masked) else env.obs_spec
    choose = _named(env, spec, which) if not hasattr(spec, "shape") else _numbered(env, spec, which)
    features, structure = _features(env), jax.tree.structure(spec)
    found: Any = jax.eval_shape(features, spec)
    same: Any = jax.tree.structure(found)
    if same != structure or (hasattr(spec, "shape") and found.shape != spec.shape):
        raise ValueError(f"{env.name} encodes {describe(spec)} as {told(found)}: select its parts before")

    def encode(obs: Any) -> Any:
        # Of what is left out zeros are encoded, of which nothing is left.
        empty = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), spec)
        return choose(features(_put(choose, empty, obs)))

    return _observe(env, words("select", which), choose, encode)


def _put(choose: Function, empty: Any, chosen: Any) -> Any:
    """Return the observation of which `choose` gives the chosen parts, with zeros as the others: its transpose."""
    floats = jax.tree.map(lambda x: x.astype(jnp.float32), empty)
    (back,) = jax.linear_transpose(choose, floats)(jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), chosen))
    return jax.tree.map(lambda x, like: x.astype(like.dtype), back, empty)


def _named(env: Env, spec: Any, which: Any) -> Function:
    known = dict(spec) if isinstance(spec, dict) else spec._asdict() if hasattr(spec, "_asdict") else None
    if known is None:
        raise TypeError(f"{env.name} observes {describe(spec)}, parts without names: take observe, or flatten")
    names = [which] if isinstance(which, str) else check_listed("which", which, "names")
    for name in names:
        if name not in known:
            raise ValueError(f"{env.name} observes no {shown(name)}; {nearest(str(name), known)}")
    if not names:
        raise ValueError(f"which names no part; there are {', '.join(known)}")

    def part(obs: Any, name: str) -> Any:
        return obs[name] if isinstance(obs, dict) else getattr(obs, name)

    if isinstance(which, str):
        return lambda obs: part(obs, which)
    return lambda obs: {name: part(obs, name) for name in names}


def _numbered(env: Env, spec: Any, which: Any) -> Function:
    if not spec.shape:
        raise TypeError(f"{env.name} observes one number, {describe(spec)}: it has no parts")
    if isinstance(which, str):
        raise TypeError(f"{env.name} observes one array, {describe(spec)}: which are numbers, got {shown(which)}")
    size, array = spec.shape[-1], np.atleast_1d(numbers("which", which))
    if array.dtype == bool and array.shape == (size,):
        array = np.flatnonzero(array)
    if array.ndim != 1 or array.dtype.kind not in "iu" or not array.size:
        raise ValueError(f"which must be numbers from 0 to {size - 1}, or {size} flags, got {shown(which)}")
    if (array < 0).any() or (array >= size).any() or len(set(array.tolist())) < array.size:
        raise ValueError(f"which must be different numbers from 0 to {size - 1}, got {shown(which)}")
    return lambda obs: obs[..., array]


def flatten(env: Env) -> Env:
    """Return an environment whose observation is one vector: all its arrays, of the type that holds them all.

    What it encodes is what it was, as one vector. Where there are whole numbers or flags among floats, that is what
    is observed, too: one-hot of a discrete one, so that all of the vector are numbers, which may be normalised.
    """
    check_record("env", env, Env)
    leaves, structure = jax.tree.flatten(env.obs_spec)
    ends = np.cumsum([math.prod(x.shape) for x in leaves])[:-1].tolist()

    def flat(obs: Any) -> Any:
        return jnp.concatenate([jnp.ravel(x) for x in jax.tree.leaves(obs)])

    if _makes_floats(env, jnp.result_type(*leaves)):
        features = _features(env)
        return _observe(env, "flatten", lambda obs: flat(features(obs)))

    def inverse(vector: Any) -> Any:
        parts = zip(jnp.split(vector, ends), leaves, strict=True)
        return jax.tree.unflatten(structure, [part.reshape(x.shape).astype(x.dtype) for part, x in parts])

    return _observe(env, "flatten", flat, lambda obs: flat(env.encode(inverse(obs))), inverse)


def _makes_floats(env: Env, kind: Any) -> bool:
    """Return whether whole numbers or flags of an observation become floats as arrays of a type.

    Cast back, for what the environment encodes, a normalised number would be lost: so no cast is made there.
    """
    kinds = [x.dtype for x in jax.tree.leaves(env.obs_spec)]
    return jnp.issubdtype(kind, jnp.floating) and not all(jnp.issubdtype(each, jnp.floating) for each in kinds)


def _features(env: Env) -> Function:
    """Return what an environment encodes, as a function of what is observed beside the mask, if there is one."""
    if not isinstance(env.obs_spec, Masked):
        return env.encode
    empty = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), env.obs_spec)
    return lambda obs: env.encode(empty._replace(obs=obs))


def cast(env: Env, dtype: Any) -> Env:
    """Return an environment whose observations are of another type, such as bool or uint8, which memories hold.

    They are encoded as before; what the type cannot hold is lost. Where whole numbers or flags become floats, what
    is observed is what is encoded: one-hot of a discrete one.

    Raises:
        TypeError: it is no type of real numbers, of at most 32 bits.

    """
    check_record("env", env, Env)
    try:
        kind = jnp.dtype(dtype)
    except TypeError:
        kind = np.dtype(object)
    real = any(jnp.issubdtype(kind, each) for each in (jnp.bool_, jnp.integer, jnp.floating))
    if not real or kind.itemsize > 4:
        raise TypeError(f"dtype must be one of real numbers of at most 32 bits, bool or uint8, got {shown(dtype)}")
    spec, word = env.obs_spec, words("cast", kind.name)

    def converted(obs: Any) -> Any:
        return jax.tree.map(lambda x: jnp.asarray(x).astype(kind), obs)

    if _makes_floats(env, kind):
        features = _features(env)
        return _observe(env, word, lambda obs: converted(features(obs)))
    return _observe(
        env,
        word,
        converted,
        inverse=lambda obs: jax.tree.map(lambda x, like: x.astype(like.dtype), obs, spec),
        num_states=env.num_states if jnp.issubdtype(kind, jnp.integer) else None,
    )


def frame_stack(env: Env, size: int) -> Env:
    """Return an environment that shows its latest observations, along the last axis, the oldest first.

    At an episode's start all of them are its first observation. Frames are encoded each by itself.

    Args:
        env: the environment; of an observation that is one number the stack is `[size]`.
        size: observations of a stack.

    Raises:
        TypeError: size is traced or no whole number.
        ValueError: size is less than 1.

    """
    check_record("env", env, Env)
    size, spec = check_size("size", size), env.obs_spec
    widths = jax.tree.map(lambda x: x.shape[-1] if x.shape else 1, spec)

    def first(obs: Any) -> Any:
        stack = jax.tree.map(lambda x: jnp.concatenate([jnp.atleast_1d(x)] * size, -1), obs)
        return stack, stack

    def then(own: Any, action: Any, reward: Any, obs: Any) -> Any:
        stack = jax.tree.map(
            lambda held, x, width: jnp.concatenate([held[..., width:], jnp.atleast_1d(x)], -1), own, obs, widths
        )
        return stack, stack

    def frame(stack: Any, number: int) -> Any:
        return jax.tree.map(
            lambda x, width, like: x[..., number * width : (number + 1) * width].reshape(like.shape),
            stack,
            widths,
            spec,
        )

    def encode(stack: Any) -> Any:
        frames = [env.encode(frame(stack, number)) for number in range(size)]
        return jax.tree.map(lambda *x: jnp.concatenate([jnp.atleast_1d(one) for one in x], -1), *frames)

    def latest(stack: Any) -> Any:
        return frame(stack, size - 1)

    fields = {"encode": encode, "legal": legal_of(env, latest), "original": original_of(env, latest)}
    return observing(env, words("frame_stack", size), first, then, **fields)


class Previous(NamedTuple):
    """An observation, and what led to it; nothing did to an episode's first one."""

    obs: PyTree[Array]
    """What is observed."""
    action: Int[Array, ""]
    """That led here, -1 at the start."""
    reward: Float[Array, ""]
    """That was paid for it, 0 at the start."""


def previous(env: Env) -> Env:
    """Return an environment that shows the previous action and reward, too (`Previous`); actions as one-hot."""

    def encode(seen: Previous) -> Previous:
        return Previous(env.encode(seen.obs), jax.nn.one_hot(seen.action, env.num_actions), seen.reward)

    def first(obs: Any) -> Any:
        return Previous(obs, jnp.int32(-1), jnp.float32(0)), ()

    def then(own: Any, action: Any, reward: Any, obs: Any) -> Any:
        return Previous(obs, jnp.asarray(action, jnp.int32), jnp.asarray(reward, jnp.float32)), ()

    def before(seen: Previous) -> Any:
        return seen.obs

    check_record("env", env, Env)
    fields = {"encode": encode, "legal": legal_of(env, before), "original": original_of(env, before)}
    return observing(env, "previous", first, then, **fields)


def discretise(env: Env, bins: Any, low: Any, high: Any) -> Env:
    """Return an environment that shows one number for its vector, so that tables run on it.

    Each entry falls into one of equal bins between `low` and `high`, or into the first or last one beyond; the
    number counts through their combinations, as `numpy.ravel_multi_index` does.

    Args:
        env: the environment; its observation is one array.
        bins: of each entry, or of all.
        low: where the first bin begins, of each entry or of all.
        high: where the last one ends.

    Raises:
        TypeError: the observation is several arrays, or a number is none.
        ValueError: there are illegal actions, which cannot be told from the number; low is not below high, the
            numbers are not one for each entry, or their combinations too many.

    """
    check_record("env", env, Env)
    if not hasattr(env.obs_spec, "shape"):
        raise TypeError(f"{env.name} observes {describe(env.obs_spec)}; discretise needs one array: flatten before")
    if env.legal is not None:
        raise ValueError(f"{env.name} has illegal actions, which cannot be told from the number of a bin")
    size = math.prod(env.obs_spec.shape)
    counts = [check_size("bins (each)", count) for count in _each("bins", bins, size)]
    ends = [np.asarray(_each(name, value, size), np.float32) for name, value in (("low", low), ("high", high))]
    if not (np.isfinite(ends).all() and (ends[0] < ends[1]).all()):
        raise ValueError(f"low must be below high, and both finite, got {shown(low)} and {shown(high)}")
    if (states := math.prod(counts)) > LARGEST:
        raise ValueError(f"bins make {states:,} states; at most {LARGEST:,} can be counted")
    edges = np.full((size, max(counts)), np.inf, np.float32)
    for row, count, least, most in zip(edges, counts, *ends, strict=True):
        row[: count - 1] = np.linspace(least, most, count + 1)[1:-1]
    strides = np.array([math.prod(counts[place + 1 :]) for place in range(size)], np.int32)

    def state(obs: Any) -> Any:
        return ((jnp.ravel(obs)[:, None] >= edges).sum(1) * strides).sum().astype(jnp.int32)

    word = words("discretise", bins, low, high)
    return _observe(env, word, state, lambda obs: jax.nn.one_hot(obs, states), num_states=states)


def _each(name: str, value: Any, size: int) -> Sequence[Any]:
    """Return a number for each entry of an observation."""
    if not concrete(value):
        raise TypeError(f"{name} is static: it shapes the compiled program and cannot be swept")
    array = numbers(name, value)
    if array.shape not in ((), (size,)):
        raise ValueError(f"{name} must be one number or {size}, one for each entry, got {shown(value)}")
    found: list[Any] = np.broadcast_to(array, (size,)).tolist()
    return found
