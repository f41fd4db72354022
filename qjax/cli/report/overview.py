"""What was run, and what is missing of it."""

from collections.abc import Iterator

from qjax.cli.report.material import Material, Run
from qjax.cli.report.parts import Section, Table, Words
from qjax.core.text import joined
from qjax.runs.config import flat, lane_seeds


def sections(material: Material) -> Iterator[Section]:
    """Yield what was run, and what is to be known before anything is read from it."""
    columns = ("run", "algorithm", "environment", "seeds", "settings", "length of each", "state")
    caption = "What was run. Every seed trains an agent of its own; a setting is a combination of swept values."
    parts = [Table(caption, columns, [_row(run) for run in material.runs], len(columns))]
    yield Section("runs", "What was run", parts)
    notices = [*_missing(material), *material.notes]
    if notices:
        told = [Words(material.hidden(note), notice=True) for note in notices]
        yield Section("missing", "What is missing, and what to know", told)


def _row(run: Run) -> list[str]:
    sweep = next((part.sweep for part in run.parts if part.sweep), {})
    arguments = flat(run.config.get("arguments", {}))
    if run.study is not None:
        environment, settings = run.study.environment, f"{len(run.study.samples):,}"
    else:
        environment, settings = str(sweep.get("environment") or arguments.get("env") or ""), ""
    seeds = f"{len(lane_seeds(sweep)):,}" if "seeds" in sweep else str(arguments.get("seeds", ""))
    length = next((f"{sweep[unit]:,} {unit}" for unit in ("steps", "episodes") if sweep.get(unit)), "")
    algorithm = joined(run.config.get("experiment", ""))
    if run.searches:
        algorithm = f"search of {arguments.get('name', 'settings')}"
        seeds = length = ""  # those of its sweeps, which its own section tells
        several = [name for name in arguments.get("search", arguments).get("environments", ()) if name]
        environment = ", ".join(several) or environment
    return [run.name, algorithm, environment, seeds, settings, length, state(run)]


def state(run: Run) -> str:
    """Return how far a run has come, in words."""
    if run.searches:
        return "ended" if run.complete else "has not ended"
    if run.study is None:
        return "nothing can be read of its table"
    if run.complete:
        return "ended"
    ends = sorted({int(sample.x[-1]) for sample in run.study.samples if not sample.complete})
    return f"interrupted, or goes on: {ends[0]:,} {run.study.unit} so far"


def _missing(material: Material) -> Iterator[str]:
    for name, why in material.lost.items():
        yield f"{name} is not on this page: {why}"
    for run in material.runs:
        for note in run.missing:
            yield note if str(run.folder) in note else f"{run.name}: {note}"
