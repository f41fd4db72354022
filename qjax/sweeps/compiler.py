"""What is asked of the compiler, as far as it knows it."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import jax

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
