"""DQN on CartPole-v1, many seeds at once: CleanRL's protocol, or the one of the classic tutorials.

    python -m experiments.cartpole --seeds 16 --preset cleanrl

`cleanrl` is CleanRL's, but for 10 environments stepped once per update in place of one environment stepped ten
times, and weights that start as flax's; `qjax train --preset cleanrl-dqn` has both as there. `tutorial` runs
until every seed has its episodes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import qjax
from qjax import algorithms
from qjax.algorithms.presets import PRESETS
from qjax.cli.command import Common, conclude, main, train, written
from qjax.core.checks import MOST_STEPS, check_size


@dataclass(kw_only=True)
class Arguments(Common):
    """DQN on CartPole-v1 over many seeds."""

    seeds: int = 16
    preset: Literal["cleanrl", "tutorial"] = "cleanrl"
    """cleanrl: 500,000 steps of 10 environments; tutorial: 500 episodes of one."""
    steps: int | None = None
    """Environment steps per seed; default the preset's. For the tutorial, a limit beside its episodes."""
    out: Path = Path("runs/cartpole")


CONFIGS = {"cleanrl": algorithms.DQN(), "tutorial": PRESETS["tutorial-dqn"].config}


def preset(name: str, steps: int | None) -> algorithms.DQN:
    """Return the constants; with other `steps` than its own, epsilon still falls over half the run."""
    if steps is not None:
        check_size("steps", steps, most=MOST_STEPS)
    return CONFIGS[name] if steps is None else CONFIGS[name].replace(steps=steps)


def build(constants: algorithms.DQN, sync_every: int | None = None) -> qjax.Loop:
    """Return the training loop of one seed; `sync_every` as for `qjax.algorithms.make`."""
    return algorithms.make("dqn", qjax.make("CartPole-v1"), constants, sync_every=sync_every)


def load(folder: str | Path) -> tuple[qjax.Loop, Any]:
    """Return a run's loop and its final agents, `DQNState`s with leaves `[seeds, ...]`."""
    arguments = written(folder, Arguments, needs=("preset", "steps"))
    return build(preset(arguments["preset"], arguments["steps"])), qjax.load_agents(folder)


def run(args: Arguments) -> None:
    """Train, evaluate, and write the run's folder."""
    check_size("eval_episodes", args.eval_episodes)
    constants = preset(args.preset, args.steps)
    trained = train(
        args, "cartpole", lambda _: build(constants), {"epsilon": constants.epsilon_schedule()}, constants.steps
    )
    if trained is not None:
        title = f"DQN on CartPole-v1 ({args.preset}), {args.count}"
        conclude(args, "cartpole", title, build(constants), trained, {"preset": args.preset})


if __name__ == "__main__":
    main(run, Arguments.parse)
