"""Three examples of Sutton and Barto 2018 with hundreds of seeds: 6.6 (cliff), 6.7 (maximization bias), figure 8.2.

python -m experiments.textbook --seeds 500 --out runs/textbook
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

import qjax
from experiments.family import CLIFF, CLIFF_ARROWS, greedy_policies
from qjax import algorithms, plot
from qjax.cli.command import Setting, main
from qjax.mdp.arrays import TabularMDP, from_outcomes
from qjax.plot import Example


@dataclass(kw_only=True)
class Arguments(Setting):
    """Repeat three examples of Sutton and Barto's book over many seeds."""

    seeds: int = 500
    out: Path = Path("runs/textbook")
    """Folder for the pictures."""


MAZE = (".......#S", "..#....#.", "S.#....#.", "..#......", ".....#...", ".........")
"""Figure 8.2's maze; its first S is the goal, in the corner."""


def dyna_maze() -> TabularMDP:
    """Return the maze of figure 8.2: up, down, right, left; 1 for reaching the goal, which ends the episode."""
    rows, columns = len(MAZE), len(MAZE[0])
    goal, start = (0, columns - 1), (2, 0)
    successor = np.zeros((rows * columns, 4, 1), np.int32)
    for y, x in np.ndindex(rows, columns):
        for action, (dy, dx) in enumerate(((-1, 0), (1, 0), (0, 1), (0, -1))):
            to = (y + dy, x + dx)
            inside = 0 <= to[0] < rows and 0 <= to[1] < columns
            to = to if inside and MAZE[to[0]][to[1]] != "#" else (y, x)
            successor[y * columns + x, action] = to[0] * columns + to[1]
    ends = successor == goal[0] * columns + goal[1]
    first = np.eye(rows * columns)[start[0] * columns + start[1]]
    return from_outcomes(successor, np.ones(ends.shape), ends.astype(float), ends, first)


CHOICES, OUTCOMES = 10, 101
IMPOSSIBLE = -1e9
"""Value of an action that a state does not have."""


def biased() -> TabularMDP:
    """Return the MDP of example 6.7: from A right ends with 0, left leads to B, where every action pays N(-0.1, 1).

    The normal rewards are 101 equally likely ones, at its quantiles. A's first action is right, its second left; it
    has no others (see `possible_only`).
    """
    from scipy.stats import norm

    shape = (2, CHOICES, OUTCOMES)
    rewards = norm.ppf((np.arange(OUTCOMES) + 0.5) / OUTCOMES)
    reward = np.zeros(shape)
    reward[1] = -0.1 + rewards / rewards.std()
    successor, terminated = np.ones(shape, int), np.ones(shape, bool)
    terminated[0, 1] = False
    return from_outcomes(successor, np.full(shape, 1 / OUTCOMES), reward, terminated, [1.0, 0.0])


def possible_only(epsilon: float) -> qjax.Policy:
    """Return the epsilon-greedy policy over the actions that a state has."""

    def policy(q: Any, time: Any) -> Any:
        some = (q > IMPOSSIBLE / 2).astype(jnp.float32)
        return epsilon * some / some.sum() + (1 - epsilon) * qjax.greedy(q)

    return policy


def trained(
    args: Arguments, name: str, env: qjax.Env, steps: int, log_points: int = 1000, **constants: Any
) -> qjax.Result:
    """Train an algorithm for its episodes, in at most so many steps."""
    loop = algorithms.make(name, env, algorithms.config(name, epsilon=0.1, **constants))
    work: dict[str, Any] = {"seeds": args.seeds, "seed": args.root, "steps": steps, "log_points": log_points}
    return qjax.sweep(lambda _: loop, progress=f"{name}, {env.name}", **work)


def steps_per_episode(points: list[qjax.Point], episodes: int) -> np.ndarray:
    """Return the length of every episode `[seeds, episodes]`.

    Where n episodes ended between two log points, each is taken to have ended in the middle of one of n equal
    parts, and at a part's end where the last episode of all ended with the interval.
    """
    zero = ((0, 0), (1, 0))
    ended = np.pad(np.stack([point.episodes for point in points], axis=1), zero)
    steps = np.pad(np.stack([point.env_steps for point in points], axis=1), zero)
    number = np.arange(1, episodes + 1)
    ends = np.empty((len(ended), episodes))
    for seed, (e, s) in enumerate(zip(ended, steps, strict=True)):
        after = np.searchsorted(e, number)  # the first log point by which that many have ended
        part = (s[after] - s[after - 1]) / (e[after] - e[after - 1])
        middle = np.where(e[after] == episodes, 0, (part - 1) / 2)  # of the steps 1 to `part`
        ends[seed] = s[after - 1] + part * (number - e[after - 1]) - middle
    return np.diff(ends, axis=1, prepend=0)


def cliff(args: Arguments) -> tuple[dict[str, np.ndarray], dict[str, qjax.Result]]:
    """Return the sum of rewards in bins of ten episodes `[seeds, 50]` for example 6.6, and the runs."""
    env = qjax.make("CliffWalking-v1")
    constants: dict[str, Any] = {"episodes": 500, "steps": 40_000, "alpha": 0.5, "gamma": 1.0}
    runs = {name: trained(args, name, env, **constants) for name in ("sarsa", "q-learning")}
    return {name: plot.returns_by_episode(found.points, 500)[1] for name, found in runs.items()}, runs


def bias(args: Arguments) -> dict[str, np.ndarray]:
    """Return how often left is taken from A, by episode, `[seeds, 300]`, for example 6.7."""
    env = qjax.make(qjax.MDPEnvironment(biased(), name="example 6.7"))
    initial = np.zeros((2, CHOICES), np.float32)
    initial[0, 2:] = IMPOSSIBLE
    constants: dict[str, Any] = {
        "episodes": 300,
        "steps": 600,
        "gamma": 1.0,
        "initial": initial,
        "policy": possible_only(0.1),
    }
    runs = {name: trained(args, name, env, **constants) for name in ("q-learning", "double-q-learning")}
    return {name: steps_per_episode(found.points, 300) - 1 for name, found in runs.items()}


def maze(args: Arguments) -> dict[str, np.ndarray]:
    """Return the steps of every episode `[seeds, 50]` for figure 8.2."""
    env = qjax.make(qjax.MDPEnvironment(dyna_maze(), name="Dyna maze"))
    # With ten steps between log points at most one episode ends between two, for the shortest path has 14.
    constants: dict[str, Any] = {
        "episodes": 50,
        "steps": 40_000,
        "log_points": 4000,
        "alpha": 0.1,
        "gamma": 0.95,
    }
    found = {}
    for planning in (0, 5, 50):
        name = f"{planning} planning steps"
        found[name] = steps_per_episode(trained(args, "dyna-q", env, planning=planning, **constants).points, 50)
    return found


def last(curve: np.ndarray, share: float = 0.2) -> str:
    """Return the mean over the last part of a curve `[seeds, x]`, and its 95% interval over seeds, as text."""
    scores = curve[:, -max(int(curve.shape[1] * share), 1) :].mean(1)
    error = 1.96 * scores.std(ddof=1) / len(scores) ** 0.5
    return f"{scores.mean():.2f} [{scores.mean() - error:.2f}, {scores.mean() + error:.2f}]"


def run(args: Arguments) -> None:
    """Run all three, draw them, and print where they end."""
    returns, runs = cliff(args)
    examples = {
        "Example 6.6: cliff walking": Example(
            returns, "sum of rewards during an episode", 10, (-13, "best path"), {"ylim": (-100, 0)}
        ),
        "Example 6.7: maximization bias": Example(
            bias(args), "share of left from A", 1, (0.05, "best: half of epsilon"), {"ylim": (0, 1)}
        ),
        "Figure 8.2: Dyna maze": Example(
            maze(args), "steps of an episode", 1, (14, "shortest path"), {"yscale": "log"}
        ),
    }
    args.out.mkdir(parents=True, exist_ok=True)
    plot.by_episode(args.out / "textbook.png", examples, f"Sutton and Barto 2018, {args.count}")
    policies = {name: np.asarray(greedy_policies(found.agents)).mean(0) for name, found in runs.items()}
    plot.policy_maps(args.out / "cliff.png", CLIFF, policies, CLIFF_ARROWS, f"Example 6.6, {args.count}")
    table = Table("example", "agent", "mean over the last fifth of the episodes [95% interval]")
    for title, example in examples.items():
        for name, curve in example.curves.items():
            table.add_row(title, name, last(curve))
    Console().print(table)
    print(f"pictures in {args.out}")


if __name__ == "__main__":
    main(run, Arguments.parse)
