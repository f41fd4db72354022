"""Sweeps: many lanes (settings x seeds), on every core, device and host, watched, stopped, killed and resumed.

The host calls one compiled program per group and chunk of a few seconds. Between chunks it shows progress, writes
log points and checkpoints, and looks for signals; nothing calls back from inside a program.
"""

import re
import signal
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from qjax.core.checks import (
    check_callable,
    check_flag,
    check_listed,
    check_mapping,
    check_record,
    check_size,
    describe,
)
from qjax.core.default_rules import usual_rules
from qjax.core.random import describe_key, root_key
from qjax.core.returned import check_returned
from qjax.core.text import apart, short, shown
from qjax.machine import hosts
from qjax.machine.devices import default_width, memory_limit
from qjax.runs.checkpoint import Checkpoint, first_difference
from qjax.runs.points import Point, Schedules, Tally, of_lanes
from qjax.runs.results import Table
from qjax.runs.run import KNOWN, Run, load_agents, numerics, versions
from qjax.runs.sinks import Sink, check_sinks
from qjax.sweeps import hyperparameters
from qjax.sweeps import plan as plans
from qjax.sweeps.drive import Drive, Options, check_pace
from qjax.sweeps.groups import Groups, Report
from qjax.sweeps.hyperparameters import Build
from qjax.sweeps.plan import Part, Plan
from qjax.sweeps.progress import Progress, show_progress
from qjax.training.evaluation import EVALUATION
from qjax.training.loop import Loop
from qjax.types import Time

MANY_LANES = 2**22
"""The host's own arrays of more lanes take over 100 MB: those are counted before they are made."""


class Result(NamedTuple):
    """What a sweep returns. Lanes are ordered by setting, then by seed."""

    agents: Any
    """The agents' last states, NumPy arrays `[lanes, ...]`."""
    points: list[Point]
    """Its log points; on several hosts, of this host's lanes."""
    seeds: np.ndarray
    """`[lanes]`"""
    settings: np.ndarray
    """Index of each lane's setting in `hypers`, `[lanes]`."""
    hypers: Mapping[str, np.ndarray]
    """The swept hyper-parameters by name, `[settings]` each; empty where nothing was swept."""
    diverged_at: np.ndarray
    """Environment steps at which each lane diverged (see `Point`), -1 where it did not, `[lanes]`."""
    width: int
    """Lanes per device in a group."""
    env_steps: int
    """Of all lanes together; only steps of lanes that still had work."""
    compile_s: float
    run_s: float
    stopped: str | None
    """Why it ended before its time: "SIGINT", "SIGTERM", "SIGHUP" or "nan"; None where it did not."""

    def table(self) -> Table:
        """Return its log points as arrays `[settings, seeds, points]`, by name as the columns of a run's table.

        Raises:
            ValueError: there is no log point, or each of several hosts has its own lanes'.

        """
        return Table.of_points(self.points, self.seeds[self.settings == 0], self.hypers)

    def frame(self) -> Any:
        """Return its log points as a tidy pandas DataFrame, one row for every lane and log point until its last.

        Raises:
            ImportError: pandas is not installed.
            ValueError: as `table`.

        """
        return self.table().frame()


class Work(NamedTuple):
    """What a sweep is asked to do, checked."""

    build: Build
    hypers: Any
    settings: np.ndarray
    """`[lanes]`"""
    seeds: np.ndarray
    """`[lanes]`"""
    seed: Any
    """The root of all randomness: a whole number or a typed key."""
    loop: Loop
    """Of the first setting."""
    steps: int | None
    parts: list[Part]
    unused: list[str]
    log_points: int

    @property
    def swept(self) -> dict[str, np.ndarray]:
        """The swept hyper-parameters by name, `[settings]` each."""
        return {} if self.hypers is None else hyperparameters.columns(self.hypers)

    @property
    def turns(self) -> dict[bool, int]:
        """Iterations in one turn of the programs' outer loops, without and with learning."""
        return {
            learns: plans.turn(self.parts, learns, self.loop.cadence)
            for learns in dict.fromkeys(part.learning for part in self.parts)
        }

    def describe(self, width: int, logged: Sequence[str]) -> dict[str, Any]:
        """Return what decides the numbers, as plain values."""
        loop, columns = self.loop, self.swept
        return {
            "seed": self.seed if isinstance(self.seed, int) else describe_key(self.seed),
            "seeds": _count_or_list(self.seeds[self.settings == 0]),
            "lanes": len(self.seeds),
            "hypers": {name: column.tolist() for name, column in columns.items()},
            "steps": self.steps,
            "log_points": self.log_points,
            "width": width,
            "environment": loop.env.name,
            **({"map": loop.env.unwrapped.rows} if getattr(loop.env.unwrapped, "drawn", False) else {}),
            "num_envs": loop.num_envs,
            "rollout": loop.rollout,
            "updates": loop.updates,
            "cadence": loop.cadence,
            "warmup": loop.warmup,
            "episodes": loop.episodes,
            "columns": list(columns),
            "logged": list(logged),
            **({"jax": unusual} if (unusual := numerics()) else {}),
        }

    def program(self) -> str:
        """Return the text of a lane's start and first iteration: constants in `build` show there."""
        return hyperparameters.text(hyperparameters.program(self.build, self.hypers))

    def columns(self, lanes: np.ndarray) -> dict[str, np.ndarray]:
        """Return what identifies some lanes in a table: seed, setting and its values."""
        found = {"seed": self.seeds[lanes]}
        if self.hypers is None:
            return found
        settings = self.settings[lanes]
        return {**found, "setting": settings, **{name: column[settings] for name, column in self.swept.items()}}


@usual_rules()
def sweep(
    build: Build,
    *,
    seeds: int | Sequence[int],
    hypers: Any = None,
    seed: int | Key[Array, ""] = 0,
    steps: int | None = None,
    log_points: int = 100,
    width: int | None = None,
    devices: Sequence[Any] | None = None,
    schedules: Schedules | None = None,
    report: Report | None = None,
    on_log: Callable[[Point], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    progress: bool | str = False,
    sinks: Sequence[Sink] = (),
    run: Run | None = None,
    chunk_seconds: float = 2.0,
    checkpoint_every: float = 60.0,
    stop_on_nan: bool = False,
) -> Result:
    """Train every setting with every seed, in one compiled program per phase.

    Lane i of a setting starts from `fold_in(key(seed), i)`, so every setting sees the same seeds. With the same
    width a lane's result is the same bit for bit, whichever lanes run beside it, on any number of CPU devices, and
    however often it was stopped and resumed. On CPUs the default width follows from the number of lanes and their
    agent, so the same sweep has the same numbers on any number of cores; on GPUs from the number of devices, too.
    Another width may change last digits: give a sweep's own to run one of its seeds again by itself.

    Args:
        build: returns the loop for one setting; it is traced, and called with each setting's concrete values
            before, so that the factories check them.
        seeds: how many (0, 1, ...), or which.
        hypers: a pytree of arrays with one leading axis of settings (`qjax.grid`, `qjax.zipped`); None for a
            single setting.
        seed: root of all randomness: a number, or a typed key, `qjax.fast_key(0)` for instance.
        steps: environment steps per lane, rounded up to whole iterations (and sync cadences); may be left out
            where the loop has a number of episodes, and then bounds nothing.
        log_points: how many intervals `steps` is cut into; where steps are left out, the interval is
            `episodes * max_steps / log_points` and the run ends with its slowest lane.
        width: lanes per device in a group, more than there are of which are padding; default
            `qjax.machine.devices.default_width`, or a resumed run's own.
        devices: default all, of all hosts.
        schedules: named schedules to log, "epsilon" for instance, or a function of one setting that returns them.
        report: `(hyper, agent) -> {name: number}`, of one lane's setting (None without `hypers`) and its agent's
            state: what else to log, computed on the device at each log point.
        on_log: called with every new `Point`. Where it or `on_progress` cannot write (OSError), that is told of and
            it is called no more; any other error ends the sweep, after a checkpoint where there is a run.
        on_progress: called at the end of every chunk.
        progress: whether to show how far it is, a bar on a terminal and in a notebook; or what to call it there.
        sinks: where log points go beside the run's tables (`qjax.sinks.tensorboard()`, `qjax.sinks.wandb()`); one
            that fails is told of and left out.
        run: a folder for config, metrics and checkpoints; with it SIGINT, SIGTERM and SIGHUP stop the sweep at the
            end of a chunk, after a checkpoint. At its end the sweep saves the agents there. A run that is resumed
            after its end is returned as it stands there: nothing is compiled, called or fed to sinks.
        chunk_seconds: about how long a chunk takes.
        checkpoint_every: seconds between two checkpoints, stretched to 20 times what the last one took.
        stop_on_nan: stop at the end of the chunk in which a lane diverges.

    Raises:
        ValueError: no seeds or one twice, hypers of different lengths, a value that a factory refuses, steps that
            end before warm-up does, a sink that needs a run, or a run that cannot be resumed; the first difference
            is named.
        TypeError: a hyper-parameter that shapes the program.
        MemoryError: more lanes than the devices hold; the largest number that fits is named.
        OSError: the folder cannot be written to, or another process runs in it.

    """
    check_pace(chunk_seconds, checkpoint_every)
    stop_on_nan = check_flag("stop_on_nan", stop_on_nan)
    _check_hooks(schedules, report, on_log, on_progress, run)
    progress = progress if isinstance(progress, str) else check_flag("progress", progress)
    check_sinks(sinks, run is not None)
    work = _prepare(build, seeds, hypers, seed, steps, log_points, devices)
    logged = {} if schedules is None else schedules
    names = _logged(work, logged, report)
    width = _width(work, width if run is None or width is not None else run.width, devices)
    found = None if run is None else run.open(work.describe(width, names))
    groups = _groups(work, width, devices)
    program = "" if run is None else work.program()
    elsewhere = None
    if found is not None:
        assert run is not None
        elsewhere = _check_same(found, groups, program, run.accept_program)
        if found.ended:
            return _returned(found, run, work, groups)
    with _shown(progress, work, on_progress) as look:
        compile_s = groups.compile(work.turns, stop_on_nan, report)
        plan = _plan(work, groups, devices)
        plan.check()
        own = None if work.hypers is None else jax.tree.map(lambda x: x[work.settings[groups.local]], work.hypers)
        tally = Tally(work.loop, len(groups.local), work.steps, logged, own)
        options = Options(on_log, look, chunk_seconds, checkpoint_every, stop_on_nan, sinks)
        drive = Drive(work, groups, tally, run, options, program)
        stopped = _driven(drive, found, elsewhere, plan)
    agents = groups.agents()
    if run is not None and stopped is None:
        drive.end(agents, compile_s)
        if drive.signal is not None:  # it came too late to stop the sweep, and is not to be lost
            signal.raise_signal(signal.Signals[drive.signal])
    return Result(
        agents=agents,
        points=drive.points,
        seeds=work.seeds,
        settings=work.settings,
        hypers=work.swept,
        diverged_at=drive.everywhere(tally.totals.diverged_at),
        width=width,
        env_steps=int(drive.env_steps().sum()),
        compile_s=compile_s,
        run_s=drive.seconds,
        stopped=stopped,
    )


@contextmanager
def _shown(
    progress: bool | str, work: Work, on_progress: Callable[[Progress], None] | None
) -> Iterator[Callable[[Progress], None] | None]:
    """Yield what is called at the end of every chunk: what was given, and the bar."""
    if progress is False:
        yield on_progress
        return
    settings = work.settings[-1] + 1
    seeds = len(work.seeds) // settings
    counts = f"{settings} settings x " * bool(settings > 1) + f"{seeds} seed" + "s" * bool(seeds > 1)
    title = progress if isinstance(progress, str) else f"{work.loop.env.name}, {counts}"
    with show_progress(title, hosts.is_first()) as show:

        def both(now: Progress) -> None:
            show(now)
            if on_progress is not None:
                on_progress(now)

        yield both


def _returned(found: Checkpoint, run: Run, work: Work, groups: Groups) -> Result:
    """Return what a sweep that has ended returned, from its run's folder."""
    manifest = found.manifest
    lanes = jax.tree.map(lambda x: jax.ShapeDtypeStruct((groups.lanes, *x.shape[1:]), x.dtype), groups.shapes)
    return Result(
        agents=load_agents(run.folder, lanes.agent),
        points=[of_lanes(point, groups.local) for point in run.points(manifest["points"])],
        seeds=work.seeds,
        settings=work.settings,
        hypers=work.swept,
        diverged_at=found.totals(np.arange(groups.lanes))["diverged_at"],
        width=groups.width,
        env_steps=manifest["env_steps"],
        compile_s=manifest["compile_s"],
        run_s=manifest["seconds"],
        stopped=None,
    )


def _driven(drive: Drive, found: Checkpoint | None, elsewhere: Mapping[str, Any] | None, plan: Plan) -> str | None:
    """Run a sweep from its start or from a checkpoint; return what stopped it."""
    try:
        if found is None:
            drive.groups.start()
        else:
            drive.restore(found, elsewhere)
        return drive.go()
    except jax.errors.JaxRuntimeError as error:
        if not re.search("RESOURCE_EXHAUSTED|out of memory", str(error), re.IGNORECASE):
            raise
        raise MemoryError(f"{plan.exhausted()}: {short(str(error).splitlines()[0], 200)}") from error
    finally:
        drive.close()


@usual_rules()
def plan(
    build: Build,
    *,
    seeds: int | Sequence[int],
    hypers: Any = None,
    seed: int | Key[Array, ""] = 0,
    steps: int | None = None,
    log_points: int = 100,
    width: int | None = None,
    devices: Sequence[Any] | None = None,
) -> Plan:
    """Return what a sweep with these arguments will take, without running it: also `sweep.plan`.

    It compiles the programs, for they alone know their temporary memory. `print` shows it; `Plan.check` raises
    where it does not fit, as `sweep` does.
    """
    work = _prepare(build, seeds, hypers, seed, steps, log_points, devices)
    groups = _groups(work, _width(work, width, devices), devices)
    groups.compile(work.turns)
    return _plan(work, groups, devices)


sweep.plan = plan  # type: ignore[attr-defined]


def static_sweeps(
    build: Callable[..., Loop],
    static: Sequence[Mapping[str, Any]],
    *,
    run_for: Callable[[int], Run] | None = None,
    **arguments: Any,
) -> list[Result]:
    """Sweep once for each static setting, in order: those that shape the program cost one compilation each.

    Every one of them sees the same seeds. A run that had ended is returned as it stands in its folder.

    Args:
        build: `build(hyper, **setting)` returns a loop.
        static: settings such as `{"hidden": 64}`.
        run_for: returns the folder of the i-th of them, which is finished and closed after its sweep.
        arguments: those of `sweep`, for each of them.

    Raises:
        ValueError: there is no setting.

    """
    if not callable(build):
        raise TypeError(f"build must be a function (hyper, **setting) -> loop, got {shown(build)}")
    static = check_listed("static", static, "settings")
    for chosen in static:
        check_mapping("static (each)", chosen)
    if run_for is not None:
        check_callable("run_for", run_for, "(number) -> run")
    if not static:
        raise ValueError("static_sweeps needs at least one setting (static), got none")
    results = []
    for number, chosen in enumerate(static):
        folder = None if run_for is None else run_for(number)

        def one(hyper: Any, chosen: Mapping[str, Any] = chosen) -> Loop:
            return build(hyper, **chosen)

        with nullcontext() if folder is None else folder:
            results.append(sweep(one, run=folder, **arguments))
        if results[-1].stopped:
            break
    return results


def _prepare(
    build: Build,
    seeds: int | Sequence[int],
    swept: Any,
    seed: Any,
    steps: int | None,
    log_points: int,
    devices: Sequence[Any] | None,
) -> Work:
    """Check a sweep's arguments."""
    check_callable("build", build, "(hyper) -> loop")
    given = _check_seeds(seeds)
    root_key(seed)
    swept, num_settings = hyperparameters.check(build, swept)
    loop = build(_first(swept))
    _check_lanes(loop, num_settings * len(given), _devices(devices))
    numbers = np.asarray(given)
    parts = plans.parts(loop, steps, log_points)
    return Work(
        build=build,
        hypers=swept,
        settings=np.repeat(np.arange(num_settings), len(numbers)),
        seeds=np.tile(numbers, num_settings),
        seed=int(seed) if isinstance(seed, int | np.integer) else seed,
        loop=loop,
        steps=steps,
        parts=parts,
        unused=[] if swept is None else hyperparameters.unused(hyperparameters.program(build, swept), swept),
        log_points=log_points,
    )


def _check_hooks(schedules: Any, report: Any, on_log: Any, on_progress: Any, run: Any) -> None:
    """Check what a sweep calls, and the record of its folder."""
    if callable(schedules):
        check_callable("schedules", schedules, "(hyper) -> {name: schedule}")
    elif schedules is not None:
        check_mapping("schedules", schedules)
        for name, schedule in schedules.items():
            check_callable(f"schedules[{name!r}]", schedule, "(time) -> value")
    hooks = (
        ("report", report, "(hyper, agent) -> {name: number}"),
        ("on_log", on_log, "(point) -> None"),
        ("on_progress", on_progress, "(progress) -> None"),
    )
    for name, hook, signature in hooks:
        if hook is not None:
            check_callable(name, hook, signature)
    if run is not None:
        check_record("run", run, Run)


def _count_or_list(seeds: np.ndarray) -> int | list[int]:
    return len(seeds) if (seeds == np.arange(len(seeds))).all() else seeds.tolist()


def _first(swept: Any) -> Any:
    return hyperparameters.setting(swept, 0)


def _width(work: Work, width: int | None, devices: Sequence[Any] | None) -> int:
    if width is not None:
        return check_size("width", width)
    lane = jax.eval_shape(work.loop.init, root_key(0))
    return default_width(lane, len(work.seeds), _devices(devices))


def _devices(devices: Sequence[Any] | None) -> list[Any]:
    found = jax.devices() if devices is None else check_listed("devices", devices, "JAX's devices")
    for device in found:
        check_record("devices (each)", device, jax.Device)
    if not found:
        raise ValueError("a sweep needs at least one device, got none")
    return found


def _groups(work: Work, width: int, devices: Sequence[Any] | None) -> Groups:
    return Groups(work.build, work.hypers, work.settings, work.seeds, root_key(work.seed), width, _devices(devices))


def _plan(work: Work, groups: Groups, devices: Sequence[Any] | None) -> Plan:
    """Return what compiled groups will take."""
    lane_bytes = _bytes(groups.shapes) // groups.size
    local = _local(groups.mesh.devices.flat)
    row_bytes, temp = lane_bytes * groups.width, groups.temp_bytes()
    # A larger sweep may use devices that this one leaves alone.
    all_local = _local(_devices(devices))
    limit = memory_limit(all_local) // len(all_local)
    fitting = max(limit - temp, 0) // row_bytes * groups.width
    if not fitting:  # not one group of this width: a narrower one, whose temporaries shrink with it
        fitting = int(limit // (lane_bytes + temp / groups.width))
    settings = int(work.settings.max()) + 1
    return Plan(
        lanes=len(work.seeds),
        settings=settings,
        seeds=len(work.seeds) // settings,
        width=groups.width,
        padding=groups.size * groups.count - len(work.seeds),
        devices=groups.mesh.size,
        platform=local[0].platform,
        groups=groups.count,
        hosts=jax.process_count(),
        iterations=sum(part.iterations * part.repeat for part in work.parts),
        parts=sum(part.repeat for part in work.parts),
        compiles=groups.names,
        lane_bytes=lane_bytes,
        state_bytes=row_bytes * len(local) * groups.count,
        temp_bytes=temp * len(local),
        limit_bytes=memory_limit(local),
        checkpoint_bytes=lane_bytes * groups.size * groups.count,
        largest_lanes=fitting * len(all_local) * jax.process_count(),
        unused=tuple(work.unused),
    )


def _local(devices: Iterable[Any]) -> list[Any]:
    return [device for device in devices if device.process_index == jax.process_index()]


def _bytes(shapes: Any) -> int:
    return sum(int(np.prod(x.shape)) * x.dtype.itemsize for x in jax.tree.leaves(shapes))


def _check_same(found: Checkpoint, groups: Groups, program: str, accept: bool) -> dict[str, Any] | None:
    """Refuse a checkpoint of lanes of another structure, or of another program unless it is accepted.

    Return what the run's config is to say of going on elsewhere than it stopped, None where nothing has changed.
    """
    if difference := first_difference(found.manifest["leaves"], groups.describe(), "lane"):
        raise ValueError(f"checkpoint {found.folder} holds lanes of another structure: {difference}")
    before, now = ({**own, "devices": ""} for own in (found.manifest["versions"], versions()))
    changed = {name: [before.get(name, "none"), own] for name, own in now.items() if before.get(name) != own}
    said = short(", ".join(f"{name} {old} before, {new} now" for name, (old, new) in changed.items()), 100)
    differs = _other_program(found.program(), program)
    if differs is not None and not accept:
        how = "returns it as it ended" if found.ended else "goes on all the same, and the run's config says so"
        why = said or "by the same versions: something in build has changed"
        raise ValueError(
            f"checkpoint {found.folder} was written by another program ({why}): {differs}; accept_program=True"
            f" (--accept-program) {how}"
        )
    if changed and not found.ended:
        warnings.warn(f"going on where another version stopped, last digits may differ: {said}", stacklevel=4)
    if differs is None and not changed:
        return None
    return {"log_points": len(found.manifest["points"]), "versions": changed, "program": differs}


def _other_program(before: str, now: str) -> str | None:
    """Return the first difference of two programs' texts, None where there is none."""
    lines = [[line.strip() for line in text.splitlines()] for text in (before, now)]
    for old, new in zip(*lines, strict=False):
        if old != new:
            return "{!r} before, {!r} now".format(*apart(old, new, most=60))
    counts = [len(each) for each in lines]
    return None if counts[0] == counts[1] else f"{counts[0]} lines before, {counts[1]} now"


def _logged(work: Work, schedules: Schedules, report: Report | None) -> list[str]:
    """Return the names of what is logged beside the usual columns; warn of hyper-parameters without effect.

    Raises:
        ValueError: a name stands for two columns, or the report is no flat dict of numbers.

    """
    first = _first(work.hypers)
    named = schedules(first) if callable(schedules) else schedules
    names = list(named)
    for name, schedule in named.items():
        at = Time(jnp.float32(0), jnp.int32(0), jnp.float32(0), jnp.int32(0))
        check_returned(f"the schedule {name}", jax.eval_shape(schedule, at), ())
    if report is not None:
        agent = jax.eval_shape(work.loop.init, root_key(0)).agent
        found = jax.eval_shape(report, first, agent)
        if not isinstance(found, dict) or any(getattr(x, "shape", None) != () for x in found.values()):
            got = {k: describe(x) for k, x in found.items()} if isinstance(found, dict) else describe(found)
            raise ValueError(f"report must return a dict of numbers for one lane, got {shown(got)}")
        names += list(found)
    swept = [] if work.hypers is None else list(hyperparameters.columns(work.hypers))
    if twice := sorted(set(swept) & {*KNOWN, *names}):
        raise ValueError(
            f"hyper-parameters {shown(twice)} have the name of another logged column: rename one of the two"
        )
    if twice := sorted(set(names) & set(KNOWN)) or sorted({x for x in names if names.count(x) > 1}):
        raise ValueError(f"logged values {shown(twice)} have the name of another column: rename one of the two")
    for name in work.unused:
        message = f"the hyper-parameter {name!r} has no effect: nothing in the program depends on it"
        warnings.warn(message, UserWarning, stacklevel=4)
    return names


def _check_lanes(loop: Loop, lanes: int, devices: list[Any]) -> None:
    """Refuse more lanes than fit before the host makes arrays of them, where these would be large themselves."""
    if lanes <= MANY_LANES:
        return
    limit = memory_limit(_local(devices)) * jax.process_count()
    each = _bytes(jax.eval_shape(loop.init, jax.random.key(0)))
    if lanes * each > limit:
        raise MemoryError(
            f"{lanes} lanes (settings x seeds) of {plans.size(each)} need more than the {plans.size(limit)} of"
            f" {len(devices)} {devices[0].platform} device(s); at most {limit // each} fit"
        )


def _check_seeds(seeds: int | Sequence[int]) -> range | np.ndarray:
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
