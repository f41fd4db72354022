"""Optimisers by name, those of optax, and what a chain of its transformations may keep."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from qjax.core.checks import TINY, check_range, nearest
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


@makes_usual
def obgd(learning_rate: Any = 1.0, kappa: Any = 2.0) -> optax.GradientTransformationExtraArgs:
    """Return ObGD, which bounds a step so that it cannot overshoot (Elsayed et al. 2024, algorithm 3).

    For gradients -delta z of a trace z, with delta as the further argument `td_error`: the step is alpha delta z,
    with alpha / M in the place of alpha where M = alpha kappa max(|delta|, 1) |z|_1 is above 1.

    Args:
        learning_rate: alpha.
        kappa: how far below the bound steps stay, above 1.

    Raises:
        ValueError: a number is not positive.

    """
    check_range("learning_rate", learning_rate, 0, float("inf"), open_low=True)
    check_range("kappa", kappa, 0, float("inf"), open_low=True)

    def update(updates: Any, state: Any, params: Any = None, *, td_error: Any, **_: Any) -> Any:
        size = optax.tree.norm(updates, ord=1)  # |delta| |z|_1
        bound = learning_rate * kappa * size * jnp.maximum(1.0, 1 / jnp.maximum(abs(td_error), TINY))
        step = learning_rate / jnp.maximum(bound, 1.0)
        return optax.tree.scale(-step, updates), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)


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
