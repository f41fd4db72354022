"""The deep family: an algorithm is a dataclass of constants and a function that composes it from the same pieces.

Constants that an algorithm shares (network, rates, replay, exploration) are by default CleanRL's for DQN on
CartPole-v1; its own are those of its paper.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax

from qjax.agents.dqn import dqn as dqn_agent
from qjax.agents.plasticity import Reset, redo, reset_layers, shrink_and_perturb, with_resets
from qjax.agents.pqn import pqn as pqn_agent
from qjax.algorithms.constants import Config, EpsilonGreedy, Parts, Real, Whole, steps_of
from qjax.algorithms.memories import by_priority, loop_sizes, memory_of
from qjax.core.annotations import checked
from qjax.core.checks import (
    check_flag,
    check_listed,
    check_number,
    check_range,
    check_size,
    concrete,
    one_of,
)
from qjax.core.text import shown
from qjax.exploration.policies import epsilon_greedy, greedy
from qjax.networks.layers import INITIALIZERS
from qjax.networks.networks import MLP, convolutional, encoded, masked, with_prior
from qjax.networks.optimizers import keep_gradient_norm, optimizer_of
from qjax.objectives.classification import hl_gauss
from qjax.objectives.heads import categorical, huber, quantile, scalar, squared
from qjax.objectives.off_policy import peng_trace, retrace, tree_backup, watkins_trace
from qjax.objectives.rewards import munchausen
from qjax.objectives.target_networks import periodic
from qjax.objectives.target_policies import double, expected
from qjax.replay.memory import n_step, online, ring
from qjax.types import Agent, Env, Head, Memory, NetworkLike, Policy

LOSSES = {"squared": squared, "huber": huber()}

TRACES = {"retrace": retrace, "tree-backup": tree_backup, "watkins": watkins_trace, "peng": peng_trace}

ASSUMED = (-1.0, 1.0)
"""Least and largest reward of a step where an environment does not say."""


@dataclass(frozen=True, kw_only=True)
class Deep(Config):
    """What all networks have."""

    hidden: tuple[int, ...] = (120, 84)
    """Widths of the hidden layers; of images, of those after the convolution."""
    optimizer: str = "adam"
    """The optimiser, by its name in optax: adam, adamw, radam, lion, ...; rmsprop has MinAtar's constants."""
    optimizer_eps: Real | None = None
    """Epsilon of the optimiser; None: its own, 1e-8 for adam and radam, and 0.01 for rmsprop."""
    weight_decay: Real | None = None
    """Weight decay of an optimiser that has one, such as adamw; None: its own."""
    learning_rate: Real = 2.5e-4
    """Learning rate of the optimiser."""
    max_grad_norm: Real | None = None
    """Norm to which the gradient is clipped; infinity or None: not at all."""
    num_envs: int = 10
    """Environments of a seed."""
    rollout: int = 1
    """Steps of each environment between two updates."""
    measures: bool = False
    """Whether measures of the network are logged: dormant, srank, weight_norm, gradient_norm, churn."""


@dataclass(frozen=True, kw_only=True)
class Weights(Config):
    """How weights without noise start."""

    initializer: Literal["lecun_normal", "he_normal", "orthogonal", "pytorch", "sparse"] = "lecun_normal"
    """What weights are at the start: lecun_normal, he_normal, orthogonal, pytorch or sparse."""
    output_scale: float = 1.0
    """Factor of the last layer's weights at the start."""


@dataclass(frozen=True, kw_only=True)
class Replay(Deep):
    """What learns from a replay memory with a target network.

    CleanRL steps one environment ten times between two updates (`num_envs=1, rollout=10`, as its presets have it);
    here ten step once, which is faster.
    """

    capacity: int = 10_000
    """Transitions held, rounded up to whole iterations."""
    batch_size: int = 128
    """Transitions of an update."""
    updates: int = 1
    """Updates after each step of the environments, or rollout."""
    warmup: int = 10_000
    """Environment steps before the first update, rounded up to whole iterations."""
    target_period: Whole = 500
    """Time between two copies of the target. They are made at the end of the iteration in which the time since the
    first update reaches or passes a multiple of it: of 15 steps in iterations of 10 after 20, 30, 50, 60 steps."""
    target_unit: Literal["step", "episode", "update"] = "step"
    """Unit of `target_period`: step (of an environment), episode or update."""
    n: int = 1
    """Steps of a target."""
    data: str | None = None
    """Folder of a data set (qjax.datasets) to learn from, in place of what is seen; None: there is none."""
    frames: int | None = None
    """Frames of a stacked observation, each stored once: 4 with frame_stack=4; with 1 each observation is. It takes
    less memory and more time. None: transitions are stored whole."""
    reset_period: Whole | None = None
    """Updates between two resets of the network, of its optimiser and target; None: never."""
    reset_layers: tuple[str, ...] = ()
    """Layers that are reset, such as Dense_2; none: all of them."""
    reset_shrink: Real | None = None
    """Share of its parameters that the network keeps at a reset, the rest being fresh ones; None: nothing."""

    def idle(self) -> frozenset[str]:
        """Return what resets and a data set leave without a use."""
        found = set() if self.reset_period is not None else {"reset_layers", "reset_shrink"}
        return super().idle() | found | (set() if self.data is None else {"capacity", "warmup"})

    def reset(self) -> tuple[Reset, Any] | None:
        """Return what is reset and its period in updates, None for nothing.

        Raises:
            ValueError: single layers are to shrink, or layers are named and there is no period.

        """
        if self.reset_period is None:
            if self.reset_layers or self.reset_shrink is not None:
                raise ValueError("reset_layers and reset_shrink are of resets: give reset_period")
            return None
        if self.reset_shrink is None:
            return reset_layers(*self.reset_layers), self.reset_period
        if self.reset_layers:
            raise ValueError(
                f"reset_shrink shrinks the whole network: leave out reset_layers, got {self.reset_layers}"
            )
        return shrink_and_perturb(self.reset_shrink, 1 - self.reset_shrink), self.reset_period


@dataclass(frozen=True, kw_only=True)
class Plain(Config):
    """Of networks that give plain values."""

    loss: Literal["squared", "huber"] = "squared"
    """Loss of a temporal-difference error: squared or huber."""


@dataclass(frozen=True, kw_only=True)
class DQN(Plain, EpsilonGreedy, Weights, Replay):
    """Constants of DQN, Double DQN and dueling DQN."""


@dataclass(frozen=True, kw_only=True)
class NStepDQN(DQN):
    """Constants of DQN with targets of several steps."""

    n: int = 3


@dataclass(frozen=True, kw_only=True)
class RetraceDQN(DQN):
    """Constants of DQN with off-policy returns."""

    batch_size: int = 16
    """Sequences of an update."""
    length: int = 8
    """Rows of a sequence, over which returns look ahead."""
    trace: Literal["retrace", "tree-backup", "watkins", "peng"] = "retrace"
    """What a return keeps of what follows an action: retrace, tree-backup, watkins or peng."""
    lam: Real = 1.0
    """lambda of the returns."""
    target_epsilon: Real = 0.05
    """Epsilon of the policy whose values are learned, epsilon-greedy; 0: the greedy one's."""


@dataclass(frozen=True, kw_only=True)
class ReDoDQN(DQN):
    """Constants of DQN whose dormant units are recycled."""

    reset_period: Whole | None = 1_000
    """Updates between two looks for dormant units; None: none."""
    threshold: Real = 0.1
    """Share of their layer's mean activity up to which units are dormant."""

    def reset(self) -> tuple[Reset, Any] | None:
        """Return the reset of dormant units and its period, in place of layers."""
        if self.reset_layers or self.reset_shrink is not None:
            raise ValueError("redo-dqn resets dormant units: leave out reset_layers and reset_shrink")
        return None if self.reset_period is None else (redo(self.threshold), self.reset_period)


@dataclass(frozen=True, kw_only=True)
class Priorities(Config):
    """Prioritized replay."""

    alpha: Real = 0.6
    """Exponent of the priorities; with 0 they do not count."""
    beta: Real = 0.4
    """How much of the bias of prioritized replay is corrected at first; it rises to 1 over `steps`."""


@dataclass(frozen=True, kw_only=True)
class PrioritizedDQN(Priorities, DQN):
    """Constants of DQN on prioritized replay."""


@dataclass(frozen=True, kw_only=True)
class Support(Config):
    """Values that lie between two known ones."""

    support: tuple[Any, Any] | None = None
    """Least and largest value of the support; None: those that returns in the environment can have."""


@dataclass(frozen=True, kw_only=True)
class Categorical(Support):
    """A distribution over fixed values."""

    atoms: int = 51
    """Number of values of the support."""
    min_probability: float = 0.0
    """Least probability in the loss; CleanRL has 1e-5."""


@dataclass(frozen=True, kw_only=True)
class C51(Categorical, EpsilonGreedy, Weights, Replay):
    """Constants of C51."""


@dataclass(frozen=True, kw_only=True)
class HLGaussDQN(Support, EpsilonGreedy, Weights, Replay):
    """Constants of DQN whose values are learned by classification."""

    bins: int = 51
    """Number of bins of the support."""
    smoothing: Real = 0.75
    """Standard deviation of the labels in widths of a bin."""


@dataclass(frozen=True, kw_only=True)
class Kappa(Config):
    """Quantile regression."""

    kappa: Real = 1.0
    """Threshold of the Huber loss."""


@dataclass(frozen=True, kw_only=True)
class QRDQN(Kappa, EpsilonGreedy, Weights, Replay):
    """Constants of QR-DQN."""

    quantiles: int = 200
    """Number of quantiles of each action."""


@dataclass(frozen=True, kw_only=True)
class IQN(Kappa, EpsilonGreedy, Weights, Replay):
    """Constants of IQN."""

    levels: int = 64
    """Number of levels that are drawn for a batch."""


@dataclass(frozen=True, kw_only=True)
class MunchausenDQN(DQN):
    """Constants of Munchausen DQN."""

    alpha: Real = 0.9
    """Weight of the Munchausen bonus."""
    temperature: Real = 0.03
    """Temperature of the policy, a softmax of the values, whose log-probability is the bonus."""
    low: Real = -1.0
    """Least value of the Munchausen bonus, before its weight."""


@dataclass(frozen=True, kw_only=True)
class NoisyDQN(Plain, Replay):
    """Constants of DQN with noisy layers, which acts greedily."""


@dataclass(frozen=True, kw_only=True)
class Rainbow(Categorical, Priorities, Replay):
    """Constants of Rainbow."""

    n: int = 3
    alpha: Real = 0.5


@dataclass(frozen=True, kw_only=True)
class PQN(EpsilonGreedy, Weights, Deep):
    """Constants of PQN, by default with CleanRL's constants for CartPole, but a learning rate twice as large."""

    optimizer: str = "radam"
    learning_rate: Real = 5e-4
    """Learning rate of the optimiser at the start; it falls to 0."""
    max_grad_norm: Real | None = 10.0
    num_envs: int = 4
    rollout: int = 128
    norm_eps: float = 1e-6
    """Epsilon of LayerNorm; PyTorch has 1e-5."""
    lam: Real = 0.65
    """lambda of the returns."""
    epochs: int = 4
    """Passes over a rollout."""
    minibatches: int = 4
    """Optimiser steps of a pass."""


@checked
def assumed(env: Env) -> str | None:
    """Return what `support_of` assumes of an environment's rewards, None where they are known."""
    if env.rewards is not None:
        return None
    return f"the range of {env.name}'s rewards is not known: the support is that of rewards from -1 to 1"


@checked
def support_of(env: Env, config: Support) -> tuple[Any, Any]:
    """Return the least and the largest value of a head's support: the config's, or those that returns can have.

    The latter are the least and the largest reward times the steps that count, the smaller of 1 / (1 - gamma) and
    the time limit; and 0, as the end may be near. Where rewards are not known (`Env.rewards`), a warning says what
    is assumed of them.

    Raises:
        ValueError: gamma is 1 and there is no time limit, or every reward is 0.

    """
    if config.support is not None:
        given = check_listed("support", config.support, "two numbers")
        for value in given:
            check_number("support (each)", value)
        if len(given) != 2 or (concrete(*given) and not given[0] < given[1]):
            raise ValueError(f"support must be the least and the largest value, got {shown(config.support)}")
        return given[0], given[1]
    rest, limit = 1 - config.gamma, env.max_steps
    if limit is not None:
        rest = max(rest, 1 / limit) if concrete(rest, limit) else jnp.maximum(rest, 1 / limit)
    elif concrete(rest) and rest == 0:
        raise ValueError(f"gamma is 1 and {env.name} has no time limit: give the support, least and largest value")
    if (doubt := assumed(env)) is not None:
        warnings.warn(f"{doubt}; give support=(least, largest)", stacklevel=2)
    least, largest = ASSUMED if env.rewards is None else env.rewards
    if not concrete(least, largest):
        return jnp.minimum(least, 0) / rest, jnp.maximum(largest, 0) / rest
    if least == largest == 0:
        raise ValueError(f"{env.name} pays nothing: give the support, least and largest value")
    return min(least, 0.0) / rest, max(largest, 0.0) / rest


@checked
def layers(env: Env, config: Any, outputs: int | None, **options: Any) -> MLP:
    """Return the config's layers for what an environment encodes, images by convolution; options of `MLP`.

    Noisy layers start as published.
    """
    seen = jax.tree.leaves(jax.eval_shape(env.encode, env.obs_spec))
    build = convolutional if any(x.ndim == 3 for x in seen) else MLP
    if not options.get("noisy"):
        start = one_of("initializer", config.initializer, INITIALIZERS)
        options = {"initializer": start, "output_scale": config.output_scale, **options}
    return build(outputs, config.hidden, **options)


@checked
def network(env: Env, config: Any, prior_scale: Any = 0.0, **options: Any) -> NetworkLike:
    """Return the config's network for an environment's observations; options of `MLP`.

    Args:
        env: the environment.
        config: the constants.
        prior_scale: factor of a fixed random network that is added; 0 for none.
        options: of `MLP`.

    """
    net: NetworkLike = encoded(layers(env, config, env.num_actions, **options), env.encode)
    if not concrete(prior_scale) or prior_scale != 0:
        net = with_prior(net, prior_scale)
    return masked(net, env.legal)


@checked
def optimizer(config: Any, rate: Any) -> optax.GradientTransformation:
    """Return the config's optimiser, at a rate or a schedule of optax's.

    Raises:
        ValueError: there is no such optimiser, the learning rate or epsilon is not positive and finite, or the
            gradient's norm not positive.

    """
    float32 = jnp.finfo(jnp.float32)
    check_range("learning_rate", config.learning_rate, 0, float(float32.max), open_low=True)
    eps = config.optimizer_eps
    if eps is not None:
        check_range("optimizer_eps", eps, float(float32.tiny), float(float32.max))
    if not callable(rate):
        check_range("rate", rate, 0, float(float32.max), open_low=True)
    if config.weight_decay is not None:
        check_range("weight_decay", config.weight_decay, 0, float(float32.max))
    options = {"eps": eps, "weight_decay": config.weight_decay}
    given = {name: value for name, value in options.items() if value is not None}
    before = [keep_gradient_norm()] * check_flag("measures", config.measures)
    if config.max_grad_norm is not None:
        check_range("max_grad_norm", config.max_grad_norm, 0, float("inf"), open_low=True, infinite=True)
        before.append(optax.clip_by_global_norm(config.max_grad_norm))
    make = optimizer_of(config.optimizer)
    try:
        made = make(rate, **given)
    except TypeError as error:
        raise ValueError(f"{config.optimizer} has no {' or '.join(given)}: {error}") from error
    return optax.chain(*before, made) if before else made


@checked
def resettable(env: Env, config: Any, agent: Agent) -> Agent:
    """Return an agent that is reset as its config says."""
    found = config.reset()
    return agent if found is None else with_resets(agent, found[0], periodic(found[1], "update"), env.obs_spec)


@checked
def compose_dqn(
    env: Env,
    config: Any,
    *,
    memory: Callable[..., Memory] = ring,
    window: int | None = None,
    head: Head | None = None,
    policy: Policy | None = None,
    net: dict[str, Any] | None = None,
    learns: Callable[..., Agent] = dqn_agent,
    **agent: Any,
) -> Parts:
    """Return a DQN with one thing or several changed: what every algorithm with replay is.

    Args:
        env: the environment.
        config: the constants.
        memory: `memory(capacity, batch_size, window=)`, or with `frames`, too; where there is a data set `ring`.
        window: consecutive rows of a batch; default n, which are folded.
        head: default plain values with the config's loss.
        policy: what acts; default the config's exploration.
        net: options of `network`.
        learns: makes the agent, `dqn` or one with its arguments.
        agent: arguments of that.

    """
    n, sizes = check_size("n", config.n), loop_sizes(config)
    held = memory_of(env, config, sizes, memory, n if window is None else window)
    learner = learns(
        network(env, config, **(net or {})),
        optimizer(config, config.learning_rate),
        head=scalar(one_of("loss", config.loss, LOSSES)) if head is None else head,
        target=periodic(config.target_period, config.target_unit),
        **agent,
    )
    acts, learner = policy or config.exploration(), resettable(env, config, learner)
    return Parts(learner, acts, held if n == 1 else n_step(held, n), **sizes)


@checked
def dqn(env: Env, config: DQN) -> Parts:
    """Return DQN (Mnih et al. 2015)."""
    return compose_dqn(env, config)


@checked
def double_dqn(env: Env, config: DQN) -> Parts:
    """Return DQN whose online network chooses the next action (van Hasselt et al. 2016)."""
    return compose_dqn(env, config, target_policy=double)


@checked
def retrace_dqn(env: Env, config: RetraceDQN) -> Parts:
    """Return DQN with off-policy returns over replayed sequences (Munos et al. 2016)."""
    trace, length = one_of("trace", config.trace, TRACES)(config.lam), check_size("length", config.length)
    check_range("target_epsilon", config.target_epsilon, 0, 1)
    target_policy = expected(epsilon_greedy(config.target_epsilon))
    return compose_dqn(env, config, window=length, target_policy=target_policy, trace=trace)


@checked
def redo_dqn(env: Env, config: ReDoDQN) -> Parts:
    """Return DQN whose dormant units are recycled (Sokar et al. 2023)."""
    return compose_dqn(env, config)


@checked
def dueling_dqn(env: Env, config: DQN) -> Parts:
    """Return DQN with streams for the value and the advantages (Wang et al. 2016)."""
    return compose_dqn(env, config, net={"dueling": True})


@checked
def prioritized_dqn(env: Env, config: PrioritizedDQN) -> Parts:
    """Return DQN on prioritized replay, beta rising to 1 over the run (Schaul et al. 2016)."""
    return compose_dqn(env, config, memory=by_priority(config))


@checked
def c51(env: Env, config: C51 | Rainbow, **options: Any) -> Parts:
    """Return C51: atoms on the environment's support (Bellemare et al. 2017); options as for `compose_dqn`."""
    head, net = categorical(*support_of(env, config), config.atoms, config.min_probability), {"atoms": config.atoms}
    return compose_dqn(env, config, head=head, **{**options, "net": net | options.get("net", {})})


@checked
def hl_gauss_dqn(env: Env, config: HLGaussDQN) -> Parts:
    """Return DQN whose values are learned by classification with Gaussian labels (Farebrother et al. 2024)."""
    head, net = hl_gauss(*support_of(env, config), config.bins, config.smoothing), {"atoms": config.bins}
    return compose_dqn(env, config, head=head, net=net)


@checked
def qr_dqn(env: Env, config: QRDQN) -> Parts:
    """Return QR-DQN (Dabney et al. 2018a)."""
    net = {"atoms": check_size("quantiles", config.quantiles)}
    return compose_dqn(env, config, head=quantile(config.kappa), net=net)


@checked
def iqn(env: Env, config: IQN) -> Parts:
    """Return IQN (Dabney et al. 2018b)."""
    net = {"levels": check_size("levels", config.levels)}
    return compose_dqn(env, config, head=quantile(config.kappa), net=net)


@checked
def munchausen_dqn(env: Env, config: MunchausenDQN) -> Parts:
    """Return Munchausen DQN (Vieillard et al. 2020)."""
    return compose_dqn(env, config, **munchausen(config.temperature, config.alpha, config.low))


@checked
def noisy_dqn(env: Env, config: NoisyDQN) -> Parts:
    """Return DQN that explores with noisy layers (Fortunato et al. 2018)."""
    return compose_dqn(env, config, policy=greedy, net={"noisy": True})


@checked
def rainbow(env: Env, config: Rainbow) -> Parts:
    """Return Rainbow: all of the six, with their constants there (Hessel et al. 2018, table 1)."""
    net = {"dueling": True, "noisy": True}
    return c51(env, config, target_policy=double, memory=by_priority(config), policy=greedy, net=net)


def compose_pqn(config: Any, agent: Callable[..., Agent], net: Any) -> Parts:
    """Return a PQN, recurrent or not, of a network, at a rate that falls to 0."""
    counted = ("rollout", "num_envs", "epochs", "minibatches")
    rollout, envs, epochs, minibatches = (check_size(name, getattr(config, name)) for name in counted)
    updates = max(steps_of(config) // (rollout * envs), 1) * epochs * minibatches

    def rate(count: Any) -> Any:
        return config.learning_rate * jnp.maximum(1 - count / updates, 0)

    learner = agent(net, optimizer(config, rate), lam=config.lam, epochs=epochs, minibatches=minibatches)
    return Parts(learner, config.exploration(), online(), envs, rollout)


@checked
def pqn(env: Env, config: PQN) -> Parts:
    """Return PQN (Gallici et al. 2024): no replay and no target network, LayerNorm, RAdam at a falling rate."""
    return compose_pqn(config, pqn_agent, network(env, config, norm=True, norm_eps=config.norm_eps))
