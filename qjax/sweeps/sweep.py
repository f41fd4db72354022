"""Sweeps: many lanes (settings x seeds), on every core, device and host, watched, stopped, killed and resumed.

A sweep has three stages: described, its arguments checked; compiled, its lanes placed on devices and their programs
made; running. Then the host calls one program per group and chunk of a few seconds. Between chunks it tells where
it stands, writes log points and checkpoints, and looks for signals; nothing calls back from inside a program.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from jaxtyping import Array, Key

from qjax.core.checks import check_callable, check_listed, check_mapping
from qjax.core.default_rules import usual_rules
from qjax.core.text import shown
from qjax.runs.points import Point, Schedules
from qjax.runs.run import Run
from qjax.runs.sinks import Sink, check_sinks
from qjax.sweeps.asked import check_hooks
from qjax.sweeps.compiled import Compiled, compiled, place
from qjax.sweeps.described import describe
from qjax.sweeps.hyperparameters import Build
from qjax.sweeps.leaving import Drop, Drops
from qjax.sweeps.options import Options
from qjax.sweeps.plan import Plan
from qjax.sweeps.programs import Report
from qjax.sweeps.progress import Progress
from qjax.sweeps.result import Result
from qjax.sweeps.resume import open_run, returned
from qjax.sweeps.running import Running
from qjax.training.loop import Loop


class Sweep:
    """A sweep described, its first stage: `compile` leads to the second, and `Running` of that is the third."""

    def __init__(
        self,
        build: Build,
        seeds: int | Sequence[int],
        hypers: Any,
        seed: int | Key[Array, ""],
        steps: int | None,
        log_points: int,
        width: int | None,
        devices: Sequence[Any] | None,
        schedules: Schedules | None = None,
        report: Report | None = None,
        evaluate_every: int | None = None,
        evaluate_episodes: int = 20,
        initial: Any = None,
        drops: Drops | None = None,
    ):
        """Check the arguments, those of `qjax.sweep`; nothing is compiled."""
        more = (schedules, report, evaluate_every, evaluate_episodes, initial, drops)
        self.described = describe(build, seeds, hypers, seed, steps, log_points, devices, *more)
        self.width, self.devices = width, devices

    def compile(self, watch: bool = False) -> Compiled:
        """Return the sweep with its programs; with `watch` one looks for divergence between log points, too."""
        return compiled(self.described, place(self.described, self.width, self.devices), self.devices, watch)

    def run(self, options: Options, run: Run | None) -> Result:
        """Run it to its end, from the checkpoint of its run where there is one, or return what that ended with."""
        for name in self.described.unused:
            message = f"the hyper-parameter {name!r} has no effect: nothing in the program depends on it"
            warnings.warn(message, UserWarning, stacklevel=4)
        width = run.lifecycle.width if run is not None and self.width is None else self.width
        programs = place(self.described, width, self.devices)
        opened = None if run is None else open_run(run, self.described, programs)
        if opened is not None and opened.ended:
            return returned(opened, programs, options.snapshots)
        described = self.described if opened is None else opened.described
        with options.shown(described.title) as watched:
            ready = compiled(described, programs, self.devices, options.stop_on_nan)
            ready.plan.check()
            running = Running(ready, watched, opened)
            stopped = running.run()
        return running.end(stopped)


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
    evaluate_every: int | None = None,
    evaluate_episodes: int = 20,
    initial: Any = None,
    drop: Drop | None = None,
    drop_diverged: bool = False,
    on_log: Callable[[Point], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    progress: bool | str = False,
    sinks: Sequence[Sink] = (),
    run: Run | None = None,
    chunk_seconds: float = 2.0,
    checkpoint_every: float = 60.0,
    stop_on_nan: bool = False,
    snapshots: Sequence[int] = (),
) -> Result:
    """Train every setting with every seed, all in one compiled program; the warm-up has its own.

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
        steps: environment steps per lane, rounded up to multiples of `sync_every` iterations; may be left out
            where the loop has a number of episodes, and then bounds nothing.
        log_points: about how many intervals `steps` is cut into, each of whole iterations, the last at least half
            as long as the others and less than one and a half times; where steps are left out, the interval is
            `episodes * max_steps / log_points` and the run ends with its slowest lane.
        width: lanes per device in a group, more than there are of which are padding; default
            `qjax.machine.devices.default_width`, or a resumed run's own.
        devices: default all, of all hosts.
        schedules: named schedules to log, "epsilon" for instance, or a function of one setting that returns them.
        report: `(hyper, lane, clock, key) -> {name: number}`, of one lane's setting (None without `hypers`), its
            state, the ticks so far and a key for this log point: what else to log, computed on the device at each
            log point; `qjax.network_measures(build)` for instance.
        evaluate_every: log points between two evaluations of every lane, and at the end; default none. Their mean
            returns and the standard deviation over episodes are the columns `eval_return` and `eval_std`, NaN in
            between. Keys are their own: training is the same with and without, bit for bit.
        evaluate_episodes: greedy ones of each lane in an evaluation, whole however long they are.
        initial: agents to begin with in place of fresh ones: states `[lanes, ...]`, a result's or a run's for
            instance, or one state for all lanes, or parameters alone, as a state's `params`. A run's config has a
            digest of them, and one that is resumed needs them again.
        drop: `(point, number) -> bool [lanes] or None`, asked at each log point, number 0 the first, after its
            evaluation: which lanes leave. Their agents stay as they are then, they have no further rows in tables
            and count as done, and `Result.dropped_at` says when they left; those that stay do not change by it, bit
            for bit, and move together into fewer groups. It must answer alike if it is asked again after a resume.
        drop_diverged: drop lanes at the log point by which they have diverged.
        on_log: called with every new `Point`. Where it or `on_progress` cannot write (OSError), that is told of and
            it is called no more; any other error ends the sweep, after a checkpoint where there is a run.
        on_progress: called at the end of every chunk.
        progress: whether to show how far it is, a bar on a terminal and in a notebook; or what to call it there.
        sinks: where log points go beside the run's tables (`qjax.sinks.tensorboard()`, `qjax.sinks.wandb()`); one
            that fails is told of and left out.
        run: a folder for config, metrics and checkpoints; with it SIGINT, SIGTERM and SIGHUP stop the sweep at the
            end of a chunk, after a checkpoint. At its end the sweep saves the agents there. A run that is resumed
            after its end is returned as it stands there: nothing is compiled, called or fed to sinks. With more
            `steps` than it has it goes on to them, stopped or ended, and all else the same; its log points stay as
            far apart as `log_points` made them at first, so they grow in number.
        chunk_seconds: about how long a chunk takes.
        checkpoint_every: seconds between two checkpoints, stretched to 20 times what the last one took.
        stop_on_nan: stop at the end of the chunk in which a lane diverges.
        snapshots: steps at which the agents are kept, too, each at the first log point at or after them, or the
            last: `Result.snapshots`, and with `run` in its folder, for `load_agents(folder, which=steps)`. A run
            that is resumed may be asked for others that are still to come.

    Raises:
        ValueError: no seeds or one twice, hypers of different lengths, a value that a factory refuses, steps that
            end before warm-up does, an evaluation of episodes without a limit, initial agents of another shape, a
            sink that needs a run, a run that cannot be resumed (the first difference is named), or one that cannot
            go on to more steps because a schedule changes with them (it is named, where it is logged).
        TypeError: a hyper-parameter that shapes the program.
        MemoryError: more lanes than the devices hold; the largest number that fits is named.
        OSError: the folder cannot be written to, or another process runs in it.

    """
    watched = (on_log, on_progress, progress, sinks, chunk_seconds, checkpoint_every, stop_on_nan, snapshots)
    options = Options(*watched).checked(steps)
    check_hooks(schedules, report, on_log, on_progress, run)
    check_sinks(sinks, run is not None)
    drops = Drops(drop, drop_diverged).checked()
    asked = (seeds, hypers, seed, steps, log_points, width, devices, schedules, report)
    return Sweep(build, *asked, evaluate_every, evaluate_episodes, initial, drops).run(options, run)


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
    evaluate_every: int | None = None,
    evaluate_episodes: int = 20,
) -> Plan:
    """Return what a sweep with these arguments will take, without running it: also `sweep.plan`.

    It compiles the programs, for they alone know their temporary memory. `print` shows it; `Plan.check` raises
    where it does not fit, as `sweep` does.
    """
    logs = (None, None, evaluate_every, evaluate_episodes)
    return Sweep(build, seeds, hypers, seed, steps, log_points, width, devices, *logs).compile().plan


sweep.plan = plan  # type: ignore[attr-defined]


def static_sweeps(
    build: Callable[..., Loop],
    static: Sequence[Mapping[str, Any]],
    *,
    run_for: Callable[[int], Run] | None = None,
    **arguments: Any,
) -> list[Result]:
    """Run one sweep for each static setting, in order; each costs a compilation.

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
