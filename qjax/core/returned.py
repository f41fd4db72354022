"""What a researcher's functions return, checked by shapes: a wrong one that broadcasts would be silent.

`returning_arrays`, `resetting` and `stepping` return the function that they are given, with its checks.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np

from qjax.core.checks import describe, is_number
from qjax.core.text import shown
from qjax.types import Env, Step

Function = TypeVar("Function", bound=Callable[..., Any])


def check_returned(what: str, value: Any, shape: tuple[int, ...]) -> Any:
    """Return what a function returned, an array or number of this shape.

    Raises:
        ValueError: it has another shape, or is none; `what` names it.
        TypeError: it is no array, nor any number.

    """
    _check_arrays(f"{what} must be an array or a number", value)
    leaves = jax.tree.leaves(value)
    found = getattr(value, "shape", () if len(leaves) == 1 else None)
    if found != shape:
        told = describe(value) if leaves else repr(value)
        raise ValueError(f"{what} must have the shape {list(shape)}, got {told}")
    return value


def returning_arrays(what: str, function: Function, wanted: str = "arrays or numbers") -> Function:
    """Return the function, which then raises TypeError where it returns something else; `what` names it."""

    def called(*args: Any) -> Any:
        return _check_arrays(f"{what} must return {wanted}", function(*args))

    return cast(Function, called)


def resetting(env: Env) -> Callable[..., Any]:
    """Return an environment's `reset`, which then raises TypeError where it returns no pair of arrays."""

    def reset(key: Any) -> Any:
        found = _check_arrays("Env.reset must return arrays", env.reset(key))
        if not isinstance(found, tuple) or len(found) != 2:
            raise TypeError(f"Env.reset must return (obs, state), that of {env.name} returned {told(found)}")
        return found

    return reset


def stepping(env: Env) -> Callable[..., Step]:
    """Return an environment's `step`, which then raises TypeError where it returns no `Step` of arrays."""

    def step(key: Any, state: Any, action: Any) -> Step:
        found = env.step(key, state, action)
        if not all(hasattr(found, field) for field in Step._fields):
            given = type(found).__name__
            raise TypeError(f"Env.step must return a qjax.types.Step, that of {env.name} returned {given}")
        _check_arrays("Env.step must return a Step of arrays", found)
        if _shapes(found.obs) != _shapes(found.final_obs):
            raise TypeError(
                f"{env.name}: step gives obs {told(found.obs)} and final_obs {told(found.final_obs)}; a wrapper of"
                " observations changes both"
            )
        for what, wanted in (("reward", "a number"), ("terminated", "a bool"), ("truncated", "a bool")):
            check_scalar(env.name, what, getattr(found, what), wanted)
        return found

    return step


def _shapes(tree: Any) -> Any:
    structure: Any = jax.tree.structure(tree)
    return structure, [np.shape(leaf) for leaf in jax.tree.leaves(tree)]


def check_scalar(name: str, what: str, found: Any, wanted: str) -> None:
    """Check that a step returns one number, or one bool.

    Raises:
        TypeError: it returns something else.

    """
    kinds = (jnp.bool_,) if wanted == "a bool" else (jnp.bool_, jnp.integer, jnp.floating)
    one: Any = jax.tree.structure(found)
    right = one == jax.tree.structure(0) and np.shape(found) == ()
    if not right or not any(jnp.issubdtype(jax.dtypes.result_type(found), kind) for kind in kinds):
        raise TypeError(f"{name}: step gives {what} as {told(found)}; {wanted} of shape () is needed")


def told(found: Any) -> str:
    """Return dtypes and shapes, or that there is nothing."""
    return describe(found) if jax.tree.leaves(found) else repr(found)


def _check_arrays(wanted: str, value: Any) -> Any:
    for leaf in jax.tree.leaves(value):
        if not _is_array(leaf):
            raise TypeError(f"{wanted}, got {shown(leaf)}")
    return value


def _is_array(leaf: Any) -> bool:
    if isinstance(leaf, jax.Array | jax.ShapeDtypeStruct):
        return True
    return is_number(leaf, np.integer, np.floating, np.complexfloating, np.bool_) or isinstance(leaf, complex)
