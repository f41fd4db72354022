"""A run's folder opened for a sweep: from where it goes on, and whether it is the same sweep."""

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from qjax.core.text import apart, short
from qjax.runs import reading
from qjax.runs.agents import load_agents
from qjax.runs.checkpoint import Checkpoint
from qjax.runs.config import load_config
from qjax.runs.difference import first_difference
from qjax.runs.points import of_lanes
from qjax.runs.run import Run
from qjax.runs.versions import versions
from qjax.sweeps.described import Described
from qjax.sweeps.evaluating import steps_of_best
from qjax.sweeps.extending import changed_schedule, continued
from qjax.sweeps.programs import Programs
from qjax.sweeps.result import Best, Result


class Opened(NamedTuple):
    """A run, and where it stands."""

    run: Run
    """The run, its folder locked."""
    program: str
    """The text of a lane's start and first iteration."""
    found: Checkpoint | None
    """What to go on from, or what the sweep ended with; None where it begins."""
    elsewhere: dict[str, Any] | None
    """What differs where the run goes on from where it stopped, for its config; None where nothing does."""
    described: Described
    """The sweep, with the phases of a run that was extended where it is one."""
    extended: list[dict[str, Any]] | None = None
    """What the run was before each time that it was extended; None where it is not extended now."""

    @property
    def stands(self) -> tuple[Run, int]:
        """The run, and after how many log points it goes on."""
        return self.run, 0 if self.found is None else len(self.found.manifest["points"])

    @property
    def ended(self) -> bool:
        """Whether nothing is left to do."""
        return self.found is not None and self.found.ended


def open_run(run: Run, described: Described, programs: Programs) -> Opened:
    """Lock a run's folder for a sweep, and look at what it holds; nothing is changed."""
    program, width = described.program(), programs.placement.width
    found = run.lifecycle.open(described.describe(width))
    if found is None:
        return Opened(run, program, None, None, described)
    grown, extended = continued(described, load_config(run.folder), found)
    run.lifecycle.grow(grown.describe(width))
    if extended is not None and not run.accept_program and _other_program(found.program(), program) is not None:
        _name_schedule(run, described, found)
    elsewhere = _check_same(found, programs.describe(), program, run.accept_program)
    return Opened(run, program, found, elsewhere, grown, extended)


def _name_schedule(run: Run, described: Described, found: Checkpoint) -> None:
    """Refuse to go on to more steps where a schedule that was logged is another with them."""
    if named := changed_schedule(described, reading.read_points(run.folder), found.manifest["points"]):
        before = found.manifest["config"]["sweep"]["steps"]
        raise ValueError(
            f"{run.folder} cannot go on from {before} to {described.steps} steps: {named}; build it with the"
            f" {before} steps of before, or accept_program=True goes on with the other one, and the run's config"
            " says so"
        )


def returned(opened: Opened, programs: Programs, snapshots: Sequence[int]) -> Result:
    """Return what a sweep that has ended returned, from its run's folder, and the snapshots that are asked for."""
    assert opened.found is not None
    described = opened.described
    manifest, placement = opened.found.manifest, programs.placement
    agents = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct((placement.lanes, *x.shape[1:]), x.dtype), programs.shapes.agent
    )
    points, best = reading.points(opened.run.folder, manifest["points"]), None
    totals = opened.found.totals(np.arange(placement.lanes))
    if described.evaluation is not None:
        best = Best(load_agents(opened.run.folder, agents, "best"), steps_of_best(points))
    return Result(
        agents=load_agents(opened.run.folder, agents),
        points=[of_lanes(point, placement.local) for point in points],
        seeds=described.seeds,
        settings=described.settings,
        hypers=described.swept,
        diverged_at=totals["diverged_at"],
        width=placement.width,
        env_steps=manifest["env_steps"],
        compile_s=manifest["compile_s"],
        run_s=manifest["seconds"],
        stopped=None,
        dropped_at=totals["dropped_at"],
        best=best,
        snapshots={step: load_agents(opened.run.folder, agents, step) for step in snapshots},
    )


def _check_same(
    found: Checkpoint, leaves: list[dict[str, Any]], program: str, accept: bool
) -> dict[str, Any] | None:
    """Refuse a checkpoint of lanes of another structure, or of another program unless it is accepted.

    Return what differs where the run goes on, for its config; None where nothing does.
    """
    if difference := first_difference(found.manifest["leaves"], leaves, "lane"):
        raise ValueError(f"checkpoint {found.folder} holds lanes of another structure: {difference}")
    before, now = ({**own, "devices": ""} for own in (found.manifest["versions"], versions()))
    changed = {name: [before.get(name, "none"), own] for name, own in now.items() if before.get(name) != own}
    said = short(", ".join(f"{name} {old} before, {new} now" for name, (old, new) in changed.items()), 100)
    differs = _other_program(found.program(), program)
    if differs is not None and not accept:
        how = "returns it as it ended" if found.ended else "goes on all the same, and the run's config says so"
        why = said or "by the same versions: something in build has changed"
        raise ValueError(
            f"checkpoint {found.folder} was written by another program ({why}): {differs}; accept_program=True"
            f" (--accept-program) {how}"
        )
    if changed and not found.ended:
        warnings.warn(f"going on where another version stopped, last digits may differ: {said}", stacklevel=5)
    if differs is None and not changed:
        return None
    return {"log_points": len(found.manifest["points"]), "versions": changed, "program": differs}


def _other_program(before: str, now: str) -> str | None:
    """Return the first difference of two programs' texts, None where there is none."""
    lines = [[line.strip() for line in text.splitlines()] for text in (before, now)]
    for old, new in zip(*lines, strict=False):
        if old != new:
            return "{!r} before, {!r} now".format(*apart(old, new, most=60))
    counts = [len(each) for each in lines]
    return None if counts[0] == counts[1] else f"{counts[0]} lines before, {counts[1]} now"
