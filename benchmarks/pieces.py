"""What does a piece cost beside the plainest thing that does without it?

Ensembles, data sets, wrappers, images, and a search beside the whole grid.

python -m benchmarks.pieces
"""

import tempfile
from typing import Any

import numpy as np

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

SEARCH = """
import json, time
import jax
import qjax
qjax.use_cores()
env, work = qjax.make("CartPole-v1"), {{"steps": {steps}, "log_points": 27}}
def build(hyper):
    config = qjax.algorithms.config("dqn", learning_rate=hyper["learning_rate"], warmup=1_000)
    return qjax.algorithms.make("dqn", env, config)
def searched(rates):
    space = {{"learning_rate": qjax.searches.log_uniform(1e-5, 1e-2)}}
    qjax.search(build, space, settings={settings}, tuning_seeds=5, fresh_seeds=5, **work)
def whole(rates):
    found = qjax.sweep(build, hypers={{"learning_rate": rates}}, seeds=5, **work)
    best = rates[found.points[-1].mean_return.reshape({settings}, 5).mean(1).argmax()]
    qjax.sweep(build, hypers={{"learning_rate": best[None]}}, seeds=range(5, 10), **work)
seconds = []
for run in (searched, whole):
    began = time.perf_counter()
    run(10 ** jax.random.uniform(jax.random.key(0), {settings}, minval=-5, maxval=-2))
    seconds.append(time.perf_counter() - began)
print(json.dumps(seconds))
"""
SETTINGS = 9
"""Of a search, of which a third goes on at each rung."""


def halving(steps: int, repeats: int) -> Row:
    """Return the row of a search beside its whole grid, with the best setting's run on fresh seeds in both."""
    with tempfile.TemporaryDirectory() as cache:
        found = [program(SEARCH.format(steps=steps, settings=SETTINGS), cache)[0] for _ in range(repeats + 1)]
    ours, base = zip(*found[1:], strict=True)  # the first has compiled the programs
    claim = f"DQN, {SETTINGS} rates, 5 seeds, {steps:,} steps, by successive halving: all of them to the end"
    return Row(claim, f"{np.median(ours):.1f} s", f"{np.median(base):.1f} s", ratio(base, ours), "above 1")


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
    found.append(halving(30_000 if quick else 100_000, repeats))
    return found


if __name__ == "__main__":
    run_as_script(rows)
