"""Any algorithm on any gymnax environment, many seeds and settings at once.

qjax train dqn --env Acrobot-v1 --seeds 64 --lr 1e-4 2.5e-4 1e-3 --out runs/rates
qjax train --preset minatar-pqn --env Asterix-MinAtar --seeds 8 --out runs/asterix
qjax train --config runs/rates --seed 1 --out runs/rates-again
"""

import dataclasses
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax

import qjax
from qjax import algorithms
from qjax.algorithms.deep import Support
from qjax.algorithms.presets import preset
from qjax.cli import command, grid, settings
from qjax.cli.arguments import Arguments, flags, refusal, resolve
from qjax.cli.exact import report_of
from qjax.cli.reading import read, read_back
from qjax.core.checks import MOST_STEPS, check_size
from qjax.core.jsonfile import SIZE
from qjax.core.random import root_key
from qjax.machine import hosts
from qjax.runs.config import CONFIG, flat
from qjax.sweeps import described, hyperparameters, phases


def build(args: Arguments, hyper: Any = None, env: qjax.Env | None = None) -> qjax.Loop:
    """Return the training loop of one seed, of resolved arguments.

    Args:
        args: the constants; of several values the first.
        hyper: those of one setting in place of them.
        env: the environment; default made from its name.

    """
    sync_every = 1 if "target_period" in args.grid.traced else None
    made = args.make() if env is None else env
    chosen = dataclasses.replace(args.constants, **(hyper or {}))
    with warnings.catch_warnings():  # what is assumed is told once, by `_run_one`
        warnings.filterwarnings("ignore", message="the range of .* rewards is not known")
        return algorithms.make(args.name, made, chosen, sync_every=sync_every, normalize=args.normalize)


def builder(args: Arguments) -> Callable[[Any], qjax.Loop]:
    """Return `hyper -> loop` on one environment."""
    env = args.make()
    return lambda hyper: build(args, hyper, env)


def epsilons(args: Arguments) -> Callable[[Any], dict[str, Any]]:
    """Return what is logged of one setting beside the usual columns: epsilon, where it is no hyper-parameter."""
    logged = not {"epsilon_end", "epsilon"}.isdisjoint(args.given) and "epsilon" not in args.grid.traced

    def schedules(hyper: Any) -> dict[str, Any]:
        chosen = dataclasses.replace(args.constants, **(hyper or {}))
        falls = logged and isinstance(chosen, algorithms.EpsilonGreedy)
        return {"epsilon": chosen.epsilon_schedule()} if falls else {}

    return schedules


def load(folder: str | Path, setting: int = 0) -> tuple[qjax.Loop, Any]:
    """Return a run's loop and its final agents, states with leaves `[seeds, ...]`.

    Args:
        folder: of one run; of several in turn, one of theirs.
        setting: which of the settings that lay side by side.

    Raises:
        ValueError: the folder holds several runs, or there is no such setting.
        FileNotFoundError: no run has finished there.

    """
    args = resolve(read_back(folder))
    made = args.grid
    if made.static:
        raise ValueError(f"{folder} holds several runs: {', '.join(map(grid.folder, made.runs))}")
    swept, make = made.hypers, builder(args)
    count = 1 if swept is None else len(next(iter(swept.values())))
    if not 0 <= setting < count:
        raise ValueError(f"{folder} has {count} settings, 0 to {count - 1}, got {setting}")
    loop = make(hyperparameters.setting(swept, setting))
    like = command.agents_of(loop, args.seeds * count)
    own = slice(setting * args.seeds, (setting + 1) * args.seeds)
    return loop, jax.tree.map(lambda x: x[own], qjax.load_agents(folder, like))


def run(args: Arguments) -> None:
    """Train, evaluate, and write the run's folder, or one for each static setting."""
    check_size("eval_episodes", args.eval_episodes)
    args = resolve(args)
    tell_of_schedules(args)
    args = going_on(args)
    made = args.grid
    if str(made):
        print(made)
    if not made.static:
        _run_one(args)
        return
    folders = {grid.folder(static): static for static in made.runs}
    runs = [dataclasses.replace(args, out=args.out / name, **static) for name, static in folders.items()]
    if args.dry_run:
        for each, static in zip(runs, made.runs, strict=True):
            print(f"\n{grid.label(static)}")
            _run_one(each)
        return
    for each in runs:
        check(each)  # what is wrong with a later one is said before the first one trains
    again = {"overwrite": args.overwrite, "resume": args.resume}
    whole = qjax.Run(args.out, args.name, args.recorded, machine=args.machine, **again)
    if whole.finished:
        print(f"the runs in {args.out} have ended; their results stand")
        return
    with whole:
        whole.lifecycle.begin()
        for each in runs:
            _run_one(each)
        if hosts.is_first():
            settings.join(whole, folders, args, title(args))


def going_on(args: Arguments) -> Arguments:
    """Return the arguments with the steps that schedules keep, where the run to resume has others; tell of more."""
    if args.schedule_steps is not None:
        check_size("schedule_steps", args.schedule_steps, most=MOST_STEPS)
        if "steps" not in flags(args.name):
            raise ValueError(refusal(args.name, ["schedule_steps"]))
    steps = args.given.get("steps")
    if not args.resume or steps is None or not (args.out / CONFIG).is_file():
        return args
    written = flat(qjax.load_config(args.out).get("arguments", {}))
    before = written.get("steps")
    kept = before if written.get("schedule_steps") is None else written["schedule_steps"]
    if not SIZE.holds(before) or not SIZE.holds(kept) or kept == steps:
        return args
    if args.schedule_steps is None:
        args = dataclasses.replace(args, schedule_steps=kept)
    if before < steps and hosts.is_first():
        print(f"{args.out} goes on from {before:,} to {steps:,} steps; schedules of steps stay those of {kept:,}")
    return args


def tell_of_schedules(args: Arguments) -> None:
    """Say that a preset's schedules fall faster, where its steps were cut."""
    whole = None if args.preset is None else preset(args.preset, args.name).config.steps
    steps = args.given.get("steps")
    if args.schedule_steps is not None or args.resume or whole is None or not isinstance(steps, int):
        return
    if steps < whole and hosts.is_first():
        print(
            f"schedules fall over these {steps:,} steps, not over the {whole:,} of {args.preset}:"
            f" --schedule-steps {whole} keeps its own"
        )


def check(args: Arguments) -> None:
    """Trace what one program will run, and raise what is wrong with it, as `qjax.sweep` would."""
    loop = described.check(builder(args), args.grid.hypers)[0].loop
    jax.eval_shape(loop.init, root_key(0))
    phases.phases(loop, args.given.get("steps"), log_points=1)


def _run_one(args: Arguments) -> None:
    """Train the settings that one program has side by side, evaluate, and write the run's folder."""
    make, swept = builder(args), args.grid.hypers
    if args.exact and "gamma" not in args.given:
        raise ValueError(f"--exact needs a discount factor: {args.name} has no constant gamma")
    if args.exact and args.normalize:
        raise ValueError(f"--exact compares values with those of {args.env}; --normalize changes what is learned")
    reports = [report_of(make, args.given["gamma"])] if args.exact else []
    if args.given.get("measures"):
        reports.append(qjax.network_measures(make))
    trained = command.train(
        args,
        args.name,
        make,
        epsilons(args),
        args.given.get("steps"),
        hypers=swept,
        report=together(reports),
        assumed=assumed(args),
    )
    if trained is None:
        return
    if swept is None:
        command.conclude(args, args.name, title(args), make(None), trained, {"environment": args.task})
    else:
        settings.conclude(args, title(args), make, swept, trained)


def together(reports: Sequence[Any]) -> Any:
    """Return a sweep's report of what several say, None of none."""

    def report(*lane: Any) -> dict[str, Any]:
        return {name: number for each in reports for name, number in each(*lane).items()}

    return report if reports else None


def assumed(args: Arguments) -> str | None:
    """Return what is taken for granted of the environment, None for nothing."""
    if not issubclass(args.algorithm.config, Support) or args.given.get("support") is not None:
        return None
    doubt = algorithms.assumed(args.make())
    return doubt and f"{doubt}; --support LEAST LARGEST gives another"


def title(args: Arguments) -> str:
    """Return what a run is called."""
    return f"{args.name} on {' '.join((args.env, *args.env_kwargs, *args.wrap))}, {args.count}"


def main() -> None:
    """Train as the command line says."""
    command.main(run, read)
