"""Algorithms by name, each a function of an environment and a dataclass of constants, and published presets.

Read `constants`, `tabular`, `memories`, `deep`, `recurrent`, `ensembles`, `streaming`, `offline`, `by_name`,
`presets`. Imports `datasets` and what is below.
"""

from qjax.algorithms.by_name import ALGORITHMS, DEEP, TABULAR, Algorithm, algorithm, config, make, parts
from qjax.algorithms.constants import Config, EpsilonGreedy, Parts, Real, Traced, Whole, fields, meanings, traced
from qjax.algorithms.deep import (
    C51,
    DQN,
    IQN,
    PQN,
    QRDQN,
    HLGaussDQN,
    MunchausenDQN,
    NoisyDQN,
    NStepDQN,
    PrioritizedDQN,
    Rainbow,
    ReDoDQN,
    RetraceDQN,
    assumed,
    support_of,
)
from qjax.algorithms.ensembles import AveragedDQN, BootstrappedDQN, MaxminDQN
from qjax.algorithms.offline import BCQ, CQL
from qjax.algorithms.presets import PRESETS, Preset, preset
from qjax.algorithms.recurrent import DRQN, R2D2, RecurrentPQN
from qjax.algorithms.streaming import QRC, StreamQ
from qjax.algorithms.tabular import DynaQ, NStepQ, Tabular, Traces

__all__ = [
    "ALGORITHMS", "BCQ", "C51", "CQL", "DEEP", "DQN", "DRQN", "IQN", "PQN", "PRESETS", "QRC", "QRDQN", "R2D2",
    "TABULAR", "Algorithm", "AveragedDQN", "BootstrappedDQN", "Config", "DynaQ",
    "EpsilonGreedy", "HLGaussDQN", "MaxminDQN", "MunchausenDQN", "NStepDQN", "NStepQ", "NoisyDQN", "Parts",
    "Preset", "PrioritizedDQN", "Rainbow", "ReDoDQN", "Real", "RecurrentPQN", "RetraceDQN", "StreamQ",
    "Tabular", "Traced", "Traces", "Whole", "algorithm", "assumed", "config", "fields", "make", "meanings",
    "parts", "preset", "support_of", "traced",
]  # fmt: skip
