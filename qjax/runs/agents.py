"""The agents that a run ended with, written and restored as the records that they were."""

import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np

from qjax.core.checks import check_path, one_of
from qjax.core.text import short
from qjax.machine import hosts
from qjax.runs import files, jsonfile
from qjax.runs.ended import WHEN_ENDED, altered
from qjax.runs.structure import Unknown, described, rebuilt

AGENTS, BEST, STRUCTURE = "agents", "best_agents", "structure.json"
FOLDERS: dict[str, str] = {"last": AGENTS, "best": BEST}
"""Where the agents stand that a run ended with, and those of the best evaluations while it trained."""


def write_agents(folder: Path, agents: Any, which: str = "last") -> None:
    """Write agents' states into a run's folder; all processes call."""
    import orbax.checkpoint as ocp

    path = folder / FOLDERS[which]
    # Orbax takes no arrays without entries.
    whole = jax.tree.map(lambda x: x if np.size(x) else None, agents)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path.absolute(), {"agents": whole}, force=True)
    if hosts.is_first():
        try:
            structure = {"agents": described(agents)}
        except Unknown as why:
            structure = {"unknown": str(why)}
        files.write(path / STRUCTURE, jsonfile.text(structure))
    files.sync_all(path)


def load_agents(folder: str | Path, like: Any = None, which: str = "last") -> Any:
    """Return the agents' states of a run as the records that they were, with NumPy arrays `[lanes, ...]`.

    A record of one's own is made again where its module is imported. Else, or where it has other fields by now,
    a warning says so and all records come back as dicts.

    Args:
        folder: the run's folder.
        like: a pytree of the structure that is wanted, arrays or `jax.ShapeDtypeStruct`s; default what was written.
        which: "last", those that it ended with, or "best", each lane's of its best evaluation while it trained.

    Raises:
        FileNotFoundError: the folder holds no finished run, or nothing was evaluated while it trained.
        ValueError: they are damaged, are of another structure than `like`, or `which` is neither.

    """
    check_path("folder", folder)
    held: str = one_of("which", which, FOLDERS)
    path = (Path(folder) / held).absolute()
    if not path.is_dir():
        if path.with_name(AGENTS).is_dir():
            raise FileNotFoundError(f"{folder} holds no best agents: none were evaluated while it trained")
        raise FileNotFoundError(f"{folder} holds no final agents: no run has finished there")
    wrong = altered(Path(folder), held)
    if own := [name for name in wrong if name.startswith(f"{held}/")]:
        raise ValueError(f"{Path(folder) / own[0]} is damaged: it is not what the run wrote")
    if wrong:
        warnings.warn(f"{folder}: {'; '.join(wrong)} {WHEN_ENDED}", stacklevel=2)
    like = _written(path) if like is None else like
    there = jax.tree.map(lambda x: x if np.size(x) else None, like)
    agents = _restored(path, () if like is None else ({"agents": there},))
    if like is None:
        return agents
    for wanted, found in zip(jax.tree.leaves(there), jax.tree.leaves(agents), strict=True):
        if np.shape(wanted) != np.shape(found):  # Orbax looks at the structure alone
            shapes = f"an array {list(np.shape(found))}, not {list(np.shape(wanted))}"
            raise ValueError(f"{path} holds other agents: {shapes}")
    flat = iter(jax.tree.leaves(agents))
    return jax.tree.map(lambda x: next(flat) if np.size(x) else np.zeros(x.shape, x.dtype), like)


def _restored(path: Path, like: tuple[Any, ...]) -> Any:
    """Return what stands in the files."""
    import orbax.checkpoint as ocp

    try:
        with ocp.StandardCheckpointer() as checkpointer:
            return checkpointer.restore(path, *like)["agents"]
    except Exception as error:  # Orbax raises of every kind
        raise ValueError(f"{path} is damaged, or holds other agents: {short(str(error), 200)}") from error


def _written(path: Path) -> Any:
    """Return the structure that was written, None where it cannot be made again, of which a warning tells."""
    if not (path / STRUCTURE).is_file():
        return None
    found = jsonfile.read(path / STRUCTURE, {"unknown": jsonfile.TEXT})
    try:
        if "agents" not in found:
            raise Unknown(found.get("unknown", "it has no agents"))
        return rebuilt(found["agents"])
    except Unknown as why:
        warnings.warn(f"{path.parent}: records come back as dicts, for {why}", stacklevel=3)
        return None
    except ValueError as error:
        raise ValueError(f"{path / STRUCTURE} is damaged: {error}") from None
