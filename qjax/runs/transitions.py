"""The transitions that the memories of a run's lanes held at its last checkpoint."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from qjax.core import clock as clocks
from qjax.core.checks import check_listed, check_path, check_record, check_size
from qjax.core.text import shown
from qjax.datasets.dataset import Dataset
from qjax.datasets.recording import from_ring
from qjax.runs import checkpoint
from qjax.runs.config import lane_seeds, load_sweep
from qjax.runs.difference import first_difference
from qjax.runs.folder import CHECKPOINTS
from qjax.training.loop import Loop


def load_transitions(
    folder: str | Path, loop: Loop, seeds: Sequence[int] | None = None, settings: Sequence[int] | None = None
) -> Dataset:
    """Return what the rings of a run's lanes held at its last checkpoint, as a data set.

    A run that was stopped has a checkpoint, one that has ended where it keeps it (`Run(keep_checkpoint=True)`,
    `--keep-checkpoint`). Streams are the environments of the lanes, those of one setting after another, and in
    each of its seeds, in the orders that are given.

    Args:
        folder: the run's.
        loop: what its sweep built, for any of its settings: it says what the checkpoint's arrays are.
        seeds: of which seeds, all by default.
        settings: of which settings, by their numbers from 0, all by default.

    Raises:
        FileNotFoundError: the folder holds no run, or no checkpoint.
        TypeError: the memory of the loop is no ring.
        ValueError: the checkpoint is damaged or of another loop, a seed or setting is none of the run's, or of a
            lane no ring is left: it has left the sweep, or ended its episodes; and as for `datasets.from_ring`.

    """
    check_path("folder", folder)
    check_record("loop", loop, Loop)
    chosen = {"seeds": _numbers("seeds", seeds), "settings": _numbers("settings", settings)}
    root, sweep = Path(folder), load_sweep(folder)
    found = checkpoint.find(root / CHECKPOINTS)
    if found is None:
        raise FileNotFoundError(
            f"{root} holds no checkpoint: a run that ends keeps its last one with keep_checkpoint=True"
            " (--keep-checkpoint)"
        )
    lane = jax.eval_shape(loop.init, jax.random.key(0))
    _check_same(root, sweep, found.manifest["leaves"], loop, lane)
    lanes = _lanes(root, sweep, **chosen)
    slots = found.totals(lanes)["slots"]
    _check_there(root, sweep, lanes[slots < 0], "have left the sweep")
    leaves = dict(zip((leaf["name"] for leaf in found.manifest["leaves"]), found.rows(slots), strict=True))
    found.forget()
    if loop.episodes is not None:
        done = leaves[".episodes"] >= loop.episodes
        _check_there(root, sweep, lanes[done], f"have their {loop.episodes} episodes, and wrote no more of them")
    state = jax.tree_util.tree_map_with_path(
        lambda path, _: leaves[f".memory{jax.tree_util.keystr(path)}"], lane.memory
    )
    return from_ring(state, clocks.at(found.manifest["tick"]), loop.env.num_actions, loop.env.name)


def _numbers(name: str, given: Sequence[int] | None) -> list[int] | None:
    """Return the numbers that are asked for, None for all."""
    if given is None:
        return None
    found = [check_size(name, each, least=0, most=2**32 - 1) for each in check_listed(name, given, "numbers")]
    if not found or len(set(found)) < len(found):
        raise ValueError(f"{name} must be different numbers, at least one, got {shown(given)}")
    return found


def _check_same(
    folder: Path, sweep: Mapping[str, Any], leaves: list[dict[str, Any]], loop: Loop, lane: Any
) -> None:
    """Check that the run was one of this loop, by its environment, its memories and its observations."""
    if (before := sweep.get("environment")) not in (None, now := loop.env.name):
        raise ValueError(f"{folder} is a run of {shown(before)}, the loop one of {shown(now)}")
    own, held = {"memory": lane.memory, "obs": lane.obs}, {leaf["name"][1:]: leaf for leaf in leaves}
    wanted = {
        f"{name}{jax.tree_util.keystr(path)}": {"shape": list(x.shape), "dtype": str(x.dtype)}
        for name, tree in own.items()
        for path, x in jax.tree_util.tree_leaves_with_path(tree)
    }
    found = {
        name: {key: leaf[key] for key in ("shape", "dtype")}
        for name, leaf in held.items()
        if name.startswith(tuple(own))
    }
    if difference := first_difference(found, wanted, "lane"):
        raise ValueError(f"{folder} is a run of another loop: {difference}")


def _lanes(
    folder: Path, sweep: Mapping[str, Any], seeds: list[int] | None, settings: list[int] | None
) -> np.ndarray:
    """Return the numbers of the lanes of some seeds and settings."""
    known = list(lane_seeds(sweep))
    count = sweep["lanes"] // len(known)
    seeds, settings = known if seeds is None else seeds, list(range(count)) if settings is None else settings
    if strange := [seed for seed in seeds if seed not in set(known)]:
        raise ValueError(f"seeds {shown(strange)} are none of the run's in {folder}, {shown(known)}")
    if strange := [setting for setting in settings if setting >= count]:
        raise ValueError(f"settings {shown(strange)} are none of the {count} of the run in {folder}")
    places = {seed: place for place, seed in enumerate(known)}
    return np.array([setting * len(known) + places[seed] for setting in settings for seed in seeds])


def _check_there(folder: Path, sweep: Mapping[str, Any], gone: np.ndarray, why: str) -> None:
    """Refuse lanes that have no ring to read any more."""
    if not len(gone):
        return
    known = list(lane_seeds(sweep))
    pairs = [f"seed {known[lane % len(known)]} of setting {lane // len(known)}" for lane in gone.tolist()]
    raise ValueError(f"{folder}: {len(gone)} lanes {why}, the first is {pairs[0]}: choose other seeds or settings")
