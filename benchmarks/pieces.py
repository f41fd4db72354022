"""What does a piece cost beside the plainest thing that does without it? Ensembles, data sets, wrappers, images.

python -m benchmarks.pieces
"""

from typing import Any

from benchmarks.harness import Contender, Row, program, ratio, rounds, run_as_script, versus

MEMBERS = 10
ENSEMBLE: dict[str, Any] = {"hidden": (50, 50), "batch_size": 32, "warmup": 1_000, "num_envs": 10}
"""What the ensemble and the single network share."""
WRAPPERS = ("time_limit=100", "previous", "sticky_actions=0.25", "frame_stack=4")
ROWS = 1_000_000
IMAGES: dict[str, Any] = {
    "algorithm": "dqn", "env_name": "Breakout-MinAtar", "wrap": ["frame_stack=4"], "lanes": 4, "warmup": 1_000,
    "capacity": 10_000,
}  # fmt: skip
BYTES = """
import json
import jax
import qjax
from qjax.cli.wrapping import wrapped
from qjax.sweeps.plan import bytes_of
env = wrapped(qjax.make("Breakout-MinAtar"), ["frame_stack=4"])
def lane(**given):
    config = qjax.algorithms.config("dqn", capacity=10_000, **given)
    return bytes_of(jax.eval_shape(qjax.algorithms.make("dqn", env, config).init, jax.random.key(0)))
print(json.dumps([lane(frames=4), lane()]))
"""


def rows(quick: bool) -> list[Row]:
    """Return all of them."""
    seconds, repeats = (1.0, 3) if quick else (5.0, 5)
    found = []

    def compare(claim: str, ours: Contender, base: Contender, target: str = "", unit: str = "env-steps/s") -> None:
        with ours, base:
            rounds([ours, base], seconds, repeats)
            found.append(versus(claim, ours, base, target, unit))

    training = {"env_name": "CartPole-v1", **ENSEMBLE}
    for scale in (0.0, 3.0):
        compare(
            f"bootstrapped DQN, {MEMBERS} members, {'with' if scale else 'no'} priors: DQN with one such network",
            Contender(
                "qjax_training", algorithm="bootstrapped-dqn", members=MEMBERS, prior_scale=scale, **training
            ),
            Contender("qjax_training", algorithm="dqn", **training),
            "" if scale else f"at least {1 / MEMBERS:g}",
        )
    compare(
        f"a batch of {ROWS:,} recorded transitions: a bare gather from as many arrays",
        Contender("recorded", rows=ROWS),
        Contender("gather", capacity=ROWS),
        "at least 0.75",
        "a second",
    )
    for wrapper in WRAPPERS:
        compare(
            f"CartPole in {wrapper}, random actions: without",
            Contender("random_steps", env_name="CartPole-v1", wrap=[wrapper]),
            Contender("random_steps", env_name="CartPole-v1"),
        )
    compare(
        "DQN on four frames of MinAtar's Breakout, each stored once: each four times",
        Contender("qjax_training", frames=4, **IMAGES),
        Contender("qjax_training", **IMAGES),
    )
    once, always = program(BYTES)[0]
    claim = "the same, memory of a seed: each four times"
    found.append(Row(claim, f"{once / 2**20:,.1f} MiB", f"{always / 2**20:,.1f} MiB", ratio([once], [always])))
    return found


if __name__ == "__main__":
    run_as_script(rows)
