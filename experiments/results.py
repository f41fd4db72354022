"""Keep records of finished runs of `qjax train`, and write experiments/RESULTS.md and its pictures from them all.

python -m experiments.results runs/family/*
"""

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import jax
import numpy as np
import tyro
from scipy.stats import binom

import qjax
from experiments import records
from experiments.records import (
    LAST_EPISODES,
    RECORDS,
    command,
    label,
    name_of,
    record,
    script,
    task_of,
    threshold_of,
)
from qjax import algorithms, stats
from qjax.cli.arguments import resolve
from qjax.cli.command import describe_interval, digits
from qjax.cli.reading import from_config
from qjax.mdp import examples, solve
from qjax.plot.lines import STEPS, middle, thousands
from qjax.plot.reach import median
from qjax.plot.style import COLUMN, DPI, GREY, figure, head, paper
from qjax.plot.style import PAGE as WIDE

PAGE = Path(__file__).parent / "RESULTS.md"
PICTURES = Path(__file__).parents[1] / "docs" / "pictures" / "family"

HEAD = f"""# Results

Made by `python -m experiments.results` from the records of runs, one for each environment, algorithm, preset
(where there is one, it stands beside the algorithm) and number of steps.

- *Greedy*: returns of the last parameters (never the best checkpoint), 20 whole episodes on keys of their own, or
  as many as a command says. A seed's score is its mean over the episodes; interquartile mean over seeds with its
  95% bootstrap interval (`qjax.stats.iqm_interval`), mean, worst seed.
- *Training*: returns while learning, exploration included, of a seed's last {LAST_EPISODES} episodes or a few more
  (whole log points); mean and standard deviation over seeds. This is the protocol of the *published* figures,
  CleanRL's (Huang et al. 2022), which are of a few seeds each after 500,000 steps: of its dqn.py and, in JAX, its
  dqn_jax.py and c51_jax.py; and of its pqn.py as pull request 472 brought it, whose returns ran on over ends of
  episodes, where the preset is of today's, which pull request 494 mended. In rows with one of CleanRL's presets
  little differs, as `qjax list` tells. In the others: the steps, where there are fewer
  here; ten environments that step once between two updates where one steps ten times (PQN has four in both); how
  weights start, of dqn.py and pqn.py; Adam's epsilon of C51, its 51 atoms on what rewards can add up to where
  CleanRL has 101 on [-100, 100], and its least probability of 1e-5; and PQN's learning rate of 5e-4 where CleanRL
  has 2.5e-4; how that was chosen is not on record.
- *Solved*: seeds whose greedy score reaches gymnasium's threshold. Where it has none, 0.9 on Catch and MemoryChain,
  which is 19 of 20 balls or answers, 0.5 on DeepSea, which is the treasure in more than half of the episodes, and
  -99 on CliffWalking, which is the goal without a fall; with Taxi, whose threshold of 8 no policy reaches, 6.93,
  one less than the best has; MinAtar's games have none. Where a tenth of the seeds fail though the interquartile
  mean does not, their share stands beside it.
- *Steps until solved*: environment steps after which a seed's training return first reaches that threshold, looked
  at after each hundredth of the steps, exploration included, so that a late fall of epsilon makes it late; the
  median over seeds, one that never does counting as later than all others, and how many do where not all do.
- *Diverged*: seeds whose loss or parameters were no longer finite.
- *Settings*: the algorithm's defaults or a preset's (`qjax train NAME --help` has them), and what a command adds;
  where anything else was tried, the lines below the table say what, and that seeds of another root chose. Empty
  cells were not kept yet when that run was made, or have no threshold.
- *Time*: of all seeds together, compilation included, on machines half as fast as others, and of runs that shared
  them several times what they need: no row's speed can be held against another's (for that see Performance).
"""
COLUMNS = (
    "algorithm", "seeds", "steps", "greedy: IQM [95% interval]", "mean", "worst seed", "solved",
    "steps until solved", "diverged", "training", "published", "time", "env-steps/s",
)  # fmt: skip
HIDDEN = 0.1
"""From this share of seeds on that fail where the interquartile mean does not show it, the row says so."""
PUBLISHED = {
    ("CartPole-v1", "dqn"): "488.69 ± 16.11, in JAX 498.38 ± 2.29",
    ("CartPole-v1", "c51"): "in JAX 491.07 ± 9.70",
    ("CartPole-v1", "pqn"): "495.13 ± 6.89",
    ("Acrobot-v1", "dqn"): "in JAX -88.89 ± 1.56",
    ("Acrobot-v1", "c51"): "in JAX -86.74 ± 2.19",
    ("MountainCar-v0", "dqn"): "in JAX -188.90 ± 11.78",
}
"""By environment and algorithm: CleanRL's documentation, mean and standard deviation of training returns."""


def optimum(arguments: Mapping[str, Any]) -> str:
    """Return what no policy can exceed in a run's environment, a line of the page; nothing where it is not known.

    Known is it of a table's environment with an MDP and a time limit. On lakes the line says, too, how many seeds
    with the greedy policy of Q* miss the threshold by luck, as so many episodes decide.
    """
    args = resolve(from_config(arguments, Path()))
    if args.name not in algorithms.TABULAR or (env := args.make()).max_steps is None:
        return ""
    try:
        mdp = examples.from_env(env)
    except TypeError:
        return ""
    steps = int(env.max_steps)
    policy = jax.vmap(qjax.greedy)(solve.exact(mdp, args.constants.gamma).q)
    reached, best = solve.expected_return(mdp, policy, steps), solve.best_return(mdp, steps)
    said = (
        f"Exact: within the limit of {steps} steps the greedy policy of Q* (gamma {args.constants.gamma:g}) has a "
        f"mean return of {reached:.3f}, the best policy one of {best:.3f}."
    )
    least = threshold_of(arguments)
    if args.env.startswith("FrozenLake") and least is not None and reached < 1:  # returns are 0 or 1
        unlucky = binom.cdf(np.ceil(least * args.eval_episodes) - 1, args.eval_episodes, reached)
        said += f" By the luck of its {args.eval_episodes} episodes {unlucky:.0%} of seeds with that policy fail."
    return f"{said}\n\n"


def until_solved(times: list[int | None] | None) -> str:
    """Return the median steps until solved, and how many seeds are where not all are."""
    if not times:
        return ""
    steps = np.array([np.inf if x is None else x for x in times])
    value, solved = np.quantile(steps, 0.5, method="inverted_cdf"), np.isfinite(steps).sum()
    count = "" if solved == len(steps) else f"{solved} of {len(steps)}"
    return f"{value:,.0f}" + f" ({count})" * bool(count) if np.isfinite(value) else count


def solved(scores: np.ndarray, threshold: float | None) -> str:
    """Return how many seeds reach the threshold, and the share that fails where the interquartile mean hides it."""
    if threshold is None:
        return ""
    reached = (scores >= threshold).sum()
    failed = 1 - reached / len(scores)
    hidden = failed >= HIDDEN and stats.iqm(scores) >= threshold
    return f"{reached}" + f" (**{failed:.0%} fail**)" * bool(hidden)


def published(arguments: Mapping[str, Any]) -> str:
    """Return CleanRL's figure for a run with its preset, or with none."""
    theirs = not arguments.get("wrap") and (arguments["preset"] or "cleanrl").startswith("cleanrl")
    return PUBLISHED.get((arguments["env"], arguments["name"]), "") if theirs else ""


def row(found: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a record's line of the table."""
    arguments, scores = found["arguments"], np.array(found["greedy"])
    training = np.array([x for x in found["training"] if x is not None])
    places, seconds = digits(scores), found["seconds"]
    return (
        label(arguments),
        str(len(scores)),
        f"{arguments['config']['steps']:,}",
        f"{stats.iqm(scores):z.{places}f} {describe_interval(scores, places)[1]}",
        f"{scores.mean():z.{places}f}",
        f"{scores.min():z.{places}f}",
        solved(scores, threshold_of(arguments)),
        until_solved(found.get("solved_after")),
        f"{found['diverged']}" if "diverged" in found else "",
        f"{training.mean():z.{places}f} ± {training.std():z.{places}f}" if len(training) else "",
        published(arguments),
        f"{seconds:.0f} s" if seconds < 60 else f"{seconds / 60:.1f} min",
        f"{found['env_steps_per_s']:,}",
    )


Tasks = dict[str, list[Mapping[str, Any]]]
"""Records by environment, both in the page's order."""


def by_task(found: Iterable[Mapping[str, Any]]) -> Tasks:
    """Return records by environment."""
    order = list(algorithms.ALGORITHMS)

    def place(each: Mapping[str, Any]) -> tuple[str, int, str, int]:
        arguments = each["arguments"]
        steps = arguments["config"]["steps"]
        return task_of(arguments), order.index(arguments["name"]), arguments["preset"] or "", steps

    tasks: Tasks = {}
    for each in sorted(found, key=place):
        tasks.setdefault(task_of(each["arguments"]), []).append(each)
    return tasks


def picture_of(task: str) -> str:
    """Return what the file of an environment's picture is called."""
    return f"{task.replace('=', '-').replace(' ', '-')}.png"


def drawn_from(here: Sequence[Mapping[str, Any]]) -> str:
    """Return a digest of what a picture shows, which stands in its file."""
    shown = [(row(each), each["greedy"], each.get("solved_after")) for each in here]
    return f"of records with the digest {zlib.crc32(json.dumps(shown).encode()):08x}"


def page(tasks: Tasks) -> str:
    """Return the whole page, of records as `record` returns them."""
    text = HEAD
    for task, here in tasks.items():
        lines = [COLUMNS, ("---",) * len(COLUMNS), *map(row, here)]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        seen = "Greedy returns" + " and steps until solved" * shows_steps(here)
        shown = f"![{seen}](../docs/pictures/family/{picture_of(task)})\n\n"
        remarks = "".join(f"{label(each['arguments'])}: {each['remark']}\n\n" for each in here if each["remark"])
        commands = "\n".join(command(each["arguments"], each["out"]) for each in here)
        said = f"{optimum(here[0]['arguments'])}{remarks}"
        text += f"\n## {task}\n\n{table}\n\n{shown}{said}```bash\n{commands}\n```\n"
    every = [each for here in tasks.values() for each in here]
    machines = dict.fromkeys(", ".join(f"{k} {v}" for k, v in each["versions"].items()) for each in every)
    hours = sum(each["seconds"] for each in every) / 3600
    text += f"\n## Compute\n\nAll runs above together took {hours:.1f} hours, on:\n\n"
    return text + "\n".join(f"- {machine}" for machine in machines) + "\n"


def half_solved_after(found: Mapping[str, Any]) -> stats.Estimate:
    """Return the median steps until a record's seeds are solved, not finite where half of them never are."""
    known = found.get("solved_after") or [None]
    steps = median(np.array([[np.inf if x is None else x for x in known]]).T)
    return steps._replace(value=steps.value[0], low=steps.low[0], high=steps.high[0])


def shows_steps(here: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether a picture has the steps until solved: most records know them, and half of one's seeds are."""
    known = [each for each in here if each.get("solved_after")]
    return 2 * len(known) > len(here) and any(np.isfinite(half_solved_after(each).value) for each in known)


def draw(task: str, here: list[Mapping[str, Any]]) -> Any:
    """Return the picture of an environment: a row for each record, its score and the steps until it was solved."""
    times = [half_solved_after(each) for each in here] if shows_steps(here) else []
    width = WIDE if times else COLUMN
    marks = "grey: worst to best seed" + "; dotted: solved" * (threshold_of(here[0]["arguments"]) is not None)
    title = fill(f"{task}: interquartile mean with 95% bootstrap interval; {marks}", int(17 * width))
    with paper():
        drawn, panels = figure(width, 0.8 + 0.13 * (title.count("\n") + 1) + 0.15 * len(here), 1 + bool(times))
        head(drawn, title)
        scores, *steps = np.atleast_1d(panels)
        _draw_scores(scores, here)
        for panel in steps:
            _draw_steps(panel, here, times)
    return drawn


def _draw_scores(panel: Any, here: Sequence[Mapping[str, Any]]) -> None:
    """Draw greedy returns; where a seed is far below all intervals its return stands at the edge as a number."""
    own = [np.array(each["greedy"], np.float32) for each in here]
    ends, threshold = [middle(each) for each in own], threshold_of(here[0]["arguments"])
    if threshold is not None:
        panel.axvline(threshold, color=GREY, linewidth=0.8, linestyle=":")
    shown = [threshold, *(x for each in ends for x in (each.value, each.low)), *(each.max() for each in own)]
    low, high = (f([x for x in shown if x is not None and np.isfinite(x)]) for f in (min, max))
    room = 0.3 * (high - low) or 1.0
    left = max(min(each.min() for each in own), low - room) - 0.1 * room
    edge: dict[str, Any] = {"transform": panel.get_yaxis_transform(), "va": "center", "color": GREY, "fontsize": 5}
    for y, (each, found) in enumerate(zip(own, ends, strict=True)):
        panel.hlines(y, max(each.min(), left), each.max(), color=GREY, linewidth=0.6, alpha=0.6)
        _dot(panel, y, found)
        if each.min() < left:
            said = f"\N{LEFTWARDS ARROW} {each.min():z.{digits(each)}f}"
            panel.text(0.01, y - 0.28, said, **edge)
    names = [f"{label(x['arguments'])}, {x['arguments']['config']['steps'] // 1000}k" for x in here]
    panel.set(xlabel="greedy return", xlim=(left, high + 0.1 * room), ylim=(len(here) - 0.4, -0.6))
    panel.set_yticks(range(len(here)), [name.replace("`", "") for name in names])


def _draw_steps(panel: Any, here: Sequence[Mapping[str, Any]], times: Sequence[stats.Estimate]) -> None:
    """Draw the steps until half of the seeds were solved, or say how many are, where that is known."""
    for y, (found, each) in enumerate(zip(times, here, strict=True)):
        _dot(panel, y, found)
        if not np.isfinite(found.value):
            said = until_solved(each.get("solved_after"))
            panel.text(0.01, y, said, transform=panel.get_yaxis_transform(), va="center", color=GREY)
    panel.set(xlabel=f"{STEPS} until solved, median", xlim=(0, 1.05 * panel.dataLim.x1))
    panel.set(ylim=(len(here) - 0.4, -0.6), yticks=[])
    thousands(panel.xaxis)


def _dot(panel: Any, y: int, found: stats.Estimate) -> None:
    """Draw a value and its interval, as far as they are finite; without an upper end it goes to the edge."""
    if np.isfinite(found.value):
        ends = np.nan_to_num([found.value - found.low, found.high - found.value], nan=0.0, posinf=0.0)
        panel.errorbar(found.value, y, xerr=ends[:, None], marker="o", markersize=3, color="C0", capsize=1.5)
        if found.high == np.inf:  # no upper end
            arrow = {"arrowstyle": "->", "color": "C0", "shrinkA": 0, "shrinkB": 0}
            edge = panel.get_yaxis_transform()
            panel.annotate("", (1, y), (found.value, y), xycoords=edge, textcoords="data", arrowprops=arrow)


def main(folders: tyro.conf.Positional[tuple[Path, ...]] = (), remark: str = "") -> None:
    """Add runs to the records, and write the page and its pictures.

    Args:
        folders: of finished runs of one setting each.
        remark: on these runs: what was tuned or tried.

    """
    made = {name_of(each["arguments"]): each for each in (record(folder, remark) for folder in folders)}
    RECORDS.mkdir(exist_ok=True)
    for name, each in made.items():
        (RECORDS / f"{name}.json").write_text(json.dumps(each) + "\n")
    tasks = by_task(map(records.read, sorted(RECORDS.glob("*.json"))))
    PAGE.write_text(page(tasks))
    PICTURES.mkdir(parents=True, exist_ok=True)
    for task, here in tasks.items():
        draw(task, here).savefig(PICTURES / picture_of(task), dpi=DPI, metadata={"Description": drawn_from(here)})
    print(f"wrote {PAGE}, and a picture for each environment to {PICTURES}")


if __name__ == "__main__":
    script(main, "results")
