"""What a sweep returns."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from qjax.runs.points import Point
from qjax.runs.results import Table


class Best(NamedTuple):
    """Each lane's agent at its best evaluation while it trained.

    The best of several evaluations looks better than it is: evaluate it again, on fresh keys.
    """

    agents: Any
    """Their states, NumPy arrays `[lanes, ...]`."""
    env_steps: np.ndarray
    """Environment steps of the lane by then, `[lanes]`."""


class Result(NamedTuple):
    """What a sweep returns. Lanes are ordered by setting, then by seed."""

    agents: Any
    """The agents' last states, NumPy arrays `[lanes, ...]`."""
    points: list[Point]
    """Its log points; on several hosts, of this host's lanes."""
    seeds: np.ndarray
    """Each lane's seed, `[lanes]`."""
    settings: np.ndarray
    """Index of each lane's setting in `hypers`, `[lanes]`."""
    hypers: Mapping[str, np.ndarray]
    """The swept hyper-parameters by name, `[settings]` each; empty where nothing was swept."""
    diverged_at: np.ndarray
    """Environment steps at which each lane diverged (see `Point`), -1 where it did not, `[lanes]`."""
    width: int
    """Lanes per device in a group."""
    env_steps: int
    """Of all lanes together; only steps of lanes that still had work."""
    compile_s: float
    """Seconds of compilation."""
    run_s: float
    """Seconds of running."""
    stopped: str | None
    """Why it ended before its time: "SIGINT", "SIGTERM", "SIGHUP" or "nan"; None where it did not."""
    dropped_at: np.ndarray
    """Environment steps at which `drop` or `drop_diverged` took each lane, -1 where neither did, `[lanes]`: the
    agents and the last rows of these lanes are of then, not of the end."""
    best: Best | None = None
    """The agents of the best evaluations, where there were any while it trained."""
    snapshots: Mapping[int, Any] = MappingProxyType({})
    """The agents that were kept on the way, states as those of `agents`, by the steps asked for."""

    def table(self) -> Table:
        """Return its log points as arrays `[settings, seeds, points]`, by name as the columns of a run's table.

        Raises:
            ValueError: there is no log point, or each of several hosts has its own lanes'.

        """
        return Table.of_points(self.points, self.seeds[self.settings == 0], self.hypers)

    def frame(self) -> Any:
        """Return its log points as a tidy pandas DataFrame, one row for every lane and log point until its last.

        Raises:
            ImportError: pandas is not installed.
            ValueError: as `table`.

        """
        return self.table().frame()
