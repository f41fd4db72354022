"""Any member of the deep family on any gymnax environment, many seeds at once.

python -m experiments.train --list
python -m experiments.train rainbow --env CartPole-v1 --seeds 32 --steps 500000 --out runs/rainbow
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import tyro
from rich.console import Console
from rich.table import Table

import qjax
from experiments.command import Common, conclude, main, train
from qjax import members
from qjax.checks import check_size

DEFAULT = members.Protocol()

Name = Literal[
    "dqn", "double-dqn", "dueling-dqn", "n-step-dqn", "prioritized-dqn", "c51", "qr-dqn", "iqn", "munchausen-dqn",
    "noisy-dqn", "rainbow", "pqn",
]  # fmt: skip


@dataclass(kw_only=True)
class Arguments(Common):
    """Train one member of the family over many seeds; `--list` alone shows them."""

    name: Annotated[Name, tyro.conf.arg(name=""), tyro.conf.Positional]
    """Which member."""
    env: str = "CartPole-v1"
    """A gymnax environment with discrete actions."""
    seeds: int = 16
    steps: int = DEFAULT.steps
    """Environment steps per seed."""
    learning_rate: float = DEFAULT.learning_rate
    """Of Adam; `pqn` takes twice as much, falling to 0."""
    gamma: float = DEFAULT.gamma
    """Discount factor."""
    batch_size: int = DEFAULT.batch_size
    """Transitions of an update."""
    capacity: int = DEFAULT.capacity
    """Transitions held."""
    warmup: int = DEFAULT.warmup
    """Environment steps before the first update."""
    target_period: int = DEFAULT.target_period
    """Environment steps between two copies of the target."""
    epsilon_fraction: float = DEFAULT.epsilon_fraction
    """Share of the steps in which epsilon falls from 1 to 0.05."""
    support: tuple[float, float] | None = None
    """Least and largest value for c51 and rainbow; default by environment."""
    eval_episodes: int = 20
    """Greedy episodes per seed at the end."""
    out: Path
    """Folder for the results; refused if it holds something."""

    @property
    def protocol(self) -> members.Protocol:
        """The constants, as `qjax.members` takes them."""
        shared = set(members.Protocol._fields) & set(vars(self))
        return members.Protocol(**{name: getattr(self, name) for name in shared})


def build(args: Arguments) -> qjax.Loop:
    """Return the training loop of one seed."""
    return members.make(args.name, qjax.make(args.env), args.protocol)


def load(folder: str | Path) -> tuple[qjax.Loop, Any]:
    """Return a run's loop and its final agents, states with leaves `[seeds, ...]`."""
    given = qjax.load_config(folder)["arguments"]
    fields: dict[str, Any] = {name: tuple(x) if isinstance(x, list) else x for name, x in given.items()}
    args = Arguments(**fields | {"out": Path(folder)})
    loop = build(args)
    keys = jax.random.split(jax.random.key(0), args.seeds)
    like = jax.eval_shape(jax.vmap(lambda key: loop.init(key).agent), keys)
    return loop, qjax.load_agents(folder, like)


def run(args: Arguments) -> None:
    """Train, evaluate, and write the run's folder."""
    check_size("eval_episodes", args.eval_episodes)
    loop = build(args)
    trained = train(args, args.name, lambda _: loop, members.epsilon(args.protocol), args.steps)
    if trained is not None:
        title = f"{args.name} on {args.env}, {args.seeds} seeds"
        conclude(args, args.name, title, loop, trained, {"environment": args.env})


def listing() -> Table:
    """Return the members with their composition and paper."""
    table = Table("name", "composition", "paper")
    for name, (_, composition, paper) in members.MEMBERS.items():
        table.add_row(name, composition, paper)
    return table


if __name__ == "__main__":
    if sys.argv[1:] == ["--list"]:
        Console().print(listing())
    else:
        main(run, Arguments)
