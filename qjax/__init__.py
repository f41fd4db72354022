"""Q-learning research in JAX: records of pure functions, states of arrays, whole training runs on the device."""

from qjax import clock, mdp, plot, progress, schedules, stats
from qjax.agents import DQNState, dqn, tabular, tabular_update, td_loss
from qjax.envs import Env, make
from qjax.evaluate import Episodes, evaluate, evaluate_seeds
from qjax.heads import huber, scalar, squared
from qjax.loop import Lane, Loop, make_loop, take
from qjax.memory import latest, ring
from qjax.networks import MLP, as_network, encoded, table
from qjax.policies import boltzmann, draw, epsilon_greedy, first, greedy, uniform
from qjax.returns import td_error, td_target
from qjax.runs import Run, load_agents, load_config, load_metrics
from qjax.selects import double, expected, maximum, sampled
from qjax.sweep import Point, Result, sweep, use_cores
from qjax.targets import periodic, polyak
from qjax.types import (
    Agent,
    Batch,
    Clock,
    Head,
    Memory,
    Network,
    Noise,
    Policy,
    Reward,
    Schedule,
    Select,
    Sync,
    Time,
    Transition,
)

__all__ = [
    "MLP",
    "Agent",
    "Batch",
    "Clock",
    "DQNState",
    "Env",
    "Episodes",
    "Head",
    "Lane",
    "Loop",
    "Memory",
    "Network",
    "Noise",
    "Point",
    "Policy",
    "Result",
    "Reward",
    "Run",
    "Schedule",
    "Select",
    "Sync",
    "Time",
    "Transition",
    "as_network",
    "boltzmann",
    "clock",
    "double",
    "dqn",
    "draw",
    "encoded",
    "epsilon_greedy",
    "evaluate",
    "evaluate_seeds",
    "expected",
    "first",
    "greedy",
    "huber",
    "latest",
    "load_agents",
    "load_config",
    "load_metrics",
    "make",
    "make_loop",
    "maximum",
    "mdp",
    "periodic",
    "plot",
    "polyak",
    "progress",
    "ring",
    "sampled",
    "scalar",
    "schedules",
    "squared",
    "stats",
    "sweep",
    "table",
    "tabular",
    "tabular_update",
    "take",
    "td_error",
    "td_loss",
    "td_target",
    "uniform",
    "use_cores",
]
