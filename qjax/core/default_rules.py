"""Functions under JAX's default rules, whatever its settings are.

Where 64-bit numbers are enabled environments, networks and optimisers would compute other numbers, and where
implicit promotion of types or ranks is forbidden they would raise. So qjax's functions, and what they call, run
under the rules that JAX has by default: states are of 32 bits, and numbers do not depend on such settings.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np

from qjax.types import no_carry, no_sync, no_update

Function = TypeVar("Function", bound=Callable[..., Any])

_NARROW = {"float64": jnp.float32, "int64": jnp.int32, "uint64": jnp.uint32, "complex128": jnp.complex64}


@contextmanager
def usual_rules() -> Iterator[None]:
    """Have JAX's default rules: numbers of 32 bits, implicit promotion of types and of ranks."""
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def usual(function: Function) -> Function:
    """Return the function under JAX's default rules; 64-bit arguments are narrowed."""
    if function in (no_update, no_sync, no_carry) or hasattr(function, "_usual"):
        return function

    @wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        if _are_usual():
            return function(*args, **kwargs)
        args, kwargs = jax.tree.map(_narrow, (args, kwargs))
        with usual_rules():
            return function(*args, **kwargs)

    called._usual = True  # type: ignore[attr-defined]
    return cast(Function, called)


def makes_usual(factory: Function) -> Function:
    """Return a factory of a function, or of a record or dict of functions, that makes them `usual`."""

    @wraps(factory)
    def make(*args: Any, **kwargs: Any) -> Any:
        made = usual(factory)(*args, **kwargs)
        if callable(made):
            return usual(made)
        if isinstance(made, dict):
            return {name: usual(one) for name, one in made.items()}
        return type(made)(*(usual(field) if callable(field) else field for field in made))

    return cast(Function, make)


def _are_usual() -> bool:
    config: Any = jax.config
    promotion = (config.jax_numpy_dtype_promotion, config.jax_numpy_rank_promotion)
    return not config.jax_enable_x64 and promotion == ("standard", "allow")


def _narrow(leaf: Any) -> Any:
    dtype = _NARROW.get(str(getattr(leaf, "dtype", "")))
    if dtype is None:
        return leaf
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return leaf.update(dtype=dtype)
    return leaf.astype(dtype) if isinstance(leaf, np.ndarray | np.generic) else jnp.asarray(leaf, dtype)
