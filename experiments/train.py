"""Any member of either family on any gymnax environment, many seeds at once.

python -m experiments.train --list
python -m experiments.train rainbow --env CartPole-v1 --seeds 32 --steps 500000 --out runs/rainbow
python -m experiments.train sarsa --env FrozenLake-v1 --seeds 512 --epsilon 0.1 --out runs/sarsa
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

DEFAULT, TABLE = members.Protocol(), members.TabularProtocol()

Name = Literal[
    "q-learning", "sarsa", "expected-sarsa", "double-q-learning", "n-step-q", "q-lambda", "sarsa-lambda", "dyna-q",
    "dqn", "double-dqn", "dueling-dqn", "n-step-dqn", "prioritized-dqn", "c51", "qr-dqn", "iqn", "munchausen-dqn",
    "noisy-dqn", "rainbow", "pqn",
]  # fmt: skip


@dataclass(kw_only=True)
class Arguments(Common):
    """Train one member of a family over many seeds; `--list` alone shows them."""

    name: Annotated[Name, tyro.conf.arg(name=""), tyro.conf.Positional]
    """Which member."""
    env: str = ""
    """A gymnax environment with discrete actions, and for a table discrete observations; default CartPole-v1, and
    FrozenLake-v1 for a table."""
    seeds: int = 16
    steps: int | None = None
    """Environment steps per seed; default 500,000, and 100,000 for a table."""
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
    epsilon: float | None = None
    """Of a table: a constant in place of that."""
    alpha: float = TABLE.alpha
    """Of a table: step size."""
    initial: float = TABLE.initial
    """Of a table: every value at the start."""
    ties: Literal["random", "first"] = "random"
    """Of a table: how equal values are told apart when acting."""
    n: int = TABLE.n
    """Steps of a target of n-step-q."""
    lam: float = TABLE.lam
    """lambda of q-lambda and sarsa-lambda."""
    replacing: bool = TABLE.replacing
    """Let their traces replace in place of accumulating."""
    planning: int = TABLE.planning
    """Planned steps per step of dyna-q."""
    support: tuple[float, float] | None = None
    """Least and largest value for c51 and rainbow; default by environment."""
    eval_episodes: int = 20
    """Greedy episodes per seed at the end."""
    out: Path
    """Folder for the results; refused if it holds something."""

    def __post_init__(self) -> None:
        """Fill in the family's environment and number of steps."""
        self.env = self.env or ("FrozenLake-v1" if self.name in members.TABULAR else "CartPole-v1")
        self.steps = (
            (TABLE if self.name in members.TABULAR else DEFAULT).steps if self.steps is None else self.steps
        )

    @property
    def protocol(self) -> members.Protocol | members.TabularProtocol:
        """The constants, as `qjax.members` takes them."""
        given = vars(self)
        if self.name in members.TABULAR:
            return TABLE._replace(**{name: given[name] for name in TABLE._fields if name in given})
        return DEFAULT._replace(**{name: given[name] for name in DEFAULT._fields if name in given})


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
    acts = members.member(args.name).parts(loop.env, args.protocol).policy
    epsilon = None if acts is qjax.greedy else members.epsilon(args.protocol)
    trained = train(args, args.name, lambda _: loop, epsilon, args.steps)
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
