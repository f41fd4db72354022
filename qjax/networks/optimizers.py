"""Optimisers by name, those of optax, and what a chain of its transformations may keep."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from qjax.core.checks import nearest
from qjax.core.default_rules import makes_usual
from qjax.core.text import shown

OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformation]] = {
    "rmsprop": partial(optax.rmsprop, decay=0.95, eps=0.01, centered=True, eps_in_sqrt=False, momentum=0.95)
}
"""Those that are not as optax has them: rmsprop has the constants of Young and Tian 2019."""


def optimizer_names() -> list[str]:
    """Return the names of optax's optimisers: the functions whose first argument is the learning rate."""
    found = []
    for name in dir(optax):
        made = getattr(optax, name)
        if inspect.isfunction(made) and next(iter(inspect.signature(made).parameters), "") == "learning_rate":
            found.append(name)
    return found


def optimizer_of(name: str) -> Callable[..., optax.GradientTransformation]:
    """Return `(rate, **options) -> optimiser` by the name that it has in optax: adam, adamw, radam, lion, ...

    Raises:
        ValueError: there is no such one; the nearest names are given.

    """
    if isinstance(name, str) and name in OPTIMIZERS:
        return OPTIMIZERS[name]
    if not isinstance(name, str) or name not in optimizer_names():
        raise ValueError(f"no optimizer {shown(name)}; {nearest(str(name), optimizer_names())}")
    made: Callable[..., optax.GradientTransformation] = getattr(optax, name)
    return made


class GradientNormState(NamedTuple):
    """The state of `keep_gradient_norm`."""

    gradient_norm: Float[Array, ""]
    """Of the last gradient, 0 before the first."""


@makes_usual
def keep_gradient_norm() -> optax.GradientTransformation:
    """Return a transformation that changes no gradient, and keeps the norm of the last one in its state.

    In front of others it is the gradient's own: `optax.chain(qjax.keep_gradient_norm(), optax.adam(1e-3))`.
    """

    def update(updates: Any, state: GradientNormState, params: Any = None) -> Any:
        return updates, GradientNormState(optax.tree.norm(updates))

    return optax.GradientTransformation(lambda params: GradientNormState(jnp.float32(0)), update)
