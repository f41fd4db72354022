"""Runs of one environment side by side: which of their settings are shown, and the pictures of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from qjax import plot, stats
from qjax.cli.command import THRESHOLDS
from qjax.cli.studies import LAST, Sample, Score, Study
from qjax.plot.style import TITLE, wrapped

Kind = Literal["curves", "efficiency", "sensitivity", "seeds", "profiles"]

RUNS, SETTINGS = len(plot.COLOURS), 6
"""So many runs, or settings of one run, a picture has at most."""

METRICS = {
    "mean_return": plot.RETURN,
    "loss": "loss\n(mean over the updates of the interval)",
    "mean_q": "mean Q-value\n(of the updates of the interval)",
    "eval_return": "greedy return while training\n(mean of an evaluation's episodes)",
}
"""What metrics are called; others are called by their column."""

SCORES: dict[Score, str] = {
    "evaluation": "greedy return after training",
    "final": "{}, last " + f"{LAST:.0%} of the {{}}",
    "area": "{}, mean over all {}",
}

UNITS = {
    "batch_size": "transitions",
    "capacity": "transitions",
    "warmup": plot.STEPS,
    "rollout": "steps of each environment",
    "n": "steps",
    "epsilon_fraction": "share of the steps",
    "planning": "updates a step",
}
"""Of hyper-parameters; others are numbers without one."""

TARGET_UNITS = {"step": plot.STEPS, "episode": "episodes", "update": "updates"}


@dataclass(kw_only=True)
class Choices:
    """What is drawn of a run."""

    metric: str = "mean_return"
    """A column of metrics.csv."""
    score: Score | None = None
    """evaluation: greedy return after training, from summary.json; final: mean of the metric over the log points in
    the last tenth of the steps; area: mean height of its curve. Default evaluation where all runs have one and the
    metric is the return, else final. Of runs of different length the last two are taken over the steps that all
    have."""
    threshold: float | None = None
    """Level of the metric whose reaching is drawn; default the environment's own where it is known, else nine
    tenths of the way from the lowest to the highest point of the curves."""
    lower: bool = False
    """Low values are good, as of a loss or a regret."""
    window: int = 1
    """Log points of a trailing mean of the metric: less noise, so that a level is reached by chance less often."""


class Line(NamedTuple):
    """One line of a picture."""

    sample: Sample
    """The setting that it shows."""
    scores: np.ndarray
    """Its seeds' scores, `[N]`."""


@dataclass(frozen=True)
class Group:
    """Runs of one environment, by name, and how they are scored."""

    environment: str
    """The environment."""
    runs: Mapping[str, Study]
    """The runs, by name."""
    choices: Choices
    """What is drawn."""
    score: Score
    """How they are scored: `Choices.score`, settled."""

    @property
    def end(self) -> float:
        """The last x that all runs reach."""
        return min(run.end for run in self.runs.values())

    @property
    def shared(self) -> bool:
        """Whether there are steps of all runs over which they can be scored."""
        first = max(sample.x[0] for run in self.runs.values() for sample in run.samples)
        return self.score == "evaluation" or first <= self.end

    @property
    def unit(self) -> str:
        """What x counts."""
        return next(iter(self.runs.values())).unit

    @property
    def metric(self) -> str:
        """What the metric is called."""
        name = METRICS.get(self.choices.metric, self.choices.metric)
        if self.choices.window == 1:
            return name
        return f"{name.splitlines()[0]}\n(mean of {self.choices.window} log points)"

    @property
    def scored(self) -> str:
        """What the score is called; that of a greedy evaluation says after how many steps, if all have as many."""
        ends = {float(sample.x[-1]) for run in self.runs.values() for sample in run.samples}
        if self.score == "evaluation" and len(ends) == 1:
            return f"greedy return after {ends.pop():,.0f} {self.unit}"
        return SCORES[self.score].format(self.metric.split("\n")[0], self.unit.split()[-1])

    @property
    def threshold(self) -> float | None:
        """The level whose reaching is drawn, where one is given or known."""
        known = THRESHOLDS.get(self.environment) if self.choices.metric == "mean_return" else None
        return known if self.choices.threshold is None else self.choices.threshold

    @property
    def interval(self) -> str:
        """What bands and bars are, in words."""
        return plot.interval(max(count for run in self.runs.values() for count in run.seeds))

    @property
    def middle(self) -> str:
        """What lines and their bands or bars are, in words."""
        return f"interquartile mean, {self.interval}"

    def title(self, *more: str, run: str = "", width: int = TITLE) -> str:
        """Return a picture's title, lines of so many letters: what was run, and what else is to be said."""
        counts = [count for study in self.runs.values() for count in study.seeds]
        seeds = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
        only = next(iter(self.runs)) if len(self.runs) == 1 else run
        named = f"{only} on {self.environment}" if only else self.environment
        said = [f"{named}, {seeds} seed{'' if max(counts) == 1 else 's'}", *filter(None, more)]
        return wrapped(*said, width=width)

    def lines(self) -> tuple[dict[str, Line], str]:
        """Return what is compared, by name, and in words how it was chosen.

        Of one run that is its settings, of several runs the best one of each; of more than there are colours those
        with the best scores.
        """
        if len(self.runs) == 1:
            ((name, run),) = self.runs.items()
            found = list(zip(range(len(run.samples)), run.scores(self.score), strict=True))
            lines = {self._label(name, number): Line(run.samples[number], scores) for number, scores in found}
            said, what, most = [], "settings", SETTINGS
        else:
            best = {name: self.best(name) for name in self.runs}
            lines = {self._label(name, i): Line(self.runs[name].samples[i], own) for name, (i, own) in best.items()}
            said = ["each run's best setting"] * any(run.swept for run in self.runs.values())
            what, most = "runs", RUNS
        if len(lines) > most:
            said.append(f"the best {most} of {len(lines)} {what}")
            kept = sorted(self.ranked([line.scores for line in lines.values()])[:most])
            lines = {name: line for i, (name, line) in enumerate(lines.items()) if i in kept}
        return lines, "; ".join(said)

    def best(self, name: str) -> tuple[int, np.ndarray]:
        """Return the number and scores of a run's best setting, over the steps that all runs have, else its own."""
        scores = self.runs[name].scores(self.score, self.end if self.shared else None)
        number = self.ranked(scores)[0]
        return number, scores[number]

    def ranked(self, scores: Sequence[np.ndarray]) -> list[int]:
        """Return the numbers of settings by interquartile mean, the best first."""
        heights = np.array([float(stats.iqm(own)) for own in scores]) * (-1 if self.choices.lower else 1)
        return np.argsort(-np.nan_to_num(heights, nan=-np.inf), kind="stable").tolist()

    def _label(self, name: str, number: int) -> str:
        """Return what a line is called."""
        run = self.runs[name]
        sample = run.samples[number]
        setting = describe({key: sample.setting[key] for key in run.swept})
        cut = "" if sample.complete else " (interrupted)"
        return (setting if len(self.runs) == 1 and setting else name + (f" ({setting})" if setting else "")) + cut


Pictures = Iterator[tuple[str, Any]]
"""Names and figures."""


def curves(group: Group) -> Pictures:
    """Draw the metric against steps."""
    lines, chosen = group.lines()
    level = group.threshold
    yield (
        "curves",
        plot.curves(
            {name: (line.sample.x, line.sample.values) for name, line in lines.items()},
            group.title(chosen, group.middle),
            group.unit,
            group.metric,
            level,
            "" if level is None else f"threshold ({level:g})",
        ),
    )


def efficiency(group: Group) -> Pictures:
    """Draw the steps until levels of the metric are reached."""
    lines, chosen = group.lines()
    yield (
        "efficiency",
        plot.efficiency(
            {name: (line.sample.x, line.sample.values) for name, line in lines.items()},
            group.title(chosen, width=115),
            group.threshold,
            lower=group.choices.lower,
            xlabel=group.unit,
            ylabel=group.metric,
        ),
    )


def seeds(group: Group) -> Pictures:
    """Draw the score of every seed."""
    scores, chosen = _scores(group)
    yield "seeds", plot.distribution(scores, group.title(chosen, f"below: {group.middle}"), group.scored)


def profiles(group: Group) -> Pictures:
    """Draw the share of seeds that score more than each threshold."""
    scores, chosen = _scores(group)
    title = group.title(chosen, f"performance profile, {group.interval}")
    yield "profiles", plot.profiles(scores, title, group.scored, group.choices.lower)


def _scores(group: Group) -> tuple[dict[str, np.ndarray], str]:
    """Return the scores of what is compared, and in words how that was chosen.

    Raises:
        ValueError: there are no steps over which all runs can be scored.

    """
    if not group.shared:
        raise ValueError(f"some runs have their first log point after others end, at {group.end:g} {group.unit}")
    lines, chosen = group.lines()
    return {name: line.scores for name, line in lines.items()}, chosen


def sensitivity(group: Group) -> Pictures:
    """Draw the score against what was swept: lines for one or many hyper-parameters, a heat map for two.

    Raises:
        ValueError: nothing was swept.

    """
    swept = {name: run.swept for name, run in group.runs.items()}
    if not any(swept.values()):
        raise ValueError("nothing was swept")
    for name, columns in swept.items():
        if len(columns) == 2:
            stem = f"sensitivity_{'_'.join(columns)}" + (f"_{name}" if len(group.runs) > 1 else "")
            yield stem, _heat_map(group, name)
    for hyper in dict.fromkeys(key for columns in swept.values() for key in columns):
        sweepers = [name for name, columns in swept.items() if hyper in columns]
        if len(sweepers) > 1 or len(swept[sweepers[0]]) != 2:
            yield f"sensitivity_{hyper}", _sensitivity(group, hyper, sweepers)


def _sensitivity(group: Group, hyper: str, sweepers: Sequence[str]) -> Any:
    """Draw the score against one hyper-parameter for the runs in which it was swept, the others at their best."""
    lines, others = {}, []
    end = min(group.runs[name].end for name in sweepers)
    for name in sweepers[:RUNS]:
        run = group.runs[name]
        scores = np.stack(run.scores(group.score, end))
        values, rows = plot.at_best(run.swept[hyper], scores, group.choices.lower)
        lines[name] = (values, scores[rows])
        others += [key for key in run.swept if key != hyper]
    best = f"best value of {', '.join(dict.fromkeys(others))} at each point" if others else ""
    first = f"the first {RUNS} of {len(sweepers)} runs" if len(sweepers) > RUNS else ""
    alone = sweepers[0] if len(sweepers) == 1 else ""
    unit = _with_unit(hyper, group.runs[sweepers[0]])
    return plot.sensitivity(lines, unit, group.title(first, best, group.middle, run=alone), group.scored)


def _heat_map(group: Group, name: str) -> Any:
    """Draw the score of one run over its two hyper-parameters."""
    run = group.runs[name]
    (y, rows), (x, columns) = run.swept.items()
    ys, xs, scores = plot.ordered(rows), plot.ordered(columns), run.scores(group.score)
    cells = np.full((len(ys), len(xs), max(map(len, scores))), np.nan)
    for row, column, own in zip(rows, columns, scores, strict=True):
        cells[ys.index(row), xs.index(column), : len(own)] = own
    title = group.title(group.middle, run=name)
    axes = (plot.Axis(_with_unit(y, run), ys), plot.Axis(_with_unit(x, run), xs))
    return plot.heat_map(*axes, cells, title, group.scored)


def _with_unit(hyper: str, run: Study) -> str:
    """Return what an axis of a hyper-parameter is called."""
    units = {**UNITS, "target_period": TARGET_UNITS.get(str(run.arguments.get("target_unit")))}
    return f"{hyper} ({units[hyper]})" if units.get(hyper) else hyper


DRAW: dict[Kind, Callable[[Group], Pictures]] = {
    "curves": curves,
    "efficiency": efficiency,
    "sensitivity": sensitivity,
    "seeds": seeds,
    "profiles": profiles,
}


def across(groups: Sequence[Group]) -> Pictures:
    """Draw profiles over several environments of the runs that have the same name in all.

    Scores of an environment are scaled to [0, 1], from the lowest to the highest of any seed shown there.

    Raises:
        ValueError: no name has a run in every environment.

    """
    best = [{name: group.best(name)[1] for name in group.runs} for group in groups]
    names = [name for name in best[0] if all(name in found for found in best)]
    if not names:
        lacking = "; ".join(f"{group.environment}: {', '.join(group.runs)}" for group in groups)
        raise ValueError(f"no profile over all environments, as no name has a run in each ({lacking})")
    most = max(len(found[name]) for found in best for name in names)
    scaled = {name: np.full((most, len(groups)), np.nan) for name in names}
    for task, found in enumerate(best):
        every = np.concatenate([found[name] for name in names])
        low, high = np.nanmin(every), np.nanmax(every)
        for name in names:
            scaled[name][: len(found[name]), task] = (found[name] - low) / max(high - low, 1e-12)
    where = ", ".join(group.environment for group in groups)
    title = f"{wrapped(where)}\nperformance profile, {plot.interval(most)}"
    label = "score, scaled from the lowest to the highest of any seed"
    yield "profiles", plot.profiles(scaled, title, label, groups[0].choices.lower)


def describe(setting: Mapping[str, Any]) -> str:
    """Return a setting in words, `alpha=0.1, gamma=0.99`."""
    return ", ".join(f"{name}={plot.text(value)}" for name, value in setting.items())
