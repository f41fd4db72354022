"""Pictures that runs draw at their end, from their log points."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Shaped

from qjax.core.annotations import checked, fields_checked
from qjax.core.checks import check_size, one_of
from qjax.plot.lines import STEPS, band, interval, middle, thousands
from qjax.plot.lines import curves as draw
from qjax.plot.style import DPI, GREY, PRINT_DPI, figure, wrapped
from qjax.runs.points import Point
from qjax.stats.estimates import Estimate

WIDE = 10
"""A value above which logged values are drawn in decades."""

ACROSS = 3
"""Most tasks side by side."""


@checked
def learning_curve(
    points: list[Point],
    path: str | Path,
    title: str,
    episodes: int | None = None,
    level: float | None = None,
    level_name: str = "",
    max_lines: int = 32,
) -> None:
    """Draw training return against environment steps, or against episodes where a run is counted in them.

    Faint lines are single seeds (at most `max_lines` of them), the bold one the interquartile mean over all
    seeds, the band its 95% bootstrap interval, which one seed does not have.

    Args:
        points: log points of a sweep.
        path: where the PNG goes.
        title: title of the picture.
        episodes: episodes of each seed, to draw against them; None for environment steps.
        level: a return to mark with a line, and its name.
        level_name: its name in the legend.
        max_lines: how many single seeds are drawn.

    """
    check_size("max_lines", max_lines, least=0)
    x, returns = returns_by_step(points) if episodes is None else returns_by_episode(points, episodes)
    seeds = len(returns)
    faint = f"faint: {min(max_lines, seeds)} of {seeds} seeds" if seeds > 1 else ""
    drawn = draw(
        {"interquartile mean": (x, returns)},
        wrapped(title, f"interquartile mean, {interval(seeds)}", faint),
        STEPS if episodes is None else "episodes",
        level=level,
        level_name=level_name,
        singles=max_lines * (seeds > 1),
    )
    drawn.savefig(path, dpi=PRINT_DPI)


@checked
def learning_curves(
    curves: Mapping[str, list[Point]],
    path: str | Path,
    title: str,
    level: float | None = None,
    level_name: str = "",
    resamples: int = 500,
) -> None:
    """Draw training return against environment steps for several settings.

    Lines are interquartile means over seeds, bands their 95% bootstrap intervals.

    Args:
        curves: log points of each setting, by what it is called.
        path: where the PNG goes.
        title: title of the picture.
        level: a return to mark with a line, and its name.
        level_name: its name in the legend.
        resamples: of the bootstrap.

    """
    lines = {name: returns_by_step(points) for name, points in curves.items()}
    shown = f"interquartile mean, {interval(max(len(values) for _, values in lines.values()))}"
    drawn = draw(lines, wrapped(title, shown), level=level, level_name=level_name, resamples=resamples)
    drawn.savefig(path, dpi=PRINT_DPI)


@checked
def measures(
    path: str | Path,
    curves: Mapping[str, Mapping[str, list[Point]]],
    names: Mapping[str, str],
    title: str,
    resamples: int = 500,
) -> None:
    """Draw logged values against environment steps: a row for each, a column for each task, a line for each agent.

    Of more than three tasks the others stand below, so that a page's width is enough. Lines are interquartile means
    over seeds, bands their 95% bootstrap intervals.

    Args:
        path: where the PNG goes.
        curves: by task and agent, log points.
        names: which of `Point.values`, and what they are called.
        title: title of the picture.
        resamples: of the bootstrap.

    """
    across = min(len(curves), ACROSS)
    rows = len(names) * -(-len(curves) // across)
    drawn, panels = figure(2.6 * across + 0.8, 2.4 * rows + 0.8, across, rows)
    panels = np.reshape(panels, (rows, across))
    for (row, column), panel in np.ndenumerate(panels):
        i, j = row % len(names), row // len(names) * across + column
        if j >= len(curves):
            panel.remove()
            continue
        key, label = list(names.items())[i]
        task, agents = list(curves.items())[j]
        for number, (name, points) in enumerate(agents.items()):
            x = np.max([point.env_steps for point in points], axis=1)
            values = np.stack([one_of("logged value", key, point.values) for point in points], axis=1)
            band(panel, x, middle(values, resamples), name, number)
        if panel.dataLim.y1 > WIDE:  # from hundreds to nothing: decades above 1
            panel.set_yscale("symlog", linthresh=1, linscale=0.5)
            panel.yaxis.set_major_formatter("{x:g}")
        panel.set(xlim=(0, None), ylim=(0, None))
        thousands(panel.xaxis)
        if i == 0:
            panel.set_title(task, fontsize=9)
        if i == len(names) - 1:
            panel.set_xlabel(STEPS, fontsize=9)
        if column == 0:
            panel.set_ylabel(label, fontsize=9)
        panel.tick_params(labelsize=8)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    drawn.suptitle(f"interquartile mean and 95% interval, {title}", fontsize=10)
    drawn.savefig(path, dpi=DPI)


@fields_checked
class Example(NamedTuple):
    """A panel of `by_episode`."""

    curves: Mapping[str, Shaped[np.ndarray, "seeds bins"]]
    """By agent, values `[seeds, bins]`."""
    label: str
    """What they are."""
    every: int = 1
    """Episodes of a bin."""
    level: tuple[float, str] | None = None
    """A value to mark with a line, and its name."""
    axes: Mapping[str, Any] = {}
    """What Matplotlib's `Axes.set` takes: `ylim`, `yscale`."""


@checked
def by_episode(path: str | Path, examples: Mapping[str, Example], title: str) -> None:
    """Draw values against episodes, a panel for each example: means over seeds with their 95% intervals (normal).

    Args:
        path: where the PNG goes.
        examples: by title.
        title: title of the picture.

    """
    from matplotlib.ticker import LogFormatter

    drawn, panels = figure(3.6 * len(examples), 3.2, len(examples))
    for name, example in examples.items():
        check_size(f"examples[{name!r}].every", example.every)
    for panel, (name, example) in zip(np.ravel(panels), examples.items(), strict=True):
        for number, (agent, values) in enumerate(example.curves.items()):
            mean, error = values.mean(0), 1.96 * values.std(0, ddof=1) / len(values) ** 0.5
            x = np.arange(1, len(mean) + 1) * example.every
            band(panel, x, Estimate(mean, mean - error, mean + error), agent, number)
        if example.level is not None:
            panel.axhline(example.level[0], color=GREY, linewidth=1, linestyle="-.", label=example.level[1])
        panel.set(xlabel="episodes", ylabel=example.label, **example.axes)
        if panel.get_yscale() == "log":
            panel.yaxis.set_major_formatter(LogFormatter())  # plain numbers
            panel.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.4)))
        panel.set_title(name, fontsize=10)
        panel.legend(frameon=False, fontsize=8)
    drawn.suptitle(title, fontsize=11)
    drawn.savefig(path, dpi=DPI)


@checked
def returns_by_step(points: list[Point]) -> tuple[np.ndarray, np.ndarray]:
    """Return environment steps per seed `[points]`, and the mean return of each interval `[seeds, points]`."""
    steps = np.max([point.env_steps for point in points], axis=1)
    return steps, np.stack([point.mean_return for point in points], axis=1)


@checked
def returns_by_episode(points: list[Point], episodes: int, bins: int = 50) -> tuple[np.ndarray, np.ndarray]:
    """Return episode numbers `[bins]` and each seed's mean return in bins of episodes, `[seeds, bins]`."""
    reached = np.stack([point.episodes for point in points], axis=1)
    return episode_bins(reached, np.stack([point.mean_return for point in points], axis=1), episodes, bins)


@checked
def episode_bins(
    reached: Shaped[np.ndarray, "seeds points"],
    returns: Shaped[np.ndarray, "seeds points"],
    episodes: int,
    bins: int = 50,
) -> tuple[np.ndarray, np.ndarray]:
    """Return episode numbers `[bins]` and each seed's mean return in bins of episodes, `[seeds, bins]`.

    Seeds reach an episode at different log points, so the sum of each seed's returns is interpolated between its
    log points and differenced over the bins.

    Args:
        reached: episodes since the start, `[seeds, points]`.
        returns: mean return of those that ended in an interval, `[seeds, points]`.
        episodes: where the last bin ends.
        bins: how many, at most as many as episodes.

    """
    check_size("episodes", episodes)
    check_size("bins", bins)
    fresh = np.diff(reached, axis=1, prepend=0)
    total = np.cumsum(np.nan_to_num(returns).astype(np.float64) * fresh, axis=1)
    edges = np.linspace(0, episodes, min(bins, episodes) + 1)
    sums = [np.interp(edges, [0, *e], [0, *t], right=np.nan) for e, t in zip(reached, total, strict=True)]
    return edges[1:], np.diff(np.array(sums), axis=1) / np.diff(edges)
