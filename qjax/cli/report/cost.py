"""Which seeds diverged, and what the runs took on which machine."""

from collections.abc import Iterator

import numpy as np

from qjax.cli.compare import describe
from qjax.cli.report.material import Material, Part, Run
from qjax.cli.report.parts import Section, Table, Words, filled
from qjax.runs.points import NEVER

MOST = 30
"""Diverged seeds that are listed."""

MACHINE = (
    "processor",
    "machine",
    "backend",
    "devices",
    "python",
    "qjax",
    "jax",
    "flax",
    "optax",
    "gymnax",
    "numpy",
)


def divergence(material: Material) -> Iterator[Section]:
    """Yield which seeds diverged, and when."""
    known = [run for run in material.runs if run.study is not None]
    if not known:
        return
    rows = [row for run in known for row in _diverged(run)]
    lanes = sum(part.table.diverged_at.size for run in known for part in run.parts if part.table is not None)
    told = "the loss or a parameter became NaN or infinite"
    parts: list[Words | Table]
    if not rows:
        parts = [Words(f"None of {lanes:,} agents diverged: in none {told}.")]
    else:
        more = f" The first {MOST} are listed." if len(rows) > MOST else ""
        caption = f"{len(rows):,} of {lanes:,} agents diverged: {told}.{more} They count in scores as they are."
        columns = ("run", "setting", "seed", "at environment step")
        parts = [filled(Table(caption, columns, rows[:MOST], 2))]
    yield Section("divergence", "Divergence", parts)


def _diverged(run: Run) -> Iterator[list[str]]:
    assert run.study is not None
    for sample, (part, number) in zip(run.study.samples, run.origins(), strict=True):
        if part.table is None:
            continue
        at = part.table.diverged_at[number]
        for seed in np.flatnonzero(at != NEVER):
            yield [run.name, describe(sample.setting), f"{part.table.seeds[seed]}", f"{at[seed]:,}"]


def compute(material: Material) -> Iterator[Section]:
    """Yield what each run took, and the machine and the versions that it ran on."""
    parts = [(run, part) for run in material.runs for part in run.parts if not _alone(run, part)]
    rows = [_took(run, part) for run, part in parts]
    caption = (
        "What was computed. Steps are environment steps of all seeds and settings together; compilation is not in"
        " the run's time. Width: agents side by side on one device."
    )
    columns = ("run", "environment steps", "compile (s)", "run (s)", "steps per second", "agents", "width")
    tables = [filled(Table(caption, columns, rows))]
    versions = {run.name: run.parts[0].config.get("versions", {}) for run in material.runs if run.parts}
    there = [name for name in MACHINE if any(name in found for found in versions.values())]
    if there:
        rows = [[name, *(found.get(key, "") for key in there)] for name, found in versions.items()]
        caption = "Machine and versions. The same ones and the same width give the same numbers bit for bit."
        tables.append(Table(caption, ["run", *there], rows, len(there) + 1))
    yield Section("compute", "Compute", tables)


def _alone(run: Run, part: Part) -> bool:
    """Return whether a part of a search is a run of its own on this page."""
    return run.searches and part.name.startswith("fresh_")


def _took(run: Run, part: Part) -> list[str]:
    """Return the cells of a run's costs: of one that has not ended, what its tables tell."""
    steps, seconds, summary = part.summary.get("env_steps"), part.summary.get("run_s"), part.summary
    so_far = ""
    if part.table is not None and (steps is None or seconds is None):
        steps, seconds = int(part.table.env_steps[..., -1].sum()), float(np.nanmax(part.table.seconds, initial=0))
        so_far = " so far" * (not part.table.complete)
    per_second = f"{steps / seconds:,.0f}" if steps and seconds else ""
    return [
        " ".join(filter(None, (run.name, part.name))),
        "" if steps is None else f"{steps:,}{so_far}",
        _seconds(summary.get("compile_s")),
        _seconds(seconds),
        per_second,
        f"{part.sweep['lanes']:,}" if "lanes" in part.sweep else "",
        f"{part.sweep['width']:,}" if "width" in part.sweep else "",
    ]


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:,.1f}"
