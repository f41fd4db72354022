"""Q-learning research in JAX: records of pure functions, states of arrays, whole training runs on the device."""

from qjax import clock, mdp, mdps, members, plot, progress, random, results, schedules, sinks, solve, stats
from qjax.agents import (
    CountedState,
    DQNState,
    PQNState,
    TracesState,
    VisitCount,
    dqn,
    pqn,
    tabular,
    tabular_update,
    td_loss,
    traces,
    uncut,
    visit_count,
    watkins,
)
from qjax.devices import use_cores
from qjax.dyna import DynaState, dyna
from qjax.envs import Env, make
from qjax.evaluate import Episodes, evaluate, evaluate_seeds
from qjax.heads import categorical, huber, quantile, scalar, squared
from qjax.hypers import grid, zipped
from qjax.loop import Lane, Loop, make_loop, take
from qjax.mdp import TabularMDP
from qjax.mdp_env import MDPEnvironment
from qjax.memory import latest, n_step, ring
from qjax.networks import MLP, as_network, convolutional, encoded, table
from qjax.plan import Plan
from qjax.points import Point
from qjax.policies import boltzmann, draw, epsilon_greedy, first, greedy, uniform
from qjax.prioritized import PrioritizedState, prioritized
from qjax.progress import Progress
from qjax.random import fast_key
from qjax.returns import lambda_returns, n_step_transition, td_error, td_target
from qjax.rewards import environment_reward, munchausen
from qjax.runs import Run, load_agents, load_config, load_points
from qjax.selects import double, executed, expected, maximum, sampled
from qjax.sweep import Result, static_sweeps, sweep
from qjax.tables import load_metrics
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
    Quantiles,
    Reward,
    Schedule,
    Select,
    Sync,
    Time,
    Transition,
)
from qjax.waiting import WaitingState, pairs

__all__ = [
    "MLP",
    "Agent",
    "Batch",
    "Clock",
    "CountedState",
    "DQNState",
    "DynaState",
    "Env",
    "Episodes",
    "Head",
    "Lane",
    "Loop",
    "MDPEnvironment",
    "Memory",
    "Network",
    "Noise",
    "PQNState",
    "Plan",
    "Point",
    "Policy",
    "PrioritizedState",
    "Progress",
    "Quantiles",
    "Result",
    "Reward",
    "Run",
    "Schedule",
    "Select",
    "Sync",
    "TabularMDP",
    "Time",
    "TracesState",
    "Transition",
    "VisitCount",
    "WaitingState",
    "as_network",
    "boltzmann",
    "categorical",
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
    "executed",
    "expected",
    "fast_key",
    "first",
    "greedy",
    "grid",
    "huber",
    "lambda_returns",
    "latest",
    "load_agents",
    "load_config",
    "load_metrics",
    "load_points",
    "make",
    "make_loop",
    "maximum",
    "mdp",
    "mdps",
    "members",
    "munchausen",
    "n_step",
    "n_step_transition",
    "pairs",
    "periodic",
    "plot",
    "polyak",
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
    "take",
    "td_error",
    "td_loss",
    "td_target",
    "traces",
    "uncut",
    "uniform",
    "use_cores",
    "visit_count",
    "watkins",
    "zipped",
]
