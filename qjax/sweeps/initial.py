"""Agents that a sweep begins with: their states, or their parameters alone, of each lane or one for all."""

import hashlib
from typing import Any, NamedTuple

import jax
import numpy as np

from qjax.core.checks import describe
from qjax.core.random import root_key
from qjax.training.loop import Loop


class Initial(NamedTuple):
    """What lanes begin with."""

    agents: Any
    """NumPy arrays `[lanes, ...]`, or those of one agent."""
    lanes: int | None
    """How many there are; None of one for all."""
    digest: str
    """Of their bytes."""

    def rows(self, lanes: np.ndarray) -> Any:
        """Return what some lanes begin with; padding begins as the last lane does."""
        if self.lanes is None:
            return jax.tree.map(lambda x: np.broadcast_to(x, (len(lanes), *x.shape)), self.agents)
        own = np.minimum(lanes, self.lanes - 1)
        return jax.tree.map(lambda x: x[own], self.agents)


def check_initial_agents(loop: Loop, initial: Any, lanes: int) -> Initial | None:
    """Return what so many lanes begin with, checked, None where they begin afresh.

    Raises:
        TypeError: something among it is no array of numbers.
        ValueError: it has the structure and shapes neither of the agents' states nor of their parameters.

    """
    if initial is None:
        return None
    arrays = jax.tree.map(np.asarray, initial)
    if not all(x.dtype.kind in "biufV" for x in jax.tree.leaves(arrays)):
        raise TypeError("initial must be arrays of numbers: agents' states, or their parameters")
    state = jax.eval_shape(loop.init, root_key(0)).agent
    structure: Any = jax.tree.structure(arrays)
    for wanted in (state, getattr(state, "params", None)):
        if wanted is None or jax.tree.structure(wanted) != structure:
            continue
        for count in (None, lanes):
            if _kinds(arrays) == _kinds(wanted, () if count is None else (count,)):
                return Initial(arrays, count, _digest(arrays))
        name, found, own = _first_other(arrays, wanted, lanes)
        raise ValueError(
            f"initial agents have {name} {found}, and one of these agents {own}; with an axis of {lanes} lanes"
            " before it there is one for each"
        )
    also = ", nor its params" if hasattr(state, "params") else ""
    raise ValueError(f"initial agents are {describe(arrays)}, not these agents' state, {describe(state)}{also}")


def _kinds(tree: Any, axes: tuple[int, ...] = ()) -> list[tuple[Any, ...]]:
    return [((*axes, *x.shape), x.dtype) for x in jax.tree.leaves(tree)]


def _first_other(arrays: Any, wanted: Any, lanes: int) -> tuple[str, str, str]:
    """Return the name of the first array that is another than one agent's, or so many's, what it is, and one's."""
    named = jax.tree_util.tree_leaves_with_path(arrays)
    axes = (lanes,) if named[0][1].ndim > jax.tree.leaves(wanted)[0].ndim else ()
    each = zip(named, jax.tree.leaves(wanted), strict=True)
    (path, found), own = next(
        (x, own) for x, own in each if (x[1].shape, x[1].dtype) != ((*axes, *own.shape), own.dtype)
    )
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    return name or "an array", describe(found), describe(own)


def _digest(tree: Any) -> str:
    found = hashlib.sha256()
    for x in jax.tree.leaves(tree):
        found.update(f"{x.dtype}{x.shape}".encode())
        found.update(np.ascontiguousarray(x).tobytes())
    return found.hexdigest()[:16]
