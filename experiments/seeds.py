"""Why to sweep seeds: how often a few of them put two algorithms in another order than all of them.

    python -m experiments.seeds --out runs/seeds

Nothing is trained: the scores are those of experiments/records, the greedy return of each seed's last parameters.
"""

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.records import RECORDS, label, read, script, task_of
from qjax import algorithms, plot, stats
from qjax.plot.style import legend, marked, paper, titled

LEAST = 64
"""Seeds of a record that is looked at: what they say together is taken for true."""
ALGORITHMS = 8
"""So many at least make a line of the picture."""
COUNTS = (1, 2, 3, 5, 10, 20, 30)
"""So many seeds are drawn of each algorithm."""
DRAWS = 20_000
"""Of so many seeds, for each algorithm; its pairs share them."""


class Pair(NamedTuple):
    """Two algorithms in one environment, after as many steps."""

    task: str
    """The environment."""
    names: tuple[str, str]
    """The algorithms, the better one first."""
    apart: bool
    """Whether the 95% interval of the difference of their means excludes 0."""
    wrong: list[float]
    """By `COUNTS`, the share of draws of so many seeds in which the worse has the higher mean; a tie is half."""


def scores_of(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """Return each seed's score by environment and steps, then by algorithm, of what has enough seeds."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for path in sorted(folder.glob("*.json")):
        record = read(path)
        arguments, scores = record["arguments"], np.array(record["greedy"])
        if len(scores) >= LEAST:
            task = f"{task_of(arguments)}, {arguments['config']['steps']:,} steps"
            found.setdefault(task, {})[label(arguments).replace("`", "")] = scores
    return {task: each for task, each in found.items() if len(each) >= ALGORITHMS}


def few_means(scores: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the means of the first `COUNTS` of seeds drawn with replacement, `[draws, counts]`."""
    drawn = rng.choice(scores, (DRAWS, max(COUNTS)))
    return np.cumsum(drawn, 1)[:, np.array(COUNTS) - 1] / COUNTS


def wrong_order(better: np.ndarray, worse: np.ndarray) -> list[float]:
    """Return, of `few_means` of two, in which share the worse one's is higher, ties counted half, `[counts]`."""
    found: list[float] = ((worse > better).mean(0) + 0.5 * (worse == better).mean(0)).tolist()
    return found


def pairs_of(task: str, scores: Mapping[str, np.ndarray], rng: np.random.Generator) -> list[Pair]:
    """Return every pair of algorithms whose means over all seeds differ; seeds of one number are compared."""
    found, few = [], {name: few_means(each, rng) for name, each in scores.items()}
    for names in itertools.combinations(scores, 2):
        one, other = sorted(names, key=lambda name: -scores[name].mean())
        better, worse = scores[one], scores[other]
        if better.mean() == worse.mean():
            continue
        apart = stats.paired(better, worse, statistic=stats.mean).difference.low > 0
        found.append(Pair(task, (one, other), bool(apart), wrong_order(few[one], few[other])))
    return found


def told_apart(pairs: list[Pair]) -> dict[str, list[Pair]]:
    """Return by task the pairs that all seeds tell apart."""
    found: dict[str, list[Pair]] = {}
    for pair in pairs:
        if pair.apart:
            found.setdefault(pair.task, []).append(pair)
    return found


def briefly(task: str) -> str:
    """Return a task's name for a legend."""
    lake = {
        "is_slippery=true": "slippery",
        "is_slippery=false": "not slippery",
        "map_name=": "",
        ",000 steps": "k steps",
    }
    for long, short in lake.items():
        task = task.replace(long, short)
    return task


def by_kind(pairs: list[Pair]) -> dict[str, list[Pair]]:
    """Return the pairs of networks and of tables, if any: together they have more lines than colours."""
    found: dict[str, list[Pair]] = {}
    for pair in pairs:
        kind = "tables" if pair.names[0] in algorithms.TABULAR else "networks"
        found.setdefault(kind, []).append(pair)
    return found


def draw(pairs: list[Pair]) -> Any:
    """Return the picture of how often the order of a pair is wrong, over the number of seeds."""
    found = told_apart(pairs)
    with paper():
        title = "Pairs that all seeds tell apart (how many):\nhow often fewer seeds put them the other way"
        drawn, axes = titled(title, found)
        for number, (task, each) in enumerate(found.items()):
            wrong = np.array([pair.wrong for pair in each]).mean(0)
            axes.plot(COUNTS, wrong, label=f"{briefly(task)} ({len(each)})", **marked(number))
        axes.set(xlabel="seeds of each", ylabel="draws in the wrong order", xscale="log", ylim=(0, None))
        axes.set_xticks(COUNTS, [f"{count}" for count in COUNTS])
        axes.minorticks_off()
        axes.yaxis.set_major_formatter("{x:.0%}")
        legend(drawn, axes)
    return drawn


def said(task: str, scores: Mapping[str, np.ndarray], pairs: list[Pair]) -> str:
    """Return what three seeds do to the order in a task, as a line."""
    at = COUNTS.index(3)
    apart, alike = ([pair for pair in pairs if pair.task == task and pair.apart == flag] for flag in (True, False))
    line = (
        f"{task}: {len(apart)} of {len(apart + alike)} pairs told apart by {min(map(len, scores.values()))} seeds"
    )
    if apart:
        worst = max(apart, key=lambda pair: pair.wrong[at])
        line += (
            f"; 3 seeds have {np.mean([pair.wrong[at] for pair in apart]):.0%} of these in the wrong order"
            f" ({' and '.join(worst.names)} in {worst.wrong[at]:.0%} of the draws)"
        )
    if alike:
        line += f", and {np.mean([pair.wrong[at] for pair in alike]):.0%} of the others"
    return line


def main(out: Path = Path("runs/seeds"), seed: int = 0, records: Path = RECORDS) -> None:
    """Compare algorithms by a few of their seeds and by all, and draw how often the order differs.

    Args:
        out: folder for the pictures and their numbers.
        seed: of the draws.
        records: folder of the records.

    """
    scores = scores_of(records)
    if not scores:
        raise ValueError(f"{records} has no {ALGORITHMS} records of {LEAST} seeds in one environment")
    rng = np.random.default_rng(seed)
    pairs = [pair for task, each in scores.items() for pair in pairs_of(task, each, rng)]
    for task, each in scores.items():
        print(said(task, each, pairs))
    out.mkdir(parents=True, exist_ok=True)
    found = {"counts": COUNTS, "draws": DRAWS, "pairs": [pair._asdict() for pair in pairs]}
    (out / "seeds.json").write_text(json.dumps(found) + "\n")
    for kind, own in by_kind(pairs).items():
        plot.save(draw(own), out / f"seeds-{kind}")
    print(f"pictures, and what they show, in {out}")


if __name__ == "__main__":
    script(main, "seeds")
