"""What a named member is made of, in either family."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from qjax.core.checks import check_range
from qjax.exploration import schedules
from qjax.types import Agent, Memory, Policy, Schedule


class Parts(NamedTuple):
    """What a member puts into a loop; the sizes are `make_loop`'s, in iterations."""

    agent: Agent
    policy: Policy
    memory: Memory
    num_envs: int = 1
    rollout: int = 1
    warmup: int = 0
    cadence: int = 1


class Member(NamedTuple):
    """A named composition."""

    compose: Callable[[Any, Any], Parts]
    """`(env, protocol) -> parts`, of a protocol that is complete."""
    composition: str
    paper: str
    own: Mapping[str, Any] = {}
    """What the protocol leaves to the member: the value of a field that is None."""

    def complete(self, protocol: Any) -> Any:
        """Return a protocol with the member's own constants where it has none; nothing else of it is read."""
        given = dict(zip(protocol._fields, protocol, strict=True))
        return protocol._replace(**{name: value for name, value in self.own.items() if given[name] is None})

    def parts(self, env: Any, protocol: Any) -> Parts:
        """Return what the member puts into a loop.

        Raises:
            TypeError: a size is traced or no whole number.
            ValueError: a constant lies outside its range, or two of them do not fit together; the values are named.

        """
        return self.compose(env, self.complete(protocol))


def falling(protocol: Any) -> Schedule:
    """Return a protocol's epsilon, from 1 to its end: by a factor each episode, or straight over its steps.

    Raises:
        ValueError: `epsilon_end` or `epsilon_decay` lies outside [0, 1], or `epsilon_fraction` outside (0, 1], or
            there are neither steps nor a factor.

    """
    check_range("epsilon_end", protocol.epsilon_end, 0, 1)
    if protocol.epsilon_decay is not None:
        check_range("epsilon_decay", protocol.epsilon_decay, 0, 1)
        return schedules.geometric(1.0, protocol.epsilon_decay, protocol.epsilon_end, "episode")
    check_range("epsilon_fraction", protocol.epsilon_fraction, 0, 1, open_low=True)
    return schedules.linear(1.0, protocol.epsilon_end, protocol.epsilon_fraction * steps_of(protocol))


def steps_of(protocol: Any) -> int:
    """Return a protocol's steps, where something falls or rises with them.

    Raises:
        ValueError: there are none.

    """
    if protocol.steps is None:
        raise ValueError("epsilon, beta or a rate changes with the steps: give steps, or for epsilon epsilon_decay")
    return protocol.steps
