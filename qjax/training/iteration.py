"""One iteration of a lane: `step`, T ticks in N environments written to memory as one block, and then `learn`.

The clock stands outside the lane, so under `jax.vmap` every memory write stays one slice. No condition stands here.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int, Key

from qjax.core import clock as clocks
from qjax.core import sums
from qjax.core.returned import stepping
from qjax.core.sums import Sum
from qjax.exploration.policies import draw
from qjax.training.lane import Lane, count_episodes
from qjax.types import Agent, Clock, Env, Memory, Noise, Policy, State, Time, Transition, keep

_PER_ENV = Time(step=None, episode=None, update=None, env=0)
_SHARED_NOISE = Noise(shared=None, own=0)  # type: ignore[arg-type]


Advance = Callable[..., Lane]
"""`(lane, clock, ...) -> lane`"""


class Parts(NamedTuple):
    """What a loop is made of, checked: the first argument of the functions below."""

    env: Env
    agent: Agent
    policy: Policy
    memory: Memory
    gamma: Any
    num_envs: int
    rollout: int
    updates: int
    sync_every: int
    warmup: int
    episodes: int | None


def _time(parts: Parts, lane: Lane, clock: Clock, begun: Clock, update: Any = 0) -> Time:
    """Return the time at `clock` in the iteration that began at `begun`, after `update` of its updates."""
    learned = jnp.maximum(clocks.as_float(begun) / parts.rollout - parts.warmup, 0) * parts.updates
    return Time(clocks.as_float(clock) * parts.num_envs, lane.episodes, learned + update, envs=parts.num_envs)


def tick(parts: Parts, lane: Lane, key: Key[Array, ""], clock: Clock, begun: Clock) -> tuple[Lane, Transition]:
    """Act once in every environment."""
    envs = parts.num_envs
    keys = jax.random.split(key, 2 + envs)
    act_key, noise_key, env_keys = keys[0], keys[1], keys[2:]
    noise_keys = jax.random.split(noise_key, 1 + envs)
    noise = Noise(noise_keys[0], noise_keys[1:])
    time = _time(parts, lane, clock, begun)._replace(env=jnp.arange(envs))
    q = jax.vmap(parts.agent.values, in_axes=(_SHARED_NOISE, None, 0))(noise, lane.agent, lane.obs)
    probabilities = jax.vmap(parts.policy, in_axes=(0, _PER_ENV))(q, time)
    action = jax.vmap(draw)(jax.random.uniform(act_key, (envs,)), probabilities)
    # Behind the barrier nobody computes the new state again from the old one, which would have to be copied for it.
    after = lax.optimization_barrier(jax.vmap(stepping(parts.env))(env_keys, lane.env, action))
    last = after.terminated | after.truncated
    discount = (parts.gamma * (1 - after.terminated.astype(jnp.float32))).astype(jnp.float32)
    transition = Transition(lane.obs, action, after.reward, discount, after.final_obs, last)
    return count_episodes(lane._replace(env=after.state, obs=after.obs), after.reward, last), transition


def step(parts: Parts, lane: Lane, clock: Clock, key: Key[Array, ""] | None = None) -> Lane:
    """Step the environments; `key` is the iteration's own, which `learn` takes too."""
    keys = jax.random.split(clocks.fold(lane.key, clock) if key is None else key, 1 + parts.rollout)[1:]
    held, lane = lane.memory, lane._replace(memory=None)
    if parts.rollout == 1:
        lane, row = tick(parts, lane, keys[0], clock, clock)
        block = jax.tree.map(lambda x: x[None], row)
    else:
        lane, block = lax.scan(
            lambda lane, x: tick(parts, lane, x[0], clocks.plus(clock, x[1]), clock),
            lane,
            (keys, jnp.arange(parts.rollout)),
        )
    stats = lane.stats._replace(steps=lane.stats.steps + parts.rollout * parts.num_envs)
    return lane._replace(memory=parts.memory.add(held, block, clock), stats=stats)


def update_once(
    parts: Parts, lane: Lane, carry: Any, key: Key[Array, ""], clock: Clock, number: Any, weight: Any = 1
) -> Any:
    """Return the carry (agent's state, memory's state) after one update, and the update's info."""
    state, held = carry
    sample_key, learn_key = jax.random.split(key)
    time = _time(parts, lane, clock, clock, number)
    batch = parts.memory.sample(sample_key, held, clocks.plus(clock, parts.rollout), time)
    batch = batch._replace(weight=batch.weight * weight)
    state, info = parts.agent.learn(learn_key, state, batch, time)
    return (state, parts.memory.update(held, batch.slot, info["priority"])), info


def learn(parts: Parts, lane: Lane, clock: Clock, key: Key[Array, ""] | None = None, weight: Any = 1) -> Lane:
    """Learn, with the iteration's key; `weight` multiplies every transition's."""
    key = jax.random.split(clocks.fold(lane.key, clock) if key is None else key, 1 + parts.rollout)[0]
    carry, logged = (lane.agent, lane.memory), lane.stats.sums

    def add(logged: dict[str, Sum], info: dict[str, Array]) -> dict[str, Sum]:
        return {name: sums.plus(found, info[name].astype(jnp.float32)) for name, found in logged.items()}

    if parts.updates == 1:
        carry, info = update_once(parts, lane, carry, key, clock, 0, weight)
        logged = add(logged, info)
    else:

        def one(carry: Any, x: Any) -> Any:
            (learned, logged), (key, number) = carry, x
            learned, info = update_once(parts, lane, learned, key, clock, number, weight)
            return (learned, add(logged, info)), info

        keys = jax.random.split(key, parts.updates)
        (carry, logged), info = lax.scan(one, (carry, logged), (keys, jnp.arange(parts.updates)))
    old = lane.stats
    unharmed = (old.diverged_at > 0) | _sound(parts, info)
    stats = old._replace(
        updates=old.updates + parts.updates,
        diverged_at=jnp.where(unharmed, old.diverged_at, old.steps),
        sums=logged,
    )
    return lane._replace(agent=carry[0], memory=carry[1], stats=stats)


def _sound(parts: Parts, info: dict[str, Array]) -> Array:
    """Return whether the losses of some updates are numbers, and their priorities, where anything reads them."""
    sound = jnp.isfinite(info.get("loss", 0.0)).all()
    if parts.memory.update is keep:
        return sound
    priority = info["priority"]
    return sound & (jnp.isfinite(priority) & (priority >= 0)).all()


def iterate(parts: Parts, lane: Lane, clock: Clock, key: Key[Array, ""]) -> Lane:
    """Step and learn: with weights of 0 in a lane that has its episodes, where that leaves its agent alone."""
    weight: Any = 1
    if parts.episodes is not None and parts.agent.inert:
        weight = lane.episodes < parts.episodes
    return learn(parts, step(parts, lane, clock, key), clock, key, weight)


def sync(parts: Parts, state: State, ended: Int[Array, ""]) -> State:
    """Let the target follow after `sync_every` iterations in which `ended` episodes ended."""
    steps = parts.sync_every * parts.rollout * parts.num_envs
    return parts.agent.sync(state, Time(steps, ended, parts.sync_every * parts.updates))


def synced(parts: Parts, advance: Advance) -> Advance:
    """Let the target follow after `advance`, which makes `sync_every` iterations."""

    def then_synced(lane: Lane, *when: Any) -> Lane:
        new = advance(lane, *when)
        return new._replace(agent=sync(parts, new.agent, new.episodes - lane.episodes))

    return then_synced


def frozen(parts: Parts, advance: Advance) -> Advance:
    """Leave a lane as it is once it has its episodes."""
    if parts.episodes is None:
        return advance
    episodes = parts.episodes

    def then_frozen(lane: Lane, *when: Any) -> Lane:
        new = advance(lane, *when)
        return _where(lane.episodes < episodes, new, lane, parts.agent.inert)

    return then_frozen


def _where(running: Array, new: Lane, old: Lane, inert: bool) -> Lane:
    """Return the new lane, or the old one where it has its episodes, but for what a select would copy without need.

    That is its memory, which nothing reads any more, and an `inert` agent, that learned with weights of 0.
    """
    kept: dict[str, Any] = {"memory": None, "key": None, **({"agent": None} if inert else {})}
    still = {name: getattr(new, name) for name in kept}
    selected = jax.tree.map(lambda x, y: jnp.where(running, x, y), new._replace(**kept), old._replace(**kept))
    return selected._replace(**still)
