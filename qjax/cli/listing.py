"""What `qjax train` knows: algorithms, presets, and environments by name."""

import shutil
import textwrap
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Annotated

import tyro

from qjax import algorithms
from qjax.algorithms.presets import PRESETS
from qjax.cli import grid, wrapping
from qjax.cli.arguments import FIELDS
from qjax.cli.command import answer, as_command
from qjax.core.distribution import DISTRIBUTION
from qjax.envs import names
from qjax.envs.suites.names import SUITES, adapter


@dataclass(kw_only=True)
class Arguments:
    """Show algorithms, presets and suites of environments, or the environments of one suite."""

    suite: Annotated[str, tyro.conf.arg(metavar="[PREFIX]"), tyro.conf.Positional] = ""
    """A suite's prefix, or gymnax."""


def listing(columns: int) -> str:
    """Return the algorithms with their composition, paper and own flags, and the presets with their source."""
    lines = ["Algorithms, what they are made of, and the flags that few others read:"]
    for family in (algorithms.TABULAR, algorithms.DEEP):
        reads = {name: algorithms.fields(each.config) for name, each in family.items()}
        rare = [field for field in FIELDS if sum(field in read for read in reads.values()) <= len(family) / 4]
        for name, each in family.items():
            own = " ".join(grid.flag(field) for field in rare if field in reads[name] and field != "policy")
            lines += ["", name, *(f"    {text}" for text in (each.composition, each.paper, own) if text)]
    lines += ["", "One of your own is MODULE:FUNCTION, a function (env, config) whose config is a dataclass."]
    lines += ["", "", "Presets, for --preset:"]
    for name, preset in PRESETS.items():
        lines += ["", name, f"    {preset.algorithm} on {preset.env}: {preset.source}"]
        lines += [f"    differs: {preset.differs}"] * bool(preset.differs)
    lines += ["", "", "Environments, for --env; `qjax list PREFIX` names those of a suite, and without a prefix:"]
    lines += ["", "gymnax", "    gymnax's ids and gymnasium's names, CartPole-v1 for instance"]
    for prefix, suite in SUITES.items():
        missing = "" if find_spec(prefix) else f", after pip install '{DISTRIBUTION}[{prefix}]'"
        lines += ["", prefix, f"    {suite.does}: {prefix}:{suite.example}{missing}"]
    lines += ["", "", "Wrappers, for --wrap, the innermost first:", *wrapping.listing()]
    fill = partial(textwrap.fill, width=columns, break_long_words=False, break_on_hyphens=False)
    return "\n".join(fill(line, subsequent_indent=" " * 6) for line in lines)


def run(args: Arguments) -> int:
    """Print the list, as wide as the terminal, or what can be made of one suite, a name a line."""
    if not args.suite:
        print(listing(shutil.get_terminal_size().columns))
    elif args.suite == "gymnax":
        print("\n".join(names.known()))
    else:
        suite = adapter(args.suite)
        for own in suite.ids():
            if own not in suite.refused:
                note = ", which downloads its data when it is made" if own in suite.downloads else ""
                print(f"{args.suite}:{own}{note}")
    return 0


@as_command()
def main() -> None:
    """Show what the command line asks for."""
    answer(run, Arguments, "qjax list")
