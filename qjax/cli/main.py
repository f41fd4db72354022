"""The command `qjax`: one subcommand, the first word, and what that one reads."""

import importlib
import os
import sys
from typing import NamedTuple

from qjax.core.checks import nearest
from qjax.core.distribution import needs


class Command(NamedTuple):
    """A subcommand."""

    module: str
    """Where its `main` is."""
    does: str


COMMANDS = {
    "train": Command("train", "train an algorithm over many seeds, and over a grid of settings"),
    "search": Command("search", "search the settings of an algorithm, then try the winner on fresh seeds"),
    "plot": Command("plot", "draw runs for a paper, from their tables, whether they have ended or not"),
    "watch": Command("watch", "write an animated GIF of a trained agent that plays"),
    "results": Command("results", "show what runs came to, a line for each setting"),
    "report": Command("report", "write what runs came to as one page of HTML, to send to somebody"),
    "list": Command("listing", "show the algorithms, presets and environments that train knows"),
}
LIBRARIES = ("PIL", "jinja2", "markupsafe", "tyro")
"""What the extra `cli` brings: the package does without them where it is imported."""

USAGE = "\n".join(
    (
        "usage: qjax COMMAND ...",
        "",
        *(f"  {name:<8} {command.does}" for name, command in COMMANDS.items()),
        "",
        "qjax COMMAND --help shows what a command reads.",
    )
)


def main() -> None:
    """Run the subcommand that the first word names; none, or an unknown one, ends with status 2."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name in ("-h", "--help"):
        print(USAGE)
        return
    if name not in COMMANDS:
        print(f"error: no command {name!r}; {nearest(name, COMMANDS)}" if name else USAGE, file=sys.stderr)
        sys.exit(2)
    sys.argv[:2] = [f"qjax {name}"]
    sys.path.append(os.getcwd())  # a module of one's own can be named, as after `python -m`
    try:
        module = importlib.import_module(f"qjax.cli.{COMMANDS[name].module}")
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in LIBRARIES:
            raise
        print(f"error: {needs('the command qjax', library, 'cli')}", file=sys.stderr)
        sys.exit(2)
    module.main()
