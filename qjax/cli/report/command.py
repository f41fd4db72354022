"""The command `qjax report`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from qjax.cli.command import answer
from qjax.cli.compare import Choices
from qjax.cli.report.page import write
from qjax.cli.studies import tell
from qjax.core.checks import check_size


@dataclass(kw_only=True)
class Arguments(Choices):
    """Write what runs came to as one page of HTML that needs no other file and no network, to send to somebody.

    A run that was interrupted is shown as far as it goes; what is missing is told on the page and on stderr.
    """

    folders: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="RUN [RUN ...]"), tyro.conf.Positional]
    """Folders of runs, or of a grid's runs."""
    labels: tuple[str, ...] = ()
    """What the runs are called, in their order; default as their folders."""
    out: Path | None = None
    """The page, *.html, which replaces one that is there; default `report.html` in the first RUN."""
    animation: bool = True
    """Let an agent of each run play, where its environment has a renderer."""
    episodes: int = 1
    """Episodes that it plays."""


def run(args: Arguments) -> int:
    """Write the page, and tell where it is, and what is missing; return the exit status.

    Raises:
        ValueError: no run is named, or none can be read, or an argument is wrong.
        OSError: no run can be read, or the page cannot be written.

    """
    check_size("window", args.window)
    if not args.folders:
        raise ValueError("name at least one RUN")
    out = args.folders[0] / "report.html" if args.out is None else args.out
    found = write(args.folders, out, args.labels, args, args.animation, args.episodes)
    for why in found.lost.values():
        tell(f"passed over: {why}")
    for note in [*(note for each in found.runs for note in each.missing), *found.notes]:
        tell(note)
    print(f"wrote {out} ({out.stat().st_size / 1e6:.2f} MB)")
    return 1 if found.lost or any(each.unreadable for each in found.runs) else 0


def main() -> None:
    """Write as the command line says; a run that was passed over ends with status 1."""
    answer(run, Arguments, "qjax report")
