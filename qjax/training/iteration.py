"""One iteration of a lane: `step`, T ticks in N environments written to memory as one block, and then `learn`.

The clock stands outside the lane, so under `jax.vmap` every memory write stays one slice. No condition stands here.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Int, Key

from qjax.core import clock as clocks
from qjax.core import sums
from qjax.core.returned import stepping
from qjax.core.sums import Sum
from qjax.envs.legal import among_legal
from qjax.exploration.policies import draw
from qjax.training.carry import anew, begin, begin_policy, remembers
from qjax.training.lane import Lane, count_episodes
from qjax.types import (
    Agent,
    Clock,
    Env,
    Memory,
    Noise,
    State,
    StatefulPolicy,
    Time,
    Transition,
    no_sync,
    no_update,
)

_PER_ENV = Time(step=None, episode=None, update=None, env=0)
_SHARED_NOISE = Noise(shared=None, per_sample=0)  # type: ignore[arg-type]


SYNC = np.uint32(2**32 - 1)
"""Folded into an iteration's key: for what follows it. No split of that key has so many parts."""

Advance = Callable[..., Lane]
"""`(lane, clock, ...) -> lane`"""


class Setup(NamedTuple):
    """What a loop is made of, checked: the first argument of the functions below."""

    env: Env
    """The environment."""
    agent: Agent
    """What learns."""
    policy: StatefulPolicy
    """What acts, on the agent's values; its state is `()` where it remembers nothing."""
    memory: Memory
    """Where transitions wait."""
    gamma: Any
    """Discount factor."""
    num_envs: int
    """N, environments of the lane."""
    rollout: int
    """T, ticks of each environment per iteration."""
    updates: int
    """Learner updates per iteration."""
    sync_every: int
    """Iterations between two calls of `agent.sync`."""
    warmup: int
    """Iterations before the first update."""
    episodes: int | None
    """Episodes after which a lane no longer changes; None for no limit."""


def _time(setup: Setup, lane: Lane, clock: Clock, begun: Clock, update: Any = 0) -> Time:
    """Return the time at `clock` in the iteration that began at `begun`, after `update` of its updates."""
    learned = jnp.maximum(clocks.as_float(begun) / setup.rollout - setup.warmup, 0) * setup.updates
    return Time(clocks.as_float(clock) * setup.num_envs, lane.episodes, learned + update, envs=setup.num_envs)


class TickKeys(NamedTuple):
    """The keys of a tick; the last four are `[N]`, None where nothing asks for them."""

    act: Key[Array, ""]
    """For drawing the actions."""
    noise: Key[Array, ""]
    """For the networks."""
    env: Key[Array, " N"]
    """The environments'."""
    begin: Any
    """With which the agent's actors begin an episode."""
    policy: Any
    """The policy's."""
    begin_policy: Any
    """With which the policy begins an episode."""


def _tick_keys(setup: Setup, key: Key[Array, ""]) -> TickKeys:
    """Return the keys of a tick."""
    envs, stateful = setup.num_envs, remembers(setup.policy)
    asked = (True, remembers(setup.agent), stateful, stateful)
    keys = jax.random.split(key, 2 + envs * sum(asked))
    starts = [2 + envs * sum(asked[:number]) for number in range(len(asked))]
    act, noise = keys[0], keys[1]
    per_env: list[Any] = [keys[at : at + envs] if asks else None for at, asks in zip(starts, asked, strict=True)]
    return TickKeys(act, noise, *per_env)


def tick(setup: Setup, lane: Lane, key: Key[Array, ""], clock: Clock, begun: Clock) -> tuple[Lane, Transition]:
    """Act once in every environment."""
    envs, agent, policy = setup.num_envs, setup.agent, setup.policy
    keys = _tick_keys(setup, key)
    noise_keys = jax.random.split(keys.noise, 1 + envs)
    noise = Noise(noise_keys[0], noise_keys[1:])
    time = _time(setup, lane, clock, begun)._replace(env=jnp.arange(envs))
    acts = jax.vmap(agent.act, in_axes=(_SHARED_NOISE, None, 0, 0))
    q, carry = acts(noise, lane.agent, lane.carry, lane.obs)
    decides = jax.vmap(among_legal(setup.env, policy), in_axes=(0, 0, 0, 0, _PER_ENV))
    probabilities, remembered = decides(lane.obs, keys.policy, lane.policy, q, time)
    action = jax.vmap(draw)(jax.random.uniform(keys.act, (envs,)), probabilities)
    # Behind the barrier nobody computes the new state again from the old one, which would have to be copied for it.
    after = lax.optimization_barrier(jax.vmap(stepping(setup.env))(keys.env, lane.env, action))
    last = after.terminated | after.truncated
    discount = (setup.gamma * (1 - after.terminated.astype(jnp.float32))).astype(jnp.float32)
    transition = Transition(lane.obs, action, after.reward, discount, after.final_obs, last)
    if agent.reads_probability:
        transition = transition._replace(probability=probabilities[jnp.arange(envs), action])
    if remembers(agent):
        carry = anew(last, begin(agent, keys.begin, lane.agent), carry)
    if remembers(policy):
        remembered = anew(last, begin_policy(policy, keys.begin_policy), remembered)
    lane = lane._replace(env=after.state, obs=after.obs, carry=carry, policy=remembered)
    return count_episodes(lane, after.reward, last), transition


def step(setup: Setup, lane: Lane, clock: Clock, key: Key[Array, ""] | None = None) -> Lane:
    """Step the environments; `key` is the iteration's own, which `learn` takes too."""
    keys = jax.random.split(clocks.fold(lane.key, clock) if key is None else key, 1 + setup.rollout)[1:]
    held, before, lane = lane.memory, lane.carry, lane._replace(memory=None)
    if setup.rollout == 1:
        lane, row = tick(setup, lane, keys[0], clock, clock)
        block = jax.tree.map(lambda x: x[None], row)
    else:
        lane, block = lax.scan(
            lambda lane, x: tick(setup, lane, x[0], clocks.plus(clock, x[1]), clock),
            lane,
            (keys, jnp.arange(setup.rollout)),
        )
    if setup.agent.observe is not no_update:
        lane = lane._replace(agent=setup.agent.observe(lane.agent, block))
    stats = lane.stats._replace(steps=lane.stats.steps + setup.rollout * setup.num_envs)
    return lane._replace(memory=setup.memory.add(held, block, clock, before), stats=stats)


def update_once(
    setup: Setup, lane: Lane, learned: Any, key: Key[Array, ""], clock: Clock, number: Any, weight: Any = 1
) -> Any:
    """Return the states of agent and memory, `learned`, after one update, and the update's info."""
    state, held = learned
    sample_key, learn_key = jax.random.split(key)
    time = _time(setup, lane, clock, clock, number)
    batch = setup.memory.sample(sample_key, held, clocks.plus(clock, setup.rollout), time)
    batch = batch._replace(weight=batch.weight * weight)
    state, info = setup.agent.learn(learn_key, state, batch, time)
    return (state, setup.memory.update(held, batch.slot, info["priority"])), info


def learn(setup: Setup, lane: Lane, clock: Clock, key: Key[Array, ""] | None = None, weight: Any = 1) -> Lane:
    """Learn, with the iteration's key; `weight` multiplies every transition's."""
    key = jax.random.split(clocks.fold(lane.key, clock) if key is None else key, 1 + setup.rollout)[0]
    learned, logged = (lane.agent, lane.memory), lane.stats.sums

    def add(logged: dict[str, Sum], info: dict[str, Array]) -> dict[str, Sum]:
        return {name: sums.plus(found, info[name].astype(jnp.float32)) for name, found in logged.items()}

    if setup.updates == 1:
        learned, info = update_once(setup, lane, learned, key, clock, 0, weight)
        logged = add(logged, info)
    else:

        def one(carry: Any, x: Any) -> Any:
            (learned, logged), (key, number) = carry, x
            learned, info = update_once(setup, lane, learned, key, clock, number, weight)
            return (learned, add(logged, info)), info

        keys = jax.random.split(key, setup.updates)
        (learned, logged), info = lax.scan(one, (learned, logged), (keys, jnp.arange(setup.updates)))
    old = lane.stats
    unharmed = (old.diverged_at > 0) | _sound(setup, info)
    stats = old._replace(
        updates=old.updates + setup.updates,
        diverged_at=jnp.where(unharmed, old.diverged_at, old.steps),
        sums=logged,
    )
    return lane._replace(agent=learned[0], memory=learned[1], stats=stats)


def _sound(setup: Setup, info: dict[str, Array]) -> Array:
    """Return whether the losses of some updates are numbers, and their priorities, where anything reads them."""
    sound = jnp.isfinite(info.get("loss", 0.0)).all()
    if setup.memory.update is no_update:
        return sound
    priority = info["priority"]
    return sound & (jnp.isfinite(priority) & (priority >= 0)).all()


def iterate(setup: Setup, lane: Lane, clock: Clock, key: Key[Array, ""]) -> Lane:
    """Step and learn: with weights of 0 in a lane that has its episodes, where that leaves its agent alone."""
    weight: Any = 1
    if setup.episodes is not None and setup.agent.zero_weight_noop:
        weight = lane.episodes < setup.episodes
    return learn(setup, step(setup, lane, clock, key), clock, key, weight)


def sync(setup: Setup, key: Key[Array, ""], state: State, ended: Int[Array, ""]) -> State:
    """Let the target follow after `sync_every` iterations in which `ended` episodes ended."""
    steps = setup.sync_every * setup.rollout * setup.num_envs
    return setup.agent.sync(key, state, Time(steps, ended, setup.sync_every * setup.updates))


def synced(setup: Setup, advance: Advance) -> Advance:
    """Let the target follow after `advance`, which makes `sync_every` iterations; a key is the first one's."""
    if setup.agent.sync is no_sync:
        return advance

    def then_synced(lane: Lane, clock: Clock, *key: Key[Array, ""]) -> Lane:
        new = advance(lane, clock, *key)
        own = jax.random.fold_in(key[0] if key else clocks.fold(lane.key, clock), SYNC)
        return new._replace(agent=sync(setup, own, new.agent, new.episodes - lane.episodes))

    return then_synced


def frozen(setup: Setup, advance: Advance) -> Advance:
    """Leave a lane as it is once it has its episodes."""
    if setup.episodes is None:
        return advance
    episodes = setup.episodes

    def then_frozen(lane: Lane, *when: Any) -> Lane:
        new = advance(lane, *when)
        return _where(lane.episodes < episodes, new, lane, setup.agent.zero_weight_noop)

    return then_frozen


def _where(running: Array, new: Lane, old: Lane, zero_weight_noop: bool) -> Lane:
    """Return the new lane where it is running, else the old one.

    What a select would copy without need is always the new one's: the memory, which nothing reads any more, the
    best agent, which no iteration changes, and an agent that learned with weights of 0, where these leave it as it
    is (`zero_weight_noop`).
    """
    kept: dict[str, Any] = dict.fromkeys(["memory", "key", "best"] + ["agent"] * zero_weight_noop)
    still = {name: getattr(new, name) for name in kept}
    selected = jax.tree.map(lambda x, y: jnp.where(running, x, y), new._replace(**kept), old._replace(**kept))
    return selected._replace(**still)
