"""Learning curves: interquartile means over seeds with their bootstrap intervals."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import Shaped

from qjax.core.annotations import checked
from qjax.core.checks import check_size
from qjax.core.text import shown
from qjax.plot.style import GREY, legend, look, on_side, paper, titled
from qjax.runs.results import Table
from qjax.stats.estimates import LEAST_SEEDS, Estimate, estimate, iqm
from qjax.sweeps.sweep import Result

Curve = tuple[Shaped[np.ndarray, "points"] | Shaped[np.ndarray, "seeds points"], Shaped[np.ndarray, "seeds points"]]
"""x, `[points]` or `[seeds, points]`, ascending, and values `[seeds, points]`; NaN is a point without a value."""

STEPS, RETURN = "environment steps", "training return\n(mean of the episodes that ended in the interval)"

FEW = 4
"""Lines up to which intervals are told apart by their colour; those of more are drawn fainter."""


@checked
def interval(seeds: int) -> str:
    """Return the words for what is drawn around a mean of so many seeds."""
    check_size("seeds", seeds)
    return "95% bootstrap interval" if seeds >= LEAST_SEEDS else "no interval of one seed"


@checked
def curves(
    lines: Mapping[str, Curve | Result | Table] | Result | Table,
    title: str = "",
    xlabel: str = STEPS,
    ylabel: str = RETURN,
    level: float | None = None,
    level_name: str = "",
    resamples: int = 2000,
    singles: int = 0,
    metric: str = "mean_return",
) -> Any:
    """Draw learning curves, one column wide: interquartile means over seeds and their 95% bootstrap intervals.

    A line of one seed has no interval. Where seeds have x of their own a line stands at the largest. Points without
    a value, or without an interval, are passed over.

    Args:
        lines: by name, at most as many as there are colours: curves, or what `qjax.sweep` or `qjax.results.load`
            returned, which has a line for each of its settings; or one of these alone. A lane that has ended keeps
            its last value.
        title: of the picture.
        xlabel: of the x axis.
        ylabel: of the y axis.
        level: a value to mark with a line.
        level_name: its name.
        resamples: of the bootstrap.
        singles: how many seeds of each line are drawn, too, fainter.
        metric: which column of a result is drawn.

    Returns:
        Matplotlib's figure; `save` writes it.

    Raises:
        ValueError: an x does not ascend, or a result has no such metric, or no log point.

    """
    several = lines if isinstance(lines, Mapping) else {"": lines}
    named: dict[str, Curve] = {}
    for called, each in several.items():
        named |= _lines(called, each, metric)
    if metric != "mean_return" and ylabel == RETURN:
        ylabel = metric
    check_ascending(named)
    check_size("singles", singles, least=0)
    with paper():
        drawn, axes = titled(title, [*named, level_name] if level_name else named)
        for x, values in named.values():
            _singles(axes, np.broadcast_to(x, np.shape(values))[:singles], values[:singles])
        for number, (name, (x, values)) in enumerate(named.items()):
            at = np.reshape(x, (-1, np.shape(x)[-1])).max(0)
            band(axes, at, middle(values, resamples), name, number, faint=len(named) > FEW)
        if level is not None:
            axes.axhline(level, color=GREY, linewidth=0.8, linestyle=":", label=level_name)
        axes.set(xlabel=xlabel, ylabel=on_side(ylabel), xlim=(0, None))
        thousands(axes.xaxis)
        legend(drawn, axes)
    return drawn


def _lines(called: str, each: Curve | Result | Table, metric: str) -> Iterator[tuple[str, Curve]]:
    """Yield the lines of what was given under one name, of a result one for each setting."""
    if isinstance(each, tuple) and not isinstance(each, Result):
        yield called, each
        return
    table = each.table() if isinstance(each, Result) else each
    steps, values = table.env_steps, held(table[metric], table.lengths)
    for number in range(len(steps)):
        setting = [f"{name}={column[number]}" for name, column in table.hypers.items()]
        name = ", ".join([called] * bool(called) + setting)
        yield name or "interquartile mean", (steps[number], values[number])


def held(values: np.ndarray, lengths: np.ndarray | int = 0) -> np.ndarray:
    """Return values `[..., points]` with the last one before where there is none, from each lane's end on."""
    points = np.arange(values.shape[-1])
    last = np.maximum.accumulate(np.where(np.isnan(values), -1, points), axis=-1)
    filled = np.where(last < 0, np.nan, np.take_along_axis(values, np.maximum(last, 0), axis=-1))
    return np.where(points >= np.asarray(lengths)[..., None], filled, values)


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
