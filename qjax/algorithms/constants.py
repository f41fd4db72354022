"""The constants of an algorithm: a dataclass in which each has its default, its meaning, and whether it is traced.

Everything that needs constants reads them there: command lines, `config.json`, presets, sweeps and their grids.
"""

import dataclasses
import inspect
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints

from qjax.core.checks import MOST_STEPS, check_range, check_size
from qjax.core.fields import texts_below
from qjax.exploration import schedules
from qjax.exploration.policies import epsilon_greedy, epsilon_z_greedy, greedy
from qjax.types import Agent, Memory, Policy, Schedule, StatefulPolicy


class Traced(NamedTuple):
    """Marks the type of a constant that may be traced, and so swept in one program."""

    kind: type
    """How it is written on a command line."""


Real = Annotated[Any, Traced(float)]
"""A number that may be traced; or what else the field's text says, a schedule for instance."""
Whole = Annotated[Any, Traced(int)]
"""A whole number that may be."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What every algorithm has. A field of another type than `Real` or `Whole` shapes the program."""

    steps: int | None = 500_000
    """Environment steps of one seed, with which schedules fall and rise."""
    episodes: int | None = None
    """Episodes after which a seed is done."""
    gamma: Real = 0.99
    """Discount factor."""

    def replace(self, **changes: Any) -> Any:
        """Return a copy with other constants.

        Raises:
            TypeError: there is no such field.

        """
        return dataclasses.replace(self, **changes)

    def idle(self) -> frozenset[str]:
        """Return the names of the fields that others leave without a use."""
        return frozenset()

    def check(self) -> None:
        """Raise what is wrong with the constants that every algorithm has.

        Raises:
            ValueError: gamma lies outside [0, 1], or the steps or episodes are no count.

        """
        check_range("gamma", self.gamma, 0, 1)
        if self.steps is not None:
            check_size("steps", self.steps, most=MOST_STEPS)
        if self.episodes is not None:
            check_size("episodes", self.episodes)


@dataclass(frozen=True, kw_only=True)
class EpsilonGreedy(Config):
    """Exploration with an epsilon that falls from 1."""

    epsilon_end: Real = 0.05
    """What epsilon falls to, from 1."""
    epsilon_fraction: Real = 0.5
    """Share of `steps` in which epsilon falls."""
    epsilon_decay: Real | None = None
    """Factor by which epsilon falls with every episode, in place of `epsilon_fraction`."""
    epsilon_z: Real | None = None
    """Exponent above 1, 2 as published, of how long a random action is repeated (epsilon-z-greedy); None: not."""

    def idle(self) -> frozenset[str]:
        """Return what a factor per episode leaves without a use."""
        return super().idle() | ({"epsilon_fraction"} if self.epsilon_decay is not None else set())

    def epsilon_schedule(self) -> Schedule:
        """Return epsilon: by a factor each episode, or straight over the steps.

        Raises:
            ValueError: `epsilon_end` or `epsilon_decay` lies outside [0, 1], or `epsilon_fraction` outside (0, 1],
                or there are neither steps nor a factor.

        """
        check_range("epsilon_end", self.epsilon_end, 0, 1)
        if self.epsilon_decay is not None:
            check_range("epsilon_decay", self.epsilon_decay, 0, 1)
            return schedules.geometric(1.0, self.epsilon_decay, self.epsilon_end, "episode")
        check_range("epsilon_fraction", self.epsilon_fraction, 0, 1, open_low=True)
        return schedules.linear(1.0, self.epsilon_end, self.epsilon_fraction * steps_of(self))

    def exploration(self, base: Policy = greedy) -> Policy | StatefulPolicy:
        """Return epsilon-greedy over a base, or epsilon-z-greedy where there is an exponent.

        Raises:
            ValueError: `epsilon_z` is not above 1, or as for epsilon.

        """
        if self.epsilon_z is None:
            return epsilon_greedy(self.epsilon_schedule(), base)
        check_range("epsilon_z", self.epsilon_z, 1, float("inf"), open_low=True)
        return epsilon_z_greedy(self.epsilon_schedule(), self.epsilon_z, base)


class Parts(NamedTuple):
    """What an algorithm puts into a loop; the sizes are `make_loop`'s, in iterations."""

    agent: Agent
    """The agent."""
    policy: Policy | StatefulPolicy
    """What acts."""
    memory: Memory
    """The memory."""
    num_envs: int = 1
    """N, environments of a lane."""
    rollout: int = 1
    """T, ticks of each environment per iteration."""
    updates: int = 1
    """Learner updates per iteration."""
    warmup: int = 0
    """Iterations before the first update."""
    sync_every: int = 1
    """Iterations between two calls of `agent.sync`."""


def steps_of(config: Config) -> int:
    """Return a config's steps, where something falls or rises with them.

    Raises:
        ValueError: there are none.

    """
    if config.steps is None:
        raise ValueError("epsilon, beta or a rate changes with the steps: give steps, or for epsilon epsilon_decay")
    return config.steps


def fields(config: Any) -> tuple[str, ...]:
    """Return the names of the fields of a config, or of its class."""
    return tuple(field.name for field in dataclasses.fields(config))


def traced(config: Any) -> frozenset[str]:
    """Return the names of the fields of a config, or of its class, that may be traced."""
    kind = config if isinstance(config, type) else type(config)
    hints = get_type_hints(kind, include_extras=True)
    return frozenset(name for name in fields(kind) if _is_traced(hints[name]))


def _is_traced(hint: Any) -> bool:
    if get_origin(hint) is Annotated:
        return any(isinstance(mark, Traced) for mark in hint.__metadata__)
    return any(map(_is_traced, get_args(hint)))


def meanings(kind: type) -> dict[str, str]:
    """Return the text below each field of a config's class; that of a subclass comes before its bases'."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        if dataclasses.is_dataclass(each):
            found |= _texts(each)
    return {name: found.get(name, "") for name in fields(kind)}


def _texts(kind: type) -> dict[str, str]:
    try:
        return texts_below(inspect.getsource(kind))
    except (OSError, TypeError):  # a class without a source file
        return {}
