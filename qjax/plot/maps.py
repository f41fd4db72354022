"""Policies and values on a grid."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from qjax.core.annotations import checked
from qjax.core.text import shown
from qjax.plot.style import BLUE, DPI, ORANGE, figure

ENDS = "HGC"
"""Tiles on which nothing is chosen."""

SHADES = {"S": 0.82, "F": 0.95, "H": 0.35, "C": 0.35, "G": 0.7}
"""Greys of all tiles."""

ARROWS = ((-1, 0), (0, 1), (1, 0), (0, -1))
"""(x, y) of gymnasium's four moves on a grid: left, down, right, up; y grows downwards."""


@checked
def lake_picture(
    path: str | Path,
    tiles: list[str],
    policies: Shaped[np.ndarray, "seeds S A"],
    values: Shaped[np.ndarray, "seeds S"],
    optimal: Shaped[np.ndarray, "S"],
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

    Raises:
        ValueError: the map is no rectangle of such tiles, or policies are of another number of tiles, or arrows.

    """
    _check_map(tiles, policies.shape[1:], ARROWS)
    rows, columns = len(tiles), len(tiles[0])
    drawn, panels = figure(11.0, 4.1, panels=3)
    _draw_policy(panels[0], tiles, policies.mean(0), ARROWS)
    ended = np.array([[tile in ENDS for tile in row] for row in tiles])
    panels[0].set_title("greedy policy\n(arrow length: share of seeds)", fontsize=10)
    top = float(max(optimal.max(), values.mean(0).max(), 1e-9))
    for panel, heights, name in (
        (panels[1], values.mean(0), "learned value max Q(s, a)\n(mean over seeds)"),
        (panels[2], optimal, "optimal value max Q*(s, a)\n(value iteration)"),
    ):
        grid = np.ma.masked_array(heights.reshape(rows, columns), ended)
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
    drawn.colorbar(image, ax=panels[1:], fraction=0.025, label="discounted value")
    drawn.suptitle(title, fontsize=11)
    drawn.savefig(path, dpi=DPI)


@checked
def policy_maps(
    path: str | Path,
    tiles: list[str],
    policies: Mapping[str, Shaped[np.ndarray, "S A"]],
    arrows: Sequence[tuple[float, float]],
    title: str,
) -> None:
    """Draw the greedy policies of several agents over one map.

    Args:
        path: where the PNG goes.
        tiles: the map's rows, of S, F, H (hole), C (cliff) and G.
        policies: by name, action probabilities `[S, A]`; an arrow's length is its share.
        arrows: (x, y) of each action's move, y downwards.
        title: title of the picture.

    Raises:
        ValueError: the map is no rectangle of such tiles, or policies are of another number of tiles, or arrows.

    """
    for policy in policies.values():
        _check_map(tiles, policy.shape, arrows)
    columns = min(len(policies), 4)
    rows, wide = -(-len(policies) // columns), len(tiles[0]) / len(tiles)
    drawn, panels = figure(11.0, rows * (11.0 / columns / wide + 0.3) + 0.4, columns, rows)
    for panel, (name, policy) in zip(np.ravel(panels), policies.items(), strict=False):
        _draw_policy(panel, tiles, policy, arrows)
        panel.set_title(name, fontsize=10)
    for panel in np.ravel(panels):
        panel.set(xticks=[], yticks=[])
    for panel in np.ravel(panels)[len(policies) :]:
        panel.axis("off")
    drawn.suptitle(f"{title}: greedy policies (arrow length: share of seeds)", fontsize=11)
    drawn.savefig(path, dpi=DPI)


def _check_map(tiles: list[str], policy: tuple[int, ...], arrows: Sequence[tuple[float, float]]) -> None:
    """Check that a map is one, and a policy `[S, A]` of it."""
    if len({len(row) for row in tiles}) > 1 or not set("".join(tiles)) <= set(SHADES) or not tiles[0]:
        raise ValueError(f"tiles must be rows of one length of {', '.join(SHADES)}, got {shown(tiles)}")
    if policy != (size := (len(tiles) * len(tiles[0]), len(arrows))):
        raise ValueError(
            f"policies must be of {size[0]} tiles and {size[1]} arrows, got {policy[0]} states, {policy[1]} actions"
        )


def _draw_policy(panel: Any, tiles: list[str], policy: np.ndarray, arrows: Sequence[tuple[float, float]]) -> None:
    """Draw action probabilities `[S, A]` over a map, as arrows that are as long as they are likely."""
    rows, columns = len(tiles), len(tiles[0])
    panel.imshow(np.array([[SHADES[tile] for tile in row] for row in tiles]), cmap="gray", vmin=0, vmax=1)
    letter = {"ha": "center", "va": "center", "fontsize": 9 if columns <= 8 else 6, "weight": "bold"}
    acts = np.array([tile not in ENDS for row in tiles for tile in row])
    for y, x in np.ndindex(rows, columns):
        if tiles[y][x] != "F":
            place = (x, y) if tiles[y][x] in ENDS else (x - 0.3, y - 0.3)
            panel.text(*place, tiles[y][x], color=ORANGE, **letter)
    y, x = np.divmod(np.flatnonzero(acts), columns)
    for (dx, dy), share in zip(arrows, policy[acts].T, strict=True):
        panel.quiver(
            x, y, 0.46 * share * dx, 0.46 * share * dy, color=BLUE, units="xy", width=0.07, headwidth=3.5,
            headlength=3, headaxislength=3, angles="xy", scale_units="xy", scale=1, minlength=0.1,
        )  # fmt: skip
