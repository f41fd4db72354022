"""What an actor's memory changes: chains that only memory solves, and a sea that only deep exploration crosses.

    python -m experiments.memory --out runs/memory

MemoryChain by the length over which a bit must be remembered, DeepSea by its size, and CartPole and MountainCar
without their velocities. Each algorithm at each size is a run of `qjax train` in a folder of its own, so what was
stopped goes on where it was; a part's JSON has what is drawn, of each seed, and the commands.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import qjax
from experiments.records import SOLVED, command, keep
from qjax import plot, stats
from qjax.cli import train
from qjax.cli.arguments import arguments_of
from qjax.cli.command import Setting, main
from qjax.core.checks import check_size
from qjax.core.jsonfile import NUMBER, list_of
from qjax.plot.reach import median, steps_to_reach
from qjax.plot.style import PAGE, legend, marked, paper, titled
from qjax.runs.config import load_summary


class Part(NamedTuple):
    """Tasks that differ in one size, and what is trained on them."""

    task: Callable[[int], dict[str, Any]]
    """Of a size, what `qjax train` is given for all algorithms."""
    lines: Callable[[int], dict[str, tuple[str, dict[str, Any]]]]
    """Of a size, by name in the picture: an algorithm, and its own constants."""


EPISODES = 2_000
"""Of each seed, of the chain and the sea."""


def rows(length: int) -> int:
    """Return the rows of a sequence, a multiple of 10, of which about half have an episode of a chain whole."""
    return 10 * math.ceil(1.5 * (length + 2) / 10)


def chain(length: int) -> dict[str, Any]:
    """Return MemoryChain: what the first observation showed is the right action after so many steps."""
    steps = EPISODES * (length + 2)  # an episode has a step less, so it is some more of them
    return {"env": "MemoryChain-bsuite", "env_kwargs": (f"memory_length={length}",), "steps": steps}


def remembering(length: int) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return recurrent agents that learn from so many rows at once, and DQN with as large a network."""
    return {
        "R2D2": ("r2d2", {"length": length, "rollout": 10}),
        "DRQN": ("drqn", {"length": length, "rollout": 10}),
        "recurrent PQN": ("recurrent-pqn", {"rollout": length, "num_envs": 8, "lam": 0.95, "learning_rate": 3e-3}),
        "DQN": ("dqn", {"hidden": (64, 64), "learning_rate": 1e-3, "warmup": 1_000}),
    }


def sea(size: int) -> dict[str, Any]:
    """Return DeepSea: 0.99 at the end of the one path that goes right at every step, which costs 0.01 in all."""
    return {"env": "DeepSea-bsuite", "env_kwargs": (f"size={size}",), "steps": EPISODES * size, "log_points": 200}


def exploring(size: int) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return agents that explore in different ways, with the same network, memory and rate."""
    same: dict[str, Any] = {
        "hidden": (50, 50), "learning_rate": 1e-3, "batch_size": 32, "warmup": 200, "target_period": 100,
        "num_envs": 10, "capacity": 20_000,
    }  # fmt: skip
    return {
        "bootstrapped, prior": ("bootstrapped-dqn", same),
        "bootstrapped": ("bootstrapped-dqn", same | {"prior_scale": 0.0}),
        "noisy": ("noisy-dqn", same),
        "epsilon-greedy": ("dqn", same),
        "epsilon-z-greedy": ("dqn", same | {"epsilon_z": 2.0}),
    }


ROWS = 20
"""Of the sequences that are learned from where velocities are to be seen."""


def masked(env: str, positions: str) -> Part:
    """Return an environment of whose observation only positions are shown, with the previous action and reward."""
    task = {"env": env, "wrap": (f"select={positions}", "previous"), "steps": 200_000}

    def lines(rows: int) -> dict[str, tuple[str, dict[str, Any]]]:
        found = remembering(rows)
        for name in ("R2D2", "DRQN"):  # an update comes after 100 steps: 500 would be a target of five updates
            found[name][1].update({"target_period": 100, "target_unit": "update"})
        return found

    return Part(lambda rows: task, lines)


PARTS = {
    "chain": Part(chain, lambda length: remembering(rows(length))),
    "sea": Part(sea, exploring),
    "cartpole": masked("CartPole-v1", "0,2"),
    "mountaincar": masked("MountainCar-v0", "0"),
}


@dataclass(kw_only=True)
class Arguments(Setting):
    """Train agents with and without memory on tasks that need it, and draw how far each gets."""

    seeds: int = 64
    parts: tuple[str, ...] = tuple(PARTS)
    """Which of chain, sea, cartpole and mountaincar."""
    lengths: tuple[int, ...] = (5, 10, 20, 30, 50)
    """Of the chain."""
    sizes: tuple[int, ...] = (8, 10, 14, 20)
    """Of the sea."""
    shorten: int = 1
    """Divides the steps: for a quick look."""
    accept_program: bool = False
    """Go on although a program's text is another, as with `qjax train`."""
    out: Path = Path("runs/memory")
    """Folder for the runs, and a picture and a JSON file of each part."""


def trained(args: Arguments, part: str, size: int) -> dict[str, Path]:
    """Train what is not trained yet at one size; return the folders by their name in the picture."""
    task, folders = PARTS[part].task(size), dict[str, Path]()
    for name, (algorithm, constants) in PARTS[part].lines(size).items():
        folders[name] = args.out / part / f"{size}" / name.replace(", ", "-").replace(" ", "-")
        given = {**task, **constants, "steps": task["steps"] // args.shorten}
        given |= {"seeds": args.seeds, "seed": args.seed, "fast_keys": args.fast_keys, "cores": args.cores}
        given |= {"resume": True, "accept_program": args.accept_program}
        train.run(arguments_of(algorithm)(name=algorithm, out=folders[name], **given))
    return folders


def greedy_returns(folder: Path) -> list[float]:
    """Return each seed's mean greedy return, of the last parameters."""
    found: list[float] = load_summary(folder, {"final_return_per_seed": list_of(NUMBER)})["final_return_per_seed"]
    return found


def episodes_until_solved(folder: Path) -> list[float | None]:
    """Return after how many episodes each seed's, exploration included, end at the treasure; None for never."""
    points = qjax.load_points(folder)
    episodes, returns = (np.stack([getattr(point, x) for point in points], 1) for x in ("episodes", "mean_return"))
    reached = steps_to_reach(episodes, returns, np.array([SOLVED["DeepSea-bsuite"]]))[:, 0]
    return [float(x) if np.isfinite(x) else None for x in reached]


Found = dict[str, dict[str, list[Any]]]
"""What is known of each seed, by size and by the name in the picture."""


def by_line(found: Found) -> dict[str, dict[int, list[Any]]]:
    """Return the same by name, then by size."""
    names = dict.fromkeys(name for each in found.values() for name in each)
    return {name: {int(size): each[name] for size, each in found.items() if name in each} for name in names}


def draw_shares(axes: Any, solved: dict[str, dict[int, np.ndarray]], xlabel: str) -> None:
    """Draw the share of seeds that solve each size, with Wilson's 95% interval."""
    for number, (name, each) in enumerate(solved.items()):
        shares = np.array([flags.mean() for flags in each.values()])
        ends = np.array([stats.wilson(int(flags.sum()), len(flags)) for flags in each.values()]).T
        error = abs(ends - shares)
        axes.errorbar(list(each), shares, error, label=name, elinewidth=0.8, capsize=1.5, **marked(number))
    axes.set(xlabel=xlabel, ylabel="share of seeds", ylim=(-0.03, 1.03), xlim=(0, None))
    axes.set_xticks(sorted({size for each in solved.values() for size in each}))
    axes.yaxis.set_major_formatter("{x:.0%}")


def draw_chain(found: Found, seeds: str) -> Any:
    """Return the picture of which lengths are solved."""
    solved = {
        name: {size: np.array(scores) >= SOLVED["MemoryChain-bsuite"] for size, scores in each.items()}
        for name, each in by_line(found).items()
    }
    with paper():
        drawn, axes = titled(
            f"MemoryChain, last parameters after some {EPISODES:,} episodes\n{seeds}, 95% Wilson interval", solved
        )
        draw_shares(axes, solved, "steps over which a bit is remembered")
        legend(drawn, axes)
    return drawn


def draw_sea(found: Found, seeds: str) -> Any:
    """Return the picture of which sizes are solved, and after how many episodes by half of the seeds."""
    times = {
        name: {size: np.array([np.inf if x is None else x for x in each]) for size, each in sizes.items()}
        for name, sizes in by_line(found).items()
    }
    solved = {name: {size: np.isfinite(x) for size, x in each.items()} for name, each in times.items()}
    with paper():
        drawn, (left, right) = titled(f"DeepSea in {EPISODES:,} episodes, {seeds}", solved, PAGE, 2)
        draw_shares(left, solved, "size of the sea")
        left.set_title("seeds that reach the treasure, 95% Wilson interval", loc="left")
        for number, each in enumerate(times.values()):
            value, low, high = np.array([[x[0] for x in median(own[:, None])] for own in each.values()]).T
            known = np.isfinite(value)
            # An interval without an upper end goes beyond the panel.
            error = np.stack([value - low, np.where(np.isfinite(high), high - value, EPISODES)])[:, known]
            at = np.array(list(each))[known]
            right.errorbar(at, value[known], error, elinewidth=0.8, capsize=1.5, **marked(number))
        right.set(xlabel="size of the sea", ylabel="episodes", xlim=left.get_xlim(), ylim=(0, EPISODES))
        right.set_xticks(left.get_xticks())
        right.set_title("episodes until half of the seeds reach it, 95% interval", loc="left")
        legend(drawn, left)
    return drawn


def seeds_of(found: Found) -> str:
    """Return how many seeds most sizes have, and which have another number."""
    counts = {size: len(next(iter(each.values()))) for size, each in found.items()}
    most = max(counts.values(), key=list(counts.values()).count)
    others = "".join(f" ({count} of size {size})" for size, count in counts.items() if count != most)
    return f"{most} seeds{others}"


def draw(out: Path, part: str, found: Found) -> None:
    """Write a part's picture."""
    seeds = seeds_of(found)
    if part == "chain":
        drawn = draw_chain(found, seeds)
    elif part == "sea":
        drawn = draw_sea(found, seeds)
    else:
        (scores,) = found.values()
        title = f"{PARTS[part].task(0)['env']}, positions alone: last parameters, {seeds}"
        drawn = plot.distribution({name: np.array(x) for name, x in scores.items()}, title, "mean greedy return")
    plot.save(drawn, out / f"memory-{part}")


def run(args: Arguments) -> None:
    """Train what is not trained yet; draw a part, and write what is drawn, after each size."""
    for part in args.parts:
        if part not in PARTS:
            raise ValueError(f"{part!r} is none of {', '.join(PARTS)}")
    check_size("shorten", args.shorten)
    sizes = {"chain": args.lengths, "sea": args.sizes}
    for part in args.parts:
        score = episodes_until_solved if part == "sea" else greedy_returns
        found: Found = {}
        commands: list[str] = []
        for size in sizes.get(part, (ROWS,)):
            folders = trained(args, part, size)
            found[f"{size}"] = {name: score(folder) for name, folder in folders.items()}
            commands += [command(qjax.load_config(x)["arguments"], str(x)) for x in folders.values()]
            kept = {"commands": commands, "seeds": found}
            keep(args.out / f"memory-{part}.json", kept)
            draw(args.out, part, found)
    print(f"pictures, and what they show, in {args.out}")


if __name__ == "__main__":
    main(run, Arguments.parse)
