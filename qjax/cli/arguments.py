"""The arguments of `qjax train`: what all algorithms have, one's constants as flags, where values come from."""

import dataclasses
import functools
import inspect
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import tyro

import qjax
from qjax import algorithms
from qjax.algorithms.presets import preset
from qjax.cli.command import Common
from qjax.cli.grid import Floats, Grid, Ints, Names, Support, Widths, flag, split
from qjax.cli.words import ALIASES, keywords

FIELDS = tuple(
    dict.fromkeys(name for each in algorithms.ALGORITHMS.values() for name in algorithms.fields(each.config))
)
"""Of the named algorithms' constants."""


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
    """A gymnax environment with discrete actions, and for a table discrete observations; default the preset's, else
    CartPole-v1, and FrozenLake-v1 for a table."""
    env_kwargs: Annotated[tuple[str, ...], tyro.conf.arg(metavar="KEY=VALUE [KEY=VALUE ...]")] = ()
    """What `qjax.make` takes beside its name: map_name=8x8 is_slippery=false. Values are none, true, numbers, lists
    as JSON or Python write them, several with commas between them (reward_schedule=1,-1,0), or words."""
    preset: str | None = None
    """A published configuration; flags beside it override it."""
    config: Path | None = None
    """A run's folder or its config.json, to run again; flags beside it override it."""
    seeds: int = 16
    exact: bool = False
    """Log how far the values are from the exact solution (distance, weighted_distance, greedy_start_value, regret),
    where the environment's MDP is known: FrozenLake, CliffWalking, Taxi."""
    eval_episodes: int = 20
    """Greedy episodes per seed at the end."""
    out: Path
    """Folder for the results; refused if it holds something. A dry run needs none."""

    @classmethod
    def script(cls) -> str:
        """Return the module that trains, and gives back what was trained."""
        return "qjax.cli.train"

    def make(self) -> qjax.Env:
        """Return the environment.

        Raises:
            ValueError: as `words.keywords`; else as `qjax.make`.

        """
        return qjax.make(self.env, **keywords("--env-kwargs", self.env_kwargs))

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
        """Which constants have several values."""
        return split(self.given, algorithms.traced(self.algorithm.config))

    @property
    def constants(self) -> Any:
        """The algorithm's constants as its own dataclass, of several values the first."""
        return _constants_of(self.name, self.given)


@functools.cache
def flags(name: str) -> dict[str, Any]:
    """Return the flags of an algorithm's constants with their types; what cannot be written has none."""
    kind = algorithms.algorithm(name).config
    hints = get_type_hints(kind, include_extras=True)
    found = {field: _flag_type(field, hints[field]) for field in algorithms.fields(kind)}
    if taken := sorted(found.keys() & {field.name for field in dataclasses.fields(Arguments)}):
        raise ValueError(f"{name}: {kind.__name__} has the fields {', '.join(taken)}, which qjax train has itself")
    return {field: hint for field, hint in found.items() if hint is not None}


def _flag_type(field: str, hint: Any) -> Any:
    """Return how a constant of a type is written on the command line, None where it is not."""
    base = _base_type(hint)
    if base is int:
        return int | None if field in ("steps", "episodes") else Ints
    if base is bool:
        return bool
    if get_origin(base) is tuple:
        return Widths if get_args(base) == (int, ...) else Support if len(get_args(base)) == 2 else None
    return Names if base is str or get_origin(base) is Literal else Floats if base is float else None


def _base_type(hint: Any) -> Any:
    """Return a type without what is annotated, and without None."""
    if get_origin(hint) is Annotated:
        marks = [mark.kind for mark in hint.__metadata__ if isinstance(mark, algorithms.Traced)]
        return marks[0] if marks else _base_type(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        rest = [each for each in get_args(hint) if each is not type(None)]
        return _base_type(rest[0]) if len(rest) == 1 else None
    return hint


@functools.cache
def arguments_of(name: str) -> type[Arguments]:
    """Return the arguments of an algorithm: what all have, and its constants as flags."""
    kind = algorithms.algorithm(name).config
    texts, plain = algorithms.meanings(kind), kind()
    made = [
        (
            field,
            Annotated[hint, tyro.conf.arg(help=texts[field], aliases=_aliases(field))],
            dataclasses.field(default=getattr(plain, field) if hint is bool else None),
        )
        for field, hint in flags(name).items()
    ]
    found: Any = dataclasses.make_dataclass("Arguments", made, bases=(Arguments,), kw_only=True)
    found.__doc__ = inspect.getdoc(Arguments)
    return found


def _aliases(field: str) -> list[str]:
    return [short for short, long in ALIASES.items() if long == flag(field)]


def _constants_of(name: str, values: Mapping[str, Any]) -> Any:
    """Return an algorithm's constants from flags' values, of several the first."""
    kind = algorithms.algorithm(name).config
    known = {field: value for field, value in values.items() if field in algorithms.fields(kind)}
    several = split(known, algorithms.traced(kind))
    known |= {field: found[0] for field, found in (several.traced | several.static).items()}
    for field, hint in flags(name).items():
        if hint is Widths and isinstance(text := known.get(field), str):
            known[field] = tuple(int(width) for width in text.split(","))
    ends = {"steps": None} if "steps" in algorithms.fields(kind) else {}
    return kind(**ends | known)


def _as_flags(name: str, config: Any) -> dict[str, Any]:
    """Return constants as flags' values, those without a value left out."""
    found = {field: getattr(config, field) for field in flags(name)}
    for field, hint in flags(name).items():
        if hint is Widths and found[field] is not None:
            found[field] = ",".join(map(str, found[field]))
    return {field: value for field, value in found.items() if value is not None}


def resolve(args: Arguments) -> Arguments:
    """Return the arguments with every constant that has an effect, and None for those that have none.

    A constant is the flag's, else the preset's, else the algorithm's own.

    Raises:
        ValueError: the algorithm or the preset is unknown, or a constant is given that others leave without a use.

    """
    published = None if args.preset is None else preset(args.preset, args.name)
    usual = _as_flags(args.name, args.algorithm.config() if published is None else published.config)
    if "episodes" in args.given and (published is None or published.config.steps is None):
        usual.pop("steps", None)  # episodes end the run
    chosen = {**usual, **args.given}
    made = _constants_of(args.name, chosen)
    idle = made.idle() if isinstance(made, algorithms.Config) else frozenset()
    ours = {name for name, value in args.given.items() if usual.get(name) != value}
    if unread := sorted(ours & idle):
        raise ValueError(refusal(args.name, unread))
    usual_env = "FrozenLake-v1" if args.name in algorithms.TABULAR else "CartPole-v1"
    env = args.env or (usual_env if published is None else published.env)
    values: dict[str, Any] = {
        name: None if name in idle else chosen.get(name)
        for name, hint in flags(args.name).items()
        if hint is not bool
    }
    return dataclasses.replace(args, env=env, **values)


def refusal(name: str, unread: Sequence[str]) -> str:
    """Return what to say of flags that an algorithm does not read."""
    why = " with the other flags given" if set(unread) <= set(flags(name)) else ""
    return f"{name} does not read {' '.join(map(flag, unread))}{why}; it reads {' '.join(map(flag, flags(name)))}"
