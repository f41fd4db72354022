"""Stable-Baselines3's DQN on CartPole with CleanRL's constants, one seed.

python -m benchmarks.baselines.sb3_cartpole --seconds 20

It prints its speed as JSON.
"""

import torch
from stable_baselines3 import DQN
from stable_baselines3.common.callbacks import BaseCallback

from benchmarks.baselines.clock import Clock, report

LEARNING_STARTS = 1_000
"""Earlier than CleanRL's 10,000, so that the measurement is of learning."""


class Stop(BaseCallback):
    """Count steps once learning has started, and stop when the time is over."""

    def __init__(self, clock: Clock):
        super().__init__()
        self._clock = clock

    def _on_step(self) -> bool:
        self._clock.steps += 1
        return self._clock.running()


def main(seconds: float = 20.0, seed: int = 0, threads: int | None = None) -> None:
    """Train for so many seconds and report the speed; threads default to PyTorch's own."""
    if threads is not None:
        torch.set_num_threads(threads)
    model = DQN(
        "MlpPolicy",
        "CartPole-v1",
        learning_rate=2.5e-4,
        buffer_size=10_000,
        learning_starts=LEARNING_STARTS,
        batch_size=128,
        gamma=0.99,
        train_freq=10,
        gradient_steps=1,
        target_update_interval=500,
        exploration_fraction=0.5,
        exploration_final_eps=0.05,
        policy_kwargs={"net_arch": [120, 84]},
        device="cpu",
        seed=seed,
    )
    model.learn(LEARNING_STARTS)
    with report(seconds) as clock:
        model.learn(500_000, callback=Stop(clock), reset_num_timesteps=False)


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
