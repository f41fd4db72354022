"""Which runs are compared with one another, what they are called, how they are scored, and what to know of that."""

from collections.abc import Iterable, Mapping, Sequence

from qjax import stats
from qjax.cli import studies
from qjax.cli.compare import DRAW, Choices, Group, Kind
from qjax.cli.studies import Study
from qjax.plot.reach import MEDIAN_SEEDS


def groups(
    found: Mapping[int, Study], choices: Choices, labels: Sequence[str] = (), kinds: Iterable[Kind] = tuple(DRAW)
) -> tuple[list[Group], list[str]]:
    """Return the runs that can be compared, by environment, and what is to be known when they are.

    Args:
        found: runs by their number.
        choices: what is drawn of them.
        labels: what they are called, by number; default as `names`.
        kinds: which pictures are drawn.

    Raises:
        ValueError: two runs of one environment have the same label, or lack the score that was chosen.

    """
    made, notes = [], []
    for environment, unit in dict.fromkeys((study.environment, study.unit) for study in found.values()):
        own = {n: study for n, study in found.items() if (study.environment, study.unit) == (environment, unit)}
        called = [labels[number] for number in own] if labels else names(list(own.values()))
        runs = dict(zip(called, own.values(), strict=True))
        if len(runs) < len(own):
            raise ValueError(f"runs of one environment need labels of their own, got {', '.join(called)}")
        score, why = _score(runs, choices)
        made.append(Group(environment, runs, choices, score))
        notes += [*why, *differences(made[-1], kinds)]
    return made, notes


def names(runs: Sequence[Study]) -> list[str]:
    """Return what runs are called: the shortest of experiment, folder and path that tells them apart."""
    kinds = (
        [run.experiment for run in runs],
        [run.folder.resolve().name for run in runs],
        [str(run.folder) for run in runs],
    )
    return next((names for names in kinds if len(set(names)) == len(runs)), kinds[-1])


def _score(runs: Mapping[str, Study], choices: Choices) -> tuple[studies.Score, list[str]]:
    """Return the score that was chosen, or that all runs have, and what is to be said of it.

    Raises:
        ValueError: it is the evaluation, and a run has none.

    """
    score = choices.score or ("evaluation" if choices.metric == "mean_return" else "final")
    lacking = [name for name, run in runs.items() if any(sample.evaluation is None for sample in run.samples)]
    if score != "evaluation" or not lacking:
        return score, []
    ended = {name: all(sample.complete for sample in runs[name].samples) for name in lacking}
    parts = {"which has not ended": False, "which ended without one": True}
    told = {why: ", ".join(name for name in lacking if ended[name] is whether) for why, whether in parts.items()}
    none = "no evaluation of " + " and of ".join(f"{names}, {why}" for why, names in told.items() if names)
    if choices.score == "evaluation":
        raise ValueError(none)
    return "final", [f"{none}: scores are final training returns"]


def differences(group: Group, kinds: Iterable[Kind]) -> list[str]:
    """Return what a reader should know of runs that are compared."""
    notes = []
    samples = [(name, sample) for name, run in group.runs.items() for sample in run.samples]
    ends = sorted({int(sample.x[-1]) for _, sample in samples})
    if len(ends) > 1:
        over = "after each run's own end" if group.score == "evaluation" else f"of the first {ends[0]:,}"
        scored = f": scores are {over}" if group.shared else ""
        notes.append(f"runs end after {ends[0]:,} to {ends[-1]:,} {group.unit}{scored}")
    elif len({tuple(sample.x) for _, sample in samples}) > 1:
        notes.append("runs have different log points: each line is drawn at its own")
    needs = {"of a mean": stats.LEAST_SEEDS} | ({"of a median": MEDIAN_SEEDS} if "efficiency" in kinds else {})
    for name, seeds in {name: len(sample.values) for name, sample in samples}.items():
        lacking = [f"{what}, which needs {least}" for what, least in needs.items() if seeds < least]
        if lacking:
            notes.append(f"{name} has {seeds} seed{'s' * (seeds > 1)}: no interval {', nor '.join(lacking)}")
    return notes
