"""What can be read of runs, as far as it goes: nothing that is wrong with one takes the others away."""

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import qjax
from qjax.cli import grid, grouping, studies
from qjax.cli.compare import Choices, Group
from qjax.cli.report.private import Hidden
from qjax.cli.studies import Study
from qjax.runs import results
from qjax.runs.config import CONFIG, SUMMARY, load_summary
from qjax.runs.points import NEVER
from qjax.runs.results import Results
from qjax.searches.search import SEARCH

EVALUATED = "eval_return"
"""The column of greedy returns while a run trains."""


@dataclass(frozen=True)
class Part:
    """A folder with tables: a run has one, a grid one for each of its static settings."""

    name: str
    """Of the folder in the grid's; nothing where there is no grid."""
    folder: Path
    config: Mapping[str, Any]
    summary: Mapping[str, Any]
    """What it ended with; empty where it has not."""
    table: Results | None
    """None where it cannot be read."""

    @property
    def sweep(self) -> Mapping[str, Any]:
        """What its config says of its sweep."""
        return self.config.get("sweep", {})

    def setting(self, number: int) -> dict[str, Any]:
        """Return the values of what was swept in one of its settings."""
        return {name: column[number] for name, column in self.sweep.get("hypers", {}).items()}

    def evaluations(self) -> list[np.ndarray | None]:
        """Return the greedy returns of each setting that its summary tells, `[seeds]`."""
        hypers = self.sweep.get("hypers", {})
        settings = len(next(iter(hypers.values()))) if hypers else 1
        return _if_readable(lambda folder: studies.evaluations(folder, settings), self.folder) or []

    def diverged(self, setting: int) -> int | None:
        """Return how many of a setting's seeds diverged, None where that is not known."""
        return None if self.table is None else int((self.table.diverged_at[setting] != NEVER).sum())


@dataclass(frozen=True)
class Run:
    """One RUN of the command line."""

    number: int
    name: str
    """What the page calls it."""
    folder: Path
    config: Mapping[str, Any]
    parts: Sequence[Part]
    study: Study | None
    """Its settings with their curves, None where no table can be read."""
    evaluated: Study | None
    """The same with greedy returns while it trains, where it has them."""
    missing: Sequence[str]
    """In words."""
    place: str
    """What its folder is called in a command, under none of this machine's."""
    searches: bool = False
    """Whether it is a search, whose sweeps have no scores to compare but those on fresh seeds, which follow it."""

    @property
    def complete(self) -> bool:
        """Whether all of it has ended."""
        if self.searches:
            return (self.folder / SUMMARY).is_file()  # search.json is there at its first rung
        return self.study is not None and all(sample.complete for sample in self.study.samples)

    @property
    def unreadable(self) -> bool:
        """Whether nothing of its tables is on the page."""
        return self.study is None and not self.searches

    def origins(self) -> list[tuple[Part, int]]:
        """Return the part of each of the study's settings, and the setting's number there."""
        assert self.study is not None
        named, seen, found = {part.name: part for part in self.parts}, Counter[str](), []
        for sample in self.study.samples:
            traced = next(iter(self.parts)).sweep.get("hypers", {})
            name = grid.folder({key: value for key, value in sample.setting.items() if key not in traced})
            part = named.get(name, self.parts[0])
            found.append((part, seen[part.name]))
            seen[part.name] += 1
        return found


@dataclass(frozen=True)
class Material:
    """All that a page tells of."""

    runs: Sequence[Run]
    lost: Mapping[str, str]
    """Why there is nothing of a RUN, by its name."""
    groups: Sequence[Group]
    """The runs that can be compared, by environment."""
    notes: Sequence[str]
    """What is to be known of what is compared."""
    hidden: Hidden

    def run(self, group: Group, name: str) -> Run:
        """Return the run that a group calls so."""
        return next(run for run in self.runs if run.study is group.runs[name])


class Titled(Group):
    """Runs whose pictures' titles are not broken into lines, for they become captions."""

    def title(self, *more: str, run: str = "", width: int = 10_000) -> str:
        """Return what a picture shows, a line for each thing."""
        return super().title(*more, run=run, width=10_000)


def collect(folders: Sequence[Path], labels: Sequence[str], choices: Choices) -> Material:
    """Return what can be read of runs.

    Raises:
        ValueError: nothing can be read of any of them, or one is named twice, or a choice is wrong.
        OSError: as ValueError, where there is but one.

    """
    names = list(labels) or called(folders)
    if len(set(names)) < len(names):
        raise ValueError(f"runs need labels of their own, got {', '.join(names)}")
    runs: list[Run] = []
    lost: dict[str, str] = {}
    errors: list[Exception] = []
    for folder, name in zip(folders, names, strict=True):
        try:
            runs += _read_all(len(runs), name, folder, choices)
        except (OSError, ValueError) as error:
            errors.append(error)
            lost[name] = str(error)
    if not runs:
        raise errors[0] if len(errors) == 1 else ValueError("; ".join(map(str, errors)))
    found = {run.number: run.study for run in runs if run.study is not None}
    groups, notes = grouping.groups(found, choices, [run.name for run in runs])
    titled = [Titled(**vars(group)) for group in groups]
    return Material(runs, lost, titled, notes, Hidden(dict(zip(folders, names, strict=True))))


def called(folders: Sequence[Path]) -> list[str]:
    """Return what runs are called: as many of the last parts of their paths as tell them apart."""
    whole = [folder.resolve().parts for folder in folders]
    if len(set(whole)) < len(whole):
        twice = next(folder for folder, path in zip(folders, whole, strict=True) if whole.count(path) > 1)
        raise ValueError(f"{twice} is named twice")
    for depth in range(1, max(map(len, whole)) + 1):
        names = ["/".join(path[-depth:]) for path in whole]
        if len(set(names)) == len(names):
            break
    return names


def _read_all(number: int, name: str, folder: Path, choices: Choices) -> list[Run]:
    """Return what can be read of a run, and after a search its runs on fresh seeds.

    Raises:
        OSError, ValueError: as `load_config`.

    """
    config = qjax.load_config(folder)
    if not ((folder / SEARCH).is_file() or config.get("experiment") == "search"):
        return [_read(number, name, folder, choices)]
    inner = sorted(path.parent for depth in ("*", "*/*") for path in folder.glob(f"{depth}/{CONFIG}"))
    parts = [_part(path.relative_to(folder).as_posix(), path) for path in inner]
    place = folder.resolve().name
    whole = Run(number, name, folder, config, parts, None, None, (), place, searches=True)
    fresh = [part for part in parts if part.name.startswith("fresh_") and part.sweep]
    runs = [_read(number + i, f"{name}/{part.name}", part.folder, choices) for i, part in enumerate(fresh, 1)]
    placed = [replace(run, place=f"{place}/{part.name}") for run, part in zip(runs, fresh, strict=True)]
    return [whole, *placed]


def _read(number: int, name: str, folder: Path, choices: Choices) -> Run:
    """Return what can be read of a run; without a config there is none.

    Raises:
        OSError, ValueError: as `load_config`.

    """
    config = qjax.load_config(folder)
    missing: list[str] = []
    study = _study(folder, choices.metric, choices.window, missing)
    parts = _parts(folder, config)
    evaluated = None
    if study is not None and any(EVALUATED in part.sweep.get("logged", ()) for part in parts):
        evaluated = _study(folder, EVALUATED, 1, [])
    missing += study.notes if study else ()
    return Run(number, name, folder, config, parts, study, evaluated, missing, folder.resolve().name)


def _study(folder: Path, metric: str, window: int, missing: list[str]) -> Study | None:
    """Return a run's settings with their curves, else None, and why that is so among what is missing."""
    try:
        return studies.load(folder, metric, window)
    except KeyError as lacking:
        missing.append(f"{folder} is of another version: its {CONFIG} has no {lacking}")
    except (ValueError, OSError, ImportError) as error:
        missing.append(str(error))
    return None


def _parts(folder: Path, config: Mapping[str, Any]) -> list[Part]:
    """Return a run's folders with tables, each with what can be read of it."""
    inner = sorted(path.parent for path in folder.glob(f"*/{CONFIG}")) if "sweep" not in config else []
    return [_part(path.name if inner else "", path) for path in inner or [folder]]


def _part(name: str, folder: Path) -> Part:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # these are the study's notes
        return Part(
            name,
            folder,
            _if_readable(qjax.load_config, folder) or {},
            _if_readable(load_summary, folder) or {},
            _if_readable(results.load, folder),
        )


def _if_readable(read: Any, folder: Path) -> Any:
    try:
        return read(folder)
    except (OSError, ValueError, ImportError):
        return None


def evaluated(material: Material, group: Group) -> Titled | None:
    """Return a group's runs with their greedy returns while they trained, None where there are none."""
    found = {name: material.run(group, name).evaluated for name in group.runs}
    runs = {name: study for name, study in found.items() if study is not None}
    if not runs:
        return None
    choices = replace(group.choices, metric=EVALUATED, threshold=group.threshold, window=1)
    whole = all(sample.evaluation is not None for study in runs.values() for sample in study.samples)
    return Titled(group.environment, runs, choices, "evaluation" if whole else "final")


def last_evaluation(run: Run, number: int) -> np.ndarray | None:
    """Return the last greedy return of each of a setting's seeds while it trained, `[N]`, None without one."""
    if run.evaluated is None or len(run.evaluated.samples) <= number:
        return None
    values = run.evaluated.samples[number].values
    there = ~np.isnan(values).all(0)
    return values[:, np.flatnonzero(there)[-1]] if there.any() else None
