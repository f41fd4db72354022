"""Pictures: learning curves, sample efficiency, sensitivity, seeds, profiles; policies and values on a grid.

Those for a paper take arrays and return Matplotlib's figure, which `save` writes as PNG and SVG; Matplotlib is
imported on first use.

Read `style`, `lines`, then `reach`, `hypers`, `scores`; `training` and `maps` draw what a run ends with. Imports
`sweeps` and what is below.
"""

from qjax.plot.hypers import Axis, at_best, heat_map, ordered, sensitivity, text
from qjax.plot.lines import RETURN, STEPS, Curve, curves, interval
from qjax.plot.maps import ARROWS, lake_picture, policy_maps
from qjax.plot.reach import efficiency, steps_to_reach
from qjax.plot.scores import distribution, profiles
from qjax.plot.style import COLOURS, save
from qjax.plot.training import (
    Example,
    by_episode,
    episode_bins,
    learning_curve,
    learning_curves,
    measures,
    returns_by_episode,
    returns_by_step,
)

__all__ = [
    "ARROWS",
    "COLOURS",
    "RETURN",
    "STEPS",
    "Axis",
    "Curve",
    "Example",
    "at_best",
    "by_episode",
    "curves",
    "distribution",
    "efficiency",
    "episode_bins",
    "heat_map",
    "interval",
    "lake_picture",
    "learning_curve",
    "learning_curves",
    "measures",
    "ordered",
    "policy_maps",
    "profiles",
    "returns_by_episode",
    "returns_by_step",
    "save",
    "sensitivity",
    "steps_to_reach",
    "text",
]
