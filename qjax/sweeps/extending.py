"""A sweep that goes on to more steps than its run was begun with: its phases, and schedules that forbid it."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from qjax.core.text import short
from qjax.runs.checkpoint import Checkpoint
from qjax.runs.points import DROPPED, Point, shares, values_of
from qjax.sweeps.described import Described
from qjax.sweeps.phases import Earlier, phases
from qjax.types import Time


def continued(
    described: Described, config: Mapping[str, Any], found: Checkpoint
) -> tuple[Described, list[dict[str, Any]] | None]:
    """Return a sweep as its run goes on, and what the run was before each time that it was extended.

    The latter is for its config; None where the run is not extended now.

    Args:
        described: the sweep as it is asked for, the same as in the folder but for more steps.
        config: what stands in the run's folder.
        found: its checkpoint.

    """
    earlier = [Earlier(own["steps"], own["log_points"], own["ended"]) for own in config.get("extended", [])]
    before, loop, asked = config["sweep"], described.loop, described.log_points
    more = before["steps"] != described.steps
    if more:
        whole = sum(phase.iterations * phase.repeat for phase in phases(loop, before["steps"], asked, earlier))
        ended = found.manifest["tick"] >= whole * loop.rollout
        earlier.append(Earlier(before["steps"], before["log_points"], ended))
    if not earlier:
        return described, None
    now, stands = phases(loop, described.steps, asked, earlier), found.manifest["tick"] // loop.rollout
    grown = described._replace(phases=now, log_points=sum(phase.log for phase in now), stands=stands)
    return grown, [own._asdict() for own in earlier] if more else None


def with_shares(points: Sequence[Point], steps: int | None, episodes: int | None) -> list[Point]:
    """Return log points of all lanes with the share of the work that they are of so many steps, or episodes.

    A lane that was dropped has nothing to do.
    """
    found, dropped = [], np.zeros(1, bool)
    for point in points:
        dropped = dropped | (point.values.get(DROPPED, np.zeros(1)) == 1)
        own = np.where(dropped, 1, shares(point.env_steps, point.episodes, steps, episodes))
        found.append(point._replace(done=float(own.min(initial=1.0))))
    return found


def changed_schedule(described: Described, points: Sequence[Point], notes: Sequence[Sequence[float]]) -> str | None:
    """Return which logged schedule has other values by now than in a run's table, and where; None for none.

    Args:
        described: the sweep as it is asked for.
        points: the run's log points, of all lanes.
        notes: what its checkpoint notes of them, the updates of all lanes first.

    """
    lanes = len(described.seeds)
    hypers, values = described.hypers_of(np.arange(lanes)), values_of(described.schedules)
    updates = np.cumsum([note[0] for note in notes]) / lanes
    for point, made in zip(points, updates, strict=False):
        if not point.changed.all():  # of lanes that have ended nothing tells the updates
            break
        steps, count = jnp.asarray(point.env_steps, jnp.float32), jnp.full(lanes, made, jnp.float32)
        at = Time(steps, jnp.asarray(point.episodes, jnp.int32), count, jnp.zeros(lanes, jnp.int32))
        for name, column in values(hypers, at).items():
            now, before = np.asarray(column), point.values.get(name, np.asarray(column))
            if (differs := ~np.isclose(now, before, rtol=1e-5, equal_nan=True)).any():
                lane = int(differs.argmax())
                where = f"{before[lane]:.6g} before, {now[lane]:.6g} now after {point.env_steps[lane]} steps"
                return f"the schedule {short(name)!r} changes with the steps, {where}"
    return None
