"""Write experiments/RESULTS.md from the folders of finished runs of `experiments.train`.

python -m experiments.results runs/family/*
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tyro

import qjax
from benchmarks.harness import machine
from experiments.arguments import Arguments, from_config, settle
from experiments.command import FREE, THRESHOLDS
from qjax import members

PAGE = Path(__file__).parent / "RESULTS.md"
HEAD = """# Results

Greedy returns of the last parameters (never the best checkpoint), whole episodes on keys of their own. Each seed's
score is its mean over the episodes; the table has the interquartile mean over seeds with its 95% bootstrap interval
(`qjax.stats.iqm_interval`). Made by `python -m experiments.results` from run folders.

{note}

Machine: {machine}. Times are of all seeds together, compilation included.
"""
COLUMNS = ("member", "seeds", "steps", "IQM [95% interval]", "mean", "worst seed", "solved", "time", "env-steps/s")


def command(arguments: dict[str, Any]) -> str:
    """Return the command of a run: every argument that is not the member's or the preset's default."""
    args = from_config(arguments, Path(arguments["out"]))
    usual = settle(Arguments(name=args.name, preset=args.preset, out=args.out))
    words = ["python -m experiments.train", args.name]
    for field in dataclasses.fields(Arguments):
        value = getattr(args, field.name)
        always = field.name in ("env", "seeds", "steps", "out")
        if field.name == "name" or (field.name in FREE and field.name != "out") or value is None:
            continue
        if not always and value == getattr(usual, field.name):
            continue
        flag = field.name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words.append(f"--{flag} {' '.join(map(str, value)) if isinstance(value, tuple) else value}")
    return " ".join(words)


def row(folder: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return a run's arguments and its line of the table."""
    arguments = qjax.load_config(folder)["arguments"]
    summary = json.loads((folder / "summary.json").read_text())
    scores = np.array(summary["final_return_per_seed"])
    low, high = summary["final_return_iqm_interval"]
    threshold = THRESHOLDS.get(arguments["env"])
    solved = "" if threshold is None else f"{(scores >= threshold).sum()} of {len(scores)}"
    seconds = summary["compile_s"] + summary["run_s"]
    return arguments, (
        f"`{arguments['name']}`",
        str(len(scores)),
        f"{arguments['steps']:,}",
        f"{summary['final_return_iqm']:.1f} [{low:.1f}, {high:.1f}]",
        f"{scores.mean():.1f}",
        f"{scores.min():.1f}",
        solved,
        f"{seconds / 60:.1f} min",
        f"{summary['env_steps_per_s']:,.0f}",
    )


def page(folders: Sequence[Path], note: str) -> str:
    """Return the whole page.

    Raises:
        OSError: a folder holds no finished run.

    """
    rows = [row(folder) for folder in folders]
    order = list(members.MEMBERS)
    rows.sort(key=lambda found: order.index(found[0]["name"]))
    text = HEAD.format(note=note, machine=machine())
    for env in dict.fromkeys(arguments["env"] for arguments, _ in rows):
        here = [(arguments, line) for arguments, line in rows if arguments["env"] == env]
        lines = [COLUMNS, ("---",) * len(COLUMNS), *(line for _, line in here)]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        commands = "\n".join(command(arguments) for arguments, _ in here)
        text += f"\n## {env}\n\n{table}\n\n```bash\n{commands}\n```\n"
    return text


def main(folders: tyro.conf.Positional[tuple[Path, ...]], note: str = "", out: Path = PAGE) -> None:
    """Write the page.

    Args:
        folders: of finished runs.
        note: a paragraph for the page's head.
        out: the page.

    """
    out.write_text(page(folders, note))
    print(f"wrote {out}")


if __name__ == "__main__":
    tyro.cli(main)
