"""What gymnasium's environments can do and gymnax's cannot. Imports gymnax: to be imported on first use alone."""

import copy
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from gymnax.environments import environment, spaces
from gymnax.environments.classic_control import cartpole
from gymnax.environments.misc import frozen_lake


@struct.dataclass
class LakeParams(environment.EnvParams):
    """What decides a lake's steps beside its map; all may be traced."""

    max_steps_in_episode: Any = 100
    success_rate: Any = 1 / 3
    """Probability of the direction meant, on slippery ice; the two beside it share the rest."""
    reward_schedule: Any = (1.0, 0.0, 0.0)
    """Rewards for coming to a goal, to a hole, and elsewhere."""


class Lake(frozen_lake.FrozenLake):
    """gymnax's FrozenLake with any number of starts and goals, and what is drawn and paid among its parameters."""

    def __init__(self, rows: list[str], is_slippery: bool, drawn: bool = False) -> None:
        """Make it from the rows of a map, which has been checked, and may have been drawn."""
        tiles = np.array([["SFHG".index(tile) for tile in row] for row in rows], np.int32)
        with jax.ensure_compile_time_eval():  # concrete inside a traced function, too
            self.desc = jnp.asarray(tiles)
            self.starts = jnp.asarray(np.flatnonzero(tiles == frozen_lake.START).tolist())
        self.nrow, self.ncol = tiles.shape
        self.n_states = tiles.size
        self.is_slippery = is_slippery
        self.rows, self.drawn = rows, drawn

    def __repr__(self) -> str:
        """Return its map, which may be no one's choice."""
        return f"Lake({self.rows}, is_slippery={self.is_slippery})"

    @property
    def default_params(self) -> LakeParams:
        """Return gymnax's time limit, 200 for maps of 8 x 8 and else 100, and gymnasium's rates and rewards."""
        return LakeParams(max_steps_in_episode=200 if self.desc.shape == (8, 8) else 100)

    def step_env(self, key: Any, state: Any, action: Any, params: LakeParams) -> Any:
        """Return gymnax's transition, at the parameters' success rate and rewards."""
        lake: Any = copy.copy(self)
        lake.success_rate = params.success_rate
        lake.reward_schedule = jnp.asarray(params.reward_schedule, jnp.float32)
        return frozen_lake.FrozenLake.step_env(lake, key, state, action, params)

    def reset_env(self, key: Any, params: LakeParams) -> Any:
        """Start at the start, of several at each with the same probability."""
        if len(self.starts) == 1:
            return super().reset_env(key, params)
        state = frozen_lake.EnvState(position=jax.random.choice(key, self.starts), time=0)
        return self.observe(key, state, None, params), state


class SuttonBartoCartPole(cartpole.CartPole):
    """CartPole paid as in Barto, Sutton and Anderson 1983: -1 where the pole falls, else nothing."""

    def step_env(self, key: Any, state: Any, action: Any, params: Any) -> Any:
        """Return CartPole's transition with that reward."""
        obs, state, _, terminated, info = super().step_env(key, state, action, params)
        return obs, state, jnp.where(terminated, -1.0, 0.0), terminated, info


class _Flags:
    """What makes flags of the frames of one of gymnax's MinAtar games, whose pixels are 0 and 1."""

    def __init__(self, use_minimal_action_set: bool = True, bool_obs: bool = True) -> None:
        super().__init__(use_minimal_action_set)  # type: ignore[call-arg]
        self.dtype = jnp.bool_ if bool_obs else jnp.float32

    def get_obs(self, state: Any, params: Any = None, key: Any = None) -> Any:
        """Return gymnax's frame, of flags or as it is."""
        return super().get_obs(state, params, key).astype(self.dtype)  # type: ignore[misc]

    def observation_space(self, params: Any) -> Any:
        """Return the space of such frames."""
        space: Any = super().observation_space(params)  # type: ignore[misc]
        return spaces.Box(space.low, space.high, space.shape, self.dtype)


@cache
def with_flags(game: Any) -> Any:
    """Return a class of gymnax's MinAtar games with `bool_obs`: frames of flags, or (False) gymnax's float32."""
    return type(game.__name__, (_Flags, game), {"__module__": __name__, "__doc__": game.__doc__})
