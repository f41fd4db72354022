"""A sweep described: what it is asked to do, every argument checked before anything is compiled."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from qjax.core.checks import check_callable
from qjax.core.random import describe_key, root_key
from qjax.runs.points import Schedules
from qjax.runs.versions import numerics
from qjax.sweeps import hyperparameters, traced
from qjax.sweeps.asked import check_devices, check_seeds, logged
from qjax.sweeps.evaluating import Evaluation, check_evaluation
from qjax.sweeps.hyperparameters import Build, Settings
from qjax.sweeps.initial import Initial, check_initial_agents
from qjax.sweeps.leaving import Drops
from qjax.sweeps.phases import Phase, inner_iterations, phases
from qjax.sweeps.plan import check_lanes
from qjax.sweeps.programs import Report
from qjax.sweeps.traced import Program
from qjax.training.loop import Loop


class Described(NamedTuple):
    """What a sweep is asked to do, checked: its first stage. Nothing is traced for good or compiled yet."""

    build: Build
    """Makes the loop of a setting."""
    hypers: Any
    """The settings: NumPy arrays `[settings, ...]`, or None."""
    settings: np.ndarray
    """The number of each lane's setting, `[lanes]`."""
    seeds: np.ndarray
    """The seed of each lane, `[lanes]`."""
    swept: dict[str, np.ndarray]
    """The swept hyper-parameters by name, `[settings]` each."""
    seed: Any
    """What the root of all randomness was made of, as plain values."""
    root: Any
    """The root: a typed key."""
    loop: Loop
    """The loop of the first setting."""
    steps: int | None
    """Environment steps of each lane; None where its episodes bound them."""
    phases: list[Phase]
    """The stretches of iterations that each lane makes."""
    unused: list[str]
    """Hyper-parameters that nothing in the program depends on."""
    jaxpr: Any
    """A lane's start and first iteration, which say that; None where nothing is swept."""
    log_points: int
    """How many intervals the steps are cut into."""
    schedules: Schedules
    """Schedules that are logged, by name."""
    report: Report | None
    """Gives numbers of a lane to log, where it is not None."""
    evaluation: Evaluation | None
    """What is evaluated while it trains, where that is not None."""
    drops: Drops | None
    """What takes lanes away before their work is done, where anything does."""
    initial: Initial | None
    """The agents that lanes begin with, where they are not fresh."""
    logged: list[str]
    """Names of what is logged beside the usual columns."""
    stands: int = 0
    """Iterations after which its run goes on."""

    @property
    def title(self) -> str:
        """What it is called where none is given: its environment, and how many lanes."""
        settings = int(self.settings[-1]) + 1
        seeds = len(self.seeds) // settings
        counts = f"{settings} settings x " * (settings > 1) + f"{seeds} seed" + "s" * (seeds > 1)
        return f"{self.loop.env.name}, {counts}"

    @property
    def inner_iterations(self) -> dict[bool, int]:
        """Iterations of the programs' inner loops, without and with learning."""
        return {
            learns: inner_iterations(self.phases, learns, self.loop.sync_every, self.stands)
            for learns in dict.fromkeys(phase.learning for phase in self.phases)
        }

    def describe(self, width: int) -> dict[str, Any]:
        """Return what decides the numbers, as plain values."""
        loop = self.loop
        return {
            "seed": self.seed,
            "seeds": _count_or_list(self.seeds[self.settings == 0]),
            "lanes": len(self.seeds),
            "hypers": {name: column.tolist() for name, column in self.swept.items()},
            "steps": self.steps,
            "log_points": self.log_points,
            "width": width,
            "environment": loop.env.name,
            **({"map": loop.env.unwrapped.rows} if getattr(loop.env.unwrapped, "drawn", False) else {}),
            "num_envs": loop.num_envs,
            "rollout": loop.rollout,
            "updates": loop.updates,
            "sync_every": loop.sync_every,
            "warmup": loop.warmup,
            "episodes": loop.episodes,
            **({"drops": {**self.drops._asdict(), "own": self.drops.own is not None}} if self.drops else {}),
            "columns": list(self.swept),
            "logged": self.logged,
            **({"initial": self.initial.digest} if self.initial is not None else {}),
            **({"evaluation": self.evaluation._asdict()} if self.evaluation is not None else {}),
            **({"jax": unusual} if (unusual := numerics()) else {}),
        }

    def program(self) -> str:
        """Return the text of a lane's start and first iteration: constants in `build` show there."""
        return traced.text(traced.program(self.build, None).jaxpr if self.jaxpr is None else self.jaxpr)

    def columns(self, lanes: np.ndarray) -> dict[str, np.ndarray]:
        """Return what identifies some lanes in a table: seed, setting and its values."""
        found = {"seed": self.seeds[lanes]}
        if self.hypers is None:
            return found
        settings = self.settings[lanes]
        return {**found, "setting": settings, **{name: column[settings] for name, column in self.swept.items()}}

    def hypers_of(self, lanes: np.ndarray) -> Any:
        """Return the setting of each of some lanes, None where there are no hypers."""
        return None if self.hypers is None else jax.tree.map(lambda x: x[self.settings[lanes]], self.hypers)


def check(build: Build, hypers: Any) -> tuple[Settings, Program | None]:
    """Return settings, checked, and what a lane of them does, traced once; None where nothing is swept."""
    settings = hyperparameters.check(build, hypers)
    if hypers is None:
        return settings, None
    program = traced.program(build, settings.hypers)
    hyperparameters.check_alike(settings, program.lane)
    return settings, program


def describe(
    build: Build,
    seeds: int | Sequence[int],
    hypers: Any,
    seed: Any,
    steps: int | None,
    log_points: int,
    devices: Sequence[Any] | None,
    schedules: Schedules | None = None,
    report: Report | None = None,
    evaluate_every: int | None = None,
    evaluate_episodes: int = 20,
    initial: Any = None,
    drops: Drops | None = None,
) -> Described:
    """Return a sweep's arguments, checked; they are those of `qjax.sweep`."""
    check_callable("build", build, "(hyper) -> loop")
    given = check_seeds(seeds)
    root = root_key(seed)
    (swept, num_settings, loop, _), program = check(build, hypers)
    numbers = np.asarray(given)
    check_lanes(loop, num_settings * len(given), check_devices(devices))
    evaluation = check_evaluation(loop, evaluate_every, evaluate_episodes)
    found, named = phases(loop, steps, log_points), {} if schedules is None else schedules
    columns = {} if swept is None else hyperparameters.columns(swept)
    return Described(
        build=build,
        hypers=swept,
        settings=np.repeat(np.arange(num_settings), len(numbers)),
        seeds=np.tile(numbers, num_settings),
        swept=columns,
        seed=int(seed) if isinstance(seed, int | np.integer) else describe_key(seed),
        root=root,
        loop=loop,
        steps=steps,
        phases=found,
        unused=[] if program is None else traced.unused(program.jaxpr, swept),
        jaxpr=None if program is None else program.jaxpr,
        log_points=log_points,
        schedules=named,
        report=report,
        evaluation=evaluation,
        drops=drops,
        initial=check_initial_agents(loop, initial, num_settings * len(given)),
        logged=logged(loop, hyperparameters.setting(swept, 0), list(columns), named, report, evaluation, drops),
    )


def _count_or_list(seeds: np.ndarray) -> int | list[int]:
    return len(seeds) if (seeds == np.arange(len(seeds))).all() else seeds.tolist()
