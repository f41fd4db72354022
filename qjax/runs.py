"""A run's folder: config.json, metrics.csv, timing.csv, summary.json and the final agents.

`metrics.csv` is tidy, one row per seed and log point, and holds nothing that depends on the clock on the wall;
that stands in `timing.csv`. Both grow while the run does.
"""

import csv
import json
import math
import platform
import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np

from qjax.sweep import Point

PARTS = (
    "config.json",
    "metrics.csv",
    "timing.csv",
    "summary.json",
    "agents",
    "learning_curve.png",
    "policy.png",
)
"""What a run writes, and what replaces it removes."""

METRICS = ("seed", "env_steps", "episodes", "mean_return", "loss", "epsilon", "mean_q")
TIMING = ("seconds", "env_steps", "env_steps_per_s", "updates_per_s")


class Run:
    """The folder of one run, open for writing. Nothing is touched before the first log point."""

    def __init__(self, folder: str | Path, experiment: str, arguments: Mapping[str, Any], overwrite: bool = False):
        """Check that the folder may be written to.

        Args:
            folder: where the run goes.
            experiment: its name.
            arguments: everything needed to run it again.
            overwrite: replace an earlier run: its `PARTS` are removed, and nothing else.

        Raises:
            FileExistsError: the folder holds something and `overwrite` is not set, or what it holds is no run, or
                it is a file.

        """
        self.folder = Path(folder)
        self._config = {"experiment": experiment, "arguments": _plain(arguments)}
        self._last: Point | None = None
        self._begun = False
        if self.folder.exists() and not self.folder.is_dir():
            raise FileExistsError(f"{self.folder} is a file; a run needs a folder")
        if self.folder.exists() and any(self.folder.iterdir()):
            if not overwrite:
                raise FileExistsError(f"{self.folder} is not empty: choose another --out, or give --overwrite")
            if not (self.folder / "config.json").is_file() or "experiment" not in load_config(self.folder):
                raise FileExistsError(f"{self.folder} holds no run that could be overwritten: choose another --out")

    @property
    def begun(self) -> bool:
        """Whether anything has been written yet."""
        return self._begun

    def _begin(self) -> None:
        """Make the folder, clear an earlier run's parts away, and write the config."""
        if self._begun:
            return
        self._begun = True
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in PARTS:
            path = self.folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        self._write("config.json", {**self._config, "versions": _versions()})
        self._append("metrics.csv", [METRICS])
        self._append("timing.csv", [TIMING])

    def log(self, point: Point, seeds: np.ndarray) -> None:
        """Add a log point: one row for every seed that stepped, one row of timing."""
        self._begin()
        columns = [
            seeds,
            point.env_steps,
            point.episodes,
            point.mean_return,
            point.means["loss"],
            point.values.get("epsilon", np.full(len(seeds), np.nan)),
            point.means["q"],
        ]
        rows = [[_cell(column[i]) for column in columns] for i in np.flatnonzero(point.changed)]
        self._append("metrics.csv", rows)
        before, self._last = self._last, point
        seconds = point.seconds - (before.seconds if before else 0)
        total = int(point.env_steps.sum())
        steps = total - (int(before.env_steps.sum()) if before else 0)
        rates = (f"{steps / seconds:.0f}", f"{point.updates / seconds:.0f}")
        self._append("timing.csv", [(f"{point.seconds:.3f}", total, *rates)])

    def finish(self, summary: Mapping[str, Any], agents: Any) -> None:
        """Write the summary and the agents' final states (without their memories)."""
        self._begin()
        import orbax.checkpoint as ocp

        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save((self.folder / "agents").absolute(), {"agents": agents})
        self._write("summary.json", _plain(summary))

    def _write(self, name: str, content: Any) -> None:
        (self.folder / name).write_text(json.dumps(content, indent=2) + "\n")

    def _append(self, name: str, rows: Sequence[Sequence[Any]]) -> None:
        with (self.folder / name).open("a", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)


def load_agents(folder: str | Path, like: Any = None) -> Any:
    """Return the agents' final states of a run, NumPy arrays `[lanes, ...]`.

    Args:
        folder: the run's folder.
        like: a pytree of that structure, arrays or `jax.ShapeDtypeStruct`s (`jax.eval_shape` of the agent's
            `init`), to restore records such as `DQNState` as they were; without it they come back as dicts.

    Raises:
        FileNotFoundError: the folder holds no finished run.

    """
    import orbax.checkpoint as ocp

    path = (Path(folder) / "agents").absolute()
    if not path.is_dir():
        raise FileNotFoundError(f"{folder} holds no final agents: no run has finished there")
    with ocp.StandardCheckpointer() as checkpointer:
        restored = checkpointer.restore(path, *(() if like is None else ({"agents": like},)))
    return restored["agents"]


def load_config(folder: str | Path) -> dict[str, Any]:
    """Return a run's config: `experiment`, `arguments` and `versions`."""
    return json.loads((Path(folder) / "config.json").read_text())


def load_metrics(folder: str | Path) -> dict[str, np.ndarray]:
    """Return the columns of a run's metrics.csv; empty cells are NaN."""
    with (Path(folder) / "metrics.csv").open() as file:
        header, *rows = csv.reader(file)
    columns = zip(*rows, strict=True) if rows else [()] * len(header)
    return {
        name: np.array([float(cell) if cell else np.nan for cell in column])
        for name, column in zip(header, columns, strict=True)
    }


def _cell(value: Any) -> str:
    """Return a number in the fewest digits that read back as the same bits; nothing for NaN."""
    return "" if np.issubdtype(value.dtype, np.floating) and np.isnan(value) else str(value)


def _plain(value: Any) -> Any:
    """Return what JSON can hold; it has no NaN, so that is null."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and math.isnan(value):
        return None
    return str(value) if isinstance(value, Path) else value


def _versions() -> dict[str, str]:
    packages = {name: version(name) for name in ("qjax", "jax", "jaxlib", "flax", "optax", "gymnax", "numpy")}
    machine = {"python": platform.python_version(), "machine": platform.machine()}
    return {**packages, **machine, "backend": jax.default_backend(), "devices": str(jax.local_device_count())}
