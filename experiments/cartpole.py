"""DQN on CartPole-v1, many seeds at once: CleanRL's protocol, or the one of the classic tutorials.

    python -m experiments.cartpole --seeds 16 --preset cleanrl

`cleanrl` is CleanRL's, but for 10 environments stepped once per update in place of one environment stepped ten
times. `tutorial` runs until every seed has its episodes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import optax

import qjax
from experiments.command import Common, conclude, main, train
from qjax import schedules
from qjax.checks import check_size
from qjax.types import Schedule, Sync


@dataclass(kw_only=True)
class Arguments(Common):
    """DQN on CartPole-v1 over many seeds."""

    seeds: int = 16
    preset: Literal["cleanrl", "tutorial"] = "cleanrl"
    """cleanrl: 500,000 steps of 10 environments; tutorial: 500 episodes of one."""
    steps: int | None = None
    """Environment steps per seed; default the preset's. For the tutorial, a limit beside its episodes."""
    eval_episodes: int = 20
    """Greedy episodes per seed at the end."""
    out: Path = Path("runs/cartpole")


class Preset(NamedTuple):
    """The constants of a protocol."""

    hidden: tuple[int, ...]
    learning_rate: float
    batch_size: int
    num_envs: int
    warmup: int
    """Iterations without learning."""
    cadence: int
    """Iterations between two syncs of the target."""
    target: Sync
    epsilon: Schedule
    steps: int | None
    episodes: int | None


CAPACITY, GAMMA = 10_000, 0.99


def preset(name: str, steps: int | None) -> Preset:
    """Return a protocol's constants; with other `steps` than its own, epsilon still falls over half the run."""
    if steps is not None:
        check_size("steps", steps)
    if name == "cleanrl":
        steps = 500_000 if steps is None else steps
        return Preset(
            hidden=(120, 84),
            learning_rate=2.5e-4,
            batch_size=128,
            num_envs=10,
            warmup=1000,  # x 10 environments = 10,000 steps
            cadence=50,  # x 10 environments = 500 steps
            target=qjax.periodic(500, "step"),
            epsilon=schedules.linear(1.0, 0.05, steps / 2),
            steps=steps,
            episodes=None,
        )
    return Preset(
        hidden=(64, 64),
        learning_rate=1e-3,
        batch_size=64,
        num_envs=1,
        warmup=63,  # the first update is made with 64 transitions stored
        cadence=1,
        target=qjax.periodic(10, "episode"),
        epsilon=schedules.geometric(1.0, 0.995, 0.01, "episode"),
        steps=steps,
        episodes=500,
    )


def build(constants: Preset) -> qjax.Loop:
    """Return the training loop of one seed."""
    env = qjax.make("CartPole-v1")
    network = qjax.encoded(qjax.MLP(env.num_actions, constants.hidden), env.encode)
    agent = qjax.dqn(network, optax.adam(constants.learning_rate), target=constants.target)
    return qjax.make_loop(
        env,
        agent,
        policy=qjax.epsilon_greedy(constants.epsilon),
        memory=qjax.ring(CAPACITY, constants.batch_size),
        gamma=GAMMA,
        num_envs=constants.num_envs,
        cadence=constants.cadence,
        warmup=constants.warmup,
        episodes=constants.episodes,
    )


def load(folder: str | Path) -> tuple[qjax.Loop, Any]:
    """Return a run's loop and its final agents, `DQNState`s with leaves `[seeds, ...]`."""
    arguments = qjax.load_config(folder)["arguments"]
    loop = build(preset(arguments["preset"], arguments["steps"]))
    keys = jax.random.split(jax.random.key(0), arguments["seeds"])
    like = jax.eval_shape(jax.vmap(lambda key: loop.init(key).agent), keys)
    return loop, qjax.load_agents(folder, like)


def run(args: Arguments) -> None:
    """Train, evaluate, and write the run's folder."""
    check_size("eval_episodes", args.eval_episodes)
    constants = preset(args.preset, args.steps)
    trained = train(args, "cartpole", lambda _: build(constants), constants.epsilon, constants.steps)
    if trained is not None:
        title = f"DQN on CartPole-v1 ({args.preset}), {args.seeds} seeds"
        conclude(args, "cartpole", title, build(constants), trained, {"preset": args.preset})


if __name__ == "__main__":
    main(run, Arguments)
