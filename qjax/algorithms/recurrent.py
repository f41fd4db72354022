"""The recurrent ones of the deep family: DRQN, R2D2, and PQN with an RNN.

Their environment may show the previous action and reward, too (`qjax.wrappers.previous`, `--wrap previous`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from qjax.agents.recurrent import recurrent_dqn
from qjax.agents.recurrent import recurrent_pqn as recurrent_pqn_agent
from qjax.algorithms.constants import Config, Parts, Real
from qjax.algorithms.deep import (
    DQN,
    LOSSES,
    PQN,
    Priorities,
    compose_pqn,
    layers,
    optimizer,
    resettable,
)
from qjax.algorithms.memories import by_priority, check_uniform, loaded, loop_sizes, whole_capacity
from qjax.core.annotations import checked
from qjax.core.checks import check_flag, check_size, one_of
from qjax.datasets.memory import recorded
from qjax.networks.layers import INITIALIZERS
from qjax.networks.networks import MLP, encoded, masked
from qjax.networks.recurrent import CELLS, recurrent
from qjax.objectives.heads import scalar, signed_hyperbolic
from qjax.objectives.target_networks import periodic
from qjax.objectives.target_policies import double, maximum
from qjax.replay.memory import ring
from qjax.replay.sequences import sequences
from qjax.types import Env, Memory, NetworkLike, RecurrentNetwork


@dataclass(frozen=True, kw_only=True)
class Cell(Config):
    """A network that remembers: `hidden` stands before its cell."""

    cell: Literal["gru", "lstm"] = "gru"
    """What remembers: gru or lstm."""
    cell_size: int = 64
    """Width of what is remembered."""
    hidden_after: tuple[int, ...] = ()
    """Widths of the hidden layers behind the cell."""
    dueling: bool = False
    """Whether there are streams for the value and the advantages behind the cell."""


@dataclass(frozen=True, kw_only=True)
class DRQN(Cell, DQN):
    """Constants of DRQN, by default with sizes for small tasks."""

    hidden: tuple[int, ...] = (64,)
    learning_rate: Real = 1e-3
    rollout: int = 5
    """Steps of each environment between two updates; they are a block, of which sequences are made."""
    batch_size: int = 32
    """Sequences of an update."""
    warmup: int = 1_000
    length: int = 20
    """Rows of a sequence, a multiple of `rollout`."""
    burn_in: int = 0
    """Rows of a sequence that only bring what is remembered up to date."""
    stored_state: bool = False
    """Whether a sequence begins with what its actor remembered, or as an episode does."""
    double: bool = False
    """Whether the online network chooses the next action."""
    rescale: bool = False
    """Whether values are learned as h(Q), so that rewards of any size are alike."""


@dataclass(frozen=True, kw_only=True)
class R2D2(Priorities, DRQN):
    """Constants of R2D2, by default with sizes for small tasks."""

    burn_in: int = 5
    stored_state: bool = True
    double: bool = True
    rescale: bool = True
    n: int = 5
    alpha: Real = 0.9
    beta: Real = 0.6
    eta: Real = 0.9
    """Weight of the largest priority of a sequence's rows against their mean."""


@dataclass(frozen=True, kw_only=True)
class RecurrentPQN(Cell, PQN):
    """Constants of PQN with an RNN, by default with sizes for small tasks."""

    hidden: tuple[int, ...] = (64,)
    learning_rate: Real = 1e-3
    """Learning rate of the optimiser at the start; it falls to 0."""
    num_envs: int = 16
    rollout: int = 32
    minibatches: int = 4
    """Optimiser steps of a pass, each on whole rollouts of as many environments."""


@checked
def recurrent_network(env: Env, config: Any, **options: Any) -> NetworkLike | RecurrentNetwork:
    """Return the config's layers, its cell, and an output; options of `MLP`, for the layers before the cell."""
    cell = one_of("cell", config.cell, CELLS)(check_size("cell_size", config.cell_size))
    start = one_of("initializer", config.initializer, INITIALIZERS)
    output = MLP(
        env.num_actions, config.hidden_after, dueling=config.dueling, initializer=start,
        output_scale=config.output_scale,
    )  # fmt: skip
    net = recurrent(cell, output, layers(env, config, None, **options))
    return masked(encoded(net, env.encode), env.legal)


def _compose(env: Env, config: DRQN, replay: Callable[..., Memory], **agent: Any) -> Parts:
    """Return a recurrent DQN on sequences, whose blocks such a memory holds; arguments of `recurrent_dqn`."""
    if config.frames is not None:
        raise ValueError(
            f"sequences store blocks as they come, no frame once: leave out frames, got {config.frames}"
        )
    sizes = loop_sizes(config)
    rescale = signed_hyperbolic() if check_flag("rescale", config.rescale) else None
    learner = recurrent_dqn(
        recurrent_network(env, config),
        optimizer(config, config.learning_rate),
        n=config.n,
        head=scalar(one_of("loss", config.loss, LOSSES), rescale),
        target_policy=double if check_flag("double", config.double) else maximum,
        target=periodic(config.target_period, config.target_unit),
        stored_state=config.stored_state,
        **agent,
    )
    learner = resettable(env, config, learner)
    return Parts(learner, config.exploration(), _memory(env, config, sizes, replay), **sizes)


def _memory(env: Env, config: DRQN, sizes: dict[str, int], replay: Callable[..., Memory]) -> Memory:
    """Return a memory of sequences: of what is seen, or of a data set, which knows no state of an actor."""
    windows = (config.batch_size, config.length, config.burn_in)
    if config.data is None:
        return sequences(whole_capacity(config, sizes), *windows, replay)
    check_uniform(config, replay)
    if config.stored_state:
        raise ValueError("recorded data hold no state of an actor: give stored_state=False")
    return recorded(loaded(config.data, env), config.gamma, *windows)


@checked
def drqn(env: Env, config: DRQN) -> Parts:
    """Return DRQN with bootstrapped random updates (Hausknecht and Stone 2015)."""
    return _compose(env, config, ring)


@checked
def r2d2(env: Env, config: R2D2) -> Parts:
    """Return R2D2 (Kapturowski et al. 2019)."""
    return _compose(env, config, by_priority(config), eta=config.eta)


@checked
def recurrent_pqn(env: Env, config: RecurrentPQN) -> Parts:
    """Return PQN with an RNN (Gallici et al. 2024)."""
    net = recurrent_network(env, config, norm=True, norm_eps=config.norm_eps)
    return compose_pqn(config, recurrent_pqn_agent, net)
