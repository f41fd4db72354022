"""Scores with their intervals, and how probable it is that one run beats another."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from qjax import stats
from qjax.cli.command import describe_interval, digits
from qjax.cli.compare import Group, Line, describe
from qjax.cli.report import material as material_
from qjax.cli.report.material import Material, Run
from qjax.cli.report.parts import Section, Table, Words, filled
from qjax.cli.studies import LAST, Sample

MOST = 60
"""Settings of a run that a table shows: those with the best scores."""

INTERVAL = "[95%\N{NO-BREAK SPACE}interval]"
FRESH = "The best setting was chosen and is shown on the same seeds, so its score is somewhat too good."


def sections(material: Material) -> Iterator[Section]:
    """Yield the scores of each environment's runs, and their comparison where there are several."""
    parts = [part for group in material.groups for part in _scores(material, group)]
    parts += _without_table([run for run in material.runs if run.study is None])
    if parts:
        yield Section("scores", "Scores", parts)
    parts = [part for group in material.groups for part in _comparison(group)]
    if parts:
        yield Section("comparison", "Comparison", parts)


def _scores(material: Material, group: Group) -> Iterator[Table | Words]:
    columns = ["run", "setting", "seeds", f"greedy return {INTERVAL}", "worst seed", "best seed"]
    columns += [f"training return {INTERVAL}", f"last evaluation {INTERVAL}", "diverged"]
    level = group.threshold
    if level is not None:
        columns.append(f"seeds at {level:g} or more")
    rows: list[list[str]] = []
    strong, cut = set(), []
    for name, study in group.runs.items():
        run = material.run(group, name)
        order = group.ranked(study.scores(group.score))
        kept = sorted(order[:MOST])
        if len(kept) < len(order):
            cut.append(f"{name}: the best {MOST} of {len(order)} settings are shown.")
        for number in kept:
            strong |= {len(rows)} if number == order[0] and len(order) > 1 else set()
            rows.append([name, *_row(run, number, group)])
    yield filled(Table(_caption(group, rows, bool(strong)), columns, rows, 2, strong))
    yield from map(Words, cut)


def _without_table(runs: Sequence[Run]) -> Iterator[Table]:
    """Yield the scores that summaries tell of runs whose tables cannot be read."""
    rows = []
    for run in runs:
        for part in run.parts:
            for number, own in enumerate(part.evaluations()):
                name = " ".join(filter(None, (run.name, part.name)))
                seeds = "" if own is None else f"{len(own)}"
                rows.append([name, describe(part.setting(number)), seeds, *greedy(own)])
    rows = [row for row in rows if row[3]]
    if rows:
        columns = ["run", "setting", "seeds", f"greedy return {INTERVAL}", "worst seed", "best seed"]
        caption = "Scores of runs whose table cannot be read, from their summaries: interquartile means over seeds"
        yield filled(Table(f"{caption} of each seed's mean return after training.", columns, rows, 2))


def _caption(group: Group, rows: Sequence[Sequence[str]], chosen: bool) -> str:
    """Return what the columns are that hold something."""
    greedy, training, last = (any(row[place] for row in rows) for place in (3, 6, 7))
    metric = group.metric.splitlines()[0]
    said = [
        f"Scores on {group.environment}: interquartile means over seeds, with their 95% bootstrap intervals.",
        "Greedy return: of each seed's mean return after training." * greedy,
        f"Training return: of the {metric} in the last {LAST:.0%} of the {group.unit}, exploration included."
        * training,
        "Last evaluation: of the greedy returns at the last evaluation while training." * last,
        f"Bold: the best setting of a run. {FRESH}" if chosen else "",
    ]
    return " ".join(filter(None, said))


def _row(run: Run, number: int, group: Group) -> list[str]:
    """Return the cells of one setting."""
    assert run.study is not None
    sample = run.study.samples[number]
    part, place = run.origins()[number]
    diverged, seeds = part.diverged(place), len(sample.values)
    cells = [describe({key: sample.setting[key] for key in run.study.swept}), f"{seeds}"]
    cells += [*greedy(sample.evaluation), _training(sample), _middle(material_.last_evaluation(run, number))]
    cells.append("" if diverged is None else f"{diverged} of {seeds} ({diverged / seeds:.0%})")
    if group.threshold is not None:
        own = sample.evaluation
        cells.append("" if own is None else f"{int((own >= group.threshold).sum())} of {seeds}")
    return cells


def greedy(own: np.ndarray | None) -> tuple[str, str, str]:
    """Return a greedy score `[seeds]` with its interval, and its worst and best seed; of none, nothing."""
    if own is None or np.isnan(own).all():
        return "", "", ""
    places = digits(own[~np.isnan(own)])
    return _middle(own), f"{np.nanmin(own):z.{places}f}", f"{np.nanmax(own):z.{places}f}"


def _training(sample: Sample) -> str:
    return _middle(sample.score("final", float(sample.x[-1])))


def _middle(values: np.ndarray | None) -> str:
    """Return the interquartile mean of values `[N]` with its interval in words; of none, nothing."""
    if values is None or np.isnan(values).all():
        return ""
    known = values[~np.isnan(values)]
    places = digits(known)
    return f"{float(stats.iqm(known)):z.{places}f} {describe_interval(known, places)[1]}"


def _comparison(group: Group) -> Iterator[Table]:
    """Yield the matrix of P(row beats column), where there are several lines of several seeds."""
    if not group.shared:
        return
    lines, chosen = group.lines()
    known = {name: line for name, line in lines.items() if np.isfinite(line.scores).sum() >= stats.LEAST_SEEDS}
    if len(known) < 2:
        return
    sense = "lower" if group.choices.lower else "higher"
    caption = (
        f"Probability that a seed of the row has a {sense} score than a seed of the column on {group.environment},"
        " ties counted half (Agarwal et al. 2021), with its 95% bootstrap interval. 50% is no difference; an"
        f" interval that holds 50% decides nothing. Score: {group.scored}."
    )
    if chosen:
        caption += f" Shown: {chosen}." + (f" {FRESH}" if "best setting" in chosen else "")
    yield Table(caption, ["beats", *known], _matrix(known, group.choices.lower))


def _matrix(lines: Mapping[str, Line], lower: bool) -> list[list[str]]:
    """Return rows of P(row beats column)."""
    names, cells = list(lines), {}
    for i, row in enumerate(names):
        for column in names[:i]:
            x, y = (lines[name].scores * (-1 if lower else 1) for name in (row, column))
            value, low, high = map(float, stats.improvement(x, y))
            cells[row, column] = f"{value:.0%} [{low:.0%}, {high:.0%}]"
            cells[column, row] = f"{1 - value:.0%} [{1 - high:.0%}, {1 - low:.0%}]"
    return [[row, *("" if row == column else cells[row, column] for column in names)] for row in names]
