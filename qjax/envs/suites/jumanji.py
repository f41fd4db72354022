"""jumanji: puzzles, packing and routing."""

import math
from functools import reduce
from typing import Any

import jax.numpy as jnp
import numpy as np

from qjax.envs.suites.base import Suite

NEVER = 2**30
"""jumanji ends episodes at its time limit as if the task had: it is lifted, and counted by the base."""
MOST = 10_000
"""The most actions of several parts that are counted through."""


class Jumanji(Suite):
    """An environment of jumanji. An action of several parts is one number, that of `unravel_index` of its parts."""

    refused = frozenset(
        ("Connector-v3", "JobShop-v0", "LevelBasedForaging-v0", "MMST-v0", "MultiCVRP-v0", "SearchAndRescue-v0")
    )
    downloads = frozenset({"Sokoban-v0"})

    @staticmethod
    def ids() -> list[str]:
        """Return jumanji's names."""
        import jumanji

        return sorted(jumanji.registered_environments())

    @staticmethod
    def build(name: str, **options: Any) -> Any:
        """Return jumanji's environment without its time limit, and the limit; `time_limit` sets it."""
        import jumanji

        env = jumanji.make(name, **options)
        limit = getattr(env, "time_limit", None)
        return (env if limit is None else jumanji.make(name, **{**options, "time_limit": NEVER})), limit

    def __init__(self, name: str, built: Any) -> None:
        """Make it from the whole name, jumanji's environment and its time limit.

        Raises:
            ValueError: its actions are continuous or too many, or each of several agents is paid by itself.

        """
        self.name, (self.env, self.limit) = name, built
        spec = self.env.action_spec
        counts = getattr(spec, "num_values", None)
        if counts is None:
            raise ValueError(f"{name} has a continuous action space, {spec}; qjax needs discrete actions")
        if self.env.reward_spec.shape:
            raise ValueError(f"{name} pays each of several agents; qjax needs an environment for one")
        self.parts = tuple(int(count) for count in np.ravel(counts))
        self.num_actions, self.several = math.prod(self.parts), np.ndim(counts) > 0
        if self.num_actions > MOST:
            sizes = " x ".join(map(str, self.parts))
            raise ValueError(f"{name} has {sizes} actions; qjax counts them through, at most {MOST:,}")
        if hasattr(self.env.observation_spec, "action_mask"):
            self.legal = lambda obs: joint(obs.action_mask, self.parts)

    def first(self, key: Any) -> Any:
        """Begin an episode."""
        state, timestep = self.env.reset(key)
        return timestep.observation, state

    def advance(self, key: Any, state: Any, action: Any) -> Any:
        """Take one step; jumanji keeps a key of its own."""
        if self.several:
            action = jnp.stack(jnp.unravel_index(action, self.parts))
        state, timestep = self.env.step(state, action.astype(self.env.action_spec.dtype))
        return timestep.observation, state, timestep.reward, timestep.last() & (timestep.discount == 0)


def joint(mask: Any, parts: tuple[int, ...]) -> Any:
    """Return which actions are legal `[A]`, of a mask of all of them, or of one for each part by itself."""
    together = mask if mask.shape == parts else reduce(lambda some, part: some[..., None] & part, mask)
    return jnp.ravel(together)
