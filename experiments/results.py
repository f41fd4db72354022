"""Keep records of finished runs of `qjax train`, and write experiments/RESULTS.md from all of them.

python -m experiments.results runs/family/*

A record is what a page needs of a run's folder, a file in experiments/records, for the folders are large and stay
where they were made. A run takes the place of an earlier one of the same algorithm, in the same environment, of the
same preset and with as many steps.
"""

import dataclasses
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro

import qjax
from qjax import algorithms, stats
from qjax.cli.arguments import FIELDS, arguments_of, flags, resolve
from qjax.cli.command import FREE, LONGEST, THRESHOLDS, as_command, describe_interval, digits
from qjax.cli.reading import from_config
from qjax.cli.studies import environment_of
from qjax.cli.words import parse
from qjax.core import jsonfile
from qjax.core.jsonfile import NOTHING, NUMBER, TEXT, either, list_of
from qjax.core.text import short
from qjax.mdp import examples, solve
from qjax.runs.config import CONFIG, load_summary
from qjax.runs.ended import WHEN_ENDED, altered

PAGE, RECORDS = Path(__file__).parent / "RESULTS.md", Path(__file__).parent / "records"
SUMMARY: jsonfile.Kinds = {
    "final_return_per_seed": list_of(NUMBER), "compile_s": NUMBER, "run_s": NUMBER, "env_steps_per_s": NUMBER
}  # fmt: skip
RECORD: jsonfile.Kinds = {
    "arguments": jsonfile.RECORD, "out": TEXT, "greedy": list_of(NUMBER),
    "training": list_of(either(NUMBER, NOTHING)), "seconds": NUMBER, "env_steps_per_s": NUMBER,
    "versions": jsonfile.RECORD, "remark": TEXT,
}  # fmt: skip
LAST_EPISODES = 100
"""So many at least make a seed's training return."""

HEAD = f"""# Results

Made by `python -m experiments.results` from the records of runs, one for each environment, algorithm, preset
(where there is one, it stands beside the algorithm) and number of steps.

- *Greedy*: returns of the last parameters (never the best checkpoint), whole episodes on keys of their own. A
  seed's score is its mean over the episodes; interquartile mean over seeds with its 95% bootstrap interval
  (`qjax.stats.iqm_interval`), mean, worst seed.
- *Training*: returns while learning, exploration included, of a seed's last {LAST_EPISODES} episodes or a few more
  (whole log points); mean and standard deviation over seeds. This is the protocol of the *published* figures,
  CleanRL's (Huang et al. 2022), which are of a few seeds each after 500,000 steps: of its dqn.py and, in JAX, its
  dqn_jax.py and c51_jax.py; and of its pqn.py as pull request 472 brought it, whose returns ran on over ends of
  episodes, where the preset is of today's, which pull request 494 mended. In rows with one of CleanRL's presets
  little differs, as `qjax list` tells. In the others: the steps, where there are fewer
  here; ten environments that step once between two updates where one steps ten times (PQN has four in both); how
  weights start, of dqn.py and pqn.py; Adam's epsilon of C51, its 51 atoms on what rewards can add up to where
  CleanRL has 101 on [-100, 100], and its least probability of 1e-5; and PQN's learning rate of 5e-4 where CleanRL
  has 2.5e-4.
- *Solved*: seeds whose greedy score reaches gymnasium's threshold.
- *Time*: of all seeds together, compilation included; runs that shared the machine took longer than they need.
"""
COLUMNS = (
    "algorithm", "seeds", "steps", "greedy: IQM [95% interval]", "mean", "worst seed", "solved", "training",
    "published", "time", "env-steps/s",
)  # fmt: skip
PUBLISHED = {
    ("CartPole-v1", "dqn"): "488.69 ± 16.11, in JAX 498.38 ± 2.29",
    ("CartPole-v1", "c51"): "in JAX 491.07 ± 9.70",
    ("CartPole-v1", "pqn"): "495.13 ± 6.89",
    ("Acrobot-v1", "dqn"): "in JAX -88.89 ± 1.56",
    ("Acrobot-v1", "c51"): "in JAX -86.74 ± 2.19",
}
"""By environment and algorithm: CleanRL's documentation, mean and standard deviation of training returns."""


def command(arguments: Mapping[str, Any], out: str) -> str:
    """Return the command of a run: every argument that is not the algorithm's or the preset's default."""
    args = from_config(arguments, Path(out))
    usual = resolve(arguments_of(args.name)(name=args.name, preset=args.preset, out=args.out))
    words = ["qjax train", args.name]
    first = ("env", "env_kwargs", "preset", "seeds", "steps")
    places = {name: place for place, name in enumerate(first)} | {"out": len(FIELDS)}
    for field in sorted(dataclasses.fields(args), key=lambda each: places.get(each.name, len(first))):
        value = getattr(args, field.name)
        always = field.name in ("env", "preset", "seeds", "steps", "out")
        if field.name == "name" or (field.name in FREE and field.name != "out") or value is None:
            continue
        if not always and value == getattr(usual, field.name):
            continue
        flag = field.name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            how = flags(args.name).get(field.name)
            given = how.words(value) if how else value if isinstance(value, tuple) else (value,)
            words.append(f"--{flag} {' '.join(shlex.quote(f'{each}') for each in given)}")
    return " ".join(words)


def last_returns(found: qjax.results.Results, least: int = LAST_EPISODES) -> np.ndarray:
    """Return each lane's mean training return over its last log points with so many episodes, `[settings, seeds]`.

    Of a lane that had fewer it is the mean over all of them, NaN where none has ended.
    """
    episodes = found["episodes"]
    fresh = np.diff(episodes, prepend=0)
    total = np.cumsum(np.nan_to_num(found["mean_return"]) * fresh, -1)
    before = (episodes <= episodes[..., -1:] - least).sum(-1)[..., None]

    def since(column: np.ndarray) -> np.ndarray:
        padded = np.concatenate([np.zeros((*column.shape[:2], 1)), column], -1)
        return (column[..., -1:] - np.take_along_axis(padded, before, -1))[..., 0]

    counted = since(episodes)
    return np.divide(since(total), counted, out=np.full(counted.shape, np.nan), where=counted > 0)


def record(folder: Path, remark: str = "") -> dict[str, Any]:
    """Return what the page needs of a finished run.

    Raises:
        FileNotFoundError: the folder holds no finished run.
        ValueError: it holds a grid of settings, or was altered since it ended.

    """
    config, summary = qjax.load_config(folder), load_summary(folder, SUMMARY)
    if "final_return_per_seed" not in summary:
        raise ValueError(f"{folder} holds a grid of settings; a record is of one")
    if wrong := altered(folder):
        raise ValueError(f"{folder / wrong[0]} {WHEN_ENDED}: no record of it")
    for found, name, needs in ((config, CONFIG, ("arguments", "versions")), (summary, "summary.json", SUMMARY)):
        jsonfile.check(folder / name, found, {}, needs)
    training = last_returns(qjax.results.load(folder, ["episodes", "mean_return"]))[0]
    return {
        "arguments": config["arguments"],
        "out": str(folder),
        "greedy": summary["final_return_per_seed"],
        "training": [None if np.isnan(x) else round(x, 3) for x in training.tolist()],
        "seconds": round(summary["compile_s"] + summary["run_s"], 1),
        "env_steps_per_s": round(summary["env_steps_per_s"]),
        "versions": {**config["versions"], "cores": os.cpu_count()},
        "remark": remark,
    }


def name_of(arguments: Mapping[str, Any]) -> str:
    """Return what a record's file is called."""
    parts = (task_of(arguments), arguments["name"], arguments.get("preset"), str(arguments["config"]["steps"]))
    return "-".join(filter(None, parts)).replace("=", "-").replace(" ", "-")


def task_of(arguments: Mapping[str, Any]) -> str:
    """Return the environment of a run, with what it was made with."""
    return environment_of(arguments["env"], arguments)


def optimum(arguments: Mapping[str, Any]) -> str:
    """Return what no policy can exceed in a run's environment, a line of the page; nothing where it is not known.

    Known is it of a table's environment with an MDP and a time limit.
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
    return (
        f"Exact: within the limit of {steps} steps the greedy policy of Q* (gamma {args.constants.gamma:g}) has a "
        f"mean return of {reached:.3f}, the best policy one of {best:.3f}.\n\n"
    )


def label(arguments: Mapping[str, Any]) -> str:
    """Return a record's algorithm, and its preset if it has one."""
    return ", ".join(f"`{name}`" for name in (arguments["name"], arguments["preset"]) if name)


def row(found: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a record's line of the table."""
    arguments, scores = found["arguments"], np.array(found["greedy"])
    training = np.array([x for x in found["training"] if x is not None])
    env, places = arguments["env"], digits(scores)
    threshold, seconds = THRESHOLDS.get(env), found["seconds"]
    return (
        label(arguments),
        str(len(scores)),
        f"{arguments['config']['steps']:,}",
        f"{stats.iqm(scores):.{places}f} {describe_interval(scores, places)[1]}",
        f"{scores.mean():.{places}f}",
        f"{scores.min():.{places}f}",
        "" if threshold is None else f"{(scores >= threshold).sum()}",
        f"{training.mean():.{places}f} ± {training.std():.{places}f}" if len(training) else "",
        PUBLISHED.get((env, arguments["name"]), ""),
        f"{seconds:.0f} s" if seconds < 60 else f"{seconds / 60:.1f} min",
        f"{found['env_steps_per_s']:,}",
    )


def page(records: Iterable[Mapping[str, Any]]) -> str:
    """Return the whole page, of records as `record` returns them."""
    order = list(algorithms.ALGORITHMS)

    def place(each: Mapping[str, Any]) -> tuple[str, int, str, int]:
        arguments = each["arguments"]
        steps = arguments["config"]["steps"]
        return task_of(arguments), order.index(arguments["name"]), arguments["preset"] or "", steps

    found = sorted(records, key=place)
    text = HEAD
    for task in dict.fromkeys(task_of(each["arguments"]) for each in found):
        here = [each for each in found if task_of(each["arguments"]) == task]
        lines = [COLUMNS, ("---",) * len(COLUMNS), *map(row, here)]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        remarks = "".join(f"{label(each['arguments'])}: {each['remark']}\n\n" for each in here if each["remark"])
        commands = "\n".join(command(each["arguments"], each["out"]) for each in here)
        text += f"\n## {task}\n\n{table}\n\n{optimum(here[0]['arguments'])}{remarks}```bash\n{commands}\n```\n"
    machines = dict.fromkeys(", ".join(f"{k} {v}" for k, v in each["versions"].items()) for each in found)
    hours = sum(each["seconds"] for each in found) / 3600
    text += f"\n## Compute\n\nAll runs above together took {hours:.1f} hours, on:\n\n"
    return text + "\n".join(f"- {machine}" for machine in machines) + "\n"


def main(folders: tyro.conf.Positional[tuple[Path, ...]] = (), remark: str = "") -> None:
    """Add runs to the records, and write the page.

    Args:
        folders: of finished runs of one setting each.
        remark: on these runs: what was tuned or tried.

    """
    made = {name_of(each["arguments"]): each for each in (record(folder, remark) for folder in folders)}
    RECORDS.mkdir(exist_ok=True)
    for name, each in made.items():
        (RECORDS / f"{name}.json").write_text(json.dumps(each) + "\n")
    PAGE.write_text(page(jsonfile.read(path, RECORD, needs=RECORD) for path in sorted(RECORDS.glob("*.json"))))
    print(f"wrote {PAGE}")


@as_command()
def script(run: Callable[..., None], name: str) -> None:
    """Parse the command line and run what it is for; what is wrong with records ends with one line, status 2."""
    try:
        parse(run, sys.argv[1:], f"python -m experiments.{name}")
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {short(str(error), LONGEST)}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    script(main, "results")
