"""How the command line of `qjax train` is read, and a run's config given back."""

import dataclasses
import itertools
import re
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any, NoReturn

import tyro

import qjax
from qjax import algorithms
from qjax.algorithms.presets import preset as published
from qjax.cli.arguments import FIELDS, OWN, Arguments, arguments_of, flags, refusal, resolve
from qjax.cli.command import written
from qjax.cli.grid import Several, flag
from qjax.cli.words import ALIASES, parse
from qjax.core import jsonfile
from qjax.core.checks import nearest
from qjax.core.jsonfile import NOTHING, Kind, either, kind_of, list_of
from qjax.core.text import joined, short, shown
from qjax.envs.suites.names import SUITES
from qjax.machine.streams import tell

PROGRAM = "qjax train"
BESIDE = {"config", "grid", "assumed"}
"""What a config's arguments have beside those that all algorithms have."""

OF_SEARCH = "sweep"
"""What the arguments of a search's sweep have beside them: which it is."""


def read(words: Sequence[str]) -> Arguments:
    """Return the arguments of a command line; not resolved, for that would start JAX before its devices are set.

    Raises:
        ValueError: there is no such algorithm, preset or config, the config is another algorithm's, or a flag is
            none of the algorithm's.
        SystemExit: tyro's own, for what is no value, and for help.

    """
    base = _base(**{name: _value(words, flag(name)) for name in ("preset", "config")})
    asks = bool({"-h", "--help"} & set(words))
    name = _named(words) or (base.name if base else "")
    if not name:
        _refuse("name an ALGORITHM, or give --preset or --config; `qjax list` shows algorithms and presets", words)
    cls = _class(name, words)
    if base is not None and base.config is not None and name != base.name:
        raise ValueError(f"{base.config} is the config of a {base.name}, not of a {name}")
    missing: Any = tyro.MISSING
    default = _moved(cls, base, name=name, out=missing) if base is not None else cls(name=name, out=missing)
    if asks:
        shown_name = missing if base is None else name
        parse(cls, ["--help"], PROGRAM, default=dataclasses.replace(resolve(default), name=shown_name, out=missing))
    if unread := [word for word in words if _field(word) in set(FIELDS) - set(flags(name))]:
        raise ValueError(refusal(name, [_field(word) for word in unread]))
    no_out = not any(word.partition("=")[0] == "--out" for word in words)
    args: Arguments = parse(cls, [*words, *["--out", "nowhere"] * no_out], PROGRAM, default=default)
    if no_out and (args.resume or not args.dry_run):
        raise ValueError("--out is missing, the folder for the results; --dry-run needs none")
    return dataclasses.replace(args, config=None)


def _class(name: str, words: Sequence[str]) -> type[Arguments]:
    """Return an algorithm's arguments; of one that is none, all that is wrong with the line is told."""
    if ":" in name or name in algorithms.ALGORITHMS:
        try:
            return arguments_of(name)
        except TypeError as error:
            raise ValueError(str(error)) from error
    told = f"no algorithm {name!r}; {nearest(name, algorithms.ALGORITHMS)}"
    try:
        parse(arguments_of("dqn"), [*words, "--out", "nowhere"], PROGRAM)
    except ValueError as error:
        told += f" And {error}"
    raise ValueError(told)


def _named(words: Sequence[str]) -> str:
    """Return the algorithm on a command line: its first word, or one that is known, or module:function."""
    if words and words[0][:1] != "-":
        return words[0]
    own = re.compile(r"[^\W\d][\w.]*:[^\W\d]\w*")
    suites = tuple(f"{prefix}:" for prefix in SUITES)  # of an environment
    found = (
        word
        for word in words
        if word in algorithms.ALGORITHMS or (own.fullmatch(word) and not word.startswith(suites))
    )
    return next(found, "")


def _refuse(told: str, words: Sequence[str]) -> NoReturn:
    """Refuse a command line that names no algorithm; what is mistyped is told first, and help is shown."""
    parse(
        Arguments if {"-h", "--help"} & set(words) else arguments_of("dqn"), [*words, "--out", "nowhere"], PROGRAM
    )
    raise ValueError(told)


def _field(word: str) -> str:
    """Return the field that a flag is of."""
    plain = word.partition("=")[0]
    return ALIASES.get(plain, plain).removeprefix("--").replace("-", "_") if word[:2] == "--" else ""


def _moved(cls: type[Arguments], base: Arguments, **changes: Any) -> Arguments:
    """Return arguments as those of another algorithm, of which only what all have is kept; or of the same."""
    known = {field.name for field in dataclasses.fields(cls)}
    kept = {name: value for name, value in vars(base).items() if name in known}
    return cls(**kept | changes)


def read_back(folder: str | Path) -> Arguments:
    """Return the arguments of a run, by its folder or its config.json, but for where and how it was run.

    Raises:
        FileNotFoundError: there is no config.
        ValueError: it is damaged, or that of another experiment or version, whose arguments are others.

    """
    path = Path(folder)
    path = path.parent if path.is_file() else path
    if not (path / "config.json").is_file():
        raise FileNotFoundError(f"{folder} is neither a config.json nor a folder with one")
    config = qjax.load_config(path)
    name = config.get("experiment")
    if not isinstance(name, str) or not (":" in name or name in algorithms.ALGORITHMS):
        raise ValueError(f"{path} holds a run of {name!r}, not of `qjax train`")
    if OF_SEARCH in config.get("arguments", {}):
        raise ValueError(f"{path} holds settings that a search drew, and no command line gives them again")
    arguments = written(path, Arguments, needs=("name", "config", "grid"), inner=_inner(name))
    if arguments["name"] != name:
        named = shown(arguments["name"])
        raise ValueError(f"{path / 'config.json'} is damaged: {name} has the arguments of {named}")
    try:
        args = from_config(arguments, path)
        made = resolve(args)
    except ValueError as error:
        raise ValueError(f"{path / 'config.json'}: {error}") from error
    empty = [field for field in flags(name) if getattr(args, field) is None and getattr(made, field) is not None]
    if empty:
        raise ValueError(f"{path / 'config.json'}: {name} has no value for {', '.join(empty)}")
    return args


def _inner(name: str) -> jsonfile.Kinds:
    """Return what a config's arguments hold of an algorithm's dataclass: its fields, and of some several values."""
    kinds = dict.fromkeys(algorithms.fields(algorithms.algorithm(name).config), NOTHING)
    kinds |= {field: kind_of(how.value) for field, how in flags(name).items()}
    return {
        "config": {field: either(kind, NOTHING) for field, kind in kinds.items()},
        "grid": {field: _several(kind) for field, kind in kinds.items()},
    }


def _several(kind: Kind) -> Kind:
    return Kind(f"several values, each {kind.name}", lambda x: list_of(kind).holds(x) and len(x) > 1)


def from_config(arguments: Mapping[str, Any], out: Path) -> Arguments:
    """Return a config's arguments but for where and how it was run.

    Raises:
        ValueError: there is an argument that the algorithm has not, or one of its own is missing.

    """
    name, config, grid = (arguments[key] for key in ("name", "config", "grid"))
    _check_names(name, arguments.keys() - BESIDE, set(OWN))
    _check_names(name, config.keys() | grid, set(algorithms.fields(algorithms.algorithm(name).config)))
    values = {field: _tuple(value) for field, value in {**arguments, **config}.items()}
    values |= {field: Several(map(_tuple, found)) for field, found in grid.items()}
    return arguments_of(name)(**{field: values[field] for field in (*OWN, *flags(name))}, out=out)


def _check_names(name: str, found: Set[str], known: Set[str]) -> None:
    if unknown := sorted(found - known):
        raise ValueError(f"{name} has no {', '.join(unknown)}; {nearest(unknown[0], known)}")
    if missing := sorted(known - found):
        raise ValueError(f"{', '.join(missing)} of {name} is missing")


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


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
        width, log_points = _width(args.out), _log_points(args)
        _tell_of_others(args)
        return dataclasses.replace(args, out=missing, width=width, log_points=log_points, config=Path(config))
    if preset is not None:
        found = published(preset)
        return arguments_of(found.algorithm)(name=found.algorithm, preset=preset, out=missing)
    return None


def _tell_of_others(args: Arguments) -> None:
    """Tell what a run had that no flag of its config gives: other seeds, or agents to begin with."""
    sweep = qjax.load_config(args.out).get("sweep", {})
    if isinstance(seeds := sweep.get("seeds"), list):
        tell(f"note: {args.out} has the seeds {short(joined(seeds), 60)}, and this run those from 0 on")
    if "initial" in sweep:
        tell(f"note: {args.out} began with agents of another run; give that one as --initial-agents, too")


def _log_points(args: Arguments) -> int:
    """Return the log points that a run had, of one that was extended as many as it has by now."""
    config = qjax.load_config(args.out)
    return config["sweep"]["log_points"] if config.get("extended") else args.log_points


def _width(folder: Path) -> int | None:
    """Return the width that a run had, or all of a grid's runs, else the one given: others change last digits."""
    runs = [written := qjax.load_config(folder)]
    if "sweep" not in written:
        runs = [qjax.load_config(own.parent) for own in folder.glob("*/config.json")]
    widths = {run.get("sweep", {}).get("width") for run in runs}
    return widths.pop() if len(widths) == 1 else written.get("machine", {}).get("width")
