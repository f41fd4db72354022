"""Published configurations: what a paper or a well-known program gives for one algorithm in one environment."""

from typing import Any, NamedTuple

from qjax.algorithms.by_name import algorithm
from qjax.algorithms.constants import fields
from qjax.algorithms.deep import C51, DQN, PQN
from qjax.algorithms.ensembles import BootstrappedDQN
from qjax.algorithms.recurrent import RecurrentPQN
from qjax.algorithms.streaming import StreamQ
from qjax.algorithms.tabular import Tabular
from qjax.core.checks import one_of


class Preset(NamedTuple):
    """A published configuration of an algorithm."""

    algorithm: str
    """The one that it was published for. Another may take it that has all of its constants."""
    env: str
    """Where; another may be given."""
    config: Any
    """The constants of its algorithm."""
    source: str
    """Where it was published."""
    differs: str = ""
    """What is not as published."""


_CLEANRL: dict[str, Any] = {
    "steps": 500_000, "hidden": (120, 84), "output_scale": 1.0, "optimizer": "adam", "learning_rate": 2.5e-4,
    "gamma": 0.99, "capacity": 10_000, "batch_size": 128, "num_envs": 1, "rollout": 10, "warmup": 10_000,
    "target_period": 500, "target_unit": "step", "epsilon_end": 0.05, "epsilon_fraction": 0.5, "n": 1,
}  # fmt: skip
"""What its DQN and its C51 for CartPole share: one environment steps ten times between two updates."""

_PHASE = "updates come one step earlier, the first after 10,010 steps; gymnax's CartPole, in float32"

_PUREJAXQL_RNN = (
    " a rollout is learned with the 4 steps before it, returns are of the parameters of each minibatch and leave"
    " out its last step, the loss has a half, epsilon falls once in a rollout, and a time limit ends an episode"
    " without a bootstrap"
)

PRESETS = {
    "cleanrl-dqn": Preset(
        "dqn",
        "CartPole-v1",
        DQN(**_CLEANRL, initializer="pytorch", optimizer_eps=1e-8, loss="squared"),
        "CleanRL's dqn.py, in PyTorch (Huang et al. 2022)",
        _PHASE,
    ),
    "cleanrl-c51": Preset(
        "c51",
        "CartPole-v1",
        C51(
            **_CLEANRL, initializer="lecun_normal", optimizer_eps=0.01 / 128, atoms=101,
            support=(-100.0, 100.0), min_probability=1e-5,
        ),
        "CleanRL's c51_jax.py, in Flax (Huang et al. 2022)",
        _PHASE,
    ),
    "cleanrl-pqn": Preset(
        "pqn",
        "CartPole-v1",
        PQN(
            steps=500_000, hidden=(120, 84), initializer="orthogonal", output_scale=1.0,
            norm_eps=1e-5, optimizer="radam", optimizer_eps=1e-8, learning_rate=2.5e-4,
            max_grad_norm=10.0, gamma=0.99, num_envs=4, rollout=128, epsilon_end=0.05,
            epsilon_fraction=0.5, lam=0.65, epochs=4, minibatches=4,
        ),
        "CleanRL's pqn.py, in PyTorch, since its pull request 494 (Huang et al. 2022)",
        "there a time limit ends an episode as a failure does, without a bootstrap, the rate falls once in a"
        " rollout, and epsilon is a step ahead; before that pull request returns ran on over ends of episodes, but"
        " for the bootstrap; gymnax's CartPole, in float32",
    ),
    "minatar-dqn": Preset(
        "dqn",
        "Breakout-MinAtar",
        DQN(
            steps=5_000_000, hidden=(128,), optimizer="rmsprop", learning_rate=2.5e-4, loss="huber",
            gamma=0.99, capacity=100_000, batch_size=32, num_envs=1, rollout=1, warmup=5_000,
            target_period=1_000, target_unit="step", epsilon_end=0.1, epsilon_fraction=0.02, n=1,
        ),
        "MinAtar's dqn.py (Young and Tian 2019)",
        "there weights start as PyTorch's (initializer pytorch), a batch holds no transition twice, and epsilon"
        " falls from the first update on, not from the first step; gymnax's MinAtar",
    ),
    "minatar-pqn": Preset(
        "pqn",
        "Breakout-MinAtar",
        PQN(
            steps=10_000_000, hidden=(128,), optimizer="radam", learning_rate=5e-4,
            max_grad_norm=10.0, gamma=0.99, num_envs=128, rollout=32, epsilon_end=0.05,
            epsilon_fraction=0.1, lam=0.65, epochs=2, minibatches=32,
        ),
        "purejaxql's pqn_minatar.yaml (Gallici et al. 2024)",
        "there inputs are divided by 255, weights start he_normal but for the last layer's, the loss has a half,"
        " epsilon falls once in a rollout, and a time limit ends an episode without a bootstrap",
    ),
    "cartpole-pqn": Preset(
        "pqn",
        "CartPole-v1",
        PQN(
            steps=500_000, hidden=(256, 256), optimizer="radam", learning_rate=1e-4,
            max_grad_norm=10.0, gamma=0.99, num_envs=32, rollout=64, epsilon_end=0.2,
            epsilon_fraction=0.2, lam=0.95, epochs=4, minibatches=16,
        ),
        "purejaxql's pqn_cartpole.yaml (Gallici et al. 2024)",
        "there rewards are divided by 10 (wrap reward_scale=0.1), the loss has a half, epsilon falls once in a"
        " rollout, and a time limit ends an episode without a bootstrap",
    ),
    "minatar-stream-q": Preset(
        "stream-q",
        "Breakout-MinAtar",
        StreamQ(
            steps=5_000_000, hidden=(128,), initializer="sparse", learning_rate=1.0, kappa=2.0, lam=0.8, gamma=0.99,
            epsilon_end=0.01, epsilon_fraction=0.2, normalized=True,
        ),
        "streaming-drl's stream_q_minatar.py (Elsayed et al. 2024)",
        "there LayerNorm has no parameters, after the convolution it is over all places of the image, and ReLU"
        " leaks; gymnax's MinAtar",
    ),
    "memory-chain-pqn": Preset(
        "recurrent-pqn",
        "MemoryChain-bsuite",
        RecurrentPQN(
            steps=100_000, hidden=(256, 256), cell="gru", cell_size=256, hidden_after=(), dueling=False,
            optimizer="radam", learning_rate=1e-3, max_grad_norm=10.0, gamma=0.99, num_envs=32, rollout=128,
            epsilon_end=0.01, epsilon_fraction=0.1, lam=0.95, epochs=4, minibatches=16,
        ),
        "purejaxql's pqn_rnn_memory_chain.yaml (Gallici et al. 2024)",
        "there the chain is of length 100 (env-kwargs memory_length=100), the cell also reads the previous action"
        " (wrap previous), and" + _PUREJAXQL_RNN + ", and the rate does not fall",
    ),
    "cartpole-recurrent-pqn": Preset(
        "recurrent-pqn",
        "CartPole-v1",
        RecurrentPQN(
            steps=500_000, hidden=(256, 256), cell="gru", cell_size=256, hidden_after=(), dueling=False,
            optimizer="radam", learning_rate=1e-4, max_grad_norm=10.0, gamma=0.99, num_envs=32, rollout=64,
            epsilon_end=0.2, epsilon_fraction=0.2, lam=0.95, epochs=4, minibatches=16,
        ),
        "purejaxql's pqn_rnn_cartpole.yaml (Gallici et al. 2024)",
        "there rewards are divided by 10 (wrap reward_scale=0.1), the cell also reads the previous action (wrap"
        " previous), and" + _PUREJAXQL_RNN,
    ),
    "bsuite-bootstrapped-dqn": Preset(
        "bootstrapped-dqn",
        "DeepSea-bsuite",
        BootstrappedDQN(
            steps=100_000, hidden=(50, 50), optimizer="adam", learning_rate=1e-3, loss="squared", gamma=0.99,
            capacity=10_000, batch_size=128, num_envs=1, rollout=1, warmup=128, target_period=4,
            target_unit="update", n=1, members=20, mask_probability=1.0, prior_scale=5.0, vote=False,
        ),
        "bsuite's baselines/jax/boot_dqn (Osband et al. 2020)",
        "there an experiment ends after 10,000 episodes, and targets start with weights of their own; gymnax's"
        " DeepSea (env-kwargs size=10)",
    ),
    "tutorial-dqn": Preset(
        "dqn",
        "CartPole-v1",
        DQN(
            steps=None, episodes=500, hidden=(64, 64), optimizer="adam", learning_rate=1e-3, loss="squared",
            gamma=0.99, capacity=10_000, batch_size=64, num_envs=1, rollout=1, warmup=63,
            target_period=10, target_unit="episode", epsilon_end=0.01, epsilon_decay=0.995, n=1,
        ),
        "the usual tutorials in PyTorch",
        "there weights start as PyTorch's (initializer pytorch)",
    ),
    "tutorial-lake": Preset(
        "q-learning",
        "FrozenLake-v1",
        Tabular(
            steps=None, episodes=2_000, alpha=0.1, gamma=0.99, epsilon_end=0.01, epsilon_decay=0.995,
            initial=0.0, num_envs=1,
        ),
        "the usual tutorials, on the slippery lake",
    ),
}  # fmt: skip
"""By name."""


def preset(name: str, of: Any = None) -> Preset:
    """Return a published configuration by its name, for its own algorithm or for another.

    Raises:
        ValueError: there is no such preset, or the other algorithm lacks some of its constants.

    """
    found: Preset = one_of("preset", name, PRESETS)
    if of is None or (isinstance(of, str) and of == found.algorithm):
        return found
    other, known = algorithm(of), fields(found.config)
    if lacking := sorted(set(known) - set(fields(other.config))):
        raise ValueError(f"the preset {name} is another algorithm's: {other.name} has no {', '.join(lacking)}")
    config = other.config(**{field: getattr(found.config, field) for field in known})
    return found._replace(algorithm=of, config=config)
