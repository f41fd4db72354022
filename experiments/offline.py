"""Learning from recorded data: what random, medium and expert agents did on CartPole and the lake.

    python -m experiments.offline --out runs/offline

First the data are recorded, then each algorithm learns from them alone: runs of `qjax train --data`, each in a
folder of its own, so what was stopped goes on where it was. On the slippery lake, where exact values are known,
what an agent believes of its policy stands beside what that is worth, and beside what the data say of it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import qjax
from experiments.memory import greedy_returns
from experiments.records import command, keep
from qjax import algorithms, datasets, plot, solve
from qjax.cli import train
from qjax.cli.arguments import arguments_of
from qjax.cli.command import Setting, main
from qjax.core.checks import check_size
from qjax.datasets.dataset import Dataset
from qjax.plot.lines import middle
from qjax.plot.style import PAGE, legend, marked, paper, titled

ROWS, STREAMS = 2_000, 10
"""Of a data set: so many transitions of so many environments."""
GAMMA = 0.99
QUALITIES = ("random", "medium", "expert")


class Task(NamedTuple):
    """An environment, and who acted in it."""

    env: str
    behaviours: Callable[[qjax.Env, int], dict[str, tuple[qjax.Agent, Any, Any]]]
    """`(env, seed)` -> an agent, its state and its policy, by the quality of what they record."""


def cartpole(env: qjax.Env, seed: int) -> dict[str, tuple[qjax.Agent, Any, Any]]:
    """Return DQN, of which a seed was trained for 40,000 and for 200,000 steps, and who acts at random."""
    config = algorithms.config("dqn", steps=200_000)
    loop = algorithms.make("dqn", env, config)
    found = qjax.sweep(lambda _: loop, seeds=[seed], steps=200_000, snapshots=[40_000])
    trained = [jax.tree.map(lambda x: x[0], each) for each in (found.snapshots[40_000], found.agents)]
    return {
        "random": (loop.agent, trained[1], qjax.uniform),
        "medium": (loop.agent, trained[0], qjax.epsilon_greedy(0.1)),
        "expert": (loop.agent, trained[1], qjax.epsilon_greedy(0.02)),
    }


def lake(env: qjax.Env, seed: int) -> dict[str, tuple[qjax.Agent, Any, Any]]:
    """Return who acts at random, and by the optimal values more often or nearly always."""
    optimal = solve.value_iteration(qjax.mdp.from_env(env), GAMMA)
    states, actions = optimal.shape
    agent = qjax.tabular(states, actions, alpha=0.1)
    policies = (qjax.uniform, qjax.epsilon_greedy(0.5), qjax.epsilon_greedy(0.05))
    return {name: (agent, optimal, policy) for name, policy in zip(QUALITIES, policies, strict=True)}


TASKS = {"cartpole": Task("CartPole-v1", cartpole), "lake": Task("FrozenLake-v1", lake)}

SHARED: dict[str, Any] = {
    "steps": 1_000, "updates": 10, "num_envs": 1, "hidden": (64, 64), "batch_size": 32, "learning_rate": 5e-4,
    "target_period": 200, "target_unit": "update", "epsilon_end": 0.0, "epsilon_fraction": 0.01, "gamma": GAMMA,
    "log_points": 20,
}  # fmt: skip
"""10,000 updates; the environment's steps show how the policy does, and nothing learns from them."""
LINES: dict[str, tuple[str, dict[str, Any]]] = {
    "DQN": ("dqn", {}),
    "QR-DQN": ("qr-dqn", {"quantiles": 20}),
    "CQL": ("cql", {"quantiles": 20}),
    "BCQ": ("bcq", {}),
    "behaviour cloning": ("bcq", {"threshold": 1.0}),
}


@dataclass(kw_only=True)
class Arguments(Setting):
    """Learn from what random, medium and expert agents did, and draw what each algorithm makes of it."""

    seeds: int = 64
    tasks: tuple[str, ...] = tuple(TASKS)
    """Which of cartpole and lake."""
    shorten: int = 1
    """Divides the updates: for a quick look."""
    out: Path = Path("runs/offline")
    """Folder for the data, the runs, and a picture and a JSON file of each task."""


def recorded(args: Arguments, name: str) -> dict[str, Path]:
    """Record what is not recorded yet for one task; return the folders by quality."""
    task = TASKS[name]
    folders = {quality: args.out / "data" / f"{name}-{quality}" for quality in QUALITIES}
    missing = {quality: folder for quality, folder in folders.items() if not (folder / "dataset.json").exists()}
    if missing:
        env = qjax.make(task.env)
        behaviours = task.behaviours(env, 10_000 + args.seed)  # no seed that learns
        for quality, folder in missing.items():
            key = jax.random.fold_in(jax.random.key(10_000 + args.seed), QUALITIES.index(quality))
            agent, state, policy = behaviours[quality]
            data = datasets.collect(env, agent, state, policy, key, ROWS * STREAMS, STREAMS)
            datasets.save(folder, data)
    return folders


def behaviour_return(data: Dataset) -> float:
    """Return the mean undiscounted return of the episodes that ended in a data set."""
    found = []
    for stream in range(data.action.shape[1]):
        ends = np.flatnonzero(data.terminated[:, stream] | data.truncated[:, stream]) + 1
        found += [piece.sum() for piece in np.split(data.reward[:, stream], ends)[:-1]]
    return float(np.mean(found))


def trained(args: Arguments, name: str, quality: str, data: Path) -> dict[str, Path]:
    """Train what is not trained yet on one data set; return the folders by their name in the picture."""
    folders = {}
    for line, (algorithm, constants) in LINES.items():
        folders[line] = args.out / name / quality / line.replace(" ", "-")
        given: dict[str, Any] = {
            **SHARED,
            **constants,
            "steps": SHARED["steps"] // args.shorten,
            "env": TASKS[name].env,
        }
        given |= {"seeds": args.seeds, "seed": args.seed, "fast_keys": args.fast_keys, "cores": args.cores}
        given |= {"data": f"{data}", "resume": True}
        train.run(arguments_of(algorithm)(name=algorithm, out=folders[line], **given))
    return folders


JUDGED = ("exact", "believed", "fitted Q", "importance sampling", "model")
"""Of a seed's greedy policy on the lake, from the start: what it is worth, what its agent and the data say."""


def judged(folder: Path, data: Dataset, mdp: Any) -> dict[str, list[float | None]]:
    """Return `JUDGED` of each seed's last agent; None where no recorded episode is one of its policy."""
    loop, agents = train.load(folder)
    values = jax.vmap(loop.agent.values, in_axes=(None, None, 0))
    count = len(mdp.start)
    model, found = datasets.model(data, count), []
    for q in np.asarray(jax.vmap(lambda agent: values(None, agent, jnp.arange(count)))(agents)):
        policy = jax.nn.one_hot(q.argmax(-1), q.shape[-1])
        fitted = datasets.fitted_q(data, count, GAMMA, policy)
        worth, said = (each.start @ solve.policy_values(each, policy, GAMMA) for each in (mdp, model))
        weighed = datasets.importance_sampling(data, policy, GAMMA).weighted.value
        found.append((worth, mdp.start @ q.max(-1), mdp.start @ (policy * fitted).sum(-1), weighed, said))
    columns = zip(JUDGED, np.array(found, float).T, strict=True)
    return {name: [float(x) if np.isfinite(x) else None for x in column] for name, column in columns}


ACTED = "who acted"

Found = dict[str, dict[str, Any]]
"""What is known of each seed, by quality and by the name in the picture."""


def draw_panel(axes: Any, found: dict[str, dict[str, Any]], xlabel: str, ylabel: str) -> None:
    """Draw scores of seeds by what they were trained on, and by line: interquartile means with their intervals."""
    lines = list(next(iter(found.values())))
    for number, line in enumerate(lines):
        at = np.arange(len(found)) + 0.12 * (number - (len(lines) - 1) / 2)
        ends = [middle(np.asarray(each[line])) for each in found.values()]
        value = np.array([each.value for each in ends])
        error = np.abs(np.array([[each.low, each.high] for each in ends]).T - value)
        style = marked(number) | {"linestyle": "none"}
        axes.errorbar(
            at, value, np.nan_to_num(error), label=line, elinewidth=0.8, capsize=1.5, markersize=4, **style
        )
    axes.set_xticks(range(len(found)), list(found))
    axes.set(xlabel=xlabel, ylabel=ylabel)


def draw_returns(found: Found) -> Any:
    """Return the picture of what was learned on CartPole, and of who acted."""
    scores = {quality: each["return"] for quality, each in found.items()}
    with paper():
        drawn, axes = titled(_title("CartPole", scores), LINES)
        draw_panel(axes, scores, ACTED, "mean greedy return")
        acted, at = [each["behaviour"] for each in found.values()], np.arange(len(found))
        axes.hlines(acted, at - 0.35, at + 0.35, color="black", linewidth=0.8, zorder=0, label="the data")
        legend(drawn, axes)
    return drawn


def draw_values(found: Found) -> Any:
    """Return the picture of what is learned on the lake, and of what agents believe of it."""
    names = ("exact", "believed")
    exact, believed = (
        {q: {n: x[name] for n, x in each["judged"].items()} for q, each in found.items()} for name in names
    )
    over = {q: {n: np.subtract(x, exact[q][n]) for n, x in each.items()} for q, each in believed.items()}
    with paper():
        drawn, (left, right) = titled(_title("FrozenLake", exact), LINES, PAGE, 2)
        draw_panel(left, exact, ACTED, "value of the greedy policy\nat the start, exact")
        draw_panel(right, over, ACTED, "what the agent believes\nless the exact value")
        right.axhline(0, color="black", linewidth=0.6, zorder=0)
        left.axhline(next(iter(found.values()))["optimal"], color="black", linewidth=0.6, zorder=0)
        legend(drawn, left)
    return drawn


def _title(env: str, scores: dict[str, dict[str, Any]]) -> str:
    seeds = len(next(iter(next(iter(scores.values())).values())))
    return f"{env} from {ROWS * STREAMS:,} recorded transitions\n{seeds} seeds, IQM and 95% bootstrap interval"


def run(args: Arguments) -> None:
    """Record, train and judge what is not yet; draw a task, and write what is drawn, after each data set."""
    for name in args.tasks:
        if name not in TASKS:
            raise ValueError(f"{name!r} is none of {', '.join(TASKS)}")
    check_size("shorten", args.shorten)
    for name in args.tasks:
        env, found, commands = qjax.make(TASKS[name].env), Found(), list[str]()
        for quality, place in recorded(args, name).items():
            data, folders = datasets.load(place, env), trained(args, name, quality, place)
            found[quality] = {
                "behaviour": behaviour_return(data),
                "return": {line: greedy_returns(folder) for line, folder in folders.items()},
            }
            if name == "lake":
                mdp = qjax.mdp.from_env(env)
                found[quality]["optimal"] = float(mdp.start @ solve.value_iteration(mdp, GAMMA).max(-1))
                found[quality]["judged"] = {line: judged(folder, data, mdp) for line, folder in folders.items()}
            commands += [command(qjax.load_config(x)["arguments"], str(x)) for x in folders.values()]
            kept = {"commands": commands, "seeds": found}
            keep(args.out / f"offline-{name}.json", kept)
            plot.save((draw_values if name == "lake" else draw_returns)(found), args.out / f"offline-{name}")
    print(f"pictures, and what they show, in {args.out}")


if __name__ == "__main__":
    main(run, Arguments.parse)
