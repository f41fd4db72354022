"""Maps of frozen lakes, in gymnasium's letters."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from qjax.core.checks import check_array, check_map, check_size, concrete, one_of
from qjax.core.text import shown

MAPS = {
    "4x4": ["SFFF", "FHFH", "FFFH", "HFFG"],
    "8x8": [
        "SFFFFFFF", "FFFFFFFF", "FFFHFFFF", "FFFFFHFF", "FFFHFFFF", "FHHFFFHF", "FHFFHFHF", "FFFHFFFG",
    ],
}  # fmt: skip
"""gymnasium's lakes."""


def map_of(desc: Any, map_name: Any = "4x4", map_seed: int = 0) -> list[str]:
    """Return the rows of a lake's map, checked; the arguments of `lake`."""
    if desc is None and map_name is None:
        from gymnasium.envs.toy_text.frozen_lake import generate_random_map

        return generate_random_map(seed=check_size("map_seed", map_seed, least=0))
    rows = one_of("map", map_name, MAPS) if desc is None else _rows_of(desc)
    check_map(rows)
    return rows


def _rows_of(desc: Any) -> list[str]:
    """Return the rows of a map: of strings, or bytes, or nested lists, or an array of any of them.

    Raises:
        TypeError: it is none of them.

    """
    if isinstance(desc, np.ndarray):
        desc = desc.tolist()
    if not isinstance(desc, Sequence) or isinstance(desc, str | bytes):
        raise TypeError(f"desc must be the rows of a map, such as ['SFF', 'FFG'], got {shown(desc)}")
    return [
        "".join(
            _text(tile) for tile in (row if isinstance(row, Sequence) and not isinstance(row, bytes) else [row])
        )
        for row in desc
    ]


def rewards_of(schedule: Any) -> Any:
    """Return a lake's rewards for goals, for holes and for the rest, each for itself where some may be traced.

    Raises:
        TypeError: they are no numbers.
        ValueError: they are not three, or one is not finite.

    """
    parts = schedule if isinstance(schedule, list | tuple) else [schedule]
    for each in parts:
        check_array("reward_schedule", each)
    if [np.shape(each) for each in parts] not in ([(3,)], [(), (), ()]):
        raise ValueError(
            f"reward_schedule has a reward for goals, for holes and for the rest, got {shown(schedule)}"
        )
    whole = [isinstance(each, int | np.integer) for each in parts]
    return tuple(float(each) for each in parts) if any(whole) and concrete(*parts) else schedule


def _text(tile: Any) -> str:
    if isinstance(tile, bytes):
        return tile.decode("ascii", "replace")
    if not isinstance(tile, str):
        raise TypeError(f"desc must be the letters of a map's tiles, S, F, H and G, got {shown(tile)}")
    return tile


def lake_map(lake: Any) -> list[str]:
    """Return the rows of the map of gymnax's FrozenLake, in gymnasium's letters."""
    return ["".join("SFHG"[int(tile)] for tile in row) for row in np.asarray(lake.desc)]
