"""What a sweep is given beside hyper-parameters, checked: seeds, devices, what it logs, what it calls."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qjax.core import clock as clocks
from qjax.core.checks import check_callable, check_listed, check_mapping, check_record, check_size, describe
from qjax.core.random import root_key
from qjax.core.returned import check_returned, returning_arrays
from qjax.core.text import shown
from qjax.runs.points import DROPPED, Schedules
from qjax.runs.run import Run
from qjax.runs.tables import KNOWN
from qjax.sweeps.evaluating import RETURN, SPREAD, Evaluation
from qjax.sweeps.leaving import Drops
from qjax.sweeps.programs import Report
from qjax.training.evaluation import EVALUATION
from qjax.training.loop import Loop
from qjax.types import Time


def check_seeds(seeds: int | Sequence[int]) -> range | np.ndarray:
    """Return the numbers of the seeds, `[S]`."""
    if isinstance(seeds, int | np.integer | float) or getattr(seeds, "shape", None) == ():
        return range(check_size("seeds", seeds))
    given = check_listed("seeds", seeds, "numbers")
    numbers = np.array([check_size("a seed", s, least=0, most=EVALUATION - 1) for s in given], np.int64)
    if not len(numbers):
        raise ValueError("a sweep needs at least one seed, got none")
    found, times = np.unique(numbers, return_counts=True)
    if (times > 1).any():
        raise ValueError(f"seeds listed more than once: {shown(found[times > 1].tolist())}")
    return numbers


def check_devices(devices: Sequence[Any] | None) -> list[Any]:
    """Return the devices, by default all, of all hosts."""
    found = jax.devices() if devices is None else check_listed("devices", devices, "JAX's devices")
    for device in found:
        check_record("devices (each)", device, jax.Device)
    if not found:
        raise ValueError("a sweep needs at least one device, got none")
    return found


def check_hooks(schedules: Any, report: Any, on_log: Any, on_progress: Any, run: Any) -> None:
    """Check what a sweep calls, and the record of its folder."""
    if callable(schedules):
        check_callable("schedules", schedules, "(hyper) -> {name: schedule}")
    elif schedules is not None:
        check_mapping("schedules", schedules)
        for name, schedule in schedules.items():
            check_callable(f"schedules[{name!r}]", schedule, "(time) -> value")
    hooks = (
        ("report", report, "(hyper, lane, clock, key) -> {name: number}"),
        ("on_log", on_log, "(point) -> None"),
        ("on_progress", on_progress, "(progress) -> None"),
    )
    for name, hook, signature in hooks:
        if hook is not None:
            check_callable(name, hook, signature)
    if run is not None:
        check_record("run", run, Run)


def logged(
    loop: Loop,
    hyper: Any,
    swept: list[str],
    schedules: Schedules,
    report: Report | None,
    evaluation: Evaluation | None,
    drops: Drops | None,
) -> list[str]:
    """Return the names of what is logged beside the usual columns.

    Args:
        loop: of the first setting.
        hyper: that setting.
        swept: the hyper-parameters' own columns.
        schedules: those of the sweep.
        report: that of the sweep.
        evaluation: what is evaluated while it trains.
        drops: what takes lanes away.

    Raises:
        ValueError: a name stands for two columns, or the report is no flat dict of numbers.

    """
    names = _scheduled(schedules(hyper) if callable(schedules) else schedules)
    if report is not None:
        names += _reported(report, hyper, loop)
    if evaluation is not None:
        names += [RETURN, SPREAD]
    if drops is not None:
        names.append(DROPPED)
    if twice := sorted(set(swept) & {*KNOWN, *names}):
        raise ValueError(
            f"hyper-parameters {shown(twice)} have the name of another logged column: rename one of the two"
        )
    if twice := sorted(set(names) & set(KNOWN)) or sorted({x for x in names if names.count(x) > 1}):
        raise ValueError(f"logged values {shown(twice)} have the name of another column: rename one of the two")
    return names


def _scheduled(schedules: Any) -> list[str]:
    """Return the names of schedules, each tried once."""
    for name, schedule in schedules.items():
        at = Time(jnp.float32(0), jnp.int32(0), jnp.float32(0), jnp.int32(0))
        what = f"the schedule {name}"
        check_returned(what, jax.eval_shape(returning_arrays(what, schedule), at), ())
    return list(schedules)


def _reported(report: Report, hyper: Any, loop: Loop) -> list[str]:
    """Return the names of what a report returns, by its shapes."""
    lane = jax.eval_shape(loop.init, root_key(0))
    found = jax.eval_shape(returning_arrays("report", report), hyper, lane, clocks.at(0), root_key(0))
    if not isinstance(found, dict) or any(getattr(x, "shape", None) != () for x in found.values()):
        got = {k: describe(x) for k, x in found.items()} if isinstance(found, dict) else describe(found)
        raise ValueError(f"report must return a dict of numbers for one lane, got {shown(got)}")
    return list(found)
