"""The flags of `qjax search`, read apart from those of the training that it is a search of."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import tyro

from qjax import algorithms, searches
from qjax.cli.arguments import Arguments, flags
from qjax.cli.grid import flag
from qjax.cli.reading import read as read_training
from qjax.cli.words import ALIASES, literal, parse
from qjax.core.checks import nearest

RANGES: dict[str, tuple[Callable[..., searches.Range], int | None]] = {
    "uniform": (searches.uniform, 2), "log": (searches.log_uniform, 2), "int": (searches.integers, 2),
    "log-int": (lambda low, high: searches.integers(low, high, log=True), 2),
    "choice": (lambda *values: searches.choices(values), None),
}  # fmt: skip
"""By its kind what makes a range, and how many numbers it takes."""

REFUSED = {
    "seeds": "--tuning-seeds and --fresh-seeds",
    **dict.fromkeys(("exact", "measures", "initial_agents", "initial_which", "snapshots", "keep_checkpoint"), ""),
    **dict.fromkeys(("stop_on_nan", "drop_diverged", "distributed", "parquet", "tensorboard", "wandb"), ""),
    "accept_program": "",
}
"""Flags of `qjax train` that a search has not, and what it has in their place."""


@dataclass(kw_only=True)
class Flags:
    """Search settings of an algorithm: halve them at rungs of one sweep, then try the winner on fresh seeds.

    All other flags are those of `qjax train ALGORITHM`; a flag with several values is a choice of the space where
    it is a number, and searched one value after another where it shapes the program.
    """

    space: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=KIND:LOW:HIGH [...]")] = ()
    """What is drawn: NAME=uniform:LOW:HIGH, log:LOW:HIGH, int:LOW:HIGH, log-int:LOW:HIGH or choice:A:B:C."""
    settings: int = 32
    """Settings that begin in the first bracket, the default among them."""
    tuning_seeds: int = 5
    """Seeds by which settings are judged."""
    fresh_seeds: int = 64
    """Further seeds, of the winner and the default at the end."""
    method: Literal["halving", "hyperband"] = "halving"
    """One bracket, or as many as rungs, each with a rung less."""
    eta: int = 3
    """One of so many settings goes on at each rung."""
    rungs: int | None = None
    """The first is at steps / eta^(rungs - 1); default so many that about one setting is left."""
    score: str = "mean_return"
    """A column of the table; eval_return needs --evaluate-every."""
    score_kind: Literal["final", "area"] = "final"
    """The mean over the last tenth of the steps by then, or over all of them."""
    lower: bool = False
    """Whether lower is better."""
    sampler: Literal["sobol", "random", "tpe"] = "sobol"
    """How settings are drawn; tpe is Optuna's, and is told what earlier brackets came to."""
    sensitivity: int = 0
    """Values of each range with which the winner is tried on the tuning seeds, the others its own; default none."""
    envs: tuple[str, ...] = ()
    """Several environments in place of --env, for which one setting is sought by the mean of scaled scores."""
    reference: Annotated[tuple[str, ...], tyro.conf.arg(metavar="ENV=LOW,HIGH [...]")] = ()
    """Scores of each environment that stand at 0 and 1; default the least and the most at a rung."""


@dataclass(kw_only=True)
class Asked(Flags):
    """What a command line says of a search."""

    words: tuple[str, ...]
    """All of its words, but those that say where it goes, and whether it is one that was there before."""


OWN = tuple(field.name for field in dataclasses.fields(Flags))


def read(given: Sequence[str]) -> tuple[Asked, Arguments]:
    """Return the arguments of the search, and those of the training.

    Raises:
        ValueError: as `qjax train` does; or a flag that a search has not.
        SystemExit: after help.

    """
    ours, rest = split(given)
    if {"-h", "--help"} & set(given):
        if len(rest) < 2:
            parse(Flags, ["--help"], "qjax search ALGORITHM")
        print("The flags of a search, beside those of qjax train:\n")
        for field, text in algorithms.meanings(Flags).items():
            print(f"  {flag(field):<16} {text}")
    search: Flags = parse(Flags, ours, "qjax search")
    for word in rest:
        name = word.partition("=")[0].removeprefix("--").removeprefix("no-").replace("-", "_")
        if word.startswith("--") and name in REFUSED:
            instead = REFUSED[name] and f"; it has {REFUSED[name]}"
            raise ValueError(f"a search has no {word.partition('=')[0]}{instead}")
        if name == "env" and search.envs:
            raise ValueError(f"give either --env or --envs, got both: --envs {' '.join(search.envs)}")
    return Asked(**vars(search), words=_kept(given)), read_training(rest)


def _kept(given: Sequence[str]) -> tuple[str, ...]:
    """Return the words of a command line that say what is to be done."""
    kept, into = list[str](), True
    for word in given:
        if word[:2] == "--":
            into = word != "--out"
        if into and not word.startswith(("--out", "--resume", "--overwrite", "--dry-run")):
            kept.append(word)
    return tuple(kept)


def split(given: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the words of a command line that are a search's flags with their values, and the others."""
    ours, rest = list[str](), list[str]()
    into = rest
    for word in given:
        if word[:2] == "--":
            name = word.partition("=")[0].removeprefix("--").removeprefix("no-").replace("-", "_")
            into = ours if name in OWN else rest
        into.append(word)
    return ours, rest


def space_of(texts: Sequence[str], args: Arguments) -> dict[str, searches.Range]:
    """Return a space as it is written, of an algorithm's traced constants.

    Raises:
        ValueError: a word has another form, or its constant is none, or one that shapes the program.

    """
    traced, found = algorithms.traced(args.algorithm.config), dict[str, searches.Range]()
    for text in texts:
        given, _, spec = text.partition("=")
        name = ALIASES.get(f"--{given}", given).removeprefix("--").replace("-", "_")
        kind, *ends = spec.split(":")
        if kind not in RANGES or not ends or RANGES[kind][1] not in (None, len(ends)):
            raise ValueError(f"--space takes NAME=KIND:LOW:HIGH, KIND one of {', '.join(RANGES)}, got {text!r}")
        if name not in flags(args.name):
            raise ValueError(f"--space {text}: {args.name} has no {given}; {nearest(name, flags(args.name))}")
        if name not in traced:
            raise ValueError(
                f"--space {text}: {name} shapes the program; give its values to {flag(name)}, each is searched"
            )
        if name in found:
            raise ValueError(f"--space has {name} twice")
        try:
            found[name] = RANGES[kind][0](*map(literal, ends))
        except (TypeError, ValueError) as error:
            raise ValueError(f"--space {text}: {error}") from error
    for name, values in args.grid.traced.items():
        if name in found:
            raise ValueError(f"{flag(name)} has several values, and --space a range of it: give one of them")
        found[name] = searches.choices(values)
    return found


def reference_of(texts: Sequence[str]) -> dict[str, Any] | None:
    """Return the scores at 0 and 1 of each environment, as they are written.

    Raises:
        ValueError: a word has another form.

    """
    found = {}
    for text in texts:
        env, given, ends = text.rpartition("=")
        low_high = literal(ends)
        if not given or not isinstance(low_high, tuple) or len(low_high) != 2:
            raise ValueError(f"--reference takes ENV=LOW,HIGH, got {text!r}")
        found[env] = tuple(map(float, low_high))
    return found or None
