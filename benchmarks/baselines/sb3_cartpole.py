"""DQN of Stable-Baselines3 or SBX on CartPole with CleanRL's constants: one seed, in ten environments as ours."""

import time
from collections.abc import Callable
from importlib import import_module

import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env

ENVS, LEARNING_STARTS = 10, 1_000
"""Earlier than CleanRL's 10,000, so that the measurement is of learning."""


class Stop(BaseCallback):
    """Stop when the time is over."""

    def __init__(self, seconds: float):
        super().__init__()
        self._end = time.perf_counter() + seconds

    def _on_step(self) -> bool:
        return time.perf_counter() < self._end


def make(seed: int, threads: int | None = None, library: str = "stable_baselines3") -> Callable[[float], float]:
    """Return a function that trains for so many seconds and returns env-steps/s; threads default to PyTorch's."""
    if threads is not None:
        torch.set_num_threads(threads)
    model = import_module(library).DQN(
        "MlpPolicy",
        make_vec_env("CartPole-v1", n_envs=ENVS, seed=seed),
        learning_rate=2.5e-4,
        buffer_size=10_000,
        learning_starts=LEARNING_STARTS,
        batch_size=128,
        gamma=0.99,
        train_freq=1,
        gradient_steps=1,
        target_update_interval=500,
        exploration_fraction=0.5,
        exploration_final_eps=0.05,
        policy_kwargs={"net_arch": [120, 84]},
        device="cpu",
        seed=seed,
    )
    model.learn(LEARNING_STARTS)

    def measure(seconds: float) -> float:
        began, before = time.perf_counter(), model.num_timesteps
        model.learn(500_000, callback=Stop(seconds), reset_num_timesteps=False)
        return (model.num_timesteps - before) / (time.perf_counter() - began)

    measure(1.0)
    return measure
