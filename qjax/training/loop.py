"""One lane: the whole training loop of one seed as pure functions.

An iteration is `step` (T ticks in N environments, written to memory as one block) and then `learn` (a fixed
number of updates). No condition stands in the hot loop: warm-up is a scan of `step` alone, and the target follows
between two scans. The clock stands outside the lane, so `jax.vmap(loop.run, in_axes=(0, None, None))` keeps
every memory write one slice.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, Key, UInt32

from qjax.core import clock as clocks
from qjax.core import sums
from qjax.core.annotations import checked
from qjax.core.checks import (
    LARGEST,
    check_callable,
    check_fit,
    check_key,
    check_range,
    check_record,
    check_size,
    check_table,
    concrete,
    describe,
)
from qjax.core.default_rules import makes_usual, usual
from qjax.core.random import unrolled
from qjax.core.sums import Sum
from qjax.exploration.policies import draw
from qjax.training.ahead import ahead
from qjax.types import Agent, Clock, Env, Memory, Noise, Policy, State, Time, Transition, keep

_PER_ENV = Time(step=None, episode=None, update=None, env=0)
_SHARED_NOISE = Noise(shared=None, own=0)  # type: ignore[arg-type]

AHEAD_ITERATIONS, AHEAD_BYTES = 64, 2**16
"""Random numbers are drawn ahead for at most so many iterations, and into at most so much memory of a lane."""

EPISODES_LIMIT = 2**30
"""A lane's count of episodes stops here, for schedules to read; hosts add up `Stats.episodes` in 64 bits."""


class Stats(NamedTuple):
    """What a lane adds up between two calls of `take`, less than 2**31 steps apart."""

    returns: Sum
    """Sum of the undiscounted returns of the episodes that ended, in each environment, `[N]`."""
    lengths: UInt32[Array, " N"]
    """Sum of their lengths in steps."""
    episodes: Int[Array, ""]
    """Their number."""
    steps: Int[Array, ""]
    """Environment steps; a lane whose episodes are done adds none."""
    updates: Int[Array, ""]
    """Learner updates."""
    diverged_at: Int[Array, ""]
    """`steps` when the loss was NaN or infinite for the first time, or a priority that a memory learns from was one
    of these or negative; 0 while neither ever was."""
    sums: dict[str, Sum]
    """Sum over the updates of every scalar that the agent reports (`loss`, `q`, ...)."""


class Lane(NamedTuple):
    """All state of one seed."""

    key: Key[Array, ""]
    """Constant: the randomness of every iteration is folded from it and the clock."""
    agent: State
    env: State
    """`[N, ...]`"""
    obs: Any
    """`[N, ...]`"""
    memory: State
    episodes: Int[Array, ""]
    """Episodes finished since the start, in all N environments together."""
    episode_return: Float[Array, " N"]
    """Return so far of the running episodes."""
    episode_rest: Float[Array, " N"]
    """What its rounding left out (`qjax.sums`)."""
    episode_length: Int[Array, " N"]
    stats: Stats


class Loop(NamedTuple):
    """A training loop for one lane. Sizes are static; hyper-parameters may be traced."""

    init: Callable[[Key[Array, ""]], Lane]
    """`key -> lane`"""
    step: Callable[[Lane, Clock], Lane]
    """`(lane, clock) -> lane`: T ticks in N environments, added to the memory."""
    learn: Callable[[Lane, Clock], Lane]
    """`(lane, clock) -> lane`: the updates of the iteration that began at `clock`, after its `step`."""
    run: Callable[..., Lane]
    """`(lane, clock, iterations, learning=True) -> lane`; `iterations` and `learning` are static."""
    check: Callable[[Lane], None]
    """`lane -> None`, of shapes: raises what only concrete hyper-parameters show when the loop is traced."""
    agent: Agent
    env: Env
    num_envs: int
    rollout: int
    updates: int
    cadence: int
    warmup: int
    """Iterations of `step` alone that the driver runs first, `learning=False`."""
    episodes: int | None


@makes_usual
def make_loop(
    env: Env,
    agent: Agent,
    policy: Policy,
    memory: Memory,
    *,
    gamma: Any,
    num_envs: int = 1,
    rollout: int = 1,
    updates: int = 1,
    replay_ratio: float | None = None,
    cadence: int = 1,
    warmup: int = 0,
    episodes: int | None = None,
) -> Loop:
    """Return the loop of one lane.

    Args:
        env: the environment, from `qjax.make`.
        agent: what learns.
        policy: what acts, on the agent's values.
        memory: where transitions wait.
        gamma: discount factor in [0, 1].
        num_envs: N, environments of the lane.
        rollout: T, ticks of each environment per iteration.
        updates: learner updates per iteration.
        replay_ratio: in place of `updates`, learner updates per environment step.
        cadence: iterations between two calls of `agent.sync`.
        warmup: iterations before the first update.
        episodes: number of episodes after which the lane no longer changes (except for its memory, which nothing
            reads any more); None for no limit.

    Raises:
        TypeError: a size is traced or no whole number; (in `init`) `key` is a legacy uint32 key.
        ValueError: a size is not positive, gamma lies outside [0, 1], the replay ratio does not make a whole number
            of updates per iteration, `updates` is given beside it, a table has not the states and actions of the
            environment, or the agent learns from single steps and the memory's are of several, or replayed; (in
            `init`) the agent's values are not one number per action, or a schedule is made for another number of
            environments.

    """
    check_range("gamma", gamma, 0, 1)
    check_record("env", env, Env)
    check_record("agent", agent, Agent)
    check_record("memory", memory, Memory)
    check_callable("policy", policy, "(q, time) -> probabilities")
    check_table("an agent", agent.table, env)
    check_table("a memory", memory.table, env)
    check_fit(agent, memory)
    num_envs, rollout = check_size("num_envs", num_envs), check_size("rollout", rollout)
    updates = check_size(
        "updates", updates if replay_ratio is None else _updates(replay_ratio, updates, rollout, num_envs)
    )
    cadence, warmup = check_size("cadence", cadence), check_size("warmup", warmup, least=0)
    if episodes is not None:
        episodes = check_size("episodes", episodes, most=EPISODES_LIMIT)
    for what, count in (("steps", num_envs * rollout), ("updates", updates)):
        if cadence * count > LARGEST:
            raise ValueError(f"{cadence} iterations (cadence) of {count} {what} make {cadence * count}: too many")

    parts = _Parts(env, agent, policy, memory, gamma, num_envs, rollout, updates, cadence, warmup, episodes)
    return Loop(
        init=partial(_init, parts),
        step=partial(_step, parts),
        learn=partial(_learn, parts),
        run=partial(_run, parts),
        check=partial(_check, parts),
        agent=agent,
        env=env,
        num_envs=num_envs,
        rollout=rollout,
        updates=updates,
        cadence=cadence,
        warmup=warmup,
        episodes=episodes,
    )


@usual
@checked
def take(lane: Lane) -> tuple[Lane, dict[str, Array]]:
    """Return the lane with its sums set to zero, and what they were.

    Sums rather than means, so that a host may add intervals up: `returns / episodes` is the mean return of the
    episodes that ended, `loss / updates` the mean loss. `total_episodes` counts from the start.
    Where the agent's state holds a NaN or an infinity by now, `diverged_at` is at most the steps so far; minus
    infinity alone is how a table masks an action, and a value that falls without end shows in the loss before.
    """
    stats = lane.stats
    floats = [x for x in jax.tree.leaves(lane.agent) if jnp.issubdtype(x.dtype, jnp.floating)]
    sound = jnp.all(jnp.array([(x < jnp.inf).all() for x in floats]))
    diverged_at = jnp.where((stats.diverged_at > 0) | sound, stats.diverged_at, stats.steps)
    report = {**stats._asdict(), "total_episodes": lane.episodes, "diverged_at": diverged_at}
    del report["sums"]
    report |= {"returns": sums.together(stats.returns), "lengths": stats.lengths.sum(dtype=jnp.uint32)}
    report |= {name: found.total for name, found in stats.sums.items()}
    return lane._replace(stats=jax.tree.map(jnp.zeros_like, stats)), report


def _updates(replay_ratio: float, updates: int, rollout: int, num_envs: int) -> int:
    """Return the updates of an iteration by their number per environment step."""
    if not concrete(replay_ratio):
        raise TypeError("replay_ratio is static: it shapes the compiled program and cannot be swept")
    steps = rollout * num_envs
    check_range("replay_ratio", replay_ratio, 0, 2**31, open_low=True)
    if updates != 1:
        raise ValueError(f"give updates or replay_ratio, got {updates} updates and a ratio of {replay_ratio}")
    if abs(replay_ratio * steps - round(replay_ratio * steps)) > 1e-6 or round(replay_ratio * steps) < 1:
        raise ValueError(
            f"a replay ratio of {replay_ratio} makes {replay_ratio * steps:g} updates of an iteration's {rollout} x"
            f" {num_envs} = {steps} environment steps; it must be a whole number of at least 1"
        )
    return round(replay_ratio * steps)


class _Parts(NamedTuple):
    """What a loop is made of, checked: the first argument of the functions below."""

    env: Env
    agent: Agent
    policy: Policy
    memory: Memory
    gamma: Any
    num_envs: int
    rollout: int
    updates: int
    cadence: int
    warmup: int
    episodes: int | None


def _init(parts: _Parts, key: Any) -> Lane:
    check_key(key)
    lane_key, env_key, agent_key = jax.random.split(key, 3)
    obs, env_state = jax.vmap(parts.env.reset)(jax.random.split(env_key, parts.num_envs))
    state = parts.agent.init(agent_key, obs)
    _check_values(parts, state, obs)
    none, (unpaid, rest) = jnp.int32(0), sums.zero(parts.num_envs)
    lane = Lane(
        lane_key,
        state,
        env_state,
        obs,
        memory=None,
        episodes=none,
        episode_return=unpaid,
        episode_rest=rest,
        episode_length=jnp.zeros(parts.num_envs, jnp.int32),
        stats=Stats(sums.zero(parts.num_envs), jnp.zeros(parts.num_envs, jnp.uint32), none, none, none, none, {}),
    )
    start = clocks.at(0)
    _, row = jax.eval_shape(partial(_tick, parts), lane, key, start, start)
    block = jax.tree.map(lambda x: jax.ShapeDtypeStruct((parts.rollout, *x.shape), x.dtype), row)
    held = parts.memory.init(block)
    _, info = jax.eval_shape(partial(_update, parts), lane, (state, held), key, start, none)
    logged = {name: sums.zero() for name, value in info.items() if value.shape == ()}
    return lane._replace(memory=held, stats=lane.stats._replace(sums=logged))


def _time(parts: _Parts, lane: Lane, clock: Clock, begun: Clock, update: Any = 0) -> Time:
    """Return the time at `clock` in the iteration that began at `begun`, after `update` of its updates."""
    learned = jnp.maximum(clocks.as_float(begun) / parts.rollout - parts.warmup, 0) * parts.updates
    return Time(clocks.as_float(clock) * parts.num_envs, lane.episodes, learned + update, envs=parts.num_envs)


def _tick(parts: _Parts, lane: Lane, key: Key[Array, ""], clock: Clock, begun: Clock) -> tuple[Lane, Transition]:
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
    step = lax.optimization_barrier(jax.vmap(parts.env.step)(env_keys, lane.env, action))
    last = step.terminated | step.truncated
    discount = (parts.gamma * (1 - step.terminated.astype(jnp.float32))).astype(jnp.float32)
    transition = Transition(lane.obs, action, step.reward, discount, step.final_obs, last)
    return _count_episodes(lane._replace(env=step.state, obs=step.obs), step.reward, last), transition


def _step(parts: _Parts, lane: Lane, clock: Clock, key: Key[Array, ""] | None = None) -> Lane:
    """Step the environments; `key` is the iteration's own, which `_learn` takes too."""
    keys = jax.random.split(clocks.fold(lane.key, clock) if key is None else key, 1 + parts.rollout)[1:]
    held, lane = lane.memory, lane._replace(memory=None)
    if parts.rollout == 1:
        lane, row = _tick(parts, lane, keys[0], clock, clock)
        block = jax.tree.map(lambda x: x[None], row)
    else:
        lane, block = lax.scan(
            lambda lane, x: _tick(parts, lane, x[0], clocks.plus(clock, x[1]), clock),
            lane,
            (keys, jnp.arange(parts.rollout)),
        )
    stats = lane.stats._replace(steps=lane.stats.steps + parts.rollout * parts.num_envs)
    return lane._replace(memory=parts.memory.add(held, block, clock), stats=stats)


def _update(
    parts: _Parts, lane: Lane, carry: Any, key: Key[Array, ""], clock: Clock, number: Any, weight: Any = 1
) -> Any:
    """Return the carry (agent's state, memory's state) after one update, and the update's info."""
    state, held = carry
    sample_key, learn_key = jax.random.split(key)
    time = _time(parts, lane, clock, clock, number)
    batch = parts.memory.sample(sample_key, held, clocks.plus(clock, parts.rollout), time)
    batch = batch._replace(weight=batch.weight * weight)
    state, info = parts.agent.learn(learn_key, state, batch, time)
    return (state, parts.memory.update(held, batch.slot, info["priority"])), info


def _learn(parts: _Parts, lane: Lane, clock: Clock, key: Key[Array, ""] | None = None, weight: Any = 1) -> Lane:
    """Learn, with the iteration's key; `weight` multiplies every transition's."""
    key = jax.random.split(clocks.fold(lane.key, clock) if key is None else key, 1 + parts.rollout)[0]
    carry, logged = (lane.agent, lane.memory), lane.stats.sums

    def add(logged: dict[str, Sum], info: dict[str, Array]) -> dict[str, Sum]:
        return {name: sums.plus(found, info[name].astype(jnp.float32)) for name, found in logged.items()}

    if parts.updates == 1:
        carry, info = _update(parts, lane, carry, key, clock, 0, weight)
        logged = add(logged, info)
    else:

        def update(carry: Any, x: Any) -> Any:
            (learned, logged), (key, number) = carry, x
            learned, info = _update(parts, lane, learned, key, clock, number, weight)
            return (learned, add(logged, info)), info

        keys = jax.random.split(key, parts.updates)
        (carry, logged), info = lax.scan(update, (carry, logged), (keys, jnp.arange(parts.updates)))
    old = lane.stats
    unharmed = (old.diverged_at > 0) | _sound(parts, info)
    stats = old._replace(
        updates=old.updates + parts.updates,
        diverged_at=jnp.where(unharmed, old.diverged_at, old.steps),
        sums=logged,
    )
    return lane._replace(agent=carry[0], memory=carry[1], stats=stats)


def _sound(parts: _Parts, info: dict[str, Array]) -> Array:
    """Return whether the losses of some updates are numbers, and their priorities, where anything reads them."""
    sound = jnp.isfinite(info.get("loss", 0.0)).all()
    if parts.memory.update is keep:
        return sound
    priority = info["priority"]
    return sound & (jnp.isfinite(priority) & (priority >= 0)).all()


def _sync(parts: _Parts, state: State, ended: Int[Array, ""]) -> State:
    """Let the target follow after `cadence` iterations in which `ended` episodes ended."""
    steps = parts.cadence * parts.rollout * parts.num_envs
    return parts.agent.sync(state, Time(steps, ended, parts.cadence * parts.updates))


def _check(parts: _Parts, lane: Lane) -> None:
    jax.eval_shape(partial(_sync, parts), lane.agent, jnp.int32(0))


def _run(parts: _Parts, lane: Lane, clock: Clock, iterations: int, learning: bool = True) -> Lane:
    check_size("iterations", iterations)
    steps, cadence, episodes = iterations * parts.rollout * parts.num_envs, parts.cadence, parts.episodes
    for name, number in (("steps", steps), ("updates", iterations * parts.updates)):
        if number >= 2**31:
            raise ValueError(f"{iterations} iterations make {number} {name}, not below 2**31")
    if learning and iterations % cadence:
        raise ValueError(f"{iterations} iterations are not a multiple of the sync cadence {cadence}")

    def iterate(early: tuple[Any, Clock], lane: Lane) -> Lane:
        key, now = early
        new = _step(parts, lane, now, key)
        if learning:
            weight = 1 if episodes is None or not parts.agent.inert else lane.episodes < episodes
            new = _learn(parts, new, now, key, weight)
        if learning and cadence == 1:
            new = _synced(parts, new, lane)
        return _keep_finished(parts, new, lane)

    key = _inner_key(lane)
    cut = ahead(iterate, (key, clock), lane)
    among = cadence if learning and cadence > 1 else iterations
    size = _turn(among, jax.eval_shape(cut.draw, (key, clock)))

    def turn(number: Int[Array, ""], lane: Lane, begun: Clock) -> Lane:
        begun = clocks.plus(begun, number * size * parts.rollout)
        ticks = jnp.arange(size) * parts.rollout
        keys = clocks.folds(key, begun, ticks)
        numbers = jax.vmap(lambda key, tick: cut.draw((key, clocks.plus(begun, tick))))(keys, ticks)

        def one(lane: Lane, x: Any) -> tuple[Lane, None]:
            drawn, key, tick = x
            return cut.use(drawn, (key, clocks.plus(begun, tick)), lane), None

        return lax.scan(one, lane, (numbers, keys, ticks))[0]

    def block(number: Int[Array, ""], lane: Lane) -> Lane:
        """Run `among` iterations, and sync after them where that is the cadence."""
        begun = clocks.plus(clock, number * among * parts.rollout)
        if among == size:
            new = turn(jnp.int32(0), lane, begun)
        else:
            new = lax.fori_loop(0, among // size, lambda i, lane: turn(i, lane, begun), lane)
        if learning and cadence > 1:
            new = _keep_finished(parts, _synced(parts, new, lane), lane)
        return new

    if among == iterations:
        return block(jnp.int32(0), lane)
    return lax.fori_loop(0, iterations // among, block, lane)


def _inner_key(lane: Lane) -> Key[Array, ""]:
    """Return the lane's key, unrolled, or as it is where another stands in the lane's state: kinds do not mix."""
    others = [x for name, x in lane._asdict().items() if name != "key"]
    keeps = any(jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key) for x in jax.tree.leaves(others))
    return lane.key if keeps else unrolled(lane.key)


def _turn(iterations: int, numbers: list[Any]) -> int:
    """Return for how many iterations at once, a divisor of all, `numbers` are drawn ahead."""
    each = sum(math.prod(x.shape) * x.dtype.itemsize for x in numbers)
    most = min(AHEAD_ITERATIONS, max(AHEAD_BYTES // max(each, 1), 1))
    return max(n for n in range(1, min(most, iterations) + 1) if iterations % n == 0)


def _synced(parts: _Parts, new: Lane, old: Lane) -> Lane:
    return new._replace(agent=_sync(parts, new.agent, new.episodes - old.episodes))


def _count_episodes(lane: Lane, reward: Float[Array, " N"], last: Array) -> Lane:
    """Add one tick's rewards to the running episodes, and the ended ones to the sums."""
    returns = sums.plus(Sum(lane.episode_return, lane.episode_rest), reward)
    lengths = lane.episode_length + 1
    ended = last.sum().astype(jnp.int32)
    stats = lane.stats._replace(
        returns=sums.plus(lane.stats.returns, jnp.where(last, returns.total, 0)),
        lengths=lane.stats.lengths + jnp.where(last, lengths, 0).astype(jnp.uint32),
        episodes=lane.stats.episodes + ended,
    )
    return lane._replace(
        episodes=jnp.minimum(lane.episodes + ended, EPISODES_LIMIT),
        episode_return=jnp.where(last, 0, returns.total),
        episode_rest=jnp.where(last, 0, returns.rest),
        episode_length=jnp.where(last, 0, lengths),
        stats=stats,
    )


def _keep_finished(parts: _Parts, new: Lane, old: Lane) -> Lane:
    """Return the old lane once it has its episodes, but for what a select would copy without need.

    That is its memory, which nothing reads any more, and an agent that learned with weights of 0.
    """
    if parts.episodes is None:
        return new
    running = old.episodes < parts.episodes
    kept: dict[str, Any] = {"memory": None, "key": None, **({"agent": None} if parts.agent.inert else {})}
    still = {name: getattr(new, name) for name in kept}
    selected = jax.tree.map(lambda x, y: jnp.where(running, x, y), new._replace(**kept), old._replace(**kept))
    return selected._replace(**still)


def _check_values(parts: _Parts, state: State, obs: Any) -> None:
    """Check that the agent gives a value, and the policy a probability, for every action."""
    actions = parts.env.num_actions
    one = jax.tree.map(lambda x: x[0], obs)
    q = jax.eval_shape(lambda: parts.agent.values(None, state, one))
    if getattr(q, "shape", None) != (actions,):
        raise ValueError(
            f"the agent gives values {describe(q)} for one observation; {parts.env.name} has {actions} actions"
        )
    time = Time(jnp.float32(0), jnp.int32(0), jnp.float32(0), jnp.int32(0), parts.num_envs)
    probabilities = jax.eval_shape(lambda q: parts.policy(q, time), q)  # the number of environments stays static
    if getattr(probabilities, "shape", None) != (actions,):
        raise ValueError(
            f"the policy gives probabilities {describe(probabilities)}; {parts.env.name} has {actions} actions"
        )
