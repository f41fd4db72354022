"""Runs' folders as what can be compared: settings with their curves and scores, and what is missing, in words.

Read from the tables alone; no device is needed.
"""

import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

import qjax
from qjax import plot, stats
from qjax.cli import grid
from qjax.core import jsonfile
from qjax.core.jsonfile import LIST, NOTHING, REAL, RECORD, TEXT, either, list_of, record_of
from qjax.core.text import joined
from qjax.plot.lines import held
from qjax.runs import results
from qjax.runs.config import CONFIG, SUMMARY, flat, load_summary
from qjax.runs.points import NEVER
from qjax.runs.results import Results

Score = Literal["evaluation", "final", "area"]

SCORES = {"final_return_per_seed": list_of(either(REAL, NOTHING))}
ARGUMENTS = {"env": either(TEXT, NOTHING), "env_kwargs": list_of(TEXT), "grid": record_of(LIST)}
LAST = 0.1
"""Share of the steps whose log points make a final score."""


@dataclass(frozen=True)
class Sample:
    """One setting of a run. N seeds, P log points."""

    setting: Mapping[str, Any]
    """Values of what was swept."""
    x: np.ndarray
    """Environment steps or episodes of each log point, `[P]`."""
    values: np.ndarray
    """The metric, `[N, P]`; NaN where there is none."""
    evaluation: np.ndarray | None
    """Greedy returns after training, `[N]`."""
    complete: bool
    """Whether its run had ended."""
    diverged: int
    """Seeds that diverged; they count as they are."""

    def score(self, kind: Score, end: float) -> np.ndarray:
        """Return each seed's score, `[N]`, of the log points until `end`.

        `final` is the mean over the log points in the last tenth of the steps, at least the last one, `area` the
        mean height of the curve (`stats.area`). A log point without a value has the last one before it.

        Raises:
            ValueError: there is no log point until `end`, or only one for an area.

        """
        if kind == "evaluation":
            assert self.evaluation is not None
            return self.evaluation
        there = self.x <= end
        x, values = self.x[there], self.values[:, there]
        if not len(x):
            raise ValueError(f"the first log point is at {self.x[0]:g}, after {end:g}")
        if kind == "area":
            return stats.area(values, x)
        late = x >= min((1 - LAST) * end, x[-1])
        return held(values)[:, late].mean(1)


@dataclass(frozen=True)
class Study:
    """A run, or the runs of a grid."""

    folder: Path
    """Where it stands."""
    experiment: str
    """What was run."""
    environment: str
    """The environment, with its arguments."""
    unit: str
    """What x counts: environment steps or episodes."""
    samples: Sequence[Sample]
    """Its settings."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """What the run was given, side by side."""
    notes: Sequence[str] = field(default=())
    """What is missing, in words."""

    @property
    def swept(self) -> dict[str, list[Any]]:
        """The values of each hyper-parameter of which there are several, `[settings]` each."""
        names = self.samples[0].setting
        columns = {name: [sample.setting[name] for sample in self.samples] for name in names}
        return {name: column for name, column in columns.items() if len(set(column)) > 1}

    @property
    def end(self) -> float:
        """The last x that all settings reach."""
        return min(float(sample.x[-1]) for sample in self.samples)

    @property
    def seeds(self) -> tuple[int, int]:
        """Least and most seeds of a setting."""
        counts = [len(sample.values) for sample in self.samples]
        return min(counts), max(counts)

    def scores(self, kind: Score, end: float | None = None) -> list[np.ndarray]:
        """Return the score of every seed of every setting, until the same x."""
        return [sample.score(kind, self.end if end is None else end) for sample in self.samples]


def load(folder: Path, metric: str = "mean_return", window: int = 1) -> Study:
    """Return what is there of a run, or of the runs that a grid made one after another.

    A run that is counted in episodes has its returns in bins of episodes.

    Args:
        folder: the run's, or the one that holds the grid's runs.
        metric: a column of the table.
        window: log points of a trailing mean.

    Raises:
        OSError: there is no such folder, or no run or no table in it.
        ValueError: there is no log point yet, no such metric or no value of it, or what there is cannot be read.

    """
    config = qjax.load_config(folder)
    if lacking := [name for name in ("experiment", "arguments") if name not in config]:
        raise ValueError(f"{folder} is of another version: its {CONFIG} has no {', '.join(map(repr, lacking))}")
    jsonfile.check(folder / CONFIG, config["arguments"], ARGUMENTS, above="arguments.")
    check_no_search(folder, config)
    in_turn = "sweep" not in config and any(folder.glob(f"*/{CONFIG}"))
    parts, notes = _parts(folder, config["arguments"]) if in_turn else ({folder: {}}, [])
    samples, unit, environment = [], "", ""
    for path, static in parts.items():
        try:
            run = _read(path, metric)
        except (ValueError, OSError) as error:
            if not in_turn:
                raise
            notes.append(str(error))
            continue
        notes += [f"{path}: {note}" for note in (*run.notes, *_of_other_version(path))]
        own, unit = _samples(run, static, metric, notes)
        samples += own
        named = qjax.load_config(path)["sweep"].get("environment") or run.arguments.get("env", "")
        environment = environment_of(named, run.arguments)
    if not samples:
        raise ValueError(f"{folder} holds no run with a log point: {'; '.join(notes)}")
    if all(np.isnan(sample.values).all() for sample in samples):
        raise ValueError(f"{folder} has no value of {metric} at any log point")
    if window > 1:
        samples = [replace(sample, values=trailing(sample.values, window)) for sample in samples]
    return Study(folder, config["experiment"], environment, unit, samples, flat(config["arguments"]), notes)


def check_no_search(folder: Path, config: Mapping[str, Any]) -> None:
    """Check that a folder holds no search, whose sweeps are runs, and which is none itself.

    Raises:
        ValueError: it does; its runs are named.

    """
    if config.get("experiment") == "search":
        runs = sorted(str(path.parent) for depth in ("*", "*/*") for path in folder.glob(f"{depth}/{CONFIG}"))
        alone = [run for run in runs if "fresh_" in run] or runs
        named = f"name one of its runs, {', '.join(alone)}, or " if runs else ""
        raise ValueError(f"{folder} holds a search: {named}see it whole by qjax report {folder}")


def load_all(folders: Sequence[Path], metric: str = "mean_return", window: int = 1) -> tuple[dict[int, Study], int]:
    """Return the runs that can be read, by their number, and how many cannot; tell what is missing.

    Raises:
        ValueError, OSError: none can be read.

    """
    found: dict[int, Study] = {}
    errors: list[Exception] = []
    for number, folder in enumerate(folders):
        try:
            found[number] = load(folder, metric, window)
        except KeyError as lacking:
            errors.append(ValueError(f"{folder} is of another version: its {CONFIG} has no {lacking}"))
        except (ValueError, OSError, ImportError) as error:
            errors.append(error)
        else:
            for note in found[number].notes:
                tell(note)
    if not found:
        raise errors[0] if len(errors) == 1 else ValueError("; ".join(map(str, errors)))
    for each in errors:
        tell(f"passed over: {each}")
    return found, len(errors)


def tell(note: str) -> None:
    """Print what a reader should know beside what was asked for."""
    print(f"note: {note}", file=sys.stderr)


def environment_of(name: str, arguments: Mapping[str, Any]) -> str:
    """Return a run's environment with what it was made with: lakes of two maps are two environments."""
    own = {"map_name=8x8"} if name == "FrozenLake8x8-v1" else set()  # what the name says already
    return " ".join((name, *sorted({*arguments.get("env_kwargs", ())} - own)))


def trailing(values: np.ndarray, window: int) -> np.ndarray:
    """Return means over the last `window` log points of `[N, P]`; NaN is left out."""
    padded = np.pad(values, ((0, 0), (window - 1, 0)), constant_values=np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # nothing there
        return np.nanmean(np.lib.stride_tricks.sliding_window_view(padded, window, axis=1), axis=-1)


def _parts(folder: Path, arguments: Mapping[str, Any]) -> tuple[dict[Path, dict[str, Any]], list[str]]:
    """Return the folders of a grid's runs with their static settings, and what is missing.

    What the grid made in turn are its fields that no run has swept; tuples are text.
    """
    swept = qjax.load_config(next(folder.glob(f"*/{CONFIG}")).parent).get("sweep", {}).get("hypers", {})
    several = {
        name: tuple(joined(each) if isinstance(each, list) else each for each in values)
        for name, values in arguments.get("grid", {}).items()
        if name not in swept
    }
    made = {grid.folder(static): static for static in grid.Grid({}, several).runs}
    lacking = [name for name in made if not (folder / name / CONFIG).is_file()]
    notes = [f"{folder}: not begun: {', '.join(lacking)}"] if lacking else []
    return {folder / name: static for name, static in made.items() if name not in lacking}, notes


def _read(folder: Path, metric: str) -> Results:
    """Return a run's results; what `results.load` warns of stands in their notes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return results.load(folder, [metric, "episodes"])


def _of_other_version(folder: Path) -> list[str]:
    written, here = qjax.load_config(folder).get("versions", {}).get("qjax"), qjax.__version__
    return [] if written == here else [f"written by qjax {written}, read by {here}"]


def _samples(run: Results, static: Mapping[str, Any], metric: str, notes: list[str]) -> tuple[list[Sample], str]:
    """Return a run's settings and what their x counts."""
    sweep, points = qjax.load_config(run.folder)["sweep"], run.env_steps.shape[-1]
    points -= _torn(run)
    steps, values = run.env_steps[..., :points], run[metric][..., :points]
    if metric == "mean_return" and sweep.get("steps") is None and sweep.get("episodes"):
        unit = "episodes"
        x, values = _by_episode(run["episodes"][..., :points].astype(int), values, sweep["episodes"])
        axes = [x] * len(values)
    else:
        unit, axes = plot.STEPS, list(steps.max(1))
        values = _held_to_the_end(run, values, notes)
    swept = {name: column.tolist() for name, column in run.hypers.items()}
    settings = [{**static, **{name: column[i] for name, column in swept.items()}} for i in range(len(values))]
    each = zip(settings, axes, values, evaluations(run.folder, len(values)), strict=True)
    lost = (run.diverged_at != NEVER).sum(1).tolist()
    return [Sample(*parts, run.complete, lost[i]) for i, parts in enumerate(each)], unit


def _by_episode(reached: np.ndarray, returns: np.ndarray, episodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return episodes `[bins]` and returns `[S, N, bins]`, as far as any lane has come."""
    found = [plot.episode_bins(*lanes, episodes) for lanes in zip(reached, returns, strict=True)]
    values = np.stack([binned for _, binned in found])
    known = ~np.isnan(values).all((0, 1))
    return found[0][0][known], values[..., known]


def _held_to_the_end(run: Results, values: np.ndarray, notes: list[str]) -> np.ndarray:
    """Return values `[S, N, P]` in which a lane that has ended keeps its last one, so that all count."""
    after = np.arange(values.shape[-1]) >= run.lengths[..., None]
    if not after.any():
        return values
    ended = after.any(-1).sum()
    notes.append(
        f"{run.folder}: {ended} of {run.lengths.size} lanes end before the others and keep their last value"
    )
    return held(values, run.lengths)


def _torn(run: Results) -> bool:
    """Return whether a kill left out lanes of the last log point, which is then better left out, too."""
    points = run.env_steps.shape[-1]
    return not run.complete and points > 1 and bool((run.lengths == points - 1).any())


def evaluations(folder: Path, settings: int) -> list[np.ndarray | None]:
    """Return the greedy returns in a run's summary, `[seeds]` of each setting, or nothing.

    Raises:
        OSError, ValueError: the summary is damaged.

    """
    if not (folder / SUMMARY).is_file():
        return [None] * settings
    summary = load_summary(folder, {"settings": list_of(RECORD), **SCORES})
    for each in summary.get("settings", []):
        jsonfile.check(folder / SUMMARY, each, SCORES, above="settings.")
    found = [each.get("final_return_per_seed") for each in summary.get("settings", [summary])]
    if len(found) != settings:
        return [None] * settings
    return [None if each is None else np.array(each, float) for each in found]
