"""How fast are other libraries with the same algorithm and the same constants, on the same machine?

    python3 -m venv /tmp/rejax && /tmp/rejax/bin/pip install rejax 'gymnax<1'
    python -m benchmarks.peers --rejax /tmp/rejax/bin/python

rejax needs an older gymnax, so it runs in an environment of its own; without one its rows are left out, and so are
SBX's where `sbx-rl` is not installed. What every library does in an iteration is the same: DQN steps ten
environments and learns once from 128 transitions; PQN steps four environments 128 times and learns from all of it
in four epochs of four minibatches.
"""

from importlib.util import find_spec
from typing import Any

import tyro

from benchmarks.harness import Contender, Row, cores, machine, markdown, rounds, versus

SEEDS = 64
CONSTANTS: dict[str, dict[str, Any]] = {
    "dqn": {"warmup": 1_000},
    "pqn": {"learning_rate": 2.5e-4},
}
"""What is not ours by default."""


def against_rejax(python: str, seconds: float, repeats: int) -> list[Row]:
    """Compare with rejax in another environment, of which `python` is the interpreter."""
    found = []
    for name, constants in CONSTANTS.items():
        with (
            Contender("qjax_training", algorithm=name, env_name="CartPole-v1", lanes=SEEDS, **constants) as ours,
            Contender("rejax_training", python=python, algorithm=name, seeds=SEEDS) as theirs,
        ):
            rounds([ours, theirs], seconds, repeats)
            found.append(versus(f"{name.upper()}, CleanRL's constants, {SEEDS} seeds: rejax", ours, theirs, "2"))
    return found


def against_single_seeds(seconds: float, repeats: int) -> list[Row]:
    """Compare with libraries that train one seed in a process: as many processes as there are cores."""
    found, copies = [], cores()
    for library, name in (("stable_baselines3", "Stable-Baselines3"), ("sbx", "SBX")):
        if find_spec(library) is None:
            continue
        with (
            Contender("qjax_training", algorithm="dqn", env_name="CartPole-v1", **CONSTANTS["dqn"]) as ours,
            Contender("sb3_cartpole", copies, threads=1, library=library) as theirs,
        ):
            rounds([ours, theirs], seconds, repeats)
            claim = f"DQN, CleanRL's constants, 16 seeds: {name}, {copies} processes"
            found.append(versus(claim, ours, theirs, "25"))
    return found


def main(rejax: str = "", quick: bool = False) -> None:
    """Print the table.

    Args:
        rejax: the interpreter of an environment with rejax and its gymnax; none to leave it out.
        quick: measure less often and shorter.

    """
    seconds, repeats = (1.5, 3) if quick else (8.0, 5)
    rows = against_single_seeds(seconds, repeats)
    if rejax:
        rows = [*against_rejax(rejax, seconds, repeats), *rows]
    print(f"{machine()}\n\n{markdown(rows)}")


if __name__ == "__main__":
    tyro.cli(main)
