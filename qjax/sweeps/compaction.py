"""Groups that lanes have left, made fewer: living lanes move together, through the host, and their bits stay.

A lane's last digits depend on its program's width, so no group gets narrower: there are fewer of them, of the
same programs. Lanes keep their order and their host, so a new group holds rows of the old group in its place and of
later ones alone. It is built leaf by leaf, each taking the place of the old one: what is needed beside the lanes is
a leaf of two groups, not a second set of lanes.
"""

from typing import Any

import jax
import numpy as np

from qjax.machine import hosts
from qjax.sweeps.placement import Placement

SHARE = 3 / 4
"""Groups are compacted when at most this share of them is needed, so that moving lanes stays rare."""


def needed(placement: Placement) -> int:
    """Return how many groups the living lanes need, at least one; all processes call."""
    return max(1, *(message["groups"] for message in hosts.gather({"groups": placement.needed})))


def moved(states: list[list[jax.Array]], placement: Placement, source: np.ndarray) -> list[list[jax.Array]]:
    """Return the leaves of fewer groups, keys as their data; the old ones are let go one by one.

    Args:
        states: the leaves of each old group, which nothing else holds.
        placement: of the fewer groups.
        source: which of this process's old rows, those of all groups together, each of its new rows was.

    """
    size = len(placement.rows)
    for group in range(placement.count):
        own = source[group * size : (group + 1) * size]
        if (own == np.arange(group * size, (group + 1) * size)).all():
            continue
        for number in range(len(states[group])):
            states[group][number] = _gathered(states, number, *np.divmod(own, size), placement)
    return states[: placement.count]


def _gathered(
    states: list[list[jax.Array]], number: int, groups: np.ndarray, rows: np.ndarray, placement: Placement
) -> Any:
    """Return a leaf of rows of some groups."""
    found: np.ndarray | None = None
    for group in np.unique(groups):
        old, here = hosts.local(states[group][number]), groups == group
        if found is None:
            found = np.empty_like(old)
        found[here] = old[rows[here]]
    assert found is not None
    return placement.from_local(found)
