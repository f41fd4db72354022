"""Both families by name, and the deep one: each member a composition of the same pieces, in one line.

A member is a function `(env, protocol) -> Parts`; `make(name, env, protocol)` puts its parts into a loop. The
tabular family stands in `qjax.tabular_members`, with a protocol of its own. What a deep member does not define
itself (network, rates, replay, exploration) is the `Protocol`'s, by default CleanRL's for DQN on CartPole-v1; its
own constants are those of its paper.
"""

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
import optax

from qjax.agents.dqn import dqn
from qjax.agents.pqn import pqn
from qjax.algorithms.parts import Member, Parts, falling, steps_of
from qjax.algorithms.tabular import TABULAR, TabularProtocol, tabular_epsilon, tabular_loop
from qjax.core.annotations import checked
from qjax.core.checks import (
    MOST_STEPS,
    check_listed,
    check_number,
    check_range,
    check_record,
    check_size,
    check_unit,
    concrete,
    one_of,
)
from qjax.core.text import shown
from qjax.exploration import schedules
from qjax.exploration.policies import epsilon_greedy, greedy
from qjax.networks.layers import INITIALIZERS
from qjax.networks.networks import MLP, convolutional, encoded
from qjax.objectives.heads import categorical, huber, quantile, scalar, squared
from qjax.objectives.rewards import munchausen
from qjax.objectives.target_networks import periodic
from qjax.objectives.target_policies import double
from qjax.replay.memory import latest, n_step, ring
from qjax.replay.prioritized import prioritized
from qjax.training.loop import Loop, make_loop
from qjax.types import Env, Head, Memory, NetworkLike, Policy, Schedule


class Protocol(NamedTuple):
    """The constants of a deep member. What is `Any` may be traced, and so swept; the rest shapes the program.

    None stands for the member's own constant, that of its paper, where it says so. No member reads all of them:
    `reads` says which.
    """

    steps: int | None = 500_000
    """Environment steps of one seed: epsilon and PQN's rate fall, and beta rises, with them."""
    episodes: int | None = None
    """Episodes after which a seed is done."""
    hidden: Sequence[int] = (120, 84)
    """Widths of the hidden layers; of images, of those after the convolution."""
    initializer: str = "lecun_normal"
    """What weights without noise are at the start: lecun_normal, he_normal, orthogonal, or pytorch's own
    (`qjax.networks.layers.INITIALIZERS`)."""
    output_scale: float = 1.0
    """Factor of the last layer's weights at the start."""
    norm_eps: float = 1e-6
    """Epsilon of `pqn`'s LayerNorm; PyTorch has 1e-5."""
    optimizer: str | None = None
    """adam, radam or rmsprop (`OPTIMIZERS`); None: adam, `pqn` radam."""
    optimizer_eps: Any = None
    """Its epsilon; None: its own, 1e-8, rmsprop 0.01."""
    learning_rate: Any = None
    """None: 2.5e-4, `pqn` 5e-4, falling to 0."""
    max_grad_norm: Any = None
    """Norm to which the gradient is clipped, infinity: not at all; None: not at all, `pqn` 10."""
    loss: str = "squared"
    """squared or huber, of members whose network gives plain values."""
    gamma: Any = 0.99
    capacity: int = 10_000
    """Transitions held, rounded up to whole iterations."""
    batch_size: int = 128
    num_envs: int | None = None
    """None: 10, `pqn` 4. CleanRL steps one environment ten times between two updates (`num_envs=1, rollout=10`,
    as its presets have it); here ten step once, which is faster."""
    rollout: int | None = None
    """Steps of each environment between two updates; None: 1, `pqn` 128."""
    warmup: int = 10_000
    """Environment steps before the first update, rounded up to whole iterations."""
    target_period: Any = 500
    """Time between two copies of the target. They are made at the end of the iteration in which the time since the
    first update reaches or passes a multiple of it: of 15 steps in iterations of 10 after 20, 30, 50, 60 steps."""
    target_unit: str = "step"
    """Its unit: step (of an environment), episode or update."""
    epsilon_end: Any = 0.05
    epsilon_fraction: Any = 0.5
    """Share of `steps` in which epsilon falls from 1 to its end."""
    epsilon_decay: Any = None
    """In place of that, the factor by which epsilon falls from 1 with every episode."""
    n: int | None = None
    """Steps of a target; None: 1, `n-step-dqn` and `rainbow` 3."""
    alpha: Any = None
    """How much priorities count; None: 0.6, `rainbow` 0.5. Of `munchausen-dqn` the bonus's weight; None: 0.9."""
    beta: Any = 0.4
    """How much of prioritized replay's bias is corrected at first; it rises to 1 over `steps`."""
    temperature: Any = 0.03
    """Of Munchausen's policy."""
    low: Any = -1.0
    """Least value of Munchausen's bonus, before its weight."""
    support: tuple[Any, Any] | None = None
    """Least and largest value for `c51` and `rainbow`; None: `support_of` the environment."""
    atoms: int = 51
    """Values of `c51` and `rainbow`."""
    floor: float = 0.0
    """Least probability in their loss (`categorical`); CleanRL has 1e-5."""
    quantiles: int = 200
    """Of `qr-dqn`."""
    levels: int = 64
    """Levels of `iqn` that are drawn for a batch."""
    kappa: Any = 1.0
    """Threshold of the Huber loss of `qr-dqn` and `iqn`."""
    lam: Any = 0.65
    """lambda of `pqn`."""
    epochs: int = 4
    """Passes of `pqn` over a rollout."""
    minibatches: int = 4
    """Optimiser steps of a pass."""


SHARED = {"optimizer": "adam", "learning_rate": 2.5e-4, "num_envs": 10, "rollout": 1, "n": 1}
"""What members have that leave these to themselves; the names are `Protocol`'s, as in `Member.own`."""

OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformation]] = {
    "adam": optax.adam,
    "radam": optax.radam,
    "rmsprop": partial(optax.rmsprop, decay=0.95, eps=0.01, centered=True, eps_in_sqrt=False, momentum=0.95),
}
"""`(rate, eps=...) -> optimiser`; rmsprop with the constants of Young and Tian 2019."""

LOSSES = {"squared": squared, "huber": huber()}


ASSUMED = (-1.0, 1.0)
"""Least and largest reward of a step where an environment does not say."""


@checked
def assumed(env: Env) -> str | None:
    """Return what `support_of` takes for granted of an environment, None where it knows."""
    if env.rewards is not None:
        return None
    return f"the range of {env.name}'s rewards is not known: the support is that of rewards from -1 to 1"


@checked
def support_of(env: Env, protocol: Protocol) -> tuple[Any, Any]:
    """Return what a categorical head covers: the protocol's support, or the least and largest reward at every step.

    That is a reward times the steps that count, the smaller of 1 / (1 - gamma) and the time limit; and nothing, as
    the end may be near. Where rewards are not known (`Env.rewards`), a warning says what is assumed of them.

    Raises:
        ValueError: gamma is 1 and there is no time limit, or every reward is 0.

    """
    if protocol.support is not None:
        given = check_listed("support", protocol.support, "two numbers")
        for value in given:
            check_number("support (each)", value)
        if len(given) != 2 or (concrete(*given) and not given[0] < given[1]):
            raise ValueError(f"support must be the least and the largest value, got {shown(protocol.support)}")
        return given[0], given[1]
    rest, limit = 1 - protocol.gamma, env.max_steps
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
def network(env: Env, protocol: Protocol, **options: Any) -> NetworkLike:
    """Return the protocol's network for an environment's observations, images by convolution; options of `MLP`.

    Noisy layers start as published.
    """
    build = convolutional if len(env.obs_shape) == 3 else MLP
    if not options.get("noisy"):
        start = one_of("initializer", protocol.initializer, INITIALIZERS)
        options = {"initializer": start, "output_scale": protocol.output_scale, **options}
    return encoded(build(env.num_actions, protocol.hidden, **options), env.encode)


@checked
def optimizer(protocol: Protocol, rate: Any) -> optax.GradientTransformation:
    """Return the protocol's optimiser, at a rate or a schedule of optax's.

    Raises:
        ValueError: there is no such optimiser, the learning rate or epsilon is not positive and finite, or the
            gradient's norm not positive.

    """
    float32 = jnp.finfo(jnp.float32)
    check_range("learning_rate", protocol.learning_rate, 0, float(float32.max), open_low=True)
    eps = protocol.optimizer_eps
    if eps is not None:
        check_range("optimizer_eps", eps, float(float32.tiny), float(float32.max))
    if not callable(rate):
        check_range("rate", rate, 0, float(float32.max), open_low=True)
    made = one_of("optimizer", protocol.optimizer, OPTIMIZERS)(rate, **({} if eps is None else {"eps": eps}))
    if protocol.max_grad_norm is None:
        return made
    check_range("max_grad_norm", protocol.max_grad_norm, 0, float("inf"), open_low=True, infinite=True)
    return optax.chain(optax.clip_by_global_norm(protocol.max_grad_norm), made)


@checked
def epsilon(protocol: Protocol | TabularProtocol) -> Schedule:
    """Return the protocol's epsilon: falling from 1 to its end, unless a tabular one has another."""
    return tabular_epsilon(protocol) if isinstance(protocol, TabularProtocol) else falling(protocol)


@checked
def valued(
    env: Env,
    protocol: Protocol,
    *,
    memory: Callable[..., Memory] = ring,
    head: Head | None = None,
    policy: Policy | None = None,
    net: dict[str, Any] | None = None,
    **agent: Any,
) -> Parts:
    """Return a DQN with one thing or several changed: what every member but PQN is.

    Args:
        env: the environment.
        protocol: the constants, complete (`Member.complete`).
        memory: `memory(capacity, batch_size, window=n)`.
        head: default plain values with the protocol's loss.
        policy: what acts; default epsilon-greedy.
        net: options of the network, as `MLP` takes them.
        agent: arguments of `dqn`.

    """
    n, sizes = check_size("n", protocol.n), _sizes(protocol)
    block = sizes["num_envs"] * sizes["rollout"]
    capacity = -(-check_size("capacity", protocol.capacity) // block) * block
    held = memory(capacity, protocol.batch_size, window=n)
    learner = dqn(
        network(env, protocol, **(net or {})),
        optimizer(protocol, protocol.learning_rate),
        head=scalar(one_of("loss", protocol.loss, LOSSES)) if head is None else head,
        target=periodic(protocol.target_period, protocol.target_unit),
        **agent,
    )
    acts = policy or epsilon_greedy(epsilon(protocol))
    return Parts(learner, acts, held if n == 1 else n_step(held, n), **sizes)


def _sizes(protocol: Protocol) -> dict[str, int]:
    """Return the sizes of a loop with replay; warm-up and the target's cadence in iterations.

    Raises:
        ValueError: a period of the target is shorter than an iteration, at whose end copies are made.

    """
    check_unit(protocol.target_unit, "target_unit")
    check_range("target_period", protocol.target_period, 1, 2**30, whole=True)
    num_envs, rollout = (check_size(name, getattr(protocol, name)) for name in ("num_envs", "rollout"))
    warmup, steps = check_size("warmup", protocol.warmup, least=0), num_envs * rollout
    sizes = {"num_envs": num_envs, "rollout": rollout, "warmup": -(-warmup // steps), "cadence": 1}
    if protocol.target_unit == "step" and concrete(protocol.target_period):
        period = int(protocol.target_period)
        if period < steps:
            raise ValueError(
                f"target_period of {period} steps is shorter than an iteration's {steps}, when copies are made"
            )
        if period % steps == 0:
            sizes["cadence"] = period // steps
    return sizes


def _replayed(protocol: Protocol) -> Callable[..., Memory]:
    """Return prioritized replay with beta rising to 1 over the run."""
    check_range("beta", protocol.beta, 0, 1)
    beta = schedules.linear(protocol.beta, 1.0, steps_of(protocol))
    return lambda capacity, batch_size, window: prioritized(
        capacity, batch_size, protocol.alpha, beta, window=window
    )


@checked
def c51(env: Env, protocol: Protocol, **options: Any) -> Parts:
    """Return C51: atoms on the environment's support (Bellemare et al. 2017); options as for `valued`."""
    head, net = categorical(*support_of(env, protocol), protocol.atoms, protocol.floor), {"atoms": protocol.atoms}
    return valued(env, protocol, head=head, **{**options, "net": net | options.get("net", {})})


@checked
def rainbow(env: Env, protocol: Protocol) -> Parts:
    """Return Rainbow: all of the six, with their constants there (Hessel et al. 2018, table 1)."""
    net = {"dueling": True, "noisy": True}
    return c51(env, protocol, select=double, memory=_replayed(protocol), policy=greedy, net=net)


@checked
def pqn_parts(env: Env, protocol: Protocol) -> Parts:
    """Return PQN, by default with CleanRL's constants for CartPole, but a learning rate twice as large.

    Rollouts of 128 steps in 4 environments, lambda 0.65, 4 epochs of 4 minibatches, LayerNorm, RAdam after clipping
    the gradient's norm to 10, its learning rate falling to 0.
    """
    counted = ("rollout", "num_envs", "epochs", "minibatches")
    rollout, envs, epochs, minibatches = (check_size(name, getattr(protocol, name)) for name in counted)
    updates = max(steps_of(protocol) // (rollout * envs), 1) * epochs * minibatches

    def rate(count: Any) -> Any:
        return protocol.learning_rate * jnp.maximum(1 - count / updates, 0)

    sizes = {"lam": protocol.lam, "epochs": epochs, "minibatches": minibatches}
    net = network(env, protocol, norm=True, norm_eps=protocol.norm_eps)
    learner = pqn(net, optimizer(protocol, rate), **sizes)
    return Parts(learner, epsilon_greedy(epsilon(protocol)), latest(), envs, rollout)


def _member(compose: Callable[..., Parts], composition: str, paper: str, **own: Any) -> Member:
    return Member(compose, composition, paper, {**SHARED, **own})


DEEP = {
    "dqn": _member(valued, "dqn on ring", "Mnih et al. 2015"),
    "double-dqn": _member(partial(valued, select=double), "select=double", "van Hasselt et al. 2016"),
    "dueling-dqn": _member(partial(valued, net={"dueling": True}), "MLP(dueling=True)", "Wang et al. 2016"),
    "n-step-dqn": _member(valued, "n_step(ring(window=3), 3)", "Sutton and Barto 2018, 7.1", n=3),
    "prioritized-dqn": _member(
        lambda env, protocol: valued(env, protocol, memory=_replayed(protocol)),
        "prioritized(alpha=0.6, beta=0.4 to 1)",
        "Schaul et al. 2016",
        alpha=0.6,
    ),
    "c51": _member(c51, "categorical(low, high, 51), MLP(atoms=51)", "Bellemare et al. 2017"),
    "qr-dqn": _member(
        lambda env, protocol: valued(
            env,
            protocol,
            head=quantile(protocol.kappa),
            net={"atoms": check_size("quantiles", protocol.quantiles)},
        ),
        "quantile(kappa=1), MLP(atoms=200)",
        "Dabney et al. 2018a",
    ),
    "iqn": _member(
        lambda env, protocol: valued(
            env,
            protocol,
            head=quantile(protocol.kappa),
            net={"levels": check_size("levels", protocol.levels)},
        ),
        "quantile(kappa=1), MLP(levels=64)",
        "Dabney et al. 2018b",
    ),
    "munchausen-dqn": _member(
        lambda env, protocol: valued(
            env, protocol, **munchausen(protocol.temperature, protocol.alpha, protocol.low)
        ),
        "munchausen(temperature=0.03, alpha=0.9, low=-1)",
        "Vieillard et al. 2020",
        alpha=0.9,
    ),
    "noisy-dqn": _member(
        partial(valued, policy=greedy, net={"noisy": True}),
        "MLP(noisy=True), policy=greedy",
        "Fortunato et al. 2018",
    ),
    "rainbow": _member(
        rainbow,
        "double, n_step(prioritized(alpha=0.5, beta=0.4 to 1), 3), categorical, MLP(dueling, noisy), greedy",
        "Hessel et al. 2018",
        n=3,
        alpha=0.5,
    ),
    "pqn": _member(
        pqn_parts,
        "pqn(lam=0.65) on latest, rollouts of 128 steps in 4 environments",
        "Gallici et al. 2024",
        optimizer="radam",
        learning_rate=5e-4,
        max_grad_norm=10.0,
        num_envs=4,
        rollout=128,
    ),
}

MEMBERS = {**TABULAR, **DEEP}


def member(name: str) -> Member:
    """Return a member by name.

    Raises:
        ValueError: there is none; the nearest names are given.

    """
    return one_of("member", name, MEMBERS)


def protocol_of(name: str) -> Any:
    """Return a member's protocol with the constants of its paper, a `TabularProtocol` or a `Protocol`.

    Raises:
        ValueError: there is no such member.

    """
    return member(name).complete(TabularProtocol() if name in TABULAR else Protocol())


def make(
    name: str, env: Env, protocol: Protocol | TabularProtocol | None = None, *, cadence: int | None = None
) -> Loop:
    """Return the training loop of one seed of a named member; default the protocol of its family.

    Args:
        name: the member's.
        env: the environment.
        protocol: the constants.
        cadence: iterations between two calls of `Agent.sync`; default the target's period. 1 where that is swept.

    Raises:
        TypeError: the protocol is the other family's, or a tabular member meets observations that are not discrete.
        ValueError: the name is unknown, or constants of the protocol do not fit together; the numbers are named.

    """
    check_record("env", env, Env)
    found, family = member(name), TabularProtocol if name in TABULAR else Protocol
    protocol = family() if protocol is None else protocol
    if cadence is not None:
        check_size("cadence", cadence)
    if not isinstance(protocol, family):
        raise TypeError(f"{name} takes a {family.__name__}, got a {type(protocol).__name__}, {shown(protocol)}")
    if isinstance(protocol, TabularProtocol):
        return tabular_loop(found, env, protocol)
    check_range("gamma", protocol.gamma, 0, 1)
    if protocol.steps is not None:
        check_size("steps", protocol.steps, most=MOST_STEPS)
    agent, policy, memory, *sizes = found.parts(env, protocol)
    given = dict(zip(Parts._fields[3:], sizes, strict=True)) | ({} if cadence is None else {"cadence": cadence})
    return make_loop(env, agent, policy, memory, gamma=protocol.gamma, episodes=protocol.episodes, **given)


def _never(*_: Any) -> Any:
    raise AssertionError("this environment is never run")


_ANY = Env(
    name="any", reset=_never, step=_never, encode=_never, num_actions=2, num_states=2, obs_shape=(),
    max_steps=100, unwrapped=None, params=None, rewards=ASSUMED,
)  # fmt: skip
"""Stands for an environment of either family: a loop is made with it, and never run."""


def reads(name: str, protocol: Protocol | TabularProtocol | None = None) -> frozenset[str]:
    """Return the names of the fields that a member reads of a protocol.

    Found out by making its loop: a number that makes others idle, a table's constant epsilon for instance, has them
    left out.

    Raises:
        ValueError: as for `make`.

    """
    member(name)
    family: Any = TabularProtocol if name in TABULAR else Protocol
    if not isinstance(protocol, family | None):
        raise TypeError(f"{name} takes a {family.__name__}, got a {type(protocol).__name__}, {shown(protocol)}")
    seen = set()

    class Noted(family):
        def __getattribute__(self, field: str) -> Any:
            if field in family._fields:
                seen.add(field)
            return super().__getattribute__(field)

    make(name, _ANY, Noted(*(family() if protocol is None else protocol)))
    return frozenset(seen)


def traced(field: str) -> bool:
    """Return whether a field of either protocol may be traced, and so swept in one program."""
    return one_of("field", field, {**TabularProtocol.__annotations__, **Protocol.__annotations__}) is Any
