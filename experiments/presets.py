"""Published configurations: what a paper or a well-known program gives for one member in one environment."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Preset(NamedTuple):
    """A configuration."""

    name: str
    """The member that it was published for. Another one may take it that reads all of its constants."""
    env: str
    """Where; another may be given."""
    values: Mapping[str, Any]
    """Fields of the protocol, and `steps`; what is not there is the member's own."""
    source: str
    differs: str = ""
    """What is not as published."""


_STEPPED = "ten environments step once where one steps ten times"

_CLEANRL = {
    "steps": 500_000, "hidden": "120,84", "optimizer": "adam", "learning_rate": 2.5e-4, "gamma": 0.99,
    "capacity": 10_000, "batch_size": 128, "num_envs": 10, "rollout": 1, "warmup": 10_000, "target_period": 500,
    "target_unit": "step", "epsilon_end": 0.05, "epsilon_fraction": 0.5, "n": 1,
}  # fmt: skip
"""What its DQN and its C51 for CartPole share."""

PRESETS = {
    "cleanrl-dqn": Preset(
        "dqn",
        "CartPole-v1",
        {**_CLEANRL, "loss": "squared"},
        "CleanRL's dqn.py (Huang et al. 2022)",
        _STEPPED,
    ),
    "cleanrl-c51": Preset(
        "c51",
        "CartPole-v1",
        {**_CLEANRL, "atoms": 101, "support": (-100.0, 100.0)},
        "CleanRL's c51_jax.py (Huang et al. 2022)",
        f"{_STEPPED}; Adam's epsilon is 1e-8",
    ),
    "cleanrl-pqn": Preset(
        "pqn",
        "CartPole-v1",
        {
            "steps": 500_000, "hidden": "120,84", "optimizer": "radam", "learning_rate": 2.5e-4,
            "max_grad_norm": 10.0, "gamma": 0.99, "num_envs": 4, "rollout": 128, "epsilon_end": 0.05,
            "epsilon_fraction": 0.5, "lam": 0.65, "epochs": 4, "minibatches": 4,
        },
        "CleanRL's pqn.py (Huang et al. 2022)",
        "there weights start orthogonal, and returns, but for their bootstrap, run on over ends of episodes",
    ),
    "minatar-dqn": Preset(
        "dqn",
        "Breakout-MinAtar",
        {
            "steps": 5_000_000, "hidden": "128", "optimizer": "rmsprop", "learning_rate": 2.5e-4, "loss": "huber",
            "gamma": 0.99, "capacity": 100_000, "batch_size": 32, "num_envs": 1, "rollout": 1, "warmup": 5_000,
            "target_period": 1_000, "target_unit": "step", "epsilon_end": 0.1, "epsilon_fraction": 0.02, "n": 1,
        },
        "MinAtar's dqn.py (Young and Tian 2019)",
        "epsilon falls from the first step on, not from the first update; gymnax's MinAtar",
    ),
    "minatar-pqn": Preset(
        "pqn",
        "Breakout-MinAtar",
        {
            "steps": 10_000_000, "hidden": "128", "optimizer": "radam", "learning_rate": 5e-4,
            "max_grad_norm": 10.0, "gamma": 0.99, "num_envs": 128, "rollout": 32, "epsilon_end": 0.05,
            "epsilon_fraction": 0.1, "lam": 0.65, "epochs": 2, "minibatches": 32,
        },
        "purejaxql's pqn_minatar.yaml (Gallici et al. 2024)",
    ),
    "tutorial-dqn": Preset(
        "dqn",
        "CartPole-v1",
        {
            "episodes": 500, "hidden": "64,64", "optimizer": "adam", "learning_rate": 1e-3, "loss": "squared",
            "gamma": 0.99, "capacity": 10_000, "batch_size": 64, "num_envs": 1, "rollout": 1, "warmup": 63,
            "target_period": 10, "target_unit": "episode", "epsilon_end": 0.01, "epsilon_decay": 0.995, "n": 1,
        },
        "the usual tutorials in PyTorch",
    ),
    "tutorial-lake": Preset(
        "q-learning",
        "FrozenLake-v1",
        {
            "episodes": 2_000, "alpha": 0.1, "gamma": 0.99, "epsilon_end": 0.01, "epsilon_decay": 0.995,
            "initial": 0.0, "num_envs": 1,
        },
        "the usual tutorials, on the slippery lake",
    ),
}  # fmt: skip
"""By name."""
