"""How fast are other libraries with the same algorithm and the same constants, on the same machine?

    python3 -m venv /tmp/rejax && /tmp/rejax/bin/pip install rejax 'gymnax<1'
    python -m benchmarks.peers --rejax /tmp/rejax/bin/python

rejax needs an older gymnax, so it runs in an environment of its own; without one its rows are left out, and so are
SBX's where `sbx-rl` is not installed. What every library does in an iteration is the same: DQN steps ten
environments and learns once from 128 transitions; PQN steps four environments 128 times and learns from all of it
in four epochs of four minibatches, and with purejaxql's constants 32 environments 64 times, in four epochs of 16.
"""

from collections.abc import Collection
from contextlib import ExitStack
from importlib.util import find_spec
from typing import Any, NamedTuple

import tyro

from benchmarks.contenders.measuring import cores
from benchmarks.harness import Contender, Row, machine, markdown, rounds, versus

DQN: dict[str, Any] = {"warmup": 1_000}
"""What is not ours by default."""


class Contest(NamedTuple):
    """What ours and rejax both train."""

    claim: str
    protocol: str
    """In `benchmarks.baselines.rejax_agents`."""
    algorithm: str
    constants: dict[str, Any]
    """What is not ours by default."""
    seeds: int


CONTESTS = (
    Contest("DQN, CleanRL's constants", "dqn", "dqn", DQN, 64),
    Contest("PQN, CleanRL's constants", "pqn", "pqn", {"learning_rate": 2.5e-4}, 64),
    Contest(
        "PQN, purejaxql's constants, two layers of 256",
        "wide-pqn",
        "pqn",
        {
            "learning_rate": 1e-4,
            "hidden": (256, 256),
            "num_envs": 32,
            "rollout": 64,
            "minibatches": 16,
            "lam": 0.95,
        },
        16,
    ),
)


def against_rejax(
    python: str, seconds: float, repeats: int, only: Collection[str] = (), sharded: bool = True
) -> list[Row]:
    """Compare with rejax in another environment, of which `python` is the interpreter, `only` by some protocols.

    On JAX's default device and, unless told otherwise, `sharded` over the cores.
    """
    found = []
    for claim, protocol, algorithm, constants, seeds in CONTESTS:
        if only and protocol not in only:
            continue
        training = {"algorithm": algorithm, "env_name": "CartPole-v1", "lanes": seeds, **constants}
        theirs: dict[str, Any] = {"python": python, "protocol": protocol, "seeds": seeds}
        with ExitStack() as stack:
            least = 1 if algorithm == "pqn" else 50
            ours = stack.enter_context(Contender("qjax_training", iterations=least, **training))
            ways = (False, True) if sharded else (False,)
            others = [stack.enter_context(Contender("rejax_training", sharded=way, **theirs)) for way in ways]
            rounds([ours, *others], seconds, repeats)
        found.append(versus(f"{claim}, {seeds} seeds: rejax, JAX's default device", ours, others[0], "2"))
        found += [versus("the same, sharded over the cores", ours, each) for each in others[1:]]
    return found


def against_single_seeds(seconds: float, repeats: int) -> list[Row]:
    """Compare with libraries that train one seed in a process: as many processes as there are cores."""
    found, copies = [], cores()
    for library, name in (("stable_baselines3", "Stable-Baselines3"), ("sbx", "SBX")):
        if find_spec(library) is None:
            continue
        with (
            Contender("qjax_training", algorithm="dqn", env_name="CartPole-v1", **DQN) as ours,
            Contender("sb3_cartpole", copies, threads=1, library=library) as theirs,
        ):
            rounds([ours, theirs], seconds, repeats)
            claim = f"DQN, CleanRL's constants, 16 seeds: {name}, {copies} processes"
            found.append(versus(claim, ours, theirs, "25"))
    return found


def rows(quick: bool, rejax: str = "") -> list[Row]:
    """Return all of them; those of rejax where `rejax` is the interpreter of an environment that has it."""
    seconds, repeats = (1.5, 3) if quick else (8.0, 5)
    found = against_rejax(rejax, seconds, repeats, sharded=not quick) if rejax else []
    return [*found, *against_single_seeds(seconds, repeats)]


def main(rejax: str = "", quick: bool = False, only: tuple[str, ...] = ()) -> None:
    """Print the table.

    Args:
        rejax: the interpreter of an environment with rejax and its gymnax; none to leave it out.
        quick: measure less often and shorter.
        only: of rejax's protocols (dqn, pqn, wide-pqn) these, three rounds of three seconds, and nothing else.

    Raises:
        ValueError: an unknown protocol, or `only` without `rejax`.

    """
    known = [contest.protocol for contest in CONTESTS]
    if unknown := sorted(set(only) - set(known)):
        raise ValueError(f"{', '.join(unknown)}: rejax's protocols are {', '.join(known)}")
    if only and not rejax:
        raise ValueError(f"{', '.join(only)}: only rejax has them, give its interpreter as --rejax")
    found = against_rejax(rejax, 3.0, 3, only) if only else rows(quick, rejax)
    print(f"{machine()}\n\n{markdown(found)}")


if __name__ == "__main__":
    tyro.cli(main)
