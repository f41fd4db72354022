"""Target synchronisation: how target parameters follow the online ones.

The loop calls `Agent.sync` every `sync_every` iterations with the time that went by. A copy whose static period
is just that stands outside the hot loop and costs it nothing; for a swept or episodic period `sync_every` is 1, and
the copy a fused `where`.
"""

from typing import Any

import jax
import jax.numpy as jnp

from qjax.core.checks import check_range, check_unit
from qjax.core.default_rules import makes_usual
from qjax.objectives.members import Members
from qjax.types import Params, State, Sync, Time


@makes_usual
def periodic(period: Any, unit: str = "step") -> Sync:
    """Copy the online parameters every `period` environment steps, episodes or updates of a lane.

    It counts for itself, so any stride and traced periods do. A copy is made at the first sync at which the time
    reaches or passes a multiple of the period: what a stride oversteps counts towards the next copy.

    Raises:
        ValueError: the period is less than 1, more than 2**30 or no whole number, the unit unknown, or (at trace
            time) the period shorter than the time between two syncs of the loop, so that copies would be left out.

    """
    check_unit(unit)
    check_range("period", period, 1, 2**30, whole=True)  # twice the period fits in int32

    def step(since: State, online: Params, target: Params, elapsed: Time) -> tuple[State, Params]:
        passed = getattr(elapsed, unit)
        if isinstance(passed, int) and not isinstance(period, jax.core.Tracer) and passed > period:
            raise ValueError(f"a period of {period} {unit}s is shorter than the {passed} between two syncs")
        since = since + passed
        due = since >= period
        target = jax.tree.map(lambda new, old: jnp.where(due, new, old), online, target)
        return jnp.where(due, since % jnp.asarray(period, jnp.int32), since), target

    return Sync(lambda: jnp.int32(0), step)


@makes_usual
def latest_copies(copy: Sync) -> Sync:
    """Keep the last K copies of the online parameters, made when `copy` makes one, as `Members`, the newest first.

    Raises:
        ValueError: `copy` does not copy, but mixes.

    """

    def step(state: State, online: Params, target: Members, elapsed: Time) -> tuple[State, Members]:
        # What it makes of a flag tells whether a copy is due.
        state, due = copy.step(state, jnp.bool_(True), jnp.bool_(False), elapsed)
        if due.dtype != bool:
            raise ValueError("the last copies need a target that is copied, as by qjax.periodic(500)")

        def moved(new: Any, old: Any) -> Any:
            return jnp.where(due, jnp.concatenate([new[None], old[:-1]]), old)

        return state, Members(jax.tree.map(moved, online, target.each))

    jax.eval_shape(lambda: step(copy.init(), (), Members(()), Time(0, 0, 0))[0])
    return Sync(copy.init, step)


@makes_usual
def polyak(rate: Any) -> Sync:
    """Move the target towards the online parameters at every sync: theta- <- rate theta + (1 - rate) theta-.

    Source: Lillicrap et al. 2016, section 3 (with tau = rate). Rate 1 copies.

    Raises:
        ValueError: the rate lies outside (0, 1].

    """
    check_range("Polyak rate", rate, 0, 1, open_low=True)

    def mixed(new: Any, old: Any) -> Any:
        # Minus infinity masks an action in a table that stands for a network, and 0 times it would be NaN.
        return jnp.where(new == -jnp.inf, new, rate * new + (1 - rate) * old)

    def step(state: State, online: Params, target: Params, elapsed: Time) -> tuple[State, Params]:
        return state, jax.tree.map(mixed, online, target)

    return Sync(lambda: (), step)
