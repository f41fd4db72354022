"""A page of runs, one file that needs no other and no network."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import jinja2

from qjax import __version__
from qjax.cli.compare import Choices
from qjax.cli.report import animation, commands, constants, cost, drawn, overview, scores, search
from qjax.cli.report.material import Material, collect
from qjax.cli.report.parts import Section
from qjax.core.checks import check_flag, check_listed, check_path, check_size

HERE = Path(__file__).parent
MOST = 4
"""Runs, and environments, that a title names."""


def write(
    runs: Sequence[str | Path],
    out: str | Path,
    labels: Sequence[str] = (),
    choices: Choices | None = None,
    animate: bool = True,
    episodes: int = 1,
) -> Material:
    """Write a page of runs, whole or not at all, and return what was read for it.

    A run that still goes on, or was stopped, is shown as far as it goes. What cannot be read of one does not take
    the others away: it stands in `Material.lost` and `Run.missing`, and on the page.

    Args:
        runs: folders of runs, or of a grid's runs.
        out: the page, `*.html`, which replaces one that is there.
        labels: what the runs are called; default as their folders.
        choices: metric, score, level and window, as `qjax plot` takes them.
        animate: let an agent of each run play, where its environment has a renderer.
        episodes: that it plays.

    Raises:
        ValueError: no run is named, or none can be read, or an argument is wrong.
        OSError: no run can be read, or the page cannot be written.

    """
    animate, episodes = check_flag("animate", animate), check_size("episodes", episodes)
    for run in check_listed("runs", runs, "folders"):
        check_path("runs (each)", run)
    check_path("out", out)
    folders = [Path(run) for run in runs]
    if not folders:
        raise ValueError("name at least one RUN")
    if labels and len(labels) != len(folders):
        raise ValueError(f"give one label for each RUN: {len(labels)} labels, {len(folders)} runs")
    path = _checked(Path(out))
    material = collect(folders, labels, Choices() if choices is None else choices)
    text = html(material, list(sections(material, episodes if animate else 0)))
    new = path.with_name(f"{path.name}.new")
    new.write_text(text, "utf-8", errors="backslashreplace")
    new.replace(path)
    return material


def _checked(path: Path) -> Path:
    """Return where a page goes, if it can.

    Raises:
        OSError: its folder is not there.
        ValueError: it is not named as a page.

    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"--out names a page, *.html; got {path}")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; --out names a page")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} for {path.name}")
    return path


def sections(material: Material, episodes: int) -> Iterator[Section]:
    """Yield all that a page tells, in its order, with agents at play where they play some episodes."""
    yield from overview.sections(material)
    yield from search.sections(material)
    yield from scores.sections(material)
    yield from drawn.sections(material)
    if episodes:
        yield from animation.sections(material, episodes)
    yield from cost.divergence(material)
    yield from cost.compute(material)
    yield from constants.sections(material)
    yield from commands.sections(material)


def html(material: Material, found: Sequence[Section]) -> str:
    """Return a page."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        title=title(material), sections=found, style=(HERE / "page.css").read_text(), version=__version__
    )


def title(material: Material) -> str:
    """Return what a page is called: its runs and their environments, of many the first."""
    environments = list(dict.fromkeys(group.environment for group in material.groups))
    shown = [
        ", ".join(names[:MOST]) + (f" and {len(names) - MOST} more" if len(names) > MOST else "")
        for names in ([run.name for run in material.runs if "/" not in run.place], environments)
    ]
    return " on ".join(filter(None, shown))
