"""Pictures: learning curves over seeds, and policies and values on a grid. Matplotlib is imported on first use."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from qjax.points import Point
from qjax.stats import LEAST_SEEDS, Estimate, estimate, iqm

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#999999"
"""Colours that colour-blind readers tell apart (Okabe and Ito 2008)."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
STYLES = ("-", "-", "-", "-", "--", "--", "--", "--")
"""Of the lines of one panel; a second style for readers of grey prints."""

ENDS = "HGC"
"""Tiles on which nothing is chosen."""

ARROWS = ((-1, 0), (0, 1), (1, 0), (0, -1))
"""(x, y) of gymnasium's four moves on a grid: left, down, right, up; y grows downwards."""


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
    from matplotlib.ticker import EngFormatter

    figure, axes = _figure(6.0, 3.8)
    x, returns = returns_by_step(points) if episodes is None else returns_by_episode(points, episodes)
    middle, low, high = _middle(returns)
    for line in returns[:max_lines]:
        known = ~np.isnan(line)
        axes.plot(x[known], line[known], color=GREY, alpha=0.25, linewidth=0.6)
    shown = f"one seed ({min(max_lines, len(returns))} of {len(returns)} shown)"
    axes.plot([], [], color=GREY, alpha=0.6, linewidth=0.8, label=shown)
    band = "95% bootstrap interval" if len(returns) >= LEAST_SEEDS else "no interval of one seed"
    axes.fill_between(x, low, high, color=BLUE, alpha=0.3, linewidth=0, label=band)
    axes.plot(x, middle, color=BLUE, linewidth=2, label="interquartile mean")
    if level is not None:
        axes.axhline(level, color=ORANGE, linewidth=1, linestyle="--", label=level_name)
    axes.set(xlabel="environment steps" if episodes is None else "episodes", ylabel="training return")
    axes.set_title(title, fontsize=10)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.legend(frameon=False, fontsize=8)
    _save(figure, path)


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
    from matplotlib.ticker import EngFormatter

    figure, axes = _figure(6.0, 3.8 + 0.18 * len(curves))
    for colour, style, (name, points) in zip(COLOURS, STYLES, curves.items(), strict=False):
        x, returns = returns_by_step(points)
        middle, low, high = _middle(returns, resamples)
        axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
        axes.plot(x, middle, color=colour, linestyle=style, linewidth=1.5, label=name)
    if level is not None:
        axes.axhline(level, color=GREY, linewidth=1, linestyle=":", label=level_name)
    axes.set(xlabel="environment steps", ylabel="training return, interquartile mean")
    axes.set_title(title, fontsize=10)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    figure.legend(loc="outside lower center", frameon=False, fontsize=8)
    _save(figure, path)


def lake_picture(
    path: str | Path,
    tiles: list[str],
    policies: np.ndarray,
    values: np.ndarray,
    optimal: np.ndarray,
    title: str,
) -> None:
    """Draw the greedy policies of many seeds over the map, beside the learned and the optimal values.

    Args:
        path: where the PNG goes.
        tiles: the map's rows, of S, F, H and G.
        policies: greedy action probabilities `[seeds, S, A]`; an arrow's length is their mean over seeds.
        values: max_a Q(s, a) `[seeds, S]`; their mean is drawn.
        optimal: max_a Q*(s, a) `[S]`.
        title: title of the picture.

    """
    rows, columns = len(tiles), len(tiles[0])
    figure, panels = _figure(11.0, 4.1, panels=3)
    _draw_policy(panels[0], tiles, policies.mean(0), ARROWS)
    ended = np.array([[tile in ENDS for tile in row] for row in tiles])
    panels[0].set_title("greedy policy\n(arrow length: share of seeds)", fontsize=10)
    top = float(max(optimal.max(), values.mean(0).max(), 1e-9))
    for panel, shown, name in (
        (panels[1], values.mean(0), "learned value max Q(s, a)\n(mean over seeds)"),
        (panels[2], optimal, "optimal value max Q*(s, a)\n(value iteration)"),
    ):
        grid = np.ma.masked_array(shown.reshape(rows, columns), ended)
        image = panel.imshow(grid, cmap="viridis", vmin=0, vmax=top)
        panel.set_facecolor("0.85")
        for y, x in np.ndindex(rows, columns):
            if ended[y, x]:
                panel.text(x, y, tiles[y][x], ha="center", va="center", fontsize=9, weight="bold", color="0.35")
            else:
                ink = "black" if grid[y, x] > 0.6 * top else "white"
                size = 9 if rows <= 4 else 6
                panel.text(x, y, f"{grid[y, x]:.2f}", ha="center", va="center", fontsize=size, color=ink)
        panel.set_title(name, fontsize=10)
    for panel in panels:
        panel.set(xticks=[], yticks=[])
    figure.colorbar(image, ax=panels[1:], fraction=0.025, label="discounted value")
    figure.suptitle(title, fontsize=11)
    _save(figure, path)


def policy_maps(
    path: str | Path,
    tiles: list[str],
    policies: Mapping[str, np.ndarray],
    arrows: Sequence[tuple[int, int]],
    title: str,
) -> None:
    """Draw the greedy policies of several agents over one map.

    Args:
        path: where the PNG goes.
        tiles: the map's rows, of S, F, H (hole), C (cliff) and G.
        policies: by name, action probabilities `[S, A]`; an arrow's length is its share.
        arrows: (x, y) of each action's move, y downwards.
        title: title of the picture.

    """
    columns = min(len(policies), 4)
    rows, wide = -(-len(policies) // columns), len(tiles[0]) / len(tiles)
    figure, panels = _figure(11.0, rows * (11.0 / columns / wide + 0.45) + 0.4, columns, rows)
    for panel, (name, policy) in zip(np.ravel(panels), policies.items(), strict=False):
        _draw_policy(panel, tiles, policy, arrows)
        panel.set_title(name, fontsize=10)
    for panel in np.ravel(panels):
        panel.set(xticks=[], yticks=[])
    for panel in np.ravel(panels)[len(policies) :]:
        panel.axis("off")
    figure.suptitle(f"{title}: greedy policies (arrow length: share of seeds)", fontsize=11)
    _save(figure, path)


def _draw_policy(panel: Any, tiles: list[str], policy: np.ndarray, arrows: Sequence[tuple[int, int]]) -> None:
    """Draw action probabilities `[S, A]` over a map, as arrows that are as long as they are likely."""
    rows, columns = len(tiles), len(tiles[0])
    shade = {"S": 0.82, "F": 0.95, "H": 0.35, "C": 0.35, "G": 0.7}
    panel.imshow(np.array([[shade[tile] for tile in row] for row in tiles]), cmap="gray", vmin=0, vmax=1)
    for (y, x), shares in zip(np.ndindex(rows, columns), policy, strict=True):
        ended = tiles[y][x] in ENDS
        if tiles[y][x] != "F":
            place = (x, y) if ended else (x - 0.36, y - 0.3)
            panel.text(*place, tiles[y][x], ha="center", va="center", fontsize=9, weight="bold", color=ORANGE)
        for (dx, dy), share in zip(arrows, shares, strict=True):
            if not ended and share > 0.02:
                tip = (x + 0.44 * share * dx, y + 0.44 * share * dy)
                head = f"-|>,head_length={0.5 * share:.2f},head_width={0.25 * share:.2f}"
                arrow = {"arrowstyle": head, "color": BLUE, "shrinkA": 0, "shrinkB": 0, "linewidth": 1.4}
                panel.annotate("", tip, (x, y), arrowprops=arrow)


def measures(
    path: str | Path,
    curves: Mapping[str, Mapping[str, list[Point]]],
    names: Mapping[str, str],
    title: str,
    resamples: int = 500,
) -> None:
    """Draw logged values against environment steps: a row for each, a column for each task, a line for each agent.

    Lines are interquartile means over seeds, bands their 95% bootstrap intervals.

    Args:
        path: where the PNG goes.
        curves: by task and agent, log points.
        names: which of `Point.values`, and what they are called.
        title: title of the picture.
        resamples: of the bootstrap.

    """
    from matplotlib.ticker import EngFormatter

    figure, panels = _figure(2.6 * len(curves) + 0.8, 2.4 * len(names) + 0.8, len(curves), len(names))
    panels = np.reshape(panels, (len(names), len(curves)))
    for i, (key, label) in enumerate(names.items()):
        for j, (task, agents) in enumerate(curves.items()):
            panel = panels[i, j]
            for colour, style, (name, points) in zip(COLOURS, STYLES, agents.items(), strict=False):
                x = np.max([point.env_steps for point in points], axis=1)
                values = np.stack([point.values[key] for point in points], axis=1)
                middle, low, high = _middle(values, resamples)
                panel.fill_between(x, low, high, color=colour, alpha=0.25, linewidth=0)
                panel.plot(x, middle, color=colour, linestyle=style, linewidth=1.3, label=name)
            panel.set_ylim(bottom=0)
            panel.set_xlim(left=0)
            panel.xaxis.set_major_formatter(EngFormatter(sep=""))
            if i == 0:
                panel.set_title(task, fontsize=9)
            if i == len(names) - 1:
                panel.set_xlabel("environment steps", fontsize=9)
            if j == 0:
                panel.set_ylabel(label, fontsize=9)
            panel.tick_params(labelsize=8)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    figure.suptitle(f"interquartile mean and 95% interval, {title}", fontsize=10)
    _save(figure, path)


class Example(NamedTuple):
    """A panel of `by_episode`."""

    curves: Mapping[str, np.ndarray]
    """By agent, values `[seeds, bins]`."""
    label: str
    """What they are."""
    every: int = 1
    """Episodes of a bin."""
    level: tuple[float, str] | None = None
    """A value to mark with a line, and its name."""
    axes: Mapping[str, Any] = {}
    """What Matplotlib's `Axes.set` takes: `ylim`, `yscale`."""


def by_episode(path: str | Path, examples: Mapping[str, Example], title: str) -> None:
    """Draw values against episodes, a panel for each example: means over seeds with their 95% intervals (normal).

    Args:
        path: where the PNG goes.
        examples: by title.
        title: title of the picture.

    """
    from matplotlib.ticker import LogFormatter

    figure, panels = _figure(3.6 * len(examples), 3.2, len(examples))
    for panel, (name, example) in zip(np.ravel(panels), examples.items(), strict=True):
        for colour, style, (agent, values) in zip(COLOURS, ("-", "--", ":"), example.curves.items(), strict=False):
            middle, error = values.mean(0), 1.96 * values.std(0, ddof=1) / len(values) ** 0.5
            x = np.arange(1, len(middle) + 1) * example.every
            panel.fill_between(x, middle - error, middle + error, color=colour, alpha=0.25, linewidth=0)
            panel.plot(x, middle, color=colour, linestyle=style, linewidth=1.4, label=agent)
        if example.level is not None:
            panel.axhline(example.level[0], color=GREY, linewidth=1, linestyle="-.", label=example.level[1])
        panel.set(xlabel="episodes", ylabel=example.label, **example.axes)
        if panel.get_yscale() == "log":
            panel.yaxis.set_major_formatter(LogFormatter())  # plain numbers
            panel.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.4)))
        panel.set_title(name, fontsize=10)
        panel.legend(frameon=False, fontsize=8)
    figure.suptitle(title, fontsize=11)
    _save(figure, path)


def returns_by_step(points: list[Point]) -> tuple[np.ndarray, np.ndarray]:
    """Return environment steps per seed `[points]`, and the mean return of each interval `[seeds, points]`."""
    steps = np.max([point.env_steps for point in points], axis=1)
    return steps, np.stack([point.mean_return for point in points], axis=1)


def returns_by_episode(points: list[Point], episodes: int, bins: int = 50) -> tuple[np.ndarray, np.ndarray]:
    """Return episode numbers `[bins]` and each seed's mean return in bins of episodes, `[seeds, bins]`.

    Seeds reach an episode at different log points, so the sum of each seed's returns is interpolated between its
    log points and differenced over the bins.
    """
    reached = np.stack([point.episodes for point in points], axis=1)
    mean = np.nan_to_num(np.stack([point.mean_return for point in points], axis=1))
    fresh = np.diff(reached, axis=1, prepend=0)
    total = np.cumsum(mean.astype(np.float64) * fresh, axis=1)
    edges = np.linspace(0, episodes, min(bins, episodes) + 1)
    sums = [np.interp(edges, [0, *e], [0, *t], right=np.nan) for e, t in zip(reached, total, strict=True)]
    return edges[1:], np.diff(np.array(sums), axis=1) / np.diff(edges)


def _middle(curves: np.ndarray, resamples: int = 2000) -> Estimate:
    """Return the interquartile mean of curves `[seeds, points]` and its interval, which is NaN of one seed."""
    if len(curves) >= LEAST_SEEDS:
        return estimate(curves[:, None], resamples=resamples)
    none = np.full(curves.shape[1], np.nan)
    return Estimate(iqm(curves, axis=0), none, none)


def _figure(width: float, height: float, panels: int = 1, rows: int = 1) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)  # no window system, and none of pyplot's state
    axes = figure.subplots(rows, panels)
    for panel in np.ravel(axes):
        panel.spines[["top", "right"]].set_visible(panels > 1)
    return figure, axes


def _save(figure: Any, path: str | Path) -> None:
    figure.savefig(path, dpi=160)
