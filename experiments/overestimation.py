"""What overestimates: the largest value of a state whose actions are all worth -0.1, as DQN and its kin learn it.

    python -m experiments.overestimation --out runs/overestimation

A task as example 6.7 of Sutton and Barto, learned by a table in a network's place, from actions at random.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

import qjax
from experiments.records import keep
from qjax.cli.command import Setting, main

ACTIONS, WORTH = 8, -0.1
"""Of the second state, and what each is worth."""
AGENTS: dict[str, Callable[..., qjax.Agent]] = {
    "dqn": qjax.dqn,
    "averaged_dqn, 5 copies": partial(qjax.averaged_dqn, copies=5),
    "averaged_dqn, 10 copies": partial(qjax.averaged_dqn, copies=10),
    "maxmin_dqn, 2 members": partial(qjax.maxmin_dqn, size=2),
    "maxmin_dqn, 4 members": partial(qjax.maxmin_dqn, size=4),
    "maxmin_dqn, 8 members": partial(qjax.maxmin_dqn, size=8),
}


@dataclass(kw_only=True)
class Arguments(Setting):
    """Measure by how much the largest of several values that are alike is overestimated."""

    seeds: int = 64
    steps: int = 4_000
    """Environment steps of a seed."""
    out: Path = Path("runs/overestimation")
    """Folder for a JSON file with every seed's bias."""


def gamble() -> qjax.Env:
    """Return the task: in the first state one action ends it, others lead to the second, which pays -1.1 or 0.9."""
    shape = (2, ACTIONS, 2)
    reward, terminated = np.zeros(shape), np.ones(shape, bool)
    reward[1], terminated[0, 1:] = (WORTH - 1, WORTH + 1), False
    mdp = qjax.mdp.from_outcomes(np.ones(shape, int), np.full(shape, 0.5), reward, terminated, [1.0, 0.0])
    return qjax.make(qjax.MDPEnvironment(mdp, name="gamble"))


def bias(args: Arguments, make: Callable[..., qjax.Agent]) -> np.ndarray:
    """Return by how much each seed's largest value of the second state exceeds what all are worth."""
    agent = make(qjax.table(2, ACTIONS), optax.sgd(0.5), target=qjax.periodic(20))
    loop = qjax.make_loop(gamble(), agent, qjax.uniform, qjax.ring(512, 8), gamma=1.0, num_envs=2, warmup=8)
    work = {"seeds": args.seeds, "seed": args.root, "steps": args.steps, "log_points": 1}
    agents = qjax.sweep(lambda _: loop, **work).agents
    q = jax.vmap(lambda state: agent.values(None, state, jnp.int32(1)))(agents)
    return np.asarray(q, float).max(-1) - WORTH


def run(args: Arguments) -> None:
    """Measure each agent, print a line of it, and write what every seed has."""
    args.out.mkdir(parents=True, exist_ok=True)
    found = {name: bias(args, make) for name, make in AGENTS.items()}
    for name, each in found.items():
        error = each.std(ddof=1) / len(each) ** 0.5
        print(f"{name:24} {each.mean():6.2f} ± {error:.2f}, the standard error over {args.count}")
    kept = {"steps": args.steps, "seeds": {name: each.round(4).tolist() for name, each in found.items()}}
    keep(args.out / "overestimation.json", kept)
    print(f"every seed's in {args.out}")


if __name__ == "__main__":
    main(run, Arguments.parse)
