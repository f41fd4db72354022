"""How a contender is measured."""

import os
import time
from collections.abc import Callable
from typing import Any

Measure = Callable[[float], float]
"""`seconds -> speed`"""


def timed(step: Callable[[], object], warm: float = 0.5) -> Measure:
    """Return the speed of a step in plain Python."""

    def measure(seconds: float) -> float:
        began = now = time.perf_counter()
        steps = 0
        while now - began < seconds:
            step()
            steps += 1
            now = time.perf_counter()
        return steps / (now - began)

    measure(warm)
    return measure


def chunked(advance: Callable[[Any], Any], state: Any, steps: int) -> Measure:
    """Return the speed of a function of a state that makes so many steps at each call."""
    import jax

    held = [jax.block_until_ready(advance(state))]

    def measure(seconds: float) -> float:
        began, calls = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            held[0] = jax.block_until_ready(advance(held[0]))
            calls += 1
        return steps * calls / (time.perf_counter() - began)

    measure(0.2)
    return measure


def sum_of(tree: Any) -> Any:
    """Return the sum of all leaves, so that nothing drawn is left out."""
    import jax
    import jax.numpy as jnp

    return sum(jnp.sum(x.astype(jnp.float32)) for x in jax.tree.leaves(tree))


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
