"""The agents that a run ended with or kept on its way, written and restored as the records that they were."""

import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np

from qjax.core import files, jsonfile
from qjax.core.checks import check_path, check_size, one_of
from qjax.core.structure import Unknown, described, rebuilt
from qjax.core.text import short
from qjax.machine import hosts
from qjax.runs.ended import WHEN_ENDED, altered

AGENTS, BEST, KEPT, STRUCTURE = "agents", "best_agents", "agents_at", "structure.json"
FOLDERS: dict[str, str] = {"last": AGENTS, "best": BEST}
"""Where the agents stand that a run ended with, and those of the best evaluations while it trained. Those that it
kept at chosen steps have a folder each in `KEPT`."""

Which = str | int
"""Which agents of a run: "last", "best", or those that were kept at so many steps."""


def write_agents(folder: Path, agents: Any, which: Which = "last") -> None:
    """Write agents' states into a run's folder; all processes call."""
    import orbax.checkpoint as ocp

    path = folder / _place(which)
    if isinstance(which, int) and hosts.is_first():
        files.make(path.parent)
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


def kept_at(folder: Path) -> list[int]:
    """Return the steps at which a run has kept agents, in their order."""
    names = [path.name for path in (folder / KEPT).glob("[0-9]*") if (path / STRUCTURE).is_file()]
    return sorted(int(name) for name in names if name.isdecimal())


def load_agents(folder: str | Path, like: Any = None, which: Which = "last") -> Any:
    """Return the agents' states of a run as the records that they were, with NumPy arrays `[lanes, ...]`.

    A record of one's own is made again where its module is imported. Else, or where it has other fields by now,
    a warning says so and all records come back as dicts.

    Args:
        folder: the run's folder.
        like: a pytree of the structure that is wanted, arrays or `jax.ShapeDtypeStruct`s; default what was written.
        which: "last", those that it ended with, "best", each lane's of its best evaluation while it trained, or the
            steps at which they were kept (`snapshots` of a sweep), in a run that still goes on, too.

    Raises:
        FileNotFoundError: the folder holds no finished run, nothing was evaluated while it trained, or it kept no
            agents at these steps (those that it has are named).
        ValueError: they are damaged, are of another structure than `like`, or `which` is none of these.

    """
    check_path("folder", folder)
    held = _place(which)
    path = (Path(folder) / held).absolute()
    if not path.is_dir():
        raise FileNotFoundError(_missing(Path(folder), which))
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


def _place(which: Which) -> str:
    """Return the folder of some agents, in that of their run."""
    if isinstance(which, str):
        return one_of("which", which, FOLDERS)
    return f"{KEPT}/{check_size('which', which)}"


def _missing(folder: Path, which: Which) -> str:
    """Return why agents are not there."""
    if not isinstance(which, str):
        there = ", ".join(map(str, kept_at(folder)))
        return f"{folder} kept no agents at {which} steps" + (
            f"; those at {there} are there" if there else ", nor any"
        )
    if (folder / AGENTS).is_dir():
        return f"{folder} holds no best agents: none were evaluated while it trained"
    return f"{folder} holds no final agents: no run has finished there"


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
