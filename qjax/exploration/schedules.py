"""Schedules: plain functions `Time -> value`.

Written out rather than taken from optax, whose schedules branch on their ends and so cannot take traced ones;
`from_optax` adapts any optax schedule where the ends are static.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from qjax.core.checks import check_callable, check_number, check_range, check_size, check_unit, concrete
from qjax.core.default_rules import makes_usual
from qjax.types import Schedule, Time

__all__ = ["constant", "from_optax", "geometric", "ladder", "linear"]


@makes_usual
def constant(value: Any) -> Schedule:
    """Return the schedule that is always `value`.

    Raises:
        ValueError: it is not finite.

    """
    check_number("value", value)
    return lambda time: jnp.asarray(value, jnp.float32)


@makes_usual
def linear(start: Any, end: Any, duration: Any, unit: str = "step") -> Schedule:
    """Return the straight line from `start` to `end` over `duration` units of time, and `end` after.

    Raises:
        ValueError: an end is not finite, `duration` is not positive, or `unit` is unknown.

    """
    check_unit(unit)
    check_number("start", start)
    check_number("end", end)
    if concrete(start, end):
        check_number("end less start", float(end) - float(start))
    check_range("duration", duration, 0, float("inf"), open_low=True)

    def schedule(time: Time) -> Any:
        done = jnp.clip(getattr(time, unit) / jnp.asarray(duration, jnp.float32), 0, 1)
        return start + done * (jnp.asarray(end, jnp.float32) - start)

    return schedule


@makes_usual
def geometric(start: Any, factor: Any, end: Any, unit: str = "episode") -> Schedule:
    """Return `start * factor ** n` after n units of time, and never less than `end`.

    Raises:
        ValueError: an end is not finite, `factor` lies outside [0, 1], or `unit` is unknown.

    """
    check_unit(unit)
    check_number("start", start)
    check_number("end", end)
    check_range("factor", factor, 0, 1)

    def schedule(time: Time) -> Any:
        n = jnp.asarray(getattr(time, unit), jnp.float32)
        return jnp.maximum(end, start * jnp.asarray(factor, jnp.float32) ** n)

    return schedule


@makes_usual
def ladder(num_envs: int, base: Any = 0.4, exponent: Any = 7.0) -> Schedule:
    """Return epsilon_i = base ** (1 + exponent * i / (N - 1)) for environment i.

    Source: Horgan et al. 2018 (Ape-X), section 4.1.

    Raises:
        TypeError: `num_envs` is traced or no whole number.
        ValueError: `num_envs` is not positive, `base` lies outside (0, 1], or `exponent` is negative; (at trace
            time) the loop has another number of environments.

    """
    num_envs = check_size("num_envs", num_envs)
    steps = max(num_envs - 1, 1)
    check_range("ladder's base", base, 0, 1, open_low=True)
    check_range("ladder's exponent", exponent, 0, float("inf"))

    def schedule(time: Time) -> Any:
        if isinstance(time.envs, int) and time.envs != num_envs:
            raise ValueError(f"a ladder of {num_envs} environments in a loop with {time.envs}")
        return jnp.asarray(base, jnp.float32) ** (1 + exponent * time.env / steps)

    return schedule


@makes_usual
def from_optax(count_schedule: Callable[[Any], Any], unit: str = "step") -> Schedule:
    """Return an optax schedule, a function of a count, as a schedule of the named unit of time.

    Raises:
        TypeError: it is no function.
        ValueError: `unit` is unknown.

    """
    check_callable("count_schedule", count_schedule, "(count) -> value")
    check_unit(unit)
    return lambda time: jnp.asarray(count_schedule(getattr(time, unit)), jnp.float32)


@makes_usual
def as_schedule(name: str, value: Any, low: float, high: float, open_low: bool = False) -> Schedule:
    """Return a number or a schedule as a schedule; concrete values are checked, at both ends of time.

    Raises:
        ValueError: the value lies outside [low, high], or (low, high].

    """
    if not callable(value):
        check_range(name, value, low, high, open_low)
        return constant(value)
    check_callable(name, value, "(time) -> value")
    for label, at in (("the start", 0.0), ("the end", 1e9)):
        time = Time(jnp.float32(at), jnp.int32(at), jnp.float32(at), jnp.int32(0))
        check_range(f"{name} at {label} of its schedule", value(time), low, high, open_low)
    return value
