"""Wrappers: functions from one `Env` to another, which compose in any order.

Each keeps the true successor, terminations apart from time limits, illegal actions, and what is known of rewards
and of the longest episode; a state of its own begins again with every episode. Read `base`, then any.
"""

from qjax.envs.wrappers.actions import Sticky, repeat_action, sticky_actions
from qjax.envs.wrappers.base import WrapperState
from qjax.envs.wrappers.episodes import Timed, random_starts, remaining_time, time_limit
from qjax.envs.wrappers.observations import (
    Masked,
    Previous,
    cast,
    discretise,
    flatten,
    frame_stack,
    observe,
    previous,
    select,
)
from qjax.envs.wrappers.rewards import reward, reward_clip, reward_scale, reward_sign

__all__ = [
    "Masked", "Previous", "Sticky", "Timed", "WrapperState", "cast", "discretise", "flatten", "frame_stack",
    "observe", "previous", "random_starts", "remaining_time", "repeat_action", "reward", "reward_clip",
    "reward_scale", "reward_sign", "select", "sticky_actions", "time_limit",
]  # fmt: skip
