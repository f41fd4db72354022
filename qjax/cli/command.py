"""What command lines share: their common arguments, and running a sweep into a folder."""

import dataclasses
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Self, TypeVar, get_type_hints

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

import qjax
from qjax import plot, stats
from qjax.cli.words import Which, parse
from qjax.core import jsonfile
from qjax.core.random import root_key
from qjax.core.text import joined, short
from qjax.machine import hosts, interrupt, streams
from qjax.runs.agents import kept_at
from qjax.runs.config import CONFIG
from qjax.runs.points import NEVER, Schedules
from qjax.sweeps.options import check_pace
from qjax.sweeps.programs import Report
from qjax.sweeps.sweep import plan
from qjax.training.loop import Loop


@dataclass(kw_only=True)
class Machine:
    """Arguments of every script: what it runs on."""

    cores: int | None = None
    """CPU devices to shard the seeds over; default one per core."""
    compilation_cache: bool = True
    """Keep compiled programs in the user's cache folder, one subfolder per version of JAX and type of CPU."""

    @classmethod
    def parse(cls, words: Sequence[str]) -> Self:
        """Return the arguments of a command line; what is wrong with it ends the process with status 2."""
        args: Self = parse(cls, words, cls.program())
        return args

    @classmethod
    def program(cls) -> str:
        """Return how the command is started."""
        return f"python -m {cls.script()}"

    @classmethod
    def script(cls) -> str:
        """Return the name of the module that is the script; a run's config.json has it, for `qjax watch`."""
        if cls.__module__ != "__main__":
            return cls.__module__
        spec = getattr(sys.modules["__main__"], "__spec__", None)
        return Path(sys.argv[0]).stem if spec is None else spec.name


@dataclass(kw_only=True)
class Setting(Machine):
    """Arguments of every script that trains."""

    seeds: int
    """Number of seeds, trained side by side."""
    seed: int = 0
    """Root of all randomness."""
    out: Path
    """Folder for the results."""
    fast_keys: bool = False
    """Draw from a fast hash in place of JAX's default, threefry: other random numbers, and nearly twice the
    steps a second of a table."""

    @property
    def root(self) -> Any:
        """The root of all randomness, as `qjax.sweep` takes it."""
        return qjax.fast_key(self.seed) if self.fast_keys else self.seed

    @property
    def count(self) -> str:
        """The number of seeds in words."""
        return f"{self.seeds} seed{'s' * (self.seeds != 1)}"


@dataclass(kw_only=True)
class Common(Setting):
    """Arguments of every experiment that is one run in one folder."""

    out: Path
    """Folder for the results; refused if it holds something."""
    overwrite: bool = False
    """Replace what an earlier run left in the folder."""
    resume: bool = False
    """Go on from the folder's last checkpoint, bit for bit; begin where there is none."""
    accept_program: bool = False
    """Go on with --resume although the program's text is another, after an upgrade of JAX for instance that changed
    nothing that matters; the folder's config.json then says so."""
    dry_run: bool = False
    """Print what the run would take, and end."""
    checkpoint_every: float = 60.0
    """Seconds between two checkpoints."""
    log_points: int = 100
    """Intervals into which the run is cut, each with a row of the table for every seed."""
    initial_agents: Path | None = None
    """A run whose agents are begun with, seed by seed; by default fresh ones are."""
    initial_which: Which = "last"
    """Which of that run's agents: last, best by its evaluations, or the steps at which it kept them."""
    snapshots: tuple[int, ...] = ()
    """Steps at which agents are kept, too, each at the first log point at or after them."""
    evaluate_every: int | None = None
    """Log points between two evaluations of every seed while it trains; default none."""
    eval_episodes: int = 20
    """Greedy episodes of each seed in an evaluation, at the end or while it trains."""
    chunk_seconds: float = 2.0
    """Seconds between two looks at progress, signals and the checkpoint's date."""
    stop_on_nan: bool = False
    """Stop at the end of the chunk in which a seed's loss or parameters become NaN or infinite."""
    drop_diverged: bool = False
    """Drop seeds at the log point by which their loss or parameters have become NaN or infinite, and go on."""
    width: int | None = None
    """Lanes that run side by side on one device; default by their number and the size of the agent."""
    distributed: bool = False
    """Join the other hosts of this job, and share the seeds with them."""
    keep_checkpoint: bool = True
    """Keep the last checkpoint of a run that ends, which can then go on to more --steps with --resume."""
    parquet: bool = False
    """Write the table as Parquet in place of CSV, for long sweeps; needs the extra `parquet`."""
    tensorboard: bool = False
    """Write the log points for TensorBoard, too: a run for each seed and setting, in the folder's tensorboard; it
    needs the extra `tensorboard`."""
    wandb: bool = False
    """Write the log points for Weights & Biases, too, offline; needs the extra `wandb`."""

    @property
    def recorded(self) -> dict[str, Any]:
        """What a run's config.json has as its arguments; `env_kwargs` there tell environments of one name apart."""
        return {field: value for field, value in dataclasses.asdict(self).items() if field not in FREE}

    @property
    def machine(self) -> dict[str, Any]:
        """Where and how it is run, which config.json has beside them, and the script that `qjax watch` loads."""
        return {**{field: getattr(self, field) for field in FREE}, "script": self.script()}


def written(
    folder: str | Path, arguments: type, needs: Iterable[str] = (), inner: jsonfile.Kinds | None = None
) -> dict[str, Any]:
    """Return the arguments in a run's config, where they are what a command's fields, or `inner` ones, may be.

    Raises:
        FileNotFoundError: the folder holds no run.
        ValueError: the config is damaged, or of another version that had not what is needed.

    """
    config, path = qjax.load_config(folder), Path(folder) / CONFIG
    kinds = {name: jsonfile.kind_of(hint) for name, hint in get_type_hints(arguments).items()}
    jsonfile.check(path, config, {"arguments": {**kinds, **(inner or {})}}, needs=["arguments"])
    if lacking := [name for name in needs if name not in config["arguments"]]:
        raise ValueError(f"{folder} is of another version: its {CONFIG} has no {', '.join(map(repr, lacking))}")
    return config["arguments"]


def agents_of(loop: Loop, lanes: int) -> Any:
    """Return the agents of so many lanes as shapes."""
    one = jax.eval_shape(loop.init, root_key(0)).agent
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct((lanes, *x.shape), x.dtype), one)


FREE = (
    "out", "overwrite", "resume", "accept_program", "dry_run", "checkpoint_every", "chunk_seconds", "stop_on_nan",
    "width", "cores", "distributed", "compilation_cache", "parquet", "tensorboard", "wandb",
    "initial_agents", "initial_which", "snapshots", "keep_checkpoint",
)  # fmt: skip
"""Arguments that may change when a run is resumed; the width is the one that it began with, and its config has a
digest of initial agents."""

LONGEST = 1000
"""Characters of an error on one line; ours are shorter, those of libraries may be anything."""

THRESHOLDS = {
    "CartPole-v1": 475.0, "Acrobot-v1": -100.0, "MountainCar-v0": -110.0,
    "FrozenLake-v1": 0.7, "FrozenLake8x8-v1": 0.85,
}  # fmt: skip
"""gymnasium's `reward_threshold`; not Taxi's of 8, for the best policy has a mean return of 7.93."""

UNLIMITED = 1_000
"""Steps after which an episode of an evaluation is cut where the environment has no limit of its own."""

EXIT = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129, "nan": 3}
"""Exit status of a run that was stopped, by what stopped it."""

Arguments = TypeVar("Arguments", bound=Machine)


@contextmanager
def as_command() -> Iterator[None]:
    """Let a signal end the process at once with one line, and let nobody have to read what it prints."""
    with streams.forgiving(), interrupt.Watch(_end):
        yield


def _end(number: int) -> None:
    if jax.distributed.is_initialized():
        hosts.leave(signal.Signals(number).name, "")
    interrupt.end(number)


@as_command()
def main(run: Callable[[Arguments], None], parse: Callable[[list[str]], Arguments]) -> None:
    """Parse the command line and run; a bad argument, full disk or missing extra ends with one line, status 2."""
    try:
        args = parse(sys.argv[1:])
    except (ValueError, OSError) as error:
        print(f"error: {short(str(error), LONGEST)}", file=sys.stderr)
        sys.exit(2)
    distributed = isinstance(args, Common) and args.distributed
    try:
        qjax.use_cores(args.cores)
        if args.compilation_cache:
            qjax.use_cache()
        else:
            jax.config.update("jax_enable_compilation_cache", False)
        if distributed:
            hosts.initialize()
        if isinstance(args, Common):
            check_pace(args.chunk_seconds, args.checkpoint_every)
        run(args)
    except (ValueError, TypeError, OSError, MemoryError, ImportError) as error:
        if distributed:
            hosts.leave(str(error), f"error: {short(str(error), LONGEST)}")
            stop(2)  # an orderly exit would wait for the others
        print(f"error: {short(str(error), LONGEST)}", file=sys.stderr)
        sys.exit(2)
    except Exception as error:
        if not distributed:
            raise
        hosts.leave(repr(error), traceback.format_exc())
        stop(1)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr, flush=True)
        stop(EXIT["SIGINT"])


@as_command()
def answer(run: Callable[[Any], int], arguments: type, program: str) -> NoReturn:
    """Parse a command line that needs no device, run, and end with the status that is returned, 2 for an error."""
    try:
        sys.exit(run(parse(arguments, sys.argv[1:], program)))
    except (ValueError, TypeError, OSError, ImportError) as error:
        print(f"error: {short(str(error), LONGEST)}", file=sys.stderr)
        sys.exit(2)


def train(
    args: Common,
    experiment: str,
    build: Callable[[Any], Loop],
    schedules: Schedules,
    steps: int | None = None,
    hypers: Mapping[str, np.ndarray] | None = None,
    report: Report | None = None,
    assumed: str | None = None,
) -> tuple[qjax.Run, qjax.Result] | None:
    """Run the experiment's sweep in its folder, with progress; return the folder and the result.

    Build, schedules, steps, hypers and report are those of `qjax.sweep`; what is assumed is printed, and stands in
    the folder's config.json beside the arguments.

    Return None where there is nothing left to do: on a dry run, on a host that is not the first, and where the run
    that was to be resumed has ended.
    """
    work = {"steps": steps, "hypers": hypers, **_asked(args)}
    initial = _initial(args)
    arguments = args.recorded
    if assumed is not None:
        arguments["assumed"] = assumed
        if hosts.is_first():
            print(assumed)
    if args.dry_run:
        _show_plan(args, experiment, build, work, arguments)
        return None
    sinks = [sink() for sink in (qjax.sinks.tensorboard, qjax.sinks.wandb) if getattr(args, sink.__name__)]
    again: dict[str, Any] = {"overwrite": args.overwrite, "resume": args.resume, "parquet": args.parquet}
    again |= {"accept_program": args.accept_program, "keep_checkpoint": args.keep_checkpoint}
    folder = qjax.Run(args.out, experiment, arguments, machine=args.machine, **again)
    if folder.finished:
        print(f"the run in {args.out} has ended; its results stand")
        if lacking := sorted({*args.snapshots} - {*kept_at(args.out)}):
            streams.tell(
                f"note: it kept no agents at {joined(lacking)} steps, and keeps none now that it has ended"
            )
        return None
    with _closed_on_failure(folder):
        result = qjax.sweep(
            build,
            width=args.width,
            schedules=schedules,
            report=report,
            initial=initial,
            progress=f"{experiment}, {args.count}",
            run=folder,
            chunk_seconds=args.chunk_seconds,
            checkpoint_every=args.checkpoint_every,
            stop_on_nan=args.stop_on_nan,
            drop_diverged=args.drop_diverged,
            snapshots=args.snapshots,
            sinks=sinks,
            **work,
        )
    _tell(result, several=hypers is not None)
    return (folder, result) if hosts.is_first() else None


def _initial(args: Common) -> Any:
    """Return the agents that a run begins with, None for fresh ones."""
    if args.initial_agents is None and args.initial_which != "last":
        raise ValueError(f"--initial-which {args.initial_which} needs --initial-agents, the run that has them")
    if args.initial_agents is None:
        return None
    return qjax.load_agents(args.initial_agents, which=args.initial_which)


def _asked(args: Common) -> dict[str, Any]:
    """Return what of a command's arguments a sweep and its plan take alike."""
    return {
        "seeds": args.seeds,
        "seed": args.root,
        "log_points": args.log_points,
        "evaluate_every": args.evaluate_every,
        "evaluate_episodes": args.eval_episodes,
    }


def _show_plan(
    args: Common, experiment: str, build: Callable[[Any], Loop], work: dict[str, Any], arguments: dict[str, Any]
) -> None:
    """Print what a sweep would take, and raise where it would not fit."""
    width = args.width
    if args.resume and width is None:
        width = qjax.Run(args.out, experiment, arguments, resume=True).lifecycle.width
    print("compiling, to know the memory", flush=True)
    planned = plan(build, width=width, **work)
    print(planned)
    planned.check()


def _tell(result: qjax.Result, several: bool) -> None:
    """Tell which seeds diverged, and end the process where the sweep was stopped; `several` settings are named."""
    for lane in np.flatnonzero(result.diverged_at != NEVER)[:10]:
        where = f" of setting {result.settings[lane]}" if several else ""
        print(f"seed {result.seeds[lane]}{where} diverged at step {result.diverged_at[lane]}", file=sys.stderr)
    if dropped := int((result.dropped_at != NEVER).sum()):
        print(f"{dropped} of {len(result.seeds)} seeds were dropped before their end", file=sys.stderr)
    if result.stopped is not None:
        done = result.env_steps
        print(f"stopped by {result.stopped} after {done:,} env-steps; go on with --resume", file=sys.stderr)
        stop(EXIT[result.stopped])


@contextmanager
def _closed_on_failure(folder: qjax.Run) -> Iterator[None]:
    """Let others at the folder where the run fails; else it stays locked until `Run.finish`."""
    try:
        yield
    except BaseException:
        folder.close()
        raise


def conclude(
    args: Any,
    experiment: str,
    title: str,
    loop: Loop,
    trained: tuple[qjax.Run, qjax.Result],
    facts: dict[str, Any],
) -> None:
    """Evaluate a run's final agents greedily, draw its learning curve, write its summary, and print it.

    Args:
        args: with `root`, `eval_episodes` and `seeds`.
        experiment: its name.
        title: of the picture and the table.
        loop: of one seed.
        trained: what `train` returned.
        facts: what else the summary holds.

    """
    folder, result = trained
    threshold = THRESHOLDS.get(loop.env.name)
    per_seed = greedy_scores(loop, result.agents, result.seeds, args.root, args.eval_episodes)
    places = digits(per_seed)
    interval, shown = describe_interval(per_seed, places)
    plot.learning_curve(
        qjax.load_points(folder.folder),
        folder.folder / "learning_curve.png",
        title=title,
        episodes=loop.episodes,
        level=threshold,
        level_name="" if threshold is None else f"solved ({threshold:g})",
    )
    solved = None if threshold is None else per_seed >= threshold
    summary = summarise(experiment, result, per_seed, solved)
    again = None
    if result.best is not None:
        again = greedy_scores(loop, result.best.agents, result.seeds, args.root, args.eval_episodes)
        facts = {**facts, **outcome_of_best(result, again)}
    folder.finish({**summary, **facts, "final_return_iqm_interval": interval})
    table = Table("greedy return", "", title=title)
    table.add_row("interquartile mean [95% interval]", f"{float(stats.iqm(per_seed)):z.{places}f} {shown}")
    spread = (per_seed.mean(), per_seed.min(), per_seed.max())
    table.add_row("mean, worst, best seed", ", ".join(f"{score:z.{places}f}" for score in spread))
    if solved is not None:
        table.add_row(f"seeds with a mean of at least {threshold:g}", f"{solved.sum()} of {args.seeds}")
    if summary["diverged"]:
        table.add_row("seeds that diverged, counted as they are", f"{summary['diverged']} of {args.seeds}")
    if again is not None:
        table.add_row("that of each seed's best agent", f"{float(stats.iqm(again)):z.{places}f} (evaluated again)")
    table.add_row("episodes per seed", f"{args.eval_episodes}")
    table.add_row("env-steps/s", f"{result.env_steps / result.run_s:,.0f}")
    table.add_row("run, compile", f"{result.run_s:.1f} s, {result.compile_s:.1f} s")
    Console().print(table)
    print(f"results in {folder.folder}")


def greedy_scores(loop: Loop, agents: Any, seeds: np.ndarray, root: Any, episodes: int) -> np.ndarray:
    """Return the mean greedy return of every agent over so many episodes, `[lanes]`.

    They are cut after `UNLIMITED` steps where the environment has no limit of its own.
    """
    limit = UNLIMITED if loop.env.max_steps is None else None
    print(f"evaluating: compiling, then {episodes} greedy episodes of each seed", flush=True)
    played = qjax.evaluate_seeds(loop.env, loop.agent, agents, seeds, root, episodes, max_steps=limit)
    return np.asarray(played.returns).mean(1)


def digits(scores: np.ndarray) -> int:
    """Return how many digits of scores are worth showing: those of small ones, such as shares, are two."""
    return 1 if np.abs(scores).max() > 10 else 2


def end_if_stopped(result: qjax.Result, where: str) -> None:
    """End the process where a run of several was stopped: the same command goes on."""
    if result.stopped is not None:
        print(f"stopped by {result.stopped} in {where}; the same command goes on", file=sys.stderr)
        stop(EXIT[result.stopped])


def describe_interval(scores: np.ndarray, digits: int = 1) -> tuple[tuple[float, float], str]:
    """Return the ends of the interquartile mean's 95% interval over seeds, and how to print them.

    A run of one seed has none: its ends are NaN, and it says so.
    """
    if len(scores) < stats.LEAST_SEEDS:
        return (np.nan, np.nan), "(no interval: one seed)"
    low, high = stats.iqm_interval(scores)
    return (low, high), f"[{low:z.{digits}f}, {high:z.{digits}f}]"


def summarise(
    experiment: str, result: qjax.Result, scores: np.ndarray, solved: np.ndarray | None
) -> dict[str, Any]:
    """Return what every experiment's summary holds, from its final scores and solved flags `[seeds]`, if any."""
    return {**cost(experiment, result, len(scores)), **outcome(result, scores, solved)}


def cost(experiment: str, result: qjax.Result, seeds: int) -> dict[str, Any]:
    """Return what a run took."""
    return {
        "experiment": experiment,
        "seeds": seeds,
        "width": result.width,
        "env_steps": result.env_steps,
        "compile_s": result.compile_s,
        "run_s": result.run_s,
        "env_steps_per_s": result.env_steps / result.run_s,
    }


def outcome(result: qjax.Result, scores: np.ndarray, solved: np.ndarray | None, setting: int = 0) -> dict[str, Any]:
    """Return how one setting ended, from its final scores and solved flags `[seeds]`.

    The flags are None where no score is known at which the environment counts as solved.
    """
    own = result.settings == setting
    lost, dropped = (np.flatnonzero((at != NEVER) & own) for at in (result.diverged_at, result.dropped_at))
    return {
        "solved_fraction": None if solved is None else solved.mean(),
        "final_return_mean": scores.mean(),
        "final_return_iqm": stats.iqm(scores),
        "final_return_per_seed": scores,
        "diverged": len(lost),
        "diverged_seeds": [{"seed": result.seeds[i], "step": result.diverged_at[i]} for i in lost],
        "dropped": len(dropped),
        "dropped_seeds": [{"seed": result.seeds[i], "step": result.dropped_at[i]} for i in dropped],
    }


def outcome_of_best(result: qjax.Result, scores: np.ndarray, setting: int = 0) -> dict[str, Any]:
    """Return how the best agents of one setting did when they were evaluated again, `[seeds]`, and when they were.

    An agent of step 0 is one that was never evaluated: the one that its seed began with.
    """
    assert result.best is not None
    steps = result.best.env_steps[result.settings == setting]
    return {"best_return_iqm": stats.iqm(scores), "best_return_per_seed": scores, "best_env_steps": steps}


def stop(status: int) -> NoReturn:
    """End at once: a program may still run on the devices, and an orderly exit under it would abort."""
    sys.stdout.flush()
    sys.stderr.flush()
    hosts.part()
    os._exit(status)
