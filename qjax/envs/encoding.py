"""Observations as a network's input: discrete ones as one-hot vectors, all else as float32."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qjax.core.checks import describe


def encoder(name: str, spec: Any, space: Any = None) -> Callable[[Any], Any]:
    """Return `obs -> features` of an environment: its arrays as float32, those of a discrete space as one-hot.

    Args:
        name: the environment's.
        spec: one observation's shapes and dtypes, a pytree.
        space: the observation space, whose parts are the observation's; None where nothing is known.

    """
    structure: Any = jax.tree.structure(spec)
    counts = _counts(space, structure)

    def encode(obs: Any) -> Any:
        same: Any = jax.tree.structure(obs)
        if same != structure or any(
            np.shape(x) != one.shape for x, one in zip(jax.tree.leaves(obs), jax.tree.leaves(spec), strict=True)
        ):
            raise ValueError(f"{name} gives observations {describe(spec)}, got {describe(obs)}")
        parts = [
            jnp.asarray(x, jnp.float32) if count is None else jax.nn.one_hot(x, count)
            for x, count in zip(jax.tree.leaves(obs), counts, strict=True)
        ]
        return jax.tree.unflatten(structure, parts)

    return encode


def _counts(space: Any, structure: Any) -> list[int | None]:
    """Return of each array of an observation the number of its values where its space is discrete, else None."""
    parts = _arrays(space)
    known: list[Any] = parts if len(parts) == structure.num_leaves else [None] * structure.num_leaves
    return [int(part.n) if hasattr(part, "n") else None for part in known]


def _arrays(space: Any) -> list[Any]:
    """Return the spaces of single arrays that a space is made of, in the order of a pytree's leaves."""
    parts = getattr(space, "spaces", None)
    if parts is None:
        return [space]
    each = [parts[name] for name in sorted(parts)] if hasattr(parts, "keys") else list(parts)
    return [array for part in each for array in _arrays(part)]
