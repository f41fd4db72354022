"""What the adapters of suites share: counting, the time limit, resets, first states from a pool."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from qjax.core.random import root_key


@struct.dataclass
class SuiteParams:
    """What may be changed of any suite's environment when it is made, or swept."""

    max_steps_in_episode: Any = None
    """The time limit, in steps; None for none."""


@struct.dataclass
class SuiteState:
    """Where an episode stands."""

    inner: Any
    """The suite's own state."""
    time: Any
    """Steps taken, int32."""


class Suite:
    """An environment of a suite with the interface of gymnax 1.0, for `qjax.make`.

    An adapter says what is here, `first` and `advance`; neither resets, and `advance` goes on after the suite's own
    time limit, which is counted here. Where both happen at once, an episode is terminated and truncated.
    """

    num_actions: int
    limit: Any = None
    """The suite's time limit, in steps; None for none."""
    legal: Callable[[Any], Any] | None = None
    """`obs -> [A] bool`, the actions that are legal; None where all always are."""
    refused: frozenset[str] = frozenset()
    """Names of the suite that qjax refuses, as they come: for several players, or of too many actions."""
    downloads: frozenset[str] = frozenset()
    """Names of environments whose data the suite downloads when they are made."""
    pool: Any = None
    """First observations and states `[size, ...]` that episodes begin with; None for one of its own each time."""

    @staticmethod
    def ids() -> list[str]:
        """Return the names that the suite has, without the prefix."""
        raise NotImplementedError

    @staticmethod
    def build(name: str, **options: Any) -> Any:
        """Return the suite's own environment, what `__init__` takes after the name."""
        raise NotImplementedError

    def __init__(self, name: str, built: Any) -> None:
        """Make it from the whole name, with the prefix, and what `build` returned."""
        raise NotImplementedError

    def first(self, key: Any) -> tuple[Any, Any]:
        """Return the first observation and the suite's state of an episode."""
        raise NotImplementedError

    def advance(self, key: Any, state: Any, action: Any) -> tuple[Any, Any, Any, Any]:
        """Return `(obs, state, reward, terminated)` of one step."""
        raise NotImplementedError

    def gather(self, size: int) -> None:
        """Fill the pool with so many first states, the same ones in every process."""
        self.pool = jax.jit(jax.vmap(self.first))(jax.random.split(root_key(0), size))

    def begin(self, key: Any) -> tuple[Any, Any]:
        """Return the first observation and the suite's state of an episode, of the pool where there is one."""
        if self.pool is None:
            return self.first(key)
        drawn, own = jax.random.split(key)
        which = jax.random.randint(drawn, (), 0, len(jax.tree.leaves(self.pool)[0]))

        def taken(leaf: Any) -> Any:
            return own if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf[which]

        return jax.tree.map(taken, self.pool)

    @property
    def default_params(self) -> SuiteParams:
        """Return the suite's time limit."""
        return SuiteParams(self.limit)

    def reset(self, key: Any, params: Any = None) -> tuple[Any, SuiteState]:
        """Return the first observation and state of an episode."""
        obs, inner = self.begin(key)
        return obs, SuiteState(inner, jnp.int32(0))

    def step(self, key: Any, state: SuiteState, action: Any, params: Any = None) -> Any:
        """Return `(obs, state, reward, terminated, truncated, info)`, after a reset where the episode ended."""
        step_key, reset_key = jax.random.split(key)
        final, inner, reward, terminated = self.advance(step_key, state.inner, action)
        after = SuiteState(inner, state.time + 1)
        limit = (self.default_params if params is None else params).max_steps_in_episode
        truncated = jnp.bool_(False) if limit is None else after.time >= limit
        over, fresh = terminated | truncated, self.reset(reset_key, params)
        obs, state = jax.tree.map(lambda new, old: jnp.where(over, new, old), fresh, (final, after))
        return obs, state, jnp.float32(reward), terminated, truncated, {"final_observation": final}

    def action_space(self, params: Any = None) -> Any:
        """Return gymnax's space of the actions."""
        from gymnax.environments import spaces

        return spaces.Discrete(self.num_actions)

    def observation_space(self, params: Any = None) -> Any:
        """Return shapes and dtypes of an observation; no bounds are known."""
        return jax.eval_shape(lambda: self.reset(root_key(0))[0])
