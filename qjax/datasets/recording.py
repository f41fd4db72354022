"""Data sets from the ring of a loop, and from an agent that acts."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qjax.core import clock as clocks
from qjax.core.checks import check_key, check_record, check_size, check_text
from qjax.core.default_rules import usual
from qjax.core.text import shown
from qjax.datasets.dataset import Dataset, check_dataset
from qjax.replay.frames import FrameStore
from qjax.replay.memory import ring
from qjax.replay.packing import Packed
from qjax.replay.prioritized import PrioritizedState
from qjax.replay.sequences import SequencesState
from qjax.training.loop import make_loop
from qjax.types import Agent, Clock, Env, Policy, State, StatefulPolicy, Transition, no_update


@usual
def from_ring(state: State, clock: Clock, num_actions: int, env: str = "") -> Dataset:
    """Return what a ring holds as a data set, oldest rows first; rows that were never written are left out.

    Of several lanes, arrays with one leading axis more, the environments of each are streams, lane by lane. Where
    an episode terminated a ring with `frames` has no successor: the row's own observation stands there.

    Args:
        state: `Lane.memory` of a loop with `ring`, `prioritized`, or `sequences` of these.
        clock: after so many rows; it counts those of each environment.
        num_actions: number of actions of the environment.
        env: its name.

    Raises:
        TypeError: the state is none of a ring.
        ValueError: nothing was written yet, or the discount factor was 0, so that an episode that terminated and
            one that was truncated look alike; and as for `from_arrays`.

    """
    rows = _packed(state)
    check_record("clock", clock, Clock)
    num_actions = check_size("num_actions", num_actions)
    check_text("env", env)
    if clocks.ticks(clock) <= 0:
        raise ValueError(f"the ring holds nothing at clock {clocks.ticks(clock)}")
    read = partial(_read, clock)
    if len(rows.axes) == 2:
        found = read(state)
    else:
        found = jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1), jax.vmap(read)(state))
        found = jax.tree.map(lambda x: x.reshape(len(x), -1, *x.shape[3:]), found)
    data = _as_dataset(jax.tree.map(np.asarray, found), num_actions, env)
    check_dataset(data, "state")
    return data


@usual
def collect(
    env: Env,
    agent: Agent,
    state: State,
    policy: Policy | StatefulPolicy,
    key: Any,
    steps: int,
    num_envs: int = 1,
) -> Dataset:
    """Return the transitions of an agent that acts and does not learn, with the probabilities of its actions.

    It acts as in a loop: networks with noise of their own have it. The same key gives the same transitions. Of a
    policy that remembers no probabilities are kept: what it says of an action may count as decided what it drew for
    itself before, as repetitions of `epsilon_z_greedy` are, and is not the chance that the action had.

    Args:
        env: the environment.
        agent: who acts.
        state: its state.
        policy: what acts on its values.
        key: a typed key.
        steps: environment steps in all; rows are steps / num_envs, at most 2**24.
        num_envs: environments side by side, which are the streams.

    Raises:
        TypeError: `key` is no typed key, or a size no whole number.
        ValueError: `steps` is no multiple of `num_envs`; and as for `make_loop`, and its `init`.

    """
    check_key(key)
    check_record("agent", agent, Agent)
    steps, num_envs = check_size("steps", steps), check_size("num_envs", num_envs)
    if steps % num_envs:
        raise ValueError(f"steps must be a multiple of num_envs, got {steps} steps of {num_envs} environments")
    known = not isinstance(policy, StatefulPolicy)
    actor = agent._replace(
        learn=_nothing, observe=no_update, reads_probability=known, in_order=False, zero_weight_noop=False
    )
    # With a discount factor of 1 a discount says exactly whether an episode terminated.
    loop = make_loop(env, actor, policy, ring(steps, 1), gamma=1.0, num_envs=num_envs)
    rows = steps // num_envs

    @jax.jit
    def record(key: Any, state: State) -> State:
        return loop.run(loop.init(key, agent=state), clocks.at(0), rows, learning=False).memory

    return from_ring(record(key, state), clocks.at(rows), env.num_actions, env.name)


def _nothing(key: Any, state: State, batch: Any, time: Any) -> Any:
    """Learn nothing."""
    return state, {"priority": batch.weight[0]}


def _packed(state: Any) -> Packed:
    """Return the packed rows in the state of a memory that is a ring, or is made of one."""
    if isinstance(state, SequencesState):
        return _packed(state.pieces)
    if isinstance(state, PrioritizedState):
        return _packed(state.store)
    if isinstance(state, FrameStore):
        return _packed(state.rows)
    if not isinstance(state, Packed):
        raise TypeError(f"state must be that of a ring (qjax.ring, prioritized or sequences), got {shown(state)}")
    return state


def _read(clock: Clock, state: Any) -> Any:
    """Return what one lane's ring holds, oldest rows first, leaves `[T, N, ...]`."""
    if isinstance(state, SequencesState):
        pieces = _read(clocks.divided(clock, state.steps), state.pieces).rows  # [pieces, N, rows of one, ...]
        return jax.tree.map(lambda x: jnp.swapaxes(x, 1, 2).reshape(-1, x.shape[1], *x.shape[3:]), pieces)
    store = state.store if isinstance(state, PrioritizedState) else state
    (rows, envs), written = store.axes, clocks.ticks(clock)
    stored = min(written, rows)
    order = (written - stored + np.arange(stored)) % rows
    if isinstance(store, Packed):
        return store.map(lambda x: x[order]).unpacked()
    slots = jnp.asarray((order[:, None] * envs + np.arange(envs)).ravel(), jnp.int32)
    found = store.consecutive(slots, 1, clock)
    found = jax.tree.map(lambda x: x.reshape(stored, envs, *x.shape[2:]), found)
    ended = found.last & (found.discount == 0)
    return found._replace(next_obs=jax.tree.map(partial(_where, ended), found.obs, found.next_obs))


def _as_dataset(rows: Transition, num_actions: int, env: str) -> Dataset:
    """Return a block of transitions `[T, N, ...]` as a data set."""
    none = rows.discount == 0
    if (none & ~rows.last).any():  # an end with discount 0 is taken for what it is in any loop that learns
        raise ValueError(
            "state holds discounts of 0 within episodes, of a discount factor of 0: whether an episode terminated"
            " or was truncated is not known"
        )
    return Dataset(
        obs=rows.obs,
        action=rows.action,
        reward=rows.reward,
        terminated=rows.last & none,
        truncated=rows.last & ~none,
        next_obs=rows.next_obs,
        num_actions=num_actions,
        probability=rows.probability,
        env=env,
    )


def _where(chosen: Any, x: Any, y: Any) -> Any:
    return jnp.where(chosen.reshape(*chosen.shape, *[1] * (x.ndim - chosen.ndim)), x, y)
