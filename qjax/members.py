"""Both families by name, and the deep one: each member a composition of the same pieces, in one line.

A member is a function `(env, protocol) -> Parts`; `make(name, env, protocol)` puts its parts into a loop. The
tabular family stands in `qjax.tabular_members`, with a protocol of its own. What a deep member does not define
itself (network, rates, replay, exploration) is the `Protocol`'s, by default CleanRL's for DQN on CartPole-v1; its
own constants are those of its paper.
"""

import difflib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import optax

from qjax import schedules
from qjax.agents import dqn, pqn
from qjax.checks import check_range, check_size, concrete
from qjax.envs import Env
from qjax.heads import categorical, quantile
from qjax.loop import Loop, make_loop
from qjax.memory import latest, n_step, ring
from qjax.networks import MLP, convolutional, encoded
from qjax.parts import Member, Parts
from qjax.policies import epsilon_greedy, greedy
from qjax.prioritized import prioritized
from qjax.rewards import munchausen
from qjax.selects import double
from qjax.tabular_members import TABULAR, TabularProtocol, tabular_epsilon, tabular_loop
from qjax.targets import periodic
from qjax.types import Memory, NetworkLike, Policy, Schedule


class Protocol(NamedTuple):
    """What members have in common. Numbers that are no sizes may be traced, and so swept.

    `pqn` has no replay, no warm-up and no target, and does not read their sizes; `noisy-dqn` and `rainbow` act
    greedily, and do not read epsilon's.
    """

    steps: int = 500_000
    """Environment steps of one seed: epsilon falls and beta rises with them."""
    hidden: Sequence[int] = (120, 84)
    learning_rate: Any = 2.5e-4
    gamma: Any = 0.99
    capacity: int = 10_000
    batch_size: int = 128
    num_envs: int = 10
    """CleanRL steps one environment ten times between two updates; here ten environments step once."""
    warmup: int = 10_000
    """Environment steps before the first update."""
    target_period: int = 500
    """Environment steps between two copies of the target."""
    epsilon_end: Any = 0.05
    epsilon_fraction: Any = 0.5
    """Share of `steps` in which epsilon falls from 1 to its end."""
    support: tuple[Any, Any] | None = None
    """Least and largest value for `c51` and `rainbow`; default `support_of` the environment."""


REWARDS = {"CartPole-v1": (0.0, 1.0), "Acrobot-v1": (-1.0, 0.0), "MountainCar-v0": (-1.0, 0.0)}
"""Least and largest reward of a step; of other environments -1 and 1 are assumed."""


def support_of(env: Env, protocol: Protocol) -> tuple[Any, Any]:
    """Return what a categorical head covers: the protocol's support, or the least and largest reward at every step.

    That is a reward times the steps that count, the smaller of 1 / (1 - gamma) and the time limit.

    Raises:
        ValueError: gamma is 1 and there is no time limit.

    """
    if protocol.support is not None:
        return protocol.support
    rest, limit = 1 - protocol.gamma, env.max_steps
    if limit is not None:
        rest = max(rest, 1 / limit) if concrete(rest, limit) else jnp.maximum(rest, 1 / limit)
    elif concrete(rest) and rest == 0:
        raise ValueError(f"gamma is 1 and {env.name} has no time limit: give the support, least and largest value")
    least, largest = REWARDS.get(env.name, (-1.0, 1.0))
    return least / rest, largest / rest


def network(env: Env, protocol: Protocol, **options: Any) -> NetworkLike:
    """Return the protocol's network for an environment's observations, images by convolution; options of `MLP`."""
    build = convolutional if len(env.obs_shape) == 3 else MLP
    return encoded(build(env.num_actions, protocol.hidden, **options), env.encode)


def epsilon(protocol: Protocol | TabularProtocol) -> Schedule:
    """Return the protocol's epsilon: from 1 straight to its end, unless a tabular one has another."""
    if isinstance(protocol, TabularProtocol):
        return tabular_epsilon(protocol)
    return schedules.linear(1.0, protocol.epsilon_end, protocol.epsilon_fraction * protocol.steps)


def valued(
    env: Env,
    protocol: Protocol,
    *,
    memory: Callable[..., Memory] = ring,
    n: int = 1,
    policy: Policy | None = None,
    net: dict[str, Any] | None = None,
    **agent: Any,
) -> Parts:
    """Return a DQN with one thing or several changed: what every member but PQN is.

    Args:
        env: the environment.
        protocol: the constants.
        memory: `memory(capacity, batch_size, window=n)`.
        n: steps of a target.
        policy: what acts; default epsilon-greedy.
        net: options of the network, as `MLP` takes them.
        agent: arguments of `dqn`.

    """
    held = memory(protocol.capacity, protocol.batch_size, window=n)
    learner = dqn(
        network(env, protocol, **(net or {})),
        optax.adam(protocol.learning_rate),
        target=periodic(protocol.target_period, "step"),
        **agent,
    )
    return Parts(learner, policy or epsilon_greedy(epsilon(protocol)), held if n == 1 else n_step(held, n))


def _replayed(protocol: Protocol, alpha: float) -> Callable[..., Memory]:
    """Return prioritized replay with beta rising from 0.4 to 1 over the run."""
    beta = schedules.linear(0.4, 1.0, protocol.steps)
    return lambda capacity, batch_size, window: prioritized(capacity, batch_size, alpha, beta, window=window)


def c51(env: Env, protocol: Protocol) -> Parts:
    """Return C51: 51 atoms on the environment's support (Bellemare et al. 2017)."""
    return valued(env, protocol, head=categorical(*support_of(env, protocol), 51), net={"atoms": 51})


def rainbow(env: Env, protocol: Protocol) -> Parts:
    """Return Rainbow: all of the six, with their constants there (Hessel et al. 2018, table 1)."""
    return valued(
        env,
        protocol,
        head=categorical(*support_of(env, protocol), 51),
        select=double,
        memory=_replayed(protocol, alpha=0.5),
        n=3,
        policy=greedy,
        net={"atoms": 51, "dueling": True, "noisy": True},
    )


def pqn_parts(env: Env, protocol: Protocol) -> Parts:
    """Return PQN with CleanRL's constants for CartPole, but a learning rate twice the protocol's.

    Rollouts of 128 steps in 4 environments, lambda 0.65, 4 epochs of 4 minibatches, LayerNorm, RAdam after clipping
    the gradient's norm to 10, its learning rate falling to 0.
    """
    rollout, envs, epochs, minibatches = 128, 4, 4, 4
    updates = max(protocol.steps // (rollout * envs), 1) * epochs * minibatches

    def rate(count: Any) -> Any:
        return 2 * protocol.learning_rate * jnp.maximum(1 - count / updates, 0)

    optimizer = optax.chain(optax.clip_by_global_norm(10.0), optax.radam(rate))
    learner = pqn(network(env, protocol, norm=True), optimizer, lam=0.65, epochs=epochs, minibatches=minibatches)
    return Parts(learner, epsilon_greedy(epsilon(protocol)), latest(), rollout, envs)


DEEP = {
    "dqn": Member(valued, "dqn on ring", "Mnih et al. 2015"),
    "double-dqn": Member(
        lambda env, protocol: valued(env, protocol, select=double), "select=double", "van Hasselt et al. 2016"
    ),
    "dueling-dqn": Member(
        lambda env, protocol: valued(env, protocol, net={"dueling": True}), "MLP(dueling=True)", "Wang et al. 2016"
    ),
    "n-step-dqn": Member(
        lambda env, protocol: valued(env, protocol, n=3), "n_step(ring(window=3), 3)", "Sutton and Barto 2018, 7.1"
    ),
    "prioritized-dqn": Member(
        lambda env, protocol: valued(env, protocol, memory=_replayed(protocol, alpha=0.6)),
        "prioritized(alpha=0.6, beta=0.4 to 1)",
        "Schaul et al. 2016",
    ),
    "c51": Member(c51, "categorical(low, high, 51), MLP(atoms=51)", "Bellemare et al. 2017"),
    "qr-dqn": Member(
        lambda env, protocol: valued(env, protocol, head=quantile(), net={"atoms": 200}),
        "quantile(kappa=1), MLP(atoms=200)",
        "Dabney et al. 2018a",
    ),
    "iqn": Member(
        lambda env, protocol: valued(env, protocol, head=quantile(), net={"levels": 64}),
        "quantile(kappa=1), MLP(levels=64)",
        "Dabney et al. 2018b",
    ),
    "munchausen-dqn": Member(
        lambda env, protocol: valued(env, protocol, **munchausen()),
        "munchausen(temperature=0.03, alpha=0.9, low=-1)",
        "Vieillard et al. 2020",
    ),
    "noisy-dqn": Member(
        lambda env, protocol: valued(env, protocol, policy=greedy, net={"noisy": True}),
        "MLP(noisy=True), policy=greedy",
        "Fortunato et al. 2018",
    ),
    "rainbow": Member(
        rainbow,
        "double, n_step(prioritized(alpha=0.5, beta=0.4 to 1), 3), categorical, MLP(dueling, noisy), greedy",
        "Hessel et al. 2018",
    ),
    "pqn": Member(
        pqn_parts, "pqn(lam=0.65) on latest, rollouts of 128 steps in 4 environments", "Gallici et al. 2024"
    ),
}

MEMBERS = {**TABULAR, **DEEP}


def member(name: str) -> Member:
    """Return a member by name.

    Raises:
        ValueError: there is none; the nearest names are given.

    """
    if name not in MEMBERS:
        near = difflib.get_close_matches(name, MEMBERS, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(MEMBERS)}"
        raise ValueError(f"no member {name!r}; {hint}")
    return MEMBERS[name]


def make(name: str, env: Env, protocol: Protocol | TabularProtocol | None = None) -> Loop:
    """Return the training loop of one seed of a named member; default the protocol of its family.

    Raises:
        TypeError: the protocol is the other family's, or a tabular member meets observations that are not discrete.
        ValueError: the name is unknown, or constants of the protocol do not fit together; the numbers are named.

    """
    found, family = member(name), TabularProtocol if name in TABULAR else Protocol
    protocol = family() if protocol is None else protocol
    if not isinstance(protocol, family):
        raise TypeError(f"{name} takes a {family.__name__}, got a {type(protocol).__name__}")
    if isinstance(protocol, TabularProtocol):
        return tabular_loop(found, env, protocol)
    check_range("gamma", protocol.gamma, 0, 1)
    check_range("learning_rate", protocol.learning_rate, 0, float("inf"), open_low=True)
    check_range("epsilon_fraction", protocol.epsilon_fraction, 0, 1, open_low=True)
    for size in ("steps", "target_period", "num_envs"):
        check_size(size, getattr(protocol, size))
    agent, policy, memory, rollout, envs = found.parts(env, protocol)
    sizes = {"num_envs": envs or protocol.num_envs, "rollout": rollout}
    if envs is None:  # replay; without it there is no warm-up and no target
        sizes |= _intervals(protocol)
    return make_loop(env, agent, policy, memory, gamma=protocol.gamma, **sizes)


def _intervals(protocol: Protocol) -> dict[str, int]:
    """Return warm-up and cadence of the target in iterations."""
    for name in ("warmup", "target_period"):
        if getattr(protocol, name) % protocol.num_envs:
            raise ValueError(
                f"{name} of {getattr(protocol, name)} steps is no multiple of an iteration's {protocol.num_envs}"
            )
    return {
        "warmup": protocol.warmup // protocol.num_envs,
        "cadence": protocol.target_period // protocol.num_envs,
    }
