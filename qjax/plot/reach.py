"""Sample efficiency: how many steps it takes to reach a score."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Shaped

from qjax.core.annotations import checked
from qjax.core.checks import check_array
from qjax.plot.lines import FEW, RETURN, STEPS, Curve, band, check_ascending, shade, thousands
from qjax.plot.style import GREY, PAGE, legend, look, paper, titled
from qjax.stats.estimates import LEAST_SEEDS, Estimate, iqm, wilson

MEDIAN_SEEDS = 6
"""Seeds that the 95% interval of a median needs: with fewer, all of them lie on one side too often."""

LEVELS = 60


@checked
def efficiency(
    lines: Mapping[str, Curve],
    title: str = "",
    threshold: float | None = None,
    levels: Shaped[np.ndarray, "levels"] | None = None,
    lower: bool = False,
    xlabel: str = STEPS,
    ylabel: str = RETURN,
) -> Any:
    """Draw the steps that it takes to reach a score, two columns wide.

    A seed has reached a level at the first log point at which its curve is as high. On the left, the steps until
    then against the level: the median over seeds, in which one that never comes there counts as later than all
    others, with its distribution-free 95% interval (order statistics), which takes six seeds. So a line ends where
    half of the seeds fall short, and an interval without an upper end goes to the top. On the right, the share of
    seeds that have reached the threshold against steps, with Wilson's 95% interval.

    Args:
        lines: by name.
        title: of the picture.
        threshold: of the right panel; default nine tenths of the way from the lowest to the highest
            interquartile mean.
        levels: `[levels]` of the left panel; default from the one to the other.
        lower: whether low values are good, as of a loss; a level is then reached from above.
        xlabel: what x counts.
        ylabel: what the curves show.

    Returns:
        Matplotlib's figure; `save` writes it.

    Raises:
        ValueError: no line has a value, an x does not ascend, or a level is not finite.

    """
    check_ascending(lines)
    if levels is not None:
        check_array("levels", levels)
    start, top = _range(lines, lower)
    at = np.linspace(start, top, LEVELS) if levels is None else np.asarray(levels)
    mark = start + 0.9 * (top - start) if threshold is None else threshold
    end = max(float(np.max(x)) for x, _ in lines.values())
    with paper():
        drawn, (left, right) = titled(title, lines, PAGE, 2)
        for number, (name, (x, values)) in enumerate(lines.items()):
            faint, times = len(lines) > FEW, steps_to_reach(x, values, np.append(at, mark), lower)
            found = median(times[:, :-1])
            shown = found._replace(high=np.where(np.isinf(found.high), 2 * end, found.high))
            band(left, at, shown, name, number, faint)
            _share(right, np.asarray(x), times[:, -1], number, faint)
        left.axvline(mark, color=GREY, linewidth=0.8, linestyle=":")
        left.set(xlabel=ylabel, ylabel=f"{xlabel}\nto reach it", ylim=(0, 1.03 * end))
        left.set_title("median over seeds, 95% interval", loc="left")
        right.set(xlabel=xlabel, ylabel="share of seeds", xlim=(0, None), ylim=(-0.02, 1.02))
        right.set_title(f"seeds that have reached {mark:.3g}, 95% Wilson interval", loc="left")
        right.yaxis.set_major_formatter("{x:.0%}")
        for axis in (left.yaxis, right.xaxis):
            thousands(axis)
        legend(drawn, left)
    return drawn


@checked
def steps_to_reach(
    x: Shaped[np.ndarray, "points"] | Shaped[np.ndarray, "seeds points"],
    values: Shaped[np.ndarray, "seeds points"],
    levels: Shaped[np.ndarray, "levels"],
    lower: bool = False,
) -> np.ndarray:
    """Return where each seed's curve is first at least as high as each level, infinity where it never is.

    Args:
        x: `[points]` or `[seeds, points]`, ascending.
        values: `[seeds, points]`; NaN is no value.
        levels: `[levels]`
        lower: take the first value that is at most the level.

    Returns:
        `[seeds, levels]`

    """
    sign = -1 if lower else 1
    best = np.maximum.accumulate(np.where(np.isnan(values), -np.inf, sign * values), axis=-1)
    ends = np.pad(np.broadcast_to(x, best.shape).astype(float), ((0, 0), (0, 1)), constant_values=np.inf)
    first = np.stack([np.searchsorted(row, sign * np.asarray(levels)) for row in best])
    return np.take_along_axis(ends, first, axis=1)


def median(times: np.ndarray) -> Estimate:
    """Return the median over seeds of `[seeds, levels]` and its distribution-free 95% interval, `[levels]` each.

    Infinite times count as later than all others; the value is NaN where the median is infinite, the upper end is
    infinite where it is, and both ends are NaN for fewer than six seeds.
    """
    from scipy.stats import quantile_test

    value = np.quantile(times, 0.5, axis=0, method="inverted_cdf")
    value = np.where(np.isfinite(value), value, np.nan)
    if len(times) < MEDIAN_SEEDS:
        none = np.full(value.shape, np.nan)
        return Estimate(value, none, none)
    ends = [quantile_test(column).confidence_interval(0.95) for column in times.T]
    low, high = np.array([[end.low, end.high] for end in ends]).T
    return Estimate(value, low, high)


def _range(lines: Mapping[str, Curve], lower: bool) -> tuple[float, float]:
    """Return the worst and the best interquartile mean of all lines."""
    heights = np.concatenate([iqm(values, axis=0) for _, values in lines.values()])
    heights = heights[np.isfinite(heights)]
    if not len(heights):
        raise ValueError(f"no value in {', '.join(lines)}")
    ends = float(heights.min()), float(heights.max())
    return ends[::-1] if lower else ends


def _share(axes: Any, x: np.ndarray, times: np.ndarray, number: int, faint: bool) -> None:
    """Draw the share of seeds that have come there against steps, until the run's end."""
    came = np.unique(times[np.isfinite(times)])
    steps = np.unique([0, *came, x.max()])
    reached = (times[:, None] <= steps).sum(0)
    if len(times) >= LEAST_SEEDS and len(came):  # before the first of them all intervals are alike
        low, high = np.array([wilson(int(count), len(times)) for count in reached]).T
        after = steps >= came[0]
        shade(axes, steps[after], low[after], high[after], number, faint, step="post")
    axes.plot(steps, reached / len(times), drawstyle="steps-post", zorder=3, **look(number))
