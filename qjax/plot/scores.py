"""Scores of single seeds: their distribution, and performance profiles."""

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Shaped

from qjax.core.annotations import checked
from qjax.plot.lines import FEW, middle, shade
from qjax.plot.style import COLOURS, COLUMN, figure, head, legend, look, paper, titled
from qjax.stats.estimates import LEAST_SEEDS, profile

BINS = 60
MANY = 2_000
"""Points from which an SVG holds them as one picture."""


@checked
def distribution(scores: Mapping[str, Shaped[np.ndarray, "seeds"]], title: str = "", xlabel: str = "score") -> Any:
    """Draw the scores of all seeds, one column wide: a dot for each, a row for each name.

    Dots of like scores lie beside one another, so that a row's outline is its histogram. Below them stand the
    interquartile mean and its 95% bootstrap interval, which one seed does not have.

    Args:
        scores: by name, `[seeds]`; what is not finite has no dot.
        title: of the picture.
        xlabel: what a score is, and its unit.

    Returns:
        Matplotlib's figure; `save` writes it.

    Raises:
        ValueError: no score is finite.

    """
    with paper():
        drawn, axes = figure(COLUMN, 0.6 + 0.13 * title.count("\n") + 0.44 * len(scores))
        head(drawn, title)
        every = _finite(scores)
        ends = float(every[0]), float(every[-1])
        for number, own in enumerate(scores.values()):
            known = np.sort(own[np.isfinite(own)])
            dots = {"s": 5, "color": COLOURS[number % len(COLOURS)], "alpha": 0.6, "linewidth": 0}
            axes.scatter(known, number - _swarm(known, *ends), rasterized=len(known) > MANY, **dots)
            found, below = middle(own), number + 0.4
            if np.isfinite(found.low):
                axes.plot([found.low, found.high], [below, below], color="black", linewidth=1)
            axes.plot(found.value, below, marker="|", color="black", markersize=6, markeredgewidth=1.6)
        names = [textwrap.fill(name, 22) for name in scores]
        axes.set_yticks(range(len(scores)), names)
        axes.set(xlabel=xlabel, ylim=(len(scores) - 0.35, -0.4))
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
    return drawn


def _finite(scores: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the different finite scores of all names, ascending."""
    every = np.unique(np.concatenate([np.ravel(own) for own in scores.values()]))
    if not (known := np.isfinite(every)).any():
        raise ValueError(f"scores must hold a finite one, those of {', '.join(scores)} are NaN or infinite")
    return every[known]


def _swarm(scores: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return heights in [-0.25, 0.25] for ascending scores `[seeds]`: a bin's lie side by side, in any order."""
    place = np.clip((scores - low) / max(high - low, 1e-12) * BINS, 0, BINS - 1).astype(int)
    counts = np.bincount(place, minlength=BINS)
    starts = np.cumsum(counts) - counts
    # Ascending within a bin, dots would lie on slanted lines that are not in the scores.
    mixed = np.lexsort((np.random.default_rng(0).permutation(len(scores)), place))
    within = np.empty(len(scores))
    within[mixed] = np.arange(len(scores)) - np.repeat(starts, counts)
    apart = min(0.08, 0.5 / max(counts.max(initial=1) - 1, 1))
    return (within - (counts[place] - 1) / 2) * apart


@checked
def profiles(
    scores: Mapping[str, Shaped[np.ndarray, "seeds"] | Shaped[np.ndarray, "seeds tasks"]],
    title: str = "",
    xlabel: str = "score",
    lower: bool = False,
) -> Any:
    """Draw performance profiles, one column wide: the share of runs that score more than each threshold.

    Agarwal et al. 2021, section 4.2, with pointwise 95% bootstrap intervals; those of one seed have none. Of up to
    500 scores in all the steps are exact, else there are 500 thresholds.

    Args:
        scores: by name, `[seeds]`, or `[seeds, tasks]` on one scale.
        title: of the picture.
        xlabel: what a score is, and its unit.
        lower: draw the share of runs that score less, where low scores are good.

    Returns:
        Matplotlib's figure; `save` writes it.

    Raises:
        ValueError: no score is finite.

    """
    sign = -1 if lower else 1
    at = _finite(scores)
    if len(at) > 500:
        at = np.linspace(at[0], at[-1], 500)
    margin = 0.03 * (at[-1] - at[0] or 1)
    at = np.concatenate([[at[0] - margin], at, [at[-1] + margin]])
    step = "pre" if lower else "post"
    with paper():
        drawn, axes = titled(title, scores)
        for number, (name, own) in enumerate(scores.items()):
            if len(own) >= LEAST_SEEDS:
                share, low, high = profile(sign * own, sign * at)
                shade(axes, at, low, high, number, len(scores) > FEW, step)
            else:
                share = (sign * np.ravel(own)[:, None] > sign * at).mean(0)
            axes.plot(at, share, drawstyle=f"steps-{step}", label=name, zorder=3, **look(number))
        sense = "below" if lower else "above"
        axes.set(xlabel=rf"$\tau$: {xlabel}", ylabel=rf"share of runs {sense} $\tau$", ylim=(-0.02, 1.02))
        axes.yaxis.set_major_formatter("{x:.0%}")
        legend(drawn, axes)
    return drawn
