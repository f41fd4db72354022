"""Learning curves: interquartile means over seeds with their bootstrap intervals."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Shaped

from qjax.core.annotations import checked
from qjax.core.checks import check_size
from qjax.core.text import shown
from qjax.plot.style import GREY, legend, look, on_side, paper, titled
from qjax.stats.estimates import LEAST_SEEDS, Estimate, estimate, iqm

Curve = tuple[Shaped[np.ndarray, "points"] | Shaped[np.ndarray, "seeds points"], Shaped[np.ndarray, "seeds points"]]
"""x, `[points]` or `[seeds, points]`, ascending, and values `[seeds, points]`; NaN is a point without a value."""

STEPS, RETURN = "environment steps", "training return\n(mean of the episodes that ended in the interval)"

FEW = 4
"""Lines up to which intervals are told apart by their colour; those of more are drawn fainter."""


@checked
def interval(seeds: int) -> str:
    """Return in words what is drawn around the mean of so many seeds."""
    check_size("seeds", seeds)
    return "95% bootstrap interval" if seeds >= LEAST_SEEDS else "no interval of one seed"


@checked
def curves(
    lines: Mapping[str, Curve],
    title: str = "",
    xlabel: str = STEPS,
    ylabel: str = RETURN,
    level: float | None = None,
    level_name: str = "",
    resamples: int = 2000,
    singles: int = 0,
) -> Any:
    """Draw learning curves, one column wide: interquartile means over seeds and their 95% bootstrap intervals.

    A line of one seed has no interval. Where seeds have x of their own a line stands at the largest. Points without
    a value, or without an interval, are passed over.

    Args:
        lines: by name, at most as many as there are colours.
        title: of the picture.
        xlabel: of the x axis.
        ylabel: of the y axis.
        level: a value to mark with a line.
        level_name: its name.
        resamples: of the bootstrap.
        singles: how many seeds of each line are drawn, too, fainter.

    Returns:
        Matplotlib's figure; `save` writes it.

    Raises:
        ValueError: an x does not ascend.

    """
    check_ascending(lines)
    check_size("singles", singles, least=0)
    with paper():
        drawn, axes = titled(title, [*lines, level_name] if level_name else lines)
        for x, values in lines.values():
            _singles(axes, np.broadcast_to(x, np.shape(values))[:singles], values[:singles])
        for number, (name, (x, values)) in enumerate(lines.items()):
            at = np.reshape(x, (-1, np.shape(x)[-1])).max(0)
            band(axes, at, middle(values, resamples), name, number, faint=len(lines) > FEW)
        if level is not None:
            axes.axhline(level, color=GREY, linewidth=0.8, linestyle=":", label=level_name)
        axes.set(xlabel=xlabel, ylabel=on_side(ylabel), xlim=(0, None))
        thousands(axes.xaxis)
        legend(drawn, axes)
    return drawn


def check_ascending(lines: Mapping[str, Curve]) -> None:
    """Check that x ascends, without NaN."""
    for name, (x, _) in lines.items():
        if not np.isfinite(x).all() or (np.diff(x) < 0).any():
            raise ValueError(f"lines[{name!r}][0] must be finite and ascend, got {shown(x.tolist())}")


def middle(values: np.ndarray, resamples: int = 2000) -> Estimate:
    """Return the interquartile mean of `[seeds, ...]` and its 95% interval `[...]`, which is NaN of one seed."""
    check_size("resamples", resamples)
    if len(values) >= LEAST_SEEDS:
        return estimate(values[:, None], resamples=resamples)
    none = np.full(values.shape[1:], np.nan)
    return Estimate(iqm(values, axis=0), none, none)


def band(axes: Any, x: np.ndarray, found: Estimate, name: str, number: int, faint: bool = False) -> None:
    """Draw a line and its interval, all `[points]`; points without a value are passed over."""
    known, between = ~np.isnan(found.value), ~np.isnan(found.low)
    shade(axes, x[between], found.low[between], found.high[between], number, faint)
    axes.plot(x[known], found.value[known], label=name, zorder=3, **look(number))


def _singles(axes: Any, x: np.ndarray, values: np.ndarray) -> None:
    """Draw single seeds `[seeds, points]`; points without a value are passed over."""
    for at, line in zip(x, values, strict=True):
        known = ~np.isnan(line)
        axes.plot(at[known], line[known], color=GREY, alpha=0.3, linewidth=0.5, zorder=0)


def shade(
    axes: Any, x: np.ndarray, low: Any, high: Any, number: int, faint: bool = False, step: str | None = None
) -> None:
    """Draw an interval behind all lines, fainter where there are many."""
    colour, alpha = look(number)["color"], 0.1 if faint else 0.2
    axes.fill_between(x, low, high, step=step, color=colour, alpha=alpha, linewidth=0, zorder=1)


def thousands(axis: Any) -> None:
    """Label an axis in k and M, with room between the labels."""
    from matplotlib.ticker import EngFormatter, MaxNLocator

    axis.set_major_formatter(EngFormatter(sep=""))
    axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
