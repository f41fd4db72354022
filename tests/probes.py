"""Tiny environments with known values, as plain objects with gymnax's interface; they reset themselves.

Each takes `box`: False gives integer observations (tables), True gives float vectors (networks) of the same states.
`q(gamma)` returns the action values `[S, A]` of an optimal agent, and `observations()` every state's observation.
"""

import dataclasses
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class State(NamedTuple):
    where: Any
    time: Any


@dataclasses.dataclass(frozen=True)
class Params:
    max_steps_in_episode: int


class Probe:
    """A finite MDP: subclasses say where episodes start (`starts`, all alike) and what an action does (`move`)."""

    starts = range(1)
    num_states = 1
    num_actions = 2
    limit: int | None = None

    def __init__(self, box=False, limit=None):
        self.box = box
        self.limit = self.limit if limit is None else limit
        # Without a limit there are no parameters at all: `qjax.make` must do with that, too.
        self.default_params = None if self.limit is None else Params(self.limit)

    def start(self, key):
        one = len(self.starts) == 1
        return (
            jnp.int32(self.starts[0]) if one else jax.random.randint(key, (), self.starts.start, self.starts.stop)
        )

    def move(self, where, action):
        """Return the next state, the reward and whether the episode terminates."""
        raise NotImplementedError

    def observe(self, where):
        return jax.nn.one_hot(where, self.num_states) if self.box else jnp.asarray(where, jnp.int32)

    def observations(self):
        return jax.vmap(self.observe)(jnp.arange(self.num_states))

    def reset(self, key, params):
        where = self.start(key)
        return self.observe(where), State(where, jnp.int32(0))

    def step(self, key, state, action, params):
        where, reward, terminated = self.move(state.where, action)
        after = State(jnp.asarray(where, jnp.int32), state.time + 1)
        limited = params is not None
        truncated = after.time >= params.max_steps_in_episode if limited else jnp.bool_(False)
        terminated = jnp.asarray(terminated, bool)
        over = terminated | truncated
        _, fresh = self.reset(key, params)
        kept = State(*(jnp.where(over, new, old) for new, old in zip(fresh, after, strict=True)))
        info = {"final_observation": self.observe(after.where)}
        return self.observe(kept.where), kept, jnp.float32(reward), terminated, jnp.asarray(truncated), info

    def action_space(self, params):
        return SimpleNamespace(n=self.num_actions)

    def observation_space(self, params):
        if not self.box:
            return SimpleNamespace(n=self.num_states)
        return SimpleNamespace(shape=self.observe(0).shape, low=-1.0, high=1.0)


class OneStep(Probe):
    """One step, reward 1: every value is 1."""

    def move(self, where, action):
        return where, 1.0, True

    def q(self, gamma):
        return np.ones((1, 2))


class TwoSteps(Probe):
    """Two steps; the second pays 1 for action 1, nothing for 0: the first is worth gamma, by the maximum."""

    num_states = 2

    def move(self, where, action):
        return jnp.int32(1), jnp.where((where == 1) & (action == 1), 1.0, 0.0), where == 1

    def q(self, gamma):
        return np.array([[gamma, gamma], [0.0, 1.0]])


class Sign(Probe):
    """One step from a random state, whose observation -1 or +1 is the reward: values must follow observations."""

    starts = range(2)
    num_states = 2

    def observe(self, where):
        return jnp.reshape(2.0 * where - 1, (1,)).astype(jnp.float32) if self.box else jnp.asarray(where, jnp.int32)

    def move(self, where, action):
        return where, 2.0 * where - 1, True

    def q(self, gamma):
        return np.array([[-1.0, -1.0], [1.0, 1.0]])


class Endless(Probe):
    """Reward 1 at every step, cut by the time limit but never terminated: worth 1 / (1 - gamma)."""

    limit = 3

    def move(self, where, action):
        return where, 1.0, False

    def q(self, gamma):
        return np.full((1, 2), 1 / (1 - gamma))

    def q_if_terminated(self, gamma):
        """Return the values where a cut were taken for an end, at every third step."""
        return np.full((1, 2), 1 / (1 - gamma * (self.limit - 1) / self.limit))


class Successor(Probe):
    """An episode cut after one step, in a state that is worth something else than where the next one starts.

    Starts are uniform over 0, 1 and 2. From 0 the walk goes to 1 unpaid, and the time limit cuts it there; 1 pays
    +1 and 2 pays -1, and both terminate. So 0 is worth gamma; with the reset observation taken for the successor
    it is worth gamma times the mean over the starts, which makes it 0, and 0 as well without bootstrapping.
    """

    starts = range(3)
    num_states = 3
    limit = 1

    def move(self, where, action):
        return jnp.where(where == 0, 1, where), jnp.array([0.0, 1.0, -1.0])[where], where > 0

    def q(self, gamma):
        return np.array([[gamma] * 2, [1.0] * 2, [-1.0] * 2])

    def q_if_reset(self, gamma):
        return np.array([[0.0] * 2, [1.0] * 2, [-1.0] * 2])


class Walk(Probe):
    """Counts its steps; action 1 ends the episode, so lengths vary with the policy. Pays `where + 1`."""

    num_states = 8
    limit = 6

    def move(self, where, action):
        return jnp.minimum(where + 1, self.num_states - 1), where + 1.0, action == 1


class Countdown(Probe):
    """Starts at 1 to 6, counts down by 1 (action 0) or 2 (action 1), paid where it stands, and ends at 0."""

    starts = range(1, 7)
    num_states = 7
    limit = 10

    def move(self, where, action):
        after = where - 1 - action
        return jnp.maximum(after, 0), where, after <= 0


class Counter(Probe):
    """Never ends: its observation is the number of steps taken, which tells stored rows apart."""

    num_states = 10_000

    def move(self, where, action):
        return where + 1, 0.0, False


ALL = [OneStep, TwoSteps, Sign, Endless, Successor]
"""The probes of known values."""


class Recall(Probe):
    """The first observation is -1 or +1, all others are 0; the action after `steps` more is paid if it names it."""

    starts = range(2)

    def __init__(self, steps):
        super().__init__(box=True)
        self.steps, self.num_states = steps, 2 * (steps + 1)

    def observe(self, where):
        time, sign = where // 2, 2 * (where % 2) - 1
        return jnp.stack([jnp.where(time == 0, sign, 0), time == self.steps]).astype(jnp.float32)

    def move(self, where, action):
        asked = where // 2 == self.steps
        return where + 2, jnp.where(asked, jnp.where(action == where % 2, 1.0, -1.0), 0.0), asked
