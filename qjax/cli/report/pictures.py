"""Matplotlib's figures as HTML: SVG that takes the page's colours, or a PNG where that is smaller."""

import base64
import io
import re
import zlib
from typing import Any

from markupsafe import Markup

from qjax.cli.report.parts import Figure
from qjax.plot.style import COLOURS, COLUMN, PAPER

LARGEST = 400_000
"""Bytes of an SVG from which a picture is a PNG."""

DPI = 200


def figure(drawn: Any, caption: str) -> Figure:
    """Return a figure of Matplotlib's as part of a page; its title is left out, for the caption says it."""
    if drawn.get_suptitle():
        drawn.suptitle("")
    wide = drawn.get_figwidth() > COLUMN
    card = any(axes.images for axes in drawn.axes)
    vector = "" if card else _svg(drawn)
    width = (880, 620) if wide else (440, 280)
    if vector and len(vector) < LARGEST:
        return Figure(caption, _labelled(vector, caption), *width)
    return Figure(caption, embedded(_png(drawn), "png", caption), *width, card=True)


def embedded(data: bytes, kind: str, caption: str) -> Markup:
    """Return a picture's bytes as an image that needs no other file."""
    return Markup('<img src="data:image/{};base64,{}" alt="{}">').format(
        kind, base64.b64encode(data).decode(), caption
    )


def _labelled(vector: str, caption: str) -> Markup:
    return Markup('<svg role="img" aria-label="{}" ').format(caption) + Markup(vector.removeprefix("<svg "))


def _png(drawn: Any) -> bytes:
    return _saved(drawn, format="png", dpi=DPI, facecolor="white", pad_inches=0.08)


def _svg(drawn: Any) -> str:
    """Return a figure as an SVG without a background, whose black is that of the page's text.

    Other colours are variables of the page's style, each with its own value where the page has none.
    """
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    text = _saved(drawn, format="svg", transparent=True, metadata=nothing).decode()
    text = re.sub(r"<!--.*?-->", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r' xmlns(:xlink)?="[^"]*"| version="[^"]*"', "", text).replace("xlink:href", "href")
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text))
    text = _own_names(text)
    text = text.replace("#000000", "currentColor").replace("opacity: 0.6", "opacity: var(--dot, 0.6)")
    for number, colour in enumerate(COLOURS):
        text = re.sub(colour, f"var(--line-{number}, {colour.lower()})", text, flags=re.IGNORECASE)
    return re.sub(r"\s*\n\s*", "\n", text)


def _own_names(text: str) -> str:
    """Return an SVG whose identifiers no other one of a page has, without those that nothing refers to."""
    used = set(re.findall(r'(?:href="|url\()#([^")]+)', text))
    prefix = f"p{zlib.crc32(text.encode()):x}-"
    text = re.sub(r' id="([^"]*)"', lambda own: f' id="{prefix}{own[1]}"' if own[1] in used else "", text)
    return re.sub(r'(href="|url\()#', rf"\1#{prefix}", text)


def _saved(drawn: Any, **options: Any) -> bytes:
    import matplotlib

    out = io.BytesIO()
    with matplotlib.rc_context(PAPER):
        drawn.savefig(out, bbox_inches="tight", **{"pad_inches": 0.02, **options})
    return out.getvalue()
