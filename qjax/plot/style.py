"""What all pictures share: sizes and type for a two-column paper, colours and dashes, and the files.

Matplotlib is imported on first use. Figures have no window and none of pyplot's state; a notebook shows one that a
function returns.
"""

import textwrap
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from qjax.core.annotations import checked
from qjax.core.text import shown

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#999999"
"""Colours that colour-blind readers tell apart (Okabe and Ito 2008)."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
"""Of the lines of one panel: theirs, with grey for their yellow, which is too light for a line."""

STYLES: tuple[Any, ...] = (
    "-", (0, (5, 1)), (0, (1.2, 0.8)), (0, (6, 1, 1, 1)), (0, (3, 1)), (0, (2, 1, 2, 1, 6, 1)), (0, (9, 1.5)),
    (0, (6, 1, 1, 1, 1, 1)),
)  # fmt: skip
"""Dashes of those lines, all different for readers of grey prints."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

COLUMN, PAGE = 3.4, 7.0
"""Widths of one column and of both, in inches."""

DPI, PRINT_DPI = 160, 300
"""Dots an inch of pictures for a screen, and of those in a paper's size."""

TITLE = 54
"""Letters of a title that fit into one column."""

SMALL = 5.5
"""Points of the smallest type, which stands beside larger one that says the same less precisely."""

PAPER: Any = {
    "font.size": 7,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7.5,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 2.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "svg.fonttype": "path",
    "svg.hashsalt": "qjax",
}
"""Matplotlib's parameters. Letters of an SVG are outlines, so that it looks the same where the font is missing, and
its identifiers are the same whenever it is written."""


@contextmanager
def paper() -> Iterator[None]:
    """Draw in the style of a paper."""
    import matplotlib

    with matplotlib.rc_context(PAPER):
        yield


def figure(width: float, height: float, panels: int = 1, rows: int = 1) -> tuple[Any, Any]:
    """Return an empty figure, inches wide and high, and its axes: one, or an array of them."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(made)
    return made, made.subplots(rows, panels)


def titled(title: str, names: Collection[str], width: float = COLUMN, panels: int = 1) -> tuple[Any, Any]:
    """Return a figure and its axes with room for a title and the names of its lines: panels are of one height."""
    rows = -(-len(names) // _legend_columns(names, width)) if len(names) > 1 else 0
    drawn, axes = figure(width, 2.2 + 0.13 * (title.count("\n") + bool(title)) + 0.14 * rows, panels)
    head(drawn, title)
    return drawn, axes


def head(drawn: Any, title: str) -> None:
    """Write a figure's title above it, on the left."""
    if title:
        drawn.suptitle(title, x=0.01, ha="left", fontsize=PAPER["axes.titlesize"])


def wrapped(*said: str, width: int = TITLE) -> str:
    """Return a title, each thing that is said in lines of so many letters."""
    return "\n".join(textwrap.fill(line, width) for text in said for line in text.splitlines())


@checked
def save(drawn: Any, stem: str | Path) -> tuple[Path, Path]:
    """Write a figure as `stem`.png, at 300 dots an inch, and `stem`.svg; the same figure makes the same bytes.

    Raises:
        TypeError: it is no figure.
        OSError: they cannot be written.

    """
    if not hasattr(drawn, "savefig"):
        raise TypeError(f"drawn must be a figure of Matplotlib's, got {shown(drawn)}")
    png, svg = (Path(f"{stem}{suffix}") for suffix in (".png", ".svg"))
    with paper():
        drawn.savefig(png, dpi=PRINT_DPI)
        drawn.savefig(svg, metadata={"Date": None})
    return png, svg


def look(number: int) -> dict[str, Any]:
    """Return colour and dash of a panel's line."""
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": STYLES[number % len(STYLES)]}


def marked(number: int) -> dict[str, Any]:
    """Return the same of a line through a few points, which have a mark each."""
    return look(number) | {"marker": MARKERS[number % len(MARKERS)]}


def legend(drawn: Any, panel: Any) -> None:
    """Show the names of a panel's lines below a figure; one line needs none."""
    handles, names = panel.get_legend_handles_labels()
    if len(names) > 1:
        columns = _legend_columns(names, drawn.get_figwidth())
        drawn.legend(handles, names, loc="outside lower center", ncols=columns)


def _legend_columns(names: Collection[str], width: float) -> int:
    """Return how many columns of names fit into so many inches."""
    return int(np.clip(width // (0.5 + 0.057 * max(map(len, names))), 1, len(names)))


def on_side(label: str, letters: int = 30) -> str:
    """Return a label broken into lines that are no longer than a panel is high."""
    return "\n".join(textwrap.fill(line, letters) for line in label.splitlines())
