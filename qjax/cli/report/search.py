"""What a search came to: rungs, the winner and the default on fresh seeds, what its settings did, its budget."""

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from qjax import stats
from qjax.cli.command import describe_interval, digits
from qjax.cli.compare import describe
from qjax.cli.report.material import Material, Run
from qjax.cli.report.parts import Pairs, Section, Table, Words
from qjax.cli.report.pictures import figure
from qjax.core import jsonfile
from qjax.core.jsonfile import LIST, NOTHING, RECORD, either, list_of
from qjax.plot.hypers import scale, sensitivity
from qjax.plot.lines import thousands
from qjax.plot.style import BLUE, COLOURS, COLUMN, GREY, MARKERS, legend, paper
from qjax.plot.style import figure as empty
from qjax.searches.search import SEARCH

KINDS: jsonfile.Kinds = {
    "score": RECORD,
    "brackets": list_of(RECORD),
    "winner": either(RECORD, NOTHING),
    "default": either(RECORD, NOTHING),
    "comparison": RECORD,
    "env_steps": RECORD,
}
BRACKET: jsonfile.Kinds = {"static": RECORD, "hypers": RECORD, "rungs": list_of(RECORD)}
RUNG: jsonfile.Kinds = {"merit": LIST, "survivors": LIST}
BIASED = "the largest of many, and so biased upwards: the scores on fresh seeds are not"


def sections(material: Material) -> Iterator[Section]:
    """Yield a section for each search."""
    for run in material.runs:
        if run.searches:
            yield Section(f"search-{run.number}", f"Search: {run.name}", list(_parts(run, material)))


def _parts(run: Run, material: Material) -> Iterator[Any]:
    if not run.complete:
        yield Words("The search has not ended: this is how far it has come.", notice=True)
    if not (run.folder / SEARCH).is_file():
        yield Words("No rung has been decided yet.")
        yield from _asked(run)
        return
    try:
        found = load(run.folder)
        shown = [*_fresh(found), *_budget(found), *_asked(run), *_rungs(found), *_pictures(found)]
        yield from [*shown, *_around(found)]
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        why = f"{SEARCH} is damaged, or of another version: {error!r}"
        yield Words(material.hidden(f"{run.name}: {why}"), notice=True)


def _asked(run: Run) -> Iterator[Pairs]:
    """Yield what was searched and how, where the config tells it."""
    arguments = run.config.get("arguments", {})
    told = arguments.get("search", arguments)
    space = told.get("space")
    if isinstance(space, Mapping):
        how = ("method", "eta", "tuning_seeds", "fresh_seeds", "sampler")
        pairs = [(name, str(own)) for name, own in space.items()]
        pairs += [(name.replace("_", " "), str(told[name])) for name in how if name in told]
        yield Pairs("What was searched, and how.", pairs)


def load(folder: Path) -> dict[str, Any]:
    """Return what a search wrote when it ended.

    Raises:
        OSError: there is no such file.
        ValueError: it is damaged; the key is named.

    """
    path = folder / SEARCH
    found = jsonfile.read(path, KINDS, needs=KINDS)
    for bracket in found["brackets"]:
        jsonfile.check(path, bracket, BRACKET, needs=BRACKET, above="brackets.")
        for rung in bracket["rungs"]:
            jsonfile.check(path, rung, RUNG, needs=[*RUNG, "steps"], above="brackets.rungs.")
    return found


def _fresh(found: Mapping[str, Any]) -> Iterator[Table]:
    """Yield the winner and the default on seeds that no choice saw."""
    alone = {name: found[name] for name in ("winner", "default") if found[name] is not None}
    if not alone:
        return
    envs = list(found["winner"]["scores"])
    columns = ["", "setting", *(f"{env or 'score'} [95%\N{NO-BREAK SPACE}interval]" for env in envs)]
    scores = {name: [_floats(each["scores"][env]) for env in envs] for name, each in alone.items()}
    rows = [[name, describe(each["setting"]), *map(_middle, scores[name])] for name, each in alone.items()]
    seeds = len(next(iter(found["winner"]["scores"].values())))
    score = found["score"]
    caption = (
        f"The winner{' and the default' * ('default' in alone)} on {seeds} fresh seeds that no choice saw:"
        f" interquartile means of {score['metric']} ({score['kind']}). "
    )
    if not all(np.isfinite(own).all() for each in scores.values() for own in each):  # as infinity
        caption += (
            "A seed that diverged counts here as worse than any other; in the tables below it counts as it is. "
        )
    for env, pair in found["comparison"].items():
        value, low, high = pair["improvement"]
        other, below, above = map(float, pair["difference"])
        caption += (
            f"{env}{': ' * bool(env)}P(winner is better), seed by seed: {value:.0%} [{low:.0%}, {high:.0%}];"
            f" difference {other:.3g} [{below:.3g}, {above:.3g}]. "
        )
    yield Table(caption.strip(), columns, rows, 2, {0})


def _rungs(found: Mapping[str, Any]) -> Iterator[Table]:
    """Yield how many settings were judged at which steps, and how many went on."""
    rows = []
    for bracket in found["brackets"]:
        judged = _settings(bracket)
        for rung in bracket["rungs"]:
            merit = _merit(rung)
            known = merit[np.isfinite(merit)]
            shown = [f"{own(known):.4g}" for own in (np.max, np.median, np.min)] if len(known) else ["diverged"] * 3
            went = len(rung["survivors"])
            rows.append([bracket.get("name", ""), f"{rung['steps']:,}", f"{judged}", f"{went}", *shown])
            judged = went
    columns = ("bracket", "steps of a seed", "settings judged", "go on", "best merit", "median", "worst")
    caption = "Rungs: settings are judged by their merit, an interquartile mean over the tuning seeds"
    if len((found["winner"] or {"scores": ()})["scores"]) > 1:
        caption += ", of several environments the mean of theirs on one scale"
    yield Table(f"{caption}; of the last rung the best one is a candidate.", columns, rows)


def _budget(found: Mapping[str, Any]) -> Iterator[Words]:
    steps = found["env_steps"]
    if found["winner"] is None:
        yield Words(f"Tuning took {steps['tuning']:,} environment steps until the last of these rungs.")
        return
    told = f"Tuning took {steps['tuning']:,} environment steps; all settings to the end, as in a grid, would have"
    told += f" taken {steps['grid']:,}, {steps['grid'] / max(steps['tuning'], 1):.1f} times as many."
    told += f" Fresh seeds took {steps['fresh']:,}."
    if "sensitivity" in steps:
        told += f" Varying the winner's values one by one took {steps['sensitivity']:,}."
    if found.get("tuning_score") is not None:
        told += f" The winner's merit when it was chosen, {float(found['tuning_score']):.4g}, is {BIASED}."
    yield Words(told)


def _around(found: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the winner's scores where one of its values after another was varied, as picture and table."""
    score = found["score"]
    for name, line in found.get("sensitivity", {}).items():
        scores = {env: np.array([_floats(row) for row in own]) for env, own in line["scores"].items()}
        seeds = next(iter(scores.values())).shape[1]
        told = (
            f"The winner with other values of {name}, on the {seeds} tuning seeds: interquartile mean of"
            f" {score['metric']} ({score['kind']}) with its 95% bootstrap interval"
        )
        known = {env or "winner": (line["values"], own) for env, own in scores.items()}
        if all(np.isfinite(own).all() for own in scores.values()):
            yield figure(sensitivity(known, name, ylabel=score["metric"]), f"{told}.")
        columns = [name, *known]
        rows = [
            [f"{value:g}", *(_middle(own[row]) or "diverged" for _, own in known.values())]
            for row, value in enumerate(line["values"])
        ]
        yield Table(f"{told}.", columns, rows)


def _pictures(found: Mapping[str, Any]) -> Iterator[Any]:
    """Yield merits by rung, and against each value that was searched."""
    brackets = found["brackets"]
    chosen = "those that went on from the last of them" if found["winner"] is None else "the best of each bracket"
    told = f"Merit of every setting at the rungs that it reached: {chosen} in blue, others in grey"
    yield figure(_by_rung(brackets), f"{told}; higher is better.")
    for name in brackets[0]["hypers"]:
        drawn = functools.reduce(lambda kept, bracket: kept + _points(bracket, name), brackets, list[Any]())
        told = f"Sensitivity to {name}: merit of every setting against its value, after the steps of each rung"
        yield figure(_against(name, drawn), f"{told}. Later rungs have only settings that went on.")


def _by_rung(brackets: list[dict[str, Any]]) -> Any:
    with paper():
        drawn, axes = empty(COLUMN, 2.2)
        for bracket in brackets:
            steps = np.array([rung["steps"] for rung in bracket["rungs"]])
            merits = np.stack([_merit(rung) for rung in bracket["rungs"]], 1)
            best = bracket["rungs"][-1]["survivors"]
            for number, line in enumerate(merits):
                known, chosen = np.isfinite(line), number in best
                look = {"color": BLUE, "zorder": 3} if chosen else {"color": GREY, "alpha": 0.6, "linewidth": 0.7}
                axes.plot(steps[known], line[known], marker="o", markersize=2.5, **look)
        axes.set(xlabel="environment steps of a seed", ylabel="merit", xlim=(0, None))
        thousands(axes.xaxis)
    return drawn


def _points(bracket: Mapping[str, Any], name: str) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """Return steps, values and merits of each rung."""
    values = np.array(bracket["hypers"][name], float)
    merits = [(rung["steps"], _merit(rung)) for rung in bracket["rungs"]]
    return [(steps, values[np.isfinite(merit)], merit[np.isfinite(merit)]) for steps, merit in merits]


def _against(name: str, points: list[tuple[int, np.ndarray, np.ndarray]]) -> Any:
    from matplotlib.ticker import LogLocator

    with paper():
        drawn, axes = empty(COLUMN, 2.4)
        for number, steps in enumerate(sorted({steps for steps, *_ in points})[: len(COLOURS)]):
            own = [(values, merit) for at, values, merit in points if at == steps]
            x, y = (np.concatenate(column) for column in zip(*own, strict=True))
            look = {"color": COLOURS[number], "marker": MARKERS[number], "linestyle": "", "alpha": 0.8}
            axes.plot(x, y, label=f"after {steps:,} steps", **look)
        if scale(np.unique(np.concatenate([values for _, values, _ in points])).tolist()) == "log":
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
            axes.xaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        axes.set(xlabel=name, ylabel="merit")
        legend(drawn, axes)
    return drawn


def _settings(bracket: Mapping[str, Any]) -> int:
    return len(next(iter(bracket["hypers"].values())))


def _merit(rung: Mapping[str, Any]) -> np.ndarray:
    return _floats(rung["merit"])


def _floats(values: Any) -> np.ndarray:
    """Return numbers, of which null is NaN and infinity text."""
    return np.array([np.nan if value is None else float(value) for value in values])


def _middle(scores: np.ndarray) -> str:
    known = scores[np.isfinite(scores)]
    if not len(known):
        return ""
    places = digits(known)
    return f"{float(stats.iqm(scores)):z.{places}f} {describe_interval(scores, places)[1]}"
