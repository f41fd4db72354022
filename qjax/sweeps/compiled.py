"""A described sweep on its devices: its lanes placed, its programs compiled, and what they will take."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax

from qjax.core.checks import check_size
from qjax.machine.devices import default_width
from qjax.sweeps.asked import check_devices
from qjax.sweeps.described import Described
from qjax.sweeps.placement import Placement
from qjax.sweeps.plan import Plan, bytes_of, largest, memory_of, transition_bytes
from qjax.sweeps.programs import Programs


def place(described: Described, width: int | None, devices: Sequence[Any] | None) -> Programs:
    """Return a sweep's programs, not compiled, of lanes in groups of `width`: by default one made of the work."""
    given, seeds = check_devices(devices), described.seeds
    if width is None:
        width = default_width(jax.eval_shape(described.loop.init, described.root), len(seeds), given)
    else:
        width = check_size("width", width)
    placement = Placement(described.settings, seeds, width, given)
    begun = (described.initial, described.evaluation)
    return Programs(described.build, described.hypers, described.root, placement, *begun)


class Compiled(NamedTuple):
    """A sweep whose programs are compiled: its second stage."""

    described: Described
    """Its first stage."""
    programs: Programs
    """Its programs, and where its lanes stand."""
    plan: Plan
    """What it will take."""


def compiled(described: Described, programs: Programs, devices: Sequence[Any] | None, watch: bool) -> Compiled:
    """Compile a sweep's programs, and return it with them and its plan.

    With `watch` there is one that looks for divergence between log points, too.
    """
    programs.compile(described.inner_iterations, watch, described.report)
    return Compiled(described, programs, _plan_of(described, programs, devices))


def _plan_of(described: Described, programs: Programs, devices: Sequence[Any] | None) -> Plan:
    """Return what compiled programs will take; a larger sweep may use devices that this one leaves alone."""
    placement, lanes, settings = programs.placement, len(described.seeds), int(described.settings.max()) + 1
    padded, temp = placement.size * placement.count, programs.temp_bytes
    lane_bytes = bytes_of(programs.shapes) // placement.size
    points = sum(phase.repeat for phase in described.phases if phase.log)
    limit, local = memory_of(placement.mesh.devices.flat)
    return Plan(
        lanes=lanes,
        settings=settings,
        seeds=lanes // settings,
        width=placement.width,
        padding=padded - lanes,
        devices=placement.mesh.size,
        platform=placement.mesh.devices.flat[0].platform,
        groups=placement.count,
        hosts=jax.process_count(),
        iterations=sum(phase.iterations * phase.repeat for phase in described.phases),
        phases=sum(phase.repeat for phase in described.phases),
        evaluation_steps=described.evaluation.steps(described.loop, points) if described.evaluation else 0,
        programs=programs.names,
        lane_bytes=lane_bytes,
        transition_bytes=transition_bytes(programs.shapes.memory),
        state_bytes=lane_bytes * placement.width * local * placement.count,
        shared_bytes=programs.shared_bytes,
        copied_bytes=programs.copied_bytes * local,
        temp_bytes=temp * local,
        limit_bytes=limit,
        checkpoint_bytes=lane_bytes * padded,
        largest_lanes=largest(check_devices(devices), lane_bytes, programs.copied_bytes, temp, placement.width),
        unused=tuple(described.unused),
    )
