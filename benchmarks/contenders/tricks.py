"""What makes qjax fast, to be taken out one at a time."""

from functools import partial
from importlib import import_module
from types import SimpleNamespace
from typing import Any, NamedTuple

TRICKS = (
    "one device per core",
    "groups of lanes",
    "the clock outside the lanes",
    "sync outside the loop",
    "unrolled threefry",
    "draws ahead of the loop",
    "packed rows",
    "donation",
    "the barrier behind the environment",
    "slices of several lanes",
    "sums for the values of actions",
)
"""What can be taken out, one at a time."""


def prepare(without: str) -> None:
    """Start JAX as the command lines do, but for the trick that is left out."""
    if without and without not in TRICKS:
        raise ValueError(f"{without!r} is none of {TRICKS}")
    import jax

    import qjax
    from qjax.objectives import heads
    from qjax.replay import memory
    from qjax.training import ahead, iteration
    from qjax.training import loop as loops

    if without != "one device per core":
        qjax.use_cores()
    if without == "unrolled threefry":
        loops.unrolled = lambda key: key
    if without == "draws ahead of the loop":
        ahead.AHEAD_ITERATIONS = 1
    if without == "packed rows":
        memory.pack = _separate
    if without == "the barrier behind the environment":
        iteration.lax = SimpleNamespace(**{**vars(jax.lax), "optimization_barrier": lambda x: x})  # type: ignore[assignment]
    if without == "slices of several lanes":
        memory.write_slice = partial(jax.lax.dynamic_update_slice_in_dim, axis=0)
    if without == "sums for the values of actions":
        for module in (heads, import_module("qjax.agents.dqn")):
            module.at_action = lambda values, action: values[action]  # type: ignore[attr-defined]
    if without == "donation":
        jit = jax.jit
        jax.jit = lambda function, donate_argnums=(), **rest: jit(function, **rest)  # type: ignore[assignment]


class _Separate(NamedTuple):
    """Transitions packed field by field, with what the memories use of `Packed`."""

    fields: Any

    def _each(self, function: Any, *others: Any) -> Any:
        import jax

        from qjax.replay.packing import Packed

        return jax.tree.map(
            function, self.fields, *(other.fields for other in others), is_leaf=lambda x: isinstance(x, Packed)
        )

    def map(self, function: Any, *others: Any) -> Any:
        """Return the fields with a function applied to the rows of each."""
        return _Separate(self._each(lambda one, *rest: one.map(function, *rest), *others))

    def unpacked(self) -> Any:
        """Return the transitions."""
        return self._each(lambda one: one.unpacked())

    def at(self, slot: Any) -> Any:
        """Return the transitions at some places."""
        return self._each(lambda one: one.at(slot))

    @property
    def axes(self) -> Any:
        """The leading axes."""
        return self.fields.reward.axes


def _separate(tree: Any, axes: int) -> Any:
    """Return transitions with an array of its own for each field, in the place of packed ones."""
    import jax

    from qjax.replay.packing import pack

    return _Separate(jax.tree.map(lambda leaf: pack(leaf, axes), tree))
