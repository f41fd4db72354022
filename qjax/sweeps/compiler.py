"""What is asked of the compiler, as far as it knows it."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core

# XLA compiles a program for several devices with a clean-up (a common-subexpression pass) before all the others,
# and one for a single device without. What is fused then differs, and with it the last digits.
OPTIONS: dict[str, Any] = {"xla_disable_hlo_passes": "spmd-cleanup"}
"""What groups ask of the compiler, as far as it knows it: names of options come and go with its versions."""


def known_options(options: dict[str, Any]) -> dict[str, Any]:
    """Return those of the compiler's options that it knows; with any other nothing would compile."""
    return {name: value for name, value in options.items() if _is_known(name, value)}


@cache
def _is_known(name: str, value: Any) -> bool:
    try:
        jax.jit(lambda: 0).lower().compile(compiler_options={name: value})
    except jax.errors.JaxRuntimeError:
        return False
    return True


LARGE = 2**16
"""Bytes from which on a constant of a program is an argument of it."""


@contextmanager
def no_collection() -> Iterator[None]:
    """Keep Python from looking for garbage, which takes a sixth of the time in which programs are traced."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def without_empty_constants(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that makes its constants of no elements itself, in place of capturing them.

    `x.at[:].set(y)` captures one, of indices. `jax.shard_map` makes arguments of what is captured, and one without
    elements ends the process with a segmentation fault in the partitioner of jax 0.11.2.
    """

    def remade(*args: Any) -> Any:
        closed, out = jax.make_jaxpr(function, return_shape=True)(*args)
        consts = [x if jnp.size(x) else jnp.zeros(x.shape, x.dtype) for x in closed.consts]
        leaves = core.jaxpr_as_fun(core.ClosedJaxpr(closed.jaxpr, consts))(*jax.tree.leaves(args))
        return jax.tree.unflatten(jax.tree.structure(out), leaves)

    return remade


def is_large(array: Any) -> bool:
    """Return whether a program should take an array, such as one of recorded data, as an argument.

    What a program has inside is copied several times while it is compiled, and once into each program.
    """
    return bool(jnp.size(array) * array.dtype.itemsize >= LARGE)


def large_constants(traced: Any) -> list[Any]:
    """Return the large arrays that a traced program captured."""
    return [x for x in traced.jaxpr.consts if is_large(x)]


def taking_large_constants(traced: Any) -> Callable[..., Any]:
    """Return a traced program as a function of its large constants, a list, and then of its own arguments."""
    closed, structure = traced.jaxpr, jax.tree.structure(traced.out_info)

    def program(large: list[Any], *arguments: Any) -> Any:
        given = iter(large)
        consts = [next(given) if is_large(x) else x for x in closed.consts]
        leaves = core.jaxpr_as_fun(core.ClosedJaxpr(closed.jaxpr, consts))(*jax.tree.leaves(arguments))
        return jax.tree.unflatten(structure, leaves)

    return program
