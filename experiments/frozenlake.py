"""Tabular Q-learning on FrozenLake, many seeds at once, held against the exact solution.

    python -m experiments.frozenlake --seeds 512 --episodes 2000 --no-slippery --ties random

The tutorials' constants. `--ties first` shows what plain `argmax` does to them on the deterministic lake: before
the goal is found all values are equal, the first action leads into the wall, and about half the seeds never leave.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

import qjax
from qjax import plot, stats
from qjax.cli.command import Common, main, summarise, train, written
from qjax.exploration import schedules
from qjax.mdp import examples, solve
from qjax.mdp.lakes import lake_map
from qjax.types import Policy

ALPHA, GAMMA = 0.1, 0.99
LAKES = {"4x4": "FrozenLake-v1", "8x8": "FrozenLake8x8-v1"}
SOLVED = {("4x4", True): 0.70, ("8x8", True): 0.85}
"""Success probability that counts as solved on a slippery lake; 1 on a deterministic one."""


@dataclass(kw_only=True)
class Arguments(Common):
    """Tabular Q-learning on FrozenLake over many seeds."""

    seeds: int = 512
    episodes: int = 2000
    """Episodes of each seed."""
    slippery: bool = False
    """Whether the ice is slippery: a third of the moves go where they should."""
    ties: Literal["random", "first"] = "random"
    """How equal values are told apart, acting and evaluating: at random, or the first as `argmax` does."""
    map: Literal["4x4", "8x8"] = "4x4"
    log_points: int = 400
    """Intervals into which the run is cut, each with a row of the table for every seed."""
    out: Path = Path("runs/frozenlake")

    @property
    def recorded(self) -> dict[str, Any]:
        """What a run's config.json has as its arguments."""
        made = [f"is_slippery={str(self.slippery).lower()}", f"map_name={self.map}"]
        return {**super().recorded, "env_kwargs": made}


EPSILON = schedules.geometric(1.0, 0.995, 0.01, "episode")


def base_policy(ties: str) -> Policy:
    """Return the greedy policy that breaks ties as asked."""
    return qjax.greedy if ties == "random" else qjax.argmax


def build(slippery: bool, map_name: str, ties: str, episodes: int) -> qjax.Loop:
    """Return the training loop of one seed."""
    env = qjax.make(LAKES[map_name], is_slippery=slippery)
    assert env.num_states is not None
    return qjax.make_loop(
        env,
        qjax.tabular(env.num_states, env.num_actions, ALPHA),
        policy=qjax.epsilon_greedy(EPSILON, base=base_policy(ties)),
        memory=qjax.online(),
        gamma=GAMMA,
        episodes=episodes,
    )


def load(folder: str | Path) -> tuple[qjax.Loop, Any]:
    """Return a run's loop and its final Q-tables, `[seeds, S, A]`."""
    a = written(folder, Arguments, needs=("slippery", "map", "ties", "episodes"))
    return build(a["slippery"], a["map"], a["ties"], a["episodes"]), qjax.load_agents(folder)


def greedy_policy(folder: str | Path) -> Policy:
    """Return the policy that a run's tables are evaluated with."""
    return base_policy(written(folder, Arguments, needs=("ties",))["ties"])


class Scores(NamedTuple):
    """A run held against the exact solution; arrays are over seeds."""

    policies: np.ndarray
    """Greedy action probabilities `[seeds, S, A]`."""
    success: np.ndarray
    """Exact success probability of the greedy policy within the time limit."""
    greedy_value: np.ndarray
    """Exact discounted value of the greedy policy at the start."""
    learned: np.ndarray
    """max Q `[seeds, S]`."""
    optimal: np.ndarray
    """max Q* `[S]`."""
    start: np.ndarray
    """Distribution of the first state `[S]`."""
    best: float
    """Largest success probability of any policy within the time limit."""


def score(env: qjax.Env, tables: np.ndarray, greedy: Policy) -> Scores:
    """Hold Q-tables `[seeds, S, A]` against the lake's own transition table."""
    lake, limit = examples.frozen_lake(env), int(env.max_steps)
    policies = jax.vmap(jax.vmap(lambda q: greedy(q, qjax.Time(0, 0, 0))))(jnp.asarray(tables))
    success = jax.jit(jax.vmap(lambda policy: solve.expected_return(lake, policy, limit)))(policies)
    value = jax.jit(jax.vmap(lambda policy: solve.policy_values(lake, policy, GAMMA) @ lake.start))(policies)
    optimal = jax.jit(solve.value_iteration)(lake, GAMMA).max(-1)
    return Scores(
        policies=np.asarray(policies),
        success=np.asarray(success),
        greedy_value=np.asarray(value),
        learned=tables.max(-1),
        optimal=np.asarray(optimal),
        start=np.asarray(lake.start),
        best=float(solve.best_return(lake, limit)),
    )


def run(args: Arguments) -> None:
    """Train, hold the tables against the exact solution, and write the run's folder."""
    loop = build(args.slippery, args.map, args.ties, args.episodes)
    trained = train(args, "frozenlake", lambda _: loop, {"epsilon": EPSILON})
    if trained is None:
        return
    folder, result = trained
    scores = score(loop.env, result.agents, base_policy(args.ties))
    # A probability computed in float32 may fall short of 1 by a rounding.
    threshold = SOLVED.get((args.map, args.slippery), 1 - 1e-5)
    solved = scores.success >= threshold
    interval = stats.wilson(int(solved.sum()), args.seeds)
    kind = f"{'slippery' if args.slippery else 'deterministic'} FrozenLake {args.map}"
    title = f"tabular Q-learning, {kind}, ties {args.ties}, {args.count}"
    curve = folder.folder / "learning_curve.png"
    plot.learning_curve(qjax.load_points(folder.folder), curve, title=title, episodes=args.episodes)
    tiles = lake_map(loop.env.unwrapped)
    picture = folder.folder / "policy.png"
    plot.lake_picture(picture, tiles, scores.policies, scores.learned, scores.optimal, title)
    folder.finish(
        {
            **summarise("frozenlake", result, scores.success, solved),
            "solved_fraction_interval": interval,
            "best_return": scores.best,
            "start_value_mean": (scores.learned @ scores.start).mean(),
            "greedy_start_value_mean": scores.greedy_value.mean(),
            "optimal_start_value": scores.optimal @ scores.start,
        },
    )
    show(title, scores, result, f"{solved.mean():.1%} of seeds", threshold, interval)
    print(f"results in {folder.folder}")


def show(
    title: str, scores: Scores, result: qjax.Result, share: str, threshold: float, interval: tuple[float, float]
) -> None:
    """Print the table of a run."""
    table = Table("", "mean over seeds", "worst seed", "best seed", title=title)
    table.add_row("success probability, greedy policy, exact", *_spread(scores.success))
    table.add_row("max Q at the start, learned", *_spread(scores.learned @ scores.start))
    table.add_row("value of the greedy policy at the start, exact", *_spread(scores.greedy_value))
    table.add_row("optimal value at the start, exact", *_spread(scores.optimal @ scores.start[:, None]))
    table.add_row("best possible success probability", *_spread(np.array([scores.best])))
    Console().print(table)
    low, high = interval
    print(f"solved (success at least {threshold:.2g}): {share}, 95% Wilson interval [{low:.1%}, {high:.1%}]")
    print(f"{result.env_steps:,} env-steps, {result.env_steps / result.run_s:,.0f} env-steps/s")
    print(f"run {result.run_s:.1f} s, compile {result.compile_s:.1f} s")


def _spread(values: np.ndarray) -> tuple[str, str, str]:
    mean, worst, best = (np.round([values.mean(), values.min(), values.max()], 4) + 0.0).tolist()  # no -0.0000
    return f"{mean:.4f}", f"{worst:.4f}", f"{best:.4f}"


if __name__ == "__main__":
    main(run, Arguments.parse)
