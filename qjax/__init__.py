"""Q-learning research in JAX: records of pure functions, states of arrays, whole training runs on the device."""

import sys

from qjax.machine import startup

if startup.is_command():  # the rest imports JAX, which takes seconds
    startup.begin()

# isort: split
from qjax import algorithms, mdp, plot, stats
from qjax.agents.dqn import DQNState, dqn, td_loss
from qjax.agents.normalized import Moments, NormalizedState, normalized
from qjax.agents.pqn import PQNState, pqn
from qjax.agents.tabular import CountedState, VisitCount, tabular, tabular_update, visit_count
from qjax.agents.traces import Cut, TracesState, never_cut, traces, watkins
from qjax.core import clock, random
from qjax.core.distribution import VERSION
from qjax.core.fields import present
from qjax.core.random import fast_key
from qjax.envs import wrappers
from qjax.envs.checking import EnvReport, check_env
from qjax.envs.environments import make
from qjax.envs.legal import legal_table
from qjax.exploration import schedules
from qjax.exploration.policies import argmax, boltzmann, draw, epsilon_greedy, greedy, uniform
from qjax.machine.devices import use_cache, use_cores
from qjax.mdp import solve
from qjax.mdp.arrays import TabularMDP
from qjax.mdp.environment import MDPEnvironment
from qjax.networks.networks import MLP, as_network, convolutional, encoded, masked, table
from qjax.objectives.heads import categorical, huber, quantile, scalar, squared
from qjax.objectives.returns import lambda_returns, n_step_transition, td_error, td_target
from qjax.objectives.rewards import environment_reward, munchausen
from qjax.objectives.target_networks import periodic, polyak
from qjax.objectives.target_policies import action_taken, double, expected, maximum, sampled
from qjax.replay.delayed import DelayedState, with_next_action
from qjax.replay.dyna import DynaState, dyna
from qjax.replay.frames import Frames
from qjax.replay.memory import n_step, online, ring
from qjax.replay.prioritized import PrioritizedState, prioritized
from qjax.runs import results, sinks
from qjax.runs.agents import load_agents
from qjax.runs.config import load_config
from qjax.runs.points import Point
from qjax.runs.reading import load_metrics, load_points
from qjax.runs.run import Run
from qjax.sweeps import progress
from qjax.sweeps.hyperparameters import Build, grid, zipped
from qjax.sweeps.plan import Plan
from qjax.sweeps.programs import Report
from qjax.sweeps.progress import Progress
from qjax.sweeps.result import Result
from qjax.sweeps.sweep import static_sweeps, sweep
from qjax.training.evaluation import Episodes, evaluate, evaluate_seeds
from qjax.training.lane import Lane, pop_metrics
from qjax.training.loop import Loop, make_loop
from qjax.types import (
    Agent,
    Batch,
    Clock,
    Env,
    Head,
    Memory,
    Network,
    Noise,
    Policy,
    Quantiles,
    Reward,
    Schedule,
    Sync,
    TargetPolicy,
    Time,
    Transition,
)

__version__ = VERSION

present([module for name, module in sys.modules.items() if name.startswith("qjax.")])

__all__ = [
    "MLP",
    "Agent",
    "Batch",
    "Build",
    "Clock",
    "CountedState",
    "Cut",
    "DQNState",
    "DelayedState",
    "DynaState",
    "Env",
    "EnvReport",
    "Episodes",
    "Frames",
    "Head",
    "Lane",
    "Loop",
    "MDPEnvironment",
    "Memory",
    "Moments",
    "Network",
    "Noise",
    "NormalizedState",
    "PQNState",
    "Plan",
    "Point",
    "Policy",
    "PrioritizedState",
    "Progress",
    "Quantiles",
    "Report",
    "Result",
    "Reward",
    "Run",
    "Schedule",
    "Sync",
    "TabularMDP",
    "TargetPolicy",
    "Time",
    "TracesState",
    "Transition",
    "VisitCount",
    "action_taken",
    "algorithms",
    "argmax",
    "as_network",
    "boltzmann",
    "categorical",
    "check_env",
    "clock",
    "convolutional",
    "double",
    "dqn",
    "draw",
    "dyna",
    "encoded",
    "environment_reward",
    "epsilon_greedy",
    "evaluate",
    "evaluate_seeds",
    "expected",
    "fast_key",
    "greedy",
    "grid",
    "huber",
    "lambda_returns",
    "legal_table",
    "load_agents",
    "load_config",
    "load_metrics",
    "load_points",
    "make",
    "make_loop",
    "masked",
    "maximum",
    "mdp",
    "munchausen",
    "n_step",
    "n_step_transition",
    "never_cut",
    "normalized",
    "online",
    "periodic",
    "plot",
    "polyak",
    "pop_metrics",
    "pqn",
    "prioritized",
    "progress",
    "quantile",
    "random",
    "results",
    "ring",
    "sampled",
    "scalar",
    "schedules",
    "sinks",
    "solve",
    "squared",
    "static_sweeps",
    "stats",
    "sweep",
    "table",
    "tabular",
    "tabular_update",
    "td_error",
    "td_loss",
    "td_target",
    "traces",
    "uniform",
    "use_cache",
    "use_cores",
    "visit_count",
    "watkins",
    "with_next_action",
    "wrappers",
    "zipped",
]
