"""Q-learning research in JAX: records of pure functions, states of arrays, whole training runs on the device."""

import sys as _sys

from qjax.machine import startup as _startup

if _startup.is_command():  # the rest imports JAX, which takes seconds
    _startup.begin()

# isort: split
from qjax import algorithms, datasets, mdp, plot, searches, stats
from qjax.agents.acting import memoryless
from qjax.agents.averaged import averaged_dqn
from qjax.agents.counts import count_bonus, mbie_eb
from qjax.agents.dqn import dqn, td_loss
from qjax.agents.ensembles import bootstrapped
from qjax.agents.maxmin import maxmin_dqn
from qjax.agents.normalized import normalized
from qjax.agents.plasticity import redo, reset_layers, shrink_and_perturb, with_resets
from qjax.agents.pqn import pqn
from qjax.agents.qrc import qrc
from qjax.agents.recurrent import recurrent_dqn, recurrent_pqn
from qjax.agents.streaming import stream_q
from qjax.agents.tabular import tabular, tabular_update, visit_count
from qjax.agents.traces import never_cut, traces, watkins
from qjax.core import clock
from qjax.core.distribution import VERSION as _VERSION
from qjax.core.fields import present as _present
from qjax.core.random import fast_key
from qjax.datasets.memory import recorded
from qjax.envs import wrappers
from qjax.envs.checking import check_env
from qjax.envs.environments import make
from qjax.envs.legal import legal_table
from qjax.exploration import schedules
from qjax.exploration.policies import argmax, boltzmann, epsilon_greedy, epsilon_z_greedy, greedy, uniform
from qjax.machine.devices import use_cache, use_cores
from qjax.mdp import solve
from qjax.mdp.environment import MDPEnvironment
from qjax.networks.networks import MLP, as_network, convolutional, encoded, linear, masked, table, with_prior
from qjax.networks.optimizers import keep_gradient_norm, obgd
from qjax.networks.recurrent import as_recurrent, recurrent
from qjax.objectives.classification import hl_gauss, two_hot
from qjax.objectives.heads import categorical, huber, quantile, scalar, signed_hyperbolic, squared
from qjax.objectives.off_policy import off_policy_returns, peng_trace, retrace, tree_backup, watkins_trace
from qjax.objectives.offline import batch_constrained, behaviour_cloning, conservative
from qjax.objectives.returns import lambda_returns, n_step_transition, td_error, td_target
from qjax.objectives.rewards import munchausen
from qjax.objectives.target_networks import periodic, polyak
from qjax.objectives.target_policies import action_taken, double, expected, maximum, sampled
from qjax.replay.delayed import with_next_action
from qjax.replay.dyna import dyna
from qjax.replay.frames import Frames
from qjax.replay.memory import n_step, online, ring
from qjax.replay.prioritized import prioritized
from qjax.replay.sequences import sequences
from qjax.runs import results, sinks
from qjax.runs.agents import load_agents
from qjax.runs.config import load_config
from qjax.runs.points import Point
from qjax.runs.reading import load_points
from qjax.runs.run import Run
from qjax.runs.transitions import load_transitions
from qjax.searches.search import search
from qjax.sweeps.hyperparameters import grid, zipped
from qjax.sweeps.result import Result
from qjax.sweeps.sweep import static_sweeps, sweep
from qjax.training.evaluation import evaluate, evaluate_seeds
from qjax.training.loop import Loop, make_loop
from qjax.training.measures import network_measures
from qjax.types import Agent, Batch, Env, Head, Memory, Network, Noise, Policy, StatefulPolicy, Time, Transition

__version__ = _VERSION

_present([module for name, module in _sys.modules.items() if name.startswith("qjax.")])

__all__ = [
    "MLP",
    "Agent",
    "Batch",
    "Env",
    "Frames",
    "Head",
    "Loop",
    "MDPEnvironment",
    "Memory",
    "Network",
    "Noise",
    "Point",
    "Policy",
    "Result",
    "Run",
    "StatefulPolicy",
    "Time",
    "Transition",
    "action_taken",
    "algorithms",
    "argmax",
    "as_network",
    "as_recurrent",
    "averaged_dqn",
    "batch_constrained",
    "behaviour_cloning",
    "boltzmann",
    "bootstrapped",
    "categorical",
    "check_env",
    "clock",
    "conservative",
    "convolutional",
    "count_bonus",
    "datasets",
    "double",
    "dqn",
    "dyna",
    "encoded",
    "epsilon_greedy",
    "epsilon_z_greedy",
    "evaluate",
    "evaluate_seeds",
    "expected",
    "fast_key",
    "greedy",
    "grid",
    "hl_gauss",
    "huber",
    "keep_gradient_norm",
    "lambda_returns",
    "legal_table",
    "linear",
    "load_agents",
    "load_config",
    "load_points",
    "load_transitions",
    "make",
    "make_loop",
    "masked",
    "maximum",
    "maxmin_dqn",
    "mbie_eb",
    "mdp",
    "memoryless",
    "munchausen",
    "n_step",
    "n_step_transition",
    "network_measures",
    "never_cut",
    "normalized",
    "obgd",
    "off_policy_returns",
    "online",
    "peng_trace",
    "periodic",
    "plot",
    "polyak",
    "pqn",
    "prioritized",
    "qrc",
    "quantile",
    "recorded",
    "recurrent",
    "recurrent_dqn",
    "recurrent_pqn",
    "redo",
    "reset_layers",
    "results",
    "retrace",
    "ring",
    "sampled",
    "scalar",
    "schedules",
    "search",
    "searches",
    "sequences",
    "shrink_and_perturb",
    "signed_hyperbolic",
    "sinks",
    "solve",
    "squared",
    "static_sweeps",
    "stats",
    "stream_q",
    "sweep",
    "table",
    "tabular",
    "tabular_update",
    "td_error",
    "td_loss",
    "td_target",
    "traces",
    "tree_backup",
    "two_hot",
    "uniform",
    "use_cache",
    "use_cores",
    "visit_count",
    "watkins",
    "watkins_trace",
    "with_next_action",
    "with_prior",
    "with_resets",
    "wrappers",
    "zipped",
]
