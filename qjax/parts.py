"""What a named member is made of, in either family."""

from collections.abc import Callable
from typing import Any, NamedTuple

from qjax.types import Agent, Memory, Policy


class Parts(NamedTuple):
    """What a member puts into a loop."""

    agent: Agent
    policy: Policy
    memory: Memory
    rollout: int = 1
    num_envs: int | None = None
    """Where the member has a number of its own."""


class Member(NamedTuple):
    """A named composition."""

    parts: Callable[[Any, Any], Parts]
    """`(env, protocol) -> parts`"""
    composition: str
    paper: str
