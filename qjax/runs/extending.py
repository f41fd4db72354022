"""A run that goes on to more steps than it was begun with: what may differ of it then."""

from collections.abc import Mapping
from typing import Any

from qjax.core.jsonfile import SIZE
from qjax.runs.config import flat

GROWING = ("steps", "schedule_steps", "log_points")
"""Arguments that a run which is extended has others of than one that makes all its steps at once; tables have none
of them."""


def counted(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's arguments as they are compared: with the steps of schedules, their own or the run's."""
    found = flat(config.get("arguments", {}))
    if found.get("schedule_steps", 0) is None:
        found["schedule_steps"] = found.get("steps")
    return found


def steps_of(config: Mapping[str, Any], sweep: bool) -> int | None:
    """Return the steps of a run by its sweep, or else by its arguments; None where they bound nothing."""
    found = config.get("sweep", {}) if sweep else flat(config.get("arguments", {}))
    return found["steps"] if SIZE.holds(found.get("steps")) else None


def log_points_asked(config: Mapping[str, Any]) -> Any:
    """Return the number of log points that a run was begun with, by its config: they say how long intervals are."""
    return [*config.get("extended", []), config.get("sweep", {})][0].get("log_points")
