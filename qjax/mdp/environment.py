"""A finite MDP as an environment with gymnax's interface."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int, Key

from qjax.core.checks import LARGEST, check_range, check_text, describe, numbers
from qjax.core.default_rules import usual
from qjax.core.text import shown
from qjax.exploration.policies import draw
from qjax.mdp.alias import alias, draw_alias
from qjax.mdp.arrays import TabularMDP, check_pairs, checked, reachable


@struct.dataclass
class MDPParams:
    """An MDP's arrays, and what else decides a step; all are leaves, to be swept or vmapped over."""

    mdp: Any
    """A `TabularMDP`."""
    start: Any
    """The distribution of the first state as an `Alias`, so that a draw does not read all of it."""
    reward_noise: Any = None
    """Standard deviation of Gaussian noise on every reward; None for none."""
    max_steps_in_episode: Any = None
    """The time limit, in steps; None for none."""


@struct.dataclass
class MDPState:
    """Where an episode stands."""

    position: Any
    """The state's number, int32."""
    time: Any
    """Steps taken, int32."""


@usual
def mdp_params(mdp: TabularMDP, max_steps: Any = None, reward_noise: Any = None) -> MDPParams:
    """Return the parameters that make an `MDPEnvironment` this MDP; vmap for many.

    Raises:
        ValueError: the time limit is not positive, the noise negative, or as `qjax.mdp.from_outcomes`.
        TypeError: the time limit is no whole number, or as `qjax.mdp.from_outcomes`.

    """
    mdp = checked(mdp)
    if max_steps is not None:
        check_range("max_steps", max_steps, 1, LARGEST, whole=True)
    if reward_noise is not None:
        check_range("reward_noise", reward_noise, 0, float("inf"))
    return MDPParams(mdp, alias(mdp.start), reward_noise, max_steps)


class MDPEnvironment:
    """An MDP with the interface of a gymnax 1.0 environment, for `qjax.make` and for other tools.

    Observations are the state's number, an int32 scalar. A step reads one row of the arrays and draws its outcome
    with one uniform number, the first state with two words, so its cost does not depend on the number of states.
    The environment resets itself; a time limit truncates. The MDP's arrays are parameters, as gymnax has them:
    `vmap` over `mdp_params` is many MDPs in one program, and programs that take parameters as arguments hold no
    copy of the arrays.
    """

    def __init__(
        self,
        mdp: TabularMDP,
        max_steps: Any = None,
        reward_noise: Any = None,
        name: str = "TabularMDP",
        observations: Any = None,
        legal: Any = None,
    ) -> None:
        """Make it from an MDP, an optional time limit and the optional standard deviation of reward noise.

        `observations` `[S]` are what is observed of the states, whole numbers from 0, in the place of their own;
        where several look alike, what is observed is no MDP. `legal` `[S, A]` are the actions that may be taken, by
        what is observed; default all.

        Raises:
            ValueError: a shape is wrong, or no action is legal in a state that can be reached.

        """
        check_text("name", name)
        self.name = name
        if observations is not None:
            observations = numbers("observations", observations)
            if observations.shape != mdp.start.shape or not np.issubdtype(observations.dtype, np.integer):
                raise ValueError(f"observations are a whole number for each state, got {describe(observations)}")
        self.observations = observations
        self.legal = None if legal is None else _legal(mdp, observations, legal)
        self.default_params = mdp_params(mdp, max_steps, reward_noise)

    def __repr__(self) -> str:
        """Return its name, and how large it is."""
        return (
            f"MDPEnvironment({self.name}: {self.default_params.mdp.start.size} states, {self.num_actions} actions)"
        )

    @property
    def num_actions(self) -> int:
        """Return the number of actions."""
        return self.default_params.mdp.successor.shape[1]

    @usual
    def reset(self, key: Key[Array, ""], params: MDPParams | None = None) -> tuple[Int[Array, ""], MDPState]:
        """Return the first observation and state of an episode."""
        return self.reset_env(key, self.default_params if params is None else params)

    @usual
    def step(
        self, key: Key[Array, ""], state: MDPState, action: Any, params: MDPParams | None = None
    ) -> tuple[Int[Array, ""], MDPState, Float[Array, ""], Bool[Array, ""], Bool[Array, ""], dict[str, Any]]:
        """Return `(obs, state, reward, terminated, truncated, info)`, after a reset where the episode ended.

        `info["final_observation"]` is the true successor.
        """
        params = self.default_params if params is None else params
        step_key, reset_key = jax.random.split(key)
        final, after, reward, terminated, info = self.step_env(step_key, state, action, params)
        truncated = jnp.asarray(self.is_truncated(after, params))
        _, first = self.reset_env(reset_key, params)
        over = terminated | truncated
        new = jax.tree.map(lambda x, y: jnp.where(over, x, y), first, after)
        info = {**info, "terminated": terminated, "truncated": truncated, "final_observation": final}
        return self._seen(new.position), new, reward, terminated, truncated, info

    @usual
    def step_env(
        self, key: Key[Array, ""], state: MDPState, action: Any, params: MDPParams
    ) -> tuple[Int[Array, ""], MDPState, Float[Array, ""], Bool[Array, ""], dict[str, Any]]:
        """Return `(obs, state, reward, terminated, info)` of one transition, without time limit and reset."""
        mdp, at = params.mdp, (state.position, jnp.asarray(action, jnp.int32))
        noise_key, key = (key, key) if params.reward_noise is None else jax.random.split(key)
        probabilities = mdp.probability[at]
        outcome = draw(jax.random.uniform(key), probabilities)
        after = MDPState(mdp.successor[(*at, outcome)], state.time + 1)
        reward = mdp.reward[(*at, outcome)]
        if params.reward_noise is not None:
            reward = reward + params.reward_noise * jax.random.normal(noise_key)
        info = {"p": probabilities[outcome]}
        return self._seen(after.position), after, reward, mdp.terminated[(*at, outcome)], info

    @usual
    def reset_env(self, key: Key[Array, ""], params: MDPParams) -> tuple[Int[Array, ""], MDPState]:
        """Return the first observation and state of an episode."""
        position = draw_alias(jax.random.bits(key, (2,), jnp.uint32), params.start)
        return self._seen(position), MDPState(position, jnp.int32(0))

    def _seen(self, position: Int[Array, ""]) -> Int[Array, ""]:
        """Return what is observed of a state."""
        return position if self.observations is None else jnp.asarray(self.observations, jnp.int32)[position]

    def observe(self, key: Key[Array, ""], state: MDPState, action: Any, params: MDPParams) -> Int[Array, ""]:
        """Return the state's number, or what is observed of it."""
        return self._seen(state.position)

    def is_truncated(self, state: MDPState, params: MDPParams) -> Any:
        """Return whether the time limit is reached."""
        limit = params.max_steps_in_episode
        return False if limit is None else state.time >= limit

    def action_space(self, params: MDPParams | None = None) -> Any:
        """Return gymnax's space of the actions."""
        return _discrete((self.default_params if params is None else params).mdp.successor.shape[1])

    def observation_space(self, params: MDPParams | None = None) -> Any:
        """Return gymnax's space of the states' numbers, or of what is observed of them."""
        if self.observations is not None:
            return _discrete(int(self.observations.max()) + 1)
        return _discrete((self.default_params if params is None else params).mdp.successor.shape[0])


def _legal(mdp: TabularMDP, observations: Any, legal: Any) -> Callable[[Any], Any]:
    """Return `obs -> mask` of flags `[S, A]`, checked."""
    table = numbers("legal", legal)
    check_pairs("legal", table, mdp)
    if not np.isin(table, (0, 1)).all():
        raise ValueError(f"legal must be True or False, got {shown(legal)}")
    if observations is not None:
        raise ValueError("give legal or observations: what is observed must tell what is legal")
    reached = np.asarray(reachable(mdp, jnp.asarray(table, jnp.float32)))
    if (stuck := reached & ~table.astype(bool).any(1)).any():
        raise ValueError(f"no action is legal in state {int(np.argmax(stuck))}, which can be reached; one must be")
    return lambda obs: jnp.asarray(table, bool)[obs]


def _discrete(n: int) -> Any:
    """Return gymnax's space of the numbers from 0 to n - 1."""
    from gymnax.environments import spaces

    return spaces.Discrete(n)
