"""Sensitivity: a score against swept hyper-parameters."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Shaped

from qjax.core.annotations import checked, fields_checked
from qjax.core.text import shown
from qjax.plot.lines import middle
from qjax.plot.style import COLUMN, PAGE, SMALL, figure, head, legend, marked, on_side, paper, titled
from qjax.stats.estimates import iqm

CLOSEST = 0.04
"""Values of which two are nearer than this share of their axis are drawn evenly spaced."""

LETTER = 0.6 / 72
"""Width of a figure, in inches for each point of its size."""

MARGINS = 1.2
"""Inches of a heat map's width that are labels and the bar of colours."""


@checked
def sensitivity(
    lines: Mapping[str, tuple[Sequence[Any], Shaped[np.ndarray, "values seeds"]]],
    name: str,
    title: str = "",
    ylabel: str = "score",
) -> Any:
    """Draw scores against one hyper-parameter, one column wide: interquartile means with 95% bootstrap intervals.

    The axis is that on which the values are spaced most evenly: linear, logarithmic, or logistic (0.9, 0.99,
    0.999). Values that are no numbers, or lie too close together on all of these, are spaced evenly.

    Args:
        lines: by name, values of the hyper-parameter `[values]` and scores `[values, seeds]`.
        name: of the hyper-parameter.
        title: of the picture.
        ylabel: what a score is, and its unit.

    Returns:
        Matplotlib's figure; `save` writes it.

    """
    for label, (values, scores) in lines.items():
        _check_length(f"lines[{label!r}][1]", scores, (len(values),))
    every = ordered([value for values, _ in lines.values() for value in values])
    kind = scale(every)
    with paper():
        drawn, axes = titled(title, lines)
        for number, (label, (values, scores)) in enumerate(lines.items()):
            order = np.argsort([every.index(value) for value in values], kind="stable")
            at = [values[i] if kind else every.index(values[i]) for i in order]
            found = middle(np.asarray(scores, float)[order].T)
            # A single seed has no interval, and bars of NaN are not drawn.
            bars = np.abs([found.value - found.low, found.high - found.value])
            axes.errorbar(at, found.value, bars, label=label, capsize=2, elinewidth=0.8, **marked(number))
        axes.set_xscale(kind or "linear")
        places = every if kind else range(len(every))
        axes.set_xticks(*_thinned(list(places), [text(value) for value in every]))
        axes.minorticks_off()
        axes.set(xlabel=name, ylabel=on_side(ylabel))
        legend(drawn, axes)
    return drawn


@fields_checked
class Axis(NamedTuple):
    """One axis of a heat map."""

    name: str
    """Its label."""
    values: Sequence[Any]
    """Where the rows or columns stand."""


@checked
def heat_map(
    y: Axis, x: Axis, scores: Shaped[np.ndarray, "y x seeds"], title: str = "", label: str = "score"
) -> Any:
    """Draw scores over two hyper-parameters: interquartile means as colours and numbers, their intervals below.

    It is one column wide where the numbers fit, else two; intervals, and then numbers, that still do not are left
    out. A cell without a score is grey.

    Args:
        y: the hyper-parameter that grows upwards.
        x: the one that grows to the right.
        scores: `[y, x, seeds]`, NaN for a setting that was not run.
        title: of the picture.
        label: what a score is, and its unit.

    Returns:
        Matplotlib's figure; `save` writes it.

    Raises:
        ValueError: scores are of other values than the axes', or none is finite.

    """
    _check_length("scores", scores, (len(y.values), len(x.values)))
    if not np.isfinite(scores).any():
        raise ValueError("scores must hold a finite one, all are NaN or infinite")
    found = middle(np.moveaxis(np.asarray(scores, float), -1, 0))
    digits = _decimals(found.value)
    cells = [
        ("" if np.isnan(v) else f"{v:z.{digits}f}", "" if np.isnan(a) else f"[{a:z.{digits}f}, {b:z.{digits}f}]")
        for v, a, b in zip(*(np.ravel(part) for part in found), strict=True)
    ]
    need = [0.1 + LETTER * size * max(len(texts[i]) for texts in cells) for i, size in enumerate((7, SMALL))]
    width = COLUMN if max(need) * len(x.values) <= COLUMN - MARGINS else PAGE
    fits = [(width - MARGINS) / len(x.values) >= wide for wide in need]
    with paper():
        high = (0.36 if fits[1] else 0.28) * max(len(y.values), 3)
        drawn, axes = figure(width, 0.6 + 0.13 * title.count("\n") + high)
        head(drawn, title)
        axes.set_facecolor("0.85")
        image = axes.imshow(found.value, cmap="viridis", origin="lower", aspect="auto")
        for (row, column), (number, interval) in zip(np.ndindex(found.value.shape), cells, strict=True):
            ink = "black" if image.norm(found.value[row, column]) > 0.6 else "white"
            apart = 0.16 if fits[1] and interval else 0
            place = {"ha": "center", "va": "center", "color": ink}
            if fits[0]:
                axes.text(column, row + apart, number, fontsize=7, **place)
            if fits[1]:
                axes.text(column, row - 0.22, interval, fontsize=SMALL, **place)
        axes.set_xticks(range(len(x.values)), [text(value) for value in x.values])
        axes.set_yticks(range(len(y.values)), [text(value) for value in y.values])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set(xlabel=x.name, ylabel=y.name)
        drawn.colorbar(image, ax=axes, label=on_side(label, int(high / 0.06)), pad=0.02).outline.set_visible(False)
    return drawn


@checked
def at_best(
    values: Sequence[Any], scores: Shaped[np.ndarray, "settings seeds"], lower: bool = False
) -> tuple[list[Any], np.ndarray]:
    """Return the values of one hyper-parameter, ordered, and for each the setting that does best with it.

    Args:
        values: of the hyper-parameter in each setting, `[settings]`.
        scores: `[settings, seeds]`; the best has the highest interquartile mean.
        lower: take the lowest.

    Returns:
        `[values]`, and the numbers of settings `[values]`; where there is one setting for each value it is that.

    """
    _check_length("scores", scores, (len(values),))
    heights = iqm(scores, axis=1) * (-1 if lower else 1)
    heights = np.where(np.isnan(heights), -np.inf, heights)
    every = ordered(values)
    own = [[number for number, value in enumerate(values) if value == each] for each in every]
    return every, np.array([numbers[int(np.argmax(heights[numbers]))] for numbers in own])


@checked
def ordered(values: Sequence[Any]) -> list[Any]:
    """Return the different values, numbers ascending, others as they come."""
    for value in values:
        if not isinstance(value, Hashable):
            raise TypeError(f"values must be numbers or names, got {shown(value)}")
    every = list(dict.fromkeys(values))
    return sorted(every) if all(map(_is_number, every)) else every


def scale(values: Sequence[Any]) -> str | None:
    """Return the axis of Matplotlib's on which ascending values are spaced most evenly; None where none will do."""
    if not all(map(_is_number, values)) or not np.isfinite(values).all():
        return None
    x = np.asarray(values, float)
    if len(x) < 3:
        return "linear"
    found = {"linear": x}
    if (x > 0).all():
        found["log"] = np.log(x)
    if (x > 0).all() and (x < 1).all():
        found["logit"] = np.log(x / (1 - x))
    gaps = {name: np.diff(places) / (places[-1] - places[0]) for name, places in found.items()}
    best = min(gaps, key=lambda name: round(float(gaps[name].std()), 3))
    return best if gaps[best].min() >= CLOSEST else None


def text(value: Any) -> str:
    """Return a value of a hyper-parameter as it is shown."""
    return f"{value:g}" if _is_number(value) else str(value)


def _decimals(values: np.ndarray) -> int:
    """Return how many decimals tell numbers apart, of which one at least is finite: two digits of their range."""
    known = values[np.isfinite(values)]
    spread = np.ptp(known) or np.abs(known).max() or 1.0
    return int(np.clip(1 - np.floor(np.log10(spread)), 0, 6))


def _check_length(name: str, scores: np.ndarray, lengths: tuple[int, ...]) -> None:
    """Check that scores are of as many values as there are."""
    if scores.shape[: len(lengths)] != lengths:
        raise ValueError(f"{name} must be of {' x '.join(map(str, lengths))} values, got {shown(scores)}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _thinned(places: list[Any], names: list[str], most: int = 9) -> tuple[list[Any], list[str]]:
    """Return ticks and their labels, every second or so where they are many."""
    every = -(-len(places) // most)
    return places[::every], names[::every]
