"""What a researcher's functions return, checked by shapes: a wrong one that broadcasts would be silent."""

from typing import Any

import jax

from qjax.core.checks import describe


def check_returned(what: str, value: Any, shape: tuple[int, ...]) -> Any:
    """Return what a function returned, an array or number of this shape.

    Raises:
        ValueError: it has another shape, or is none; `what` names it.

    """
    leaves = jax.tree.leaves(value)
    found = getattr(value, "shape", () if len(leaves) == 1 else None)
    if found != shape:
        told = describe(value) if leaves else repr(value)
        raise ValueError(f"{what} must have the shape {list(shape)}, got {told}")
    return value
