"""What is kept of a finished run of `qjax train`, a file in experiments/records: the results page shows them.

A run's folder is large and stays where it was made. A record takes the place of an earlier one of the same
algorithm, in the same environment, of the same preset and with as many steps.
"""

import dataclasses
import json
import math
import os
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import qjax
from qjax.cli.arguments import FIELDS, arguments_of, flags, resolve
from qjax.cli.command import FREE, LONGEST, THRESHOLDS, as_command
from qjax.cli.reading import from_config
from qjax.cli.studies import environment_of
from qjax.cli.words import parse
from qjax.core import jsonfile
from qjax.core.jsonfile import NOTHING, NUMBER, TEXT, either, list_of
from qjax.core.text import short
from qjax.runs.config import CONFIG, load_summary
from qjax.runs.ended import WHEN_ENDED, altered
from qjax.runs.versions import versions

RECORDS = Path(__file__).parent / "records"
SUMMARY: jsonfile.Kinds = {
    "final_return_per_seed": list_of(NUMBER), "compile_s": NUMBER, "run_s": NUMBER, "env_steps_per_s": NUMBER
}  # fmt: skip
RECORD: jsonfile.Kinds = {
    "arguments": jsonfile.RECORD, "out": TEXT, "greedy": list_of(NUMBER),
    "training": list_of(either(NUMBER, NOTHING)), "seconds": NUMBER, "env_steps_per_s": NUMBER,
    "versions": jsonfile.RECORD, "remark": TEXT,
}  # fmt: skip
LATER: jsonfile.Kinds = {"diverged": NUMBER, "solved_after": list_of(either(NUMBER, NOTHING))}
"""What the first records lack: how many seeds diverged, and after how many environment steps each was solved."""
LAST_EPISODES = 100
"""So many at least make a seed's training return."""
SOLVED = {
    **THRESHOLDS, "Catch-bsuite": 0.9, "MemoryChain-bsuite": 0.9, "DeepSea-bsuite": 0.5,
    "CliffWalking-v1": -99.0, "Taxi-v4": 6.93,
}  # fmt: skip
"""The mean return from which an environment is solved: gymnasium's threshold, where it has one. Of bsuite's, 19
balls of 20 caught, 19 answers of 20 right, and the treasure in more than half of the episodes. On CliffWalking the
goal without a fall, and with Taxi one less than the best policy has: gymnasium has no threshold for the one, and
for the other one that no policy reaches."""


def read(path: Path) -> dict[str, Any]:
    """Return a record.

    Raises:
        OSError: there is no such file, or it cannot be read.
        ValueError: it is no record.

    """
    return jsonfile.read(path, {**RECORD, **LATER}, needs=RECORD)


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


def training_returns(found: qjax.results.Results, least: int = LAST_EPISODES) -> np.ndarray:
    """Return each lane's mean training return over its last log points with so many episodes, at each log point.

    `[settings, seeds, points]`; before a lane has had so many it is the mean over all, NaN where none has ended.
    """
    episodes = found["episodes"]
    fresh = np.diff(episodes, prepend=0)
    total = np.cumsum(np.nan_to_num(found["mean_return"]) * fresh, -1)
    before = (episodes[..., None, :] <= episodes[..., :, None] - least).sum(-1)

    def since(column: np.ndarray) -> np.ndarray:
        padded = np.concatenate([np.zeros((*column.shape[:2], 1)), column], -1)
        return column - np.take_along_axis(padded, before, -1)

    counted = since(episodes)
    return np.divide(since(total), counted, out=np.full(counted.shape, np.nan), where=counted > 0)


def solved_after(found: qjax.results.Results, threshold: float, least: int = LAST_EPISODES) -> list[int | None]:
    """Return the environment steps after which each seed's training return first was as high; None for never.

    It is looked at at log points, from the first one with so many episodes on.
    """
    high: np.ndarray = training_returns(found, least)[0] >= threshold
    reached, steps = high & (found["episodes"][0] >= least), found.env_steps[0]
    first = np.take_along_axis(steps, reached.argmax(-1)[:, None], -1)[:, 0].tolist()
    return [after if ever else None for after, ever in zip(first, reached.any(-1), strict=True)]


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
    results = qjax.results.load(folder, ["episodes", "mean_return"])
    training, threshold = training_returns(results)[0, :, -1], threshold_of(config["arguments"])
    return {
        "arguments": config["arguments"],
        "out": str(folder),
        "greedy": summary["final_return_per_seed"],
        "training": [None if np.isnan(x) else round(x, 3) for x in training.tolist()],
        "seconds": round(summary["compile_s"] + summary["run_s"], 1),
        "env_steps_per_s": round(summary["env_steps_per_s"]),
        "versions": {**config["versions"], "cores": os.cpu_count()},
        "remark": remark,
        "diverged": int((results.diverged_at >= 0).sum()),
        **({} if threshold is None else {"solved_after": solved_after(results, threshold)}),
    }


def keep(path: Path, found: Mapping[str, Any]) -> None:
    """Write what an experiment found as JSON, with what it was found with."""
    path.write_text(json.dumps({**found, "versions": {**versions(), "cores": os.cpu_count()}}) + "\n")


def name_of(arguments: Mapping[str, Any]) -> str:
    """Return what a record's file is called."""
    parts = (task_of(arguments), arguments["name"], arguments.get("preset"), str(arguments["config"]["steps"]))
    return "-".join(filter(None, parts)).replace("=", "-").replace(" ", "-")


def task_of(arguments: Mapping[str, Any]) -> str:
    """Return the environment of a run, with what it was made with and wrapped in."""
    return " ".join((environment_of(arguments["env"], arguments), *arguments.get("wrap", ())))


def threshold_of(arguments: Mapping[str, Any]) -> float | None:
    """Return the mean return from which a run's environment is solved, scaled as its rewards are.

    None where there is none, or another wrapper may change returns.
    """
    threshold, wrappers = SOLVED.get(arguments["env"]), [each.split("=") for each in arguments.get("wrap", ())]
    if threshold is None or any(name != "reward_scale" for name, *_ in wrappers):
        return None
    return threshold * math.prod(float(factor) for _, factor in wrappers)


def label(arguments: Mapping[str, Any]) -> str:
    """Return a record's algorithm, and its preset if it has one."""
    return ", ".join(f"`{name}`" for name in (arguments["name"], arguments["preset"]) if name)


@as_command()
def script(run: Callable[..., None], name: str) -> None:
    """Parse the command line and run what it is for; what is wrong with records ends with one line, status 2."""
    try:
        parse(run, sys.argv[1:], f"python -m experiments.{name}")
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {short(str(error), LONGEST)}", file=sys.stderr)
        sys.exit(2)
