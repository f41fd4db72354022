"""The arguments of `qjax train`: what all algorithms have, one's constants as flags, where values come from."""

import dataclasses
import functools
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import tyro

import qjax
from qjax import algorithms
from qjax.algorithms.presets import preset
from qjax.cli.command import FREE, Common
from qjax.cli.flags import Written, written_as
from qjax.cli.grid import Grid, Several, flag
from qjax.cli.words import ALIASES, keywords
from qjax.cli.wrapping import wrapped

FIELDS = tuple(
    dict.fromkeys(name for each in algorithms.ALGORITHMS.values() for name in algorithms.fields(each.config))
)
"""Of the named algorithms' constants."""

WRITTEN = "a field is a number, str, bool, Literal, or a tuple of numbers or str, or else None by default"


@dataclass(kw_only=True)
class Arguments(Common):
    """Train one algorithm over many seeds, and over a grid of settings.

    Flags that are written NUMBER [NUMBER ...] take several values, which make a grid: numbers side by side in one
    program, sizes and names one run after another (--dry-run says which). `ALGORITHM --help` shows the flags that
    the algorithm has, with their values, and `qjax list` all algorithms and presets.
    """

    name: Annotated[str, tyro.conf.arg(name="", metavar="ALGORITHM"), tyro.conf.Positional] = ""
    """Which algorithm, or module:function for one of your own; a preset or a config has one."""
    env: str = ""
    """An environment's name, as `qjax list gymnax` has them, or a suite's with its prefix (pgx:minatar-breakout); a
    table needs discrete observations. Default the preset's, else the usual one of the algorithm's family."""
    env_kwargs: Annotated[tuple[str, ...], tyro.conf.arg(metavar="KEY=VALUE [KEY=VALUE ...]")] = ()
    """What `qjax.make` takes beside its name: map_name=8x8 is_slippery=false. Values are none, true, numbers, lists
    as JSON or Python write them, several with commas between them (reward_schedule=1,-1,0), or words."""
    wrap: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME[=VALUE] [NAME[=VALUE] ...]")] = ()
    """Wrappers of the environment, the innermost first, as `qjax list` shows them: frame_stack=4 reward_clip=1. The
    returns that are logged, the greedy ones at the end among them, are then of the wrapped environment."""
    normalize: tuple[Literal["observations", "rewards"], ...] = ()
    """What is divided by its running standard deviation before it is learned from: observations, rewards, or both.
    Returns are logged as they are."""
    preset: str | None = None
    """A published configuration; flags beside it override it."""
    config: Path | None = None
    """A run's folder or its config.json, to run again; flags beside it override it."""
    seeds: int = 16
    schedule_steps: int | None = None
    """Steps with which epsilon, beta and rates fall and rise; default those of the run. One that goes on to more
    --steps with --resume keeps its own."""
    exact: bool = False
    """Log how far the values are from the exact solution (distance, weighted_distance, greedy_start_value, regret),
    where the environment's MDP is known: FrozenLake, CliffWalking, Taxi."""
    out: Path
    """Folder for the results; refused if it holds something. A dry run needs none."""

    @classmethod
    def script(cls) -> str:
        """Return the module that trains, and gives back what was trained."""
        return "qjax.cli.train"

    def make(self) -> qjax.Env:
        """Return the environment.

        Raises:
            ValueError: as `words.keywords` and `wrapping.wrapped`; else as `qjax.make`.

        """
        return wrapped(qjax.make(self.env, **keywords("--env-kwargs", self.env_kwargs)), self.wrap)

    @property
    def task(self) -> str:
        """The environment with its wrappers, in words."""
        return " ".join((self.env, *self.wrap))

    @property
    def recorded(self) -> dict[str, Any]:
        """What a run's config.json has as its arguments, the algorithm's dataclass among them as `config`.

        Of a field with several values `config` has the first and `grid` all, of one without an effect it has None.
        """
        own, grid = {field: getattr(self, field) for field in OWN}, self.grid
        nothing = {field: None for field in flags(self.name) if getattr(self, field) is None}
        if self.schedule_steps == self.given.get("steps"):
            own["schedule_steps"] = None
        config = dataclasses.asdict(self.constants) | nothing
        config |= {"steps": self.given.get("steps")} if "steps" in config else {}
        return {**own, "config": config, "grid": {**grid.traced, **grid.static}}

    @property
    def given(self) -> dict[str, Any]:
        """The constants that have a value; a flag that is not set has none."""
        values = {name: getattr(self, name) for name in flags(self.name)}
        plain = self.algorithm.config()
        return {
            name: value
            for name, value in values.items()
            if value is not None and not (isinstance(value, bool) and value == getattr(plain, name))
        }

    @property
    def algorithm(self) -> algorithms.Algorithm:
        """The algorithm that is named."""
        return algorithms.algorithm(self.name)

    @property
    def grid(self) -> Grid:
        """Which constants have several values: side by side those that may be traced."""
        several = {field: x for field, x in self.given.items() if isinstance(x, Several)}
        traced = algorithms.traced(self.algorithm.config)
        return Grid(
            {field: x for field, x in several.items() if field in traced},
            {field: x for field, x in several.items() if field not in traced},
        )

    @property
    def constants(self) -> Any:
        """The algorithm's constants as its own dataclass, of several values the first; steps are the schedules'."""
        falls = {} if self.schedule_steps is None else {"steps": self.schedule_steps}
        return _first(self.name, {**self.given, **falls})


OWN = tuple(field.name for field in dataclasses.fields(Arguments) if field.name not in (*FREE, "config"))
"""Arguments that decide a run's numbers, and that all algorithms have."""


@functools.cache
def flags(name: str) -> dict[str, Written]:
    """Return how an algorithm's constants are written; one that cannot be has no flag, and is None by default.

    Raises:
        ValueError: another one cannot be, and so would be missing from a config; or `qjax train` has its name.

    """
    kind = algorithms.algorithm(name).config
    hints = get_type_hints(kind, include_extras=True)
    found = {field: written_as(field, hints[field]) for field in algorithms.fields(kind)}
    if taken := sorted(found.keys() & {field.name for field in dataclasses.fields(Arguments)}):
        raise ValueError(f"{name}: {kind.__name__} has the fields {', '.join(taken)}, which qjax train has itself")
    if mute := [field for field, how in found.items() if how is None and getattr(kind(), field) is not None]:
        raise ValueError(f"{name}: no flag can be written for {', '.join(mute)} of {kind.__name__}: {WRITTEN}")
    return {field: how for field, how in found.items() if how is not None}


@functools.cache
def arguments_of(name: str) -> type[Arguments]:
    """Return the arguments of an algorithm: what all have, and its constants as flags."""
    kind = algorithms.algorithm(name).config
    texts, plain = algorithms.meanings(kind), kind()
    made = [
        (
            field,
            Annotated[how.hint, tyro.conf.arg(help=texts[field], aliases=_aliases(field))],
            dataclasses.field(default=getattr(plain, field) if how.hint is bool else None),
        )
        for field, how in flags(name).items()
    ]
    found: Any = dataclasses.make_dataclass("Arguments", made, bases=(Arguments,), kw_only=True)
    found.__doc__ = inspect.getdoc(Arguments)
    return found


def _aliases(field: str) -> list[str]:
    return [short for short, long in ALIASES.items() if long == flag(field)]


def _first(name: str, values: Mapping[str, Any]) -> Any:
    """Return an algorithm's dataclass from flags' values, of several the first; steps without a value are None."""
    kind = algorithms.algorithm(name).config
    ends = {"steps": None} if "steps" in algorithms.fields(kind) else {}
    return kind(**ends | {field: x[0] if isinstance(x, Several) else x for field, x in values.items()})


def resolve(args: Arguments) -> Arguments:
    """Return the arguments with every constant that has an effect, and None for those that have none.

    A constant is the flag's, else the preset's, else the algorithm's own.

    Raises:
        ValueError: the algorithm or the preset is unknown, or a constant is given that others leave without a use.

    """
    published = None if args.preset is None else preset(args.preset, args.name)
    config = args.algorithm.config() if published is None else published.config
    usual = {field: getattr(config, field) for field in flags(args.name)}
    if "episodes" in args.given and (published is None or config.steps is None):
        usual.pop("steps", None)  # episodes end the run
    chosen = {**usual, **args.given}
    made = _first(args.name, chosen)
    idle = made.idle() if isinstance(made, algorithms.Config) else frozenset()
    ours = {name for name, value in args.given.items() if usual.get(name) != value}
    if unread := sorted(ours & idle):
        raise ValueError(refusal(args.name, unread))
    usual_env = "FrozenLake-v1" if args.name in algorithms.TABULAR else "CartPole-v1"
    env = args.env or (usual_env if published is None else published.env)
    values: dict[str, Any] = {name: None if name in idle else chosen.get(name) for name in flags(args.name)}
    return dataclasses.replace(args, env=env, **values)


def refusal(name: str, unread: Sequence[str]) -> str:
    """Return what to say of flags that an algorithm does not read."""
    why = " with the other flags given" if set(unread) <= set(flags(name)) else ""
    return f"{name} does not read {' '.join(map(flag, unread))}{why}; it reads {' '.join(map(flag, flags(name)))}"
