"""The arguments of `qjax train`: what a member reads, where constants come from, configs given back."""

import contextlib
import dataclasses
import inspect
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

import qjax
from qjax.algorithms import members
from qjax.cli.command import FREE, Common, written
from qjax.cli.grid import Floats, Ints, Names, Support, Widths, flag, split
from qjax.cli.presets import PRESETS, Preset
from qjax.cli.words import keywords, parse, whole
from qjax.core.checks import nearest, one_of
from qjax.core.text import shown

FIELDS = tuple(
    field
    for field in dict.fromkeys((*members.TabularProtocol._fields, *members.Protocol._fields))
    if field != "policy"  # a function is no flag
)
"""Of both families' protocols: arguments of the same name."""

PROGRAM = "qjax train"
RATE = tyro.conf.arg(aliases=("--lr",))


@dataclass(kw_only=True)
class Arguments(Common):
    """Train one member of a family over many seeds, and over a grid of settings.

    Flags that are written NUMBER [NUMBER ...] take several values, which make a grid: numbers side by side in one
    program, sizes and names one run after another (--dry-run says which). `MEMBER --help` shows the flags that the
    member reads, with their values, and `qjax list` all members and presets.
    """

    name: Annotated[str, tyro.conf.arg(name="", metavar="MEMBER"), tyro.conf.Positional] = ""
    """Which member; a preset or a config has one."""
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
    steps: int | None = None
    """Environment steps per seed; default 500,000, and 100,000 for a table, unless there are episodes."""
    episodes: int | None = None
    """Episodes after which a seed is done."""
    learning_rate: Annotated[Floats, RATE] = None
    """Of the optimiser; that of pqn falls to 0."""
    gamma: Floats = None
    """Discount factor."""
    hidden: Widths = None
    """Widths of the hidden layers, with commas between them: 120,84."""
    initializer: Names = None
    """What weights without noise are at the start: lecun_normal, he_normal, orthogonal or pytorch."""
    output_scale: Floats = None
    """Factor of the last layer's weights at the start."""
    norm_eps: Floats = None
    """Epsilon of pqn's LayerNorm."""
    optimizer: Names = None
    """adam, radam or rmsprop."""
    optimizer_eps: Floats = None
    """Its epsilon; default its own, 1e-8, of rmsprop 0.01."""
    max_grad_norm: Floats = None
    """Norm to which the gradient is clipped; inf: not at all."""
    loss: Names = None
    """squared or huber, of members whose network gives plain values."""
    batch_size: Ints = None
    """Transitions of an update."""
    capacity: Ints = None
    """Transitions held."""
    num_envs: Ints = None
    """Environments of a seed."""
    rollout: Ints = None
    """Steps of each environment between two updates."""
    warmup: Ints = None
    """Environment steps before the first update."""
    target_period: Ints = None
    """Time between two copies of the target."""
    target_unit: Names = None
    """Its unit: step, episode or update."""
    epsilon_end: Floats = None
    """What epsilon falls to, from 1."""
    epsilon_fraction: Floats = None
    """Share of the steps in which it does."""
    epsilon_decay: Floats = None
    """In place of that, the factor by which epsilon falls with every episode."""
    epsilon: Floats = None
    """Of a table: a constant in place of all three."""
    alpha: Floats = None
    """Of a table, step size; of prioritized replay, the exponent of priorities; of munchausen-dqn, the bonus's
    weight."""
    alpha_power: Floats = None
    """Of a table, a visit count: the n-th update of an entry has the step size alpha / n ** alpha_power."""
    beta: Floats = None
    """How much of prioritized replay's bias is corrected at first; it rises to 1."""
    temperature: Floats = None
    """Of Munchausen's policy; of a table, of Boltzmann's policy, which then acts in place of epsilon-greedy."""
    low: Floats = None
    """Least value of Munchausen's bonus, before its weight."""
    n: Ints = None
    """Steps of a target."""
    lam: Floats = None
    """lambda of returns or traces."""
    support: Support = None
    """Least and largest value for c51 and rainbow; default by environment."""
    atoms: Ints = None
    """Values of the support."""
    floor: Floats = None
    """Least probability in the loss of c51 and rainbow."""
    quantiles: Ints = None
    """Of qr-dqn."""
    levels: Ints = None
    """Levels of iqn that are drawn for a batch."""
    kappa: Floats = None
    """Threshold of the quantiles' Huber loss."""
    epochs: Ints = None
    """Passes of pqn over a rollout."""
    minibatches: Ints = None
    """Optimiser steps of a pass."""
    initial: Floats = None
    """Of a table: every value at the start; optimistic ones explore."""
    ties: Names = None
    """random or first, of a table: how equal values are told apart when acting."""
    replacing: bool = False
    """Let traces replace in place of accumulating."""
    planning: Ints = None
    """Planned steps per step of dyna-q."""
    exact: bool = False
    """Log how far the values are from the exact solution (distance, weighted_distance, greedy_start_value, regret),
    where the environment's MDP is known: FrozenLake, CliffWalking, Taxi."""
    eval_episodes: int = 20
    """Greedy episodes per seed at the end."""
    out: Path
    """Folder for the results; refused if it holds something. A dry run needs none."""

    @classmethod
    def parse(cls, words: Sequence[str]) -> "Arguments":
        """Return the arguments of a command line; not settled, for that would start JAX before its devices are set.

        Raises:
            ValueError: a preset or a config is none, or the config is another member's.
            SystemExit: tyro's own, for what is no flag or no value, and for help.

        """
        given = {name: _value(words, flag(name)) for name in ("preset", "config")}
        if given["config"] is not None:  # to know what an older run read starts JAX
            with contextlib.suppress(ValueError):
                qjax.use_cores(whole(_value(words, "--cores") or ""))
        base = _base(**given)
        if {"-h", "--help"} & set(words):
            _help(words, base)
        args = cls._read(words, {} if base is None else {"default": base})
        if given["config"] is not None and base is not None and args.name != base.name:
            raise ValueError(f"{given['config']} is the config of a {base.name}, not of a {args.name}")
        return dataclasses.replace(args, config=None)

    @classmethod
    def script(cls) -> str:
        """Return the module that trains, and gives back what was trained."""
        return "qjax.cli.train"

    @classmethod
    def _read(cls, words: Sequence[str], options: Mapping[str, Any]) -> "Arguments":
        """Return the arguments of a command line; what is missing is told after what is mistyped."""
        missing = not any(word.partition("=")[0] == "--out" for word in words)
        try:
            args: Arguments = parse(cls, [*words, *["--out", "nowhere"] * missing], PROGRAM, **options)
        except ValueError as error:
            if not words or words[0][:1] == "-" or words[0] in members.MEMBERS:
                raise
            raise ValueError(f"no member {words[0]!r}; {nearest(words[0], members.MEMBERS)} And {error}") from None
        if not args.name:
            raise ValueError("name a MEMBER, or give --preset or --config; `qjax list` shows members and presets")
        members.member(args.name)
        if missing and (args.resume or not args.dry_run):
            raise ValueError("--out is missing, the folder for the results; --dry-run needs none")
        return args

    def make(self) -> qjax.Env:
        """Return the environment.

        Raises:
            ValueError: as `words.keywords`; else as `qjax.make`.

        """
        return qjax.make(self.env, **keywords("--env-kwargs", self.env_kwargs))

    @property
    def given(self) -> dict[str, Any]:
        """The protocol's fields that have a value; a flag that is not set has none."""
        values = {name: getattr(self, name) for name in FIELDS}
        return {name: value for name, value in values.items() if value is not None and value is not False}


def settle(args: Arguments) -> Arguments:
    """Return the arguments with every constant that the member reads, and None for those that it does not.

    A constant is the flag's, else the preset's, else the member's own.

    Raises:
        ValueError: the member or the preset is unknown, or a constant is given that the member does not read.

    """
    preset = None if args.preset is None else one_of("preset", args.preset, PRESETS)
    published = {} if preset is None else dict(preset.values)
    own = _written(members.protocol_of(args.name)._asdict())
    usual = {**own, **published}
    usual = _kept(usual, members.reads(args.name, protocol(args.name, usual)))
    if unread := sorted(published.keys() - usual.keys()):
        raise ValueError(f"the preset {args.preset} is another member's: {_refusal(args.name, unread)}")
    if "episodes" in {**published, **args.given} and "steps" not in published:
        del usual["steps"]  # episodes end the run
    chosen = {**usual, **args.given}
    reads = members.reads(args.name, protocol(args.name, chosen))
    ours = {name: value for name, value in args.given.items() if usual.get(name) != value}
    if unread := sorted(ours.keys() - reads):
        raise ValueError(_refusal(args.name, unread))
    read = _kept(chosen, reads)
    usual_env = "FrozenLake-v1" if args.name in members.TABULAR else "CartPole-v1"
    env = args.env or (usual_env if preset is None else preset.env)
    values: dict[str, Any] = {name: read.get(name) for name in FIELDS} | {"replacing": args.replacing}
    return dataclasses.replace(args, env=env, **values)


def protocol(name: str, values: Mapping[str, Any]) -> Any:
    """Return a member's protocol from its fields, of several values the first; it leaves out the other family's."""
    own = members.protocol_of(name)
    known = {field: value for field, value in values.items() if field in own._fields}
    grid = split(known)
    known |= {field: several[0] for field, several in (grid.traced | grid.static).items()}
    if isinstance(hidden := known.get("hidden"), str):
        known["hidden"] = tuple(int(width) for width in hidden.split(","))
    return own._replace(**{"steps": None, **known})


def _written(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a protocol's fields as arguments, those without a value left out."""
    written = {name: value for name, value in fields.items() if value is not None}
    return written | ({"hidden": ",".join(map(str, written["hidden"]))} if "hidden" in written else {})


def _kept(values: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in names}


def _refusal(name: str, unread: Sequence[str]) -> str:
    """Return what to say of flags that a member does not read."""
    reads = members.reads(name)
    why = " with the other flags given" if set(unread) <= reads else ""
    read = " ".join(flag(field) for field in FIELDS if field in reads)
    return f"{name} does not read {' '.join(map(flag, unread))}{why}; it reads {read}"


def read_back(folder: str | Path) -> Arguments:
    """Return the arguments of a run, by its folder or its config.json, but for where and how it was run.

    Raises:
        FileNotFoundError: there is no config.
        ValueError: it is damaged, or that of another experiment or version.

    """
    path = Path(folder)
    path = path.parent if path.is_file() else path
    if not (path / "config.json").is_file():
        raise FileNotFoundError(f"{folder} is neither a config.json nor a folder with one")
    config = qjax.load_config(path)
    if config.get("experiment") not in members.MEMBERS:
        raise ValueError(f"{path} holds a run of {config.get('experiment')!r}, not of `qjax train`")
    if "name" not in config.get("arguments", {}):
        raise ValueError(f"{path} is of another version: its config.json has no arguments with a member's name")
    if config["arguments"]["name"] != config["experiment"]:
        named = shown(config["arguments"]["name"])
        raise ValueError(f"{path / 'config.json'} is damaged: {config['experiment']} has the arguments of {named}")
    args = from_config(written(path, Arguments), path)
    try:
        settle(args)
    except ValueError as error:
        raise ValueError(f"{path / 'config.json'}: {error}") from error
    return args


def from_config(arguments: Mapping[str, Any], out: Path) -> Arguments:
    """Return a config's arguments, lists as tuples; what has no place here is left out."""
    known = {field.name for field in dataclasses.fields(Arguments)} - {*FREE, "config"}
    given = _kept({**_unsaid(arguments), **arguments} if "preset" in arguments else _older(arguments), known)
    values: dict[str, Any] = {name: tuple(x) if isinstance(x, list) else x for name, x in given.items()}
    return Arguments(**values | {"out": out})


BEFORE = {"initializer": "lecun_normal", "output_scale": 1.0, "norm_eps": 1e-6, "optimizer_eps": 1e-8, "floor": 0.0}
"""What was no option once."""


def _unsaid(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a config does not say because it was no option then, of constants that its preset has today."""
    preset = arguments["preset"]
    today = PRESETS[preset].values if isinstance(preset, str) and preset in PRESETS else {}
    return {name: value for name, value in BEFORE.items() if name in today}


def _older(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return in today's words what was written before there were presets.

    Every run had all flags then, a table's `alpha`, `n` and `lam` among them, and PQN took twice the learning rate.
    """
    name = arguments["name"]
    unread = set(FIELDS) - members.reads(name)
    if name in members.DEEP:
        unread |= {"alpha", "n", "lam"}
    kept = {field: value for field, value in arguments.items() if field not in unread}
    if name == "pqn" and "learning_rate" in kept:
        kept["learning_rate"] *= 2
    return kept


def _value(words: Sequence[str], name: str) -> str | None:
    """Return what stands after a flag on a command line."""
    for word, after in itertools.zip_longest(words, words[1:]):
        if word == name:
            return after
        if word.startswith(f"{name}="):
            return word.removeprefix(f"{name}=")
    return None


def _base(preset: str | None, config: str | None) -> Arguments | None:
    """Return what a preset or a config says in place of the defaults."""
    if preset is not None and config is not None:
        raise ValueError("give either --preset or --config, not both")
    missing: Any = tyro.MISSING
    if config is not None:
        args = read_back(config)
        return dataclasses.replace(args, out=missing, width=_width(config))
    if preset is not None:
        found: Preset = one_of("preset", preset, PRESETS)
        return Arguments(name=found.name, preset=preset, out=missing)
    return None


def _width(config: str) -> int | None:
    """Return the width that a run had, or all of a grid's runs, else the one given: others change last digits."""
    path = Path(config)
    folder = path.parent if path.is_file() else path
    runs = [written := qjax.load_config(folder)]
    if "sweep" not in written:
        runs = [qjax.load_config(own.parent) for own in folder.glob("*/config.json")]
    widths = {run.get("sweep", {}).get("width") for run in runs}
    return widths.pop() if len(widths) == 1 else written["arguments"].get("width")


def _help(words: Sequence[str], base: Arguments | None) -> None:
    """Show the flags that a member reads, with its values, and end; return where no member is named."""
    names = [*words[:1], *([] if base is None else [base.name])]
    name = next((each for each in names if each in members.MEMBERS), None)
    if name is None:
        return
    missing: Any = tyro.MISSING
    shown = settle(dataclasses.replace(base or Arguments(name=name, out=missing), name=name))
    hidden = set(FIELDS) - members.reads(name)
    fields = [
        (field.name, Annotated[field.type, tyro.conf.Suppress], field)
        for field in dataclasses.fields(Arguments)
        if field.name in hidden
    ]
    cls = dataclasses.make_dataclass("Arguments", fields, bases=(Arguments,), kw_only=True)
    default = cls(**{field.name: getattr(shown, field.name) for field in dataclasses.fields(Arguments)})
    cls.__doc__ = inspect.getdoc(Arguments)
    parse(cls, ["--help"], PROGRAM, default=default)
