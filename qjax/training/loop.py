"""One lane: the whole training loop of one seed as pure functions.

An iteration is `step` and then `learn`. No condition stands in the hot loop: warm-up is a scan of `step` alone, and
the target follows between two scans. The clock stands outside the lane, so `jax.vmap(loop.run, in_axes=(0, None,
None))` keeps every memory write one slice.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Key

from qjax.core import clock as clocks
from qjax.core.checks import (
    LARGEST,
    check_fit,
    check_range,
    check_record,
    check_size,
    check_table,
    concrete,
)
from qjax.core.default_rules import makes_usual
from qjax.core.random import unrolled
from qjax.envs.legal import check_legal
from qjax.exploration.policies import as_stateful
from qjax.training.ahead import repeated
from qjax.training.iteration import Advance, Setup, frozen, iterate, learn, step, sync, synced
from qjax.training.lane import EPISODES_LIMIT, Lane
from qjax.training.start import init
from qjax.types import Agent, Clock, Env, Memory, Policy, StatefulPolicy


class Loop(NamedTuple):
    """A training loop for one lane. Sizes are static; hyper-parameters may be traced."""

    init: Callable[..., Lane]
    """`(key, agent=None) -> lane`: the lane before its first step, of a typed key; where an agent's state or
    its parameters alone are given, it begins with them."""
    step: Callable[[Lane, Clock], Lane]
    """`(lane, clock) -> lane`: T ticks in N environments, added to the memory."""
    learn: Callable[[Lane, Clock], Lane]
    """`(lane, clock) -> lane`: the updates of the iteration that began at `clock`, after its `step`."""
    run: Callable[..., Lane]
    """`(lane, clock, iterations, learning=True) -> lane`; `iterations` and `learning` are static. Called by itself
    it compiles as one program; where it is traced it is a part of that program."""
    check: Callable[[Lane], None]
    """`lane -> None`, of shapes: raises what only concrete hyper-parameters show when the loop is traced."""
    agent: Agent
    """The agent."""
    env: Env
    """The environment."""
    memory: Memory
    """Where transitions wait."""
    num_envs: int
    """N, environments of the lane."""
    rollout: int
    """T, ticks of each environment per iteration."""
    updates: int
    """Learner updates per iteration."""
    sync_every: int
    """Iterations between two calls of `agent.sync`."""
    warmup: int
    """Iterations of `step` alone that the driver runs first, `learning=False`."""
    episodes: int | None
    """Episodes after which a lane no longer changes; None for no limit."""


@makes_usual
def make_loop(
    env: Env,
    agent: Agent,
    policy: Policy | StatefulPolicy,
    memory: Memory,
    *,
    gamma: Any,
    num_envs: int = 1,
    rollout: int = 1,
    updates: int = 1,
    replay_ratio: float | None = None,
    sync_every: int = 1,
    warmup: int = 0,
    episodes: int | None = None,
) -> Loop:
    """Return the loop of one lane.

    Args:
        env: the environment, from `qjax.make`.
        agent: what learns.
        policy: what acts, on the agent's values; it may remember something within an episode.
        memory: where transitions wait.
        gamma: discount factor in [0, 1].
        num_envs: N, environments of the lane.
        rollout: T, ticks of each environment per iteration.
        updates: learner updates per iteration.
        replay_ratio: in place of `updates`, learner updates per environment step.
        sync_every: iterations between two calls of `agent.sync`.
        warmup: iterations before the first update.
        episodes: number of episodes after which the lane no longer changes (except for its memory, which nothing
            reads any more); None for no limit.

    Raises:
        TypeError: a size is traced or no whole number; (in `init`) `key` is a legacy uint32 key.
        ValueError: a size is not positive, gamma lies outside [0, 1], the replay ratio does not make a whole number
            of updates per iteration, `updates` is given beside it, a table has not the states and actions of the
            environment, a memory stores frames for another time limit than the environment's, or the agent learns
            from single steps and the memory's are of several, or replayed; (in `init`) the environment gives other
            shapes than it says, the agent's values are not one number per action, or a schedule is made for another
            number of environments.

    """
    check_range("gamma", gamma, 0, 1)
    decides = as_stateful("policy", policy)
    _check_pieces(env, agent, memory)
    num_envs, rollout = check_size("num_envs", num_envs), check_size("rollout", rollout)
    updates = check_size(
        "updates", updates if replay_ratio is None else _updates(replay_ratio, updates, rollout, num_envs)
    )
    sync_every, warmup = check_size("sync_every", sync_every), check_size("warmup", warmup, least=0)
    if episodes is not None:
        episodes = check_size("episodes", episodes, most=EPISODES_LIMIT)
    for what, count in (("steps", num_envs * rollout), ("updates", updates)):
        if sync_every * count > LARGEST:
            raise ValueError(
                f"{sync_every} iterations (sync_every) of {count} {what} make {sync_every * count}: too many"
            )

    setup = Setup(env, agent, decides, memory, gamma, num_envs, rollout, updates, sync_every, warmup, episodes)
    return Loop(
        init=partial(init, setup),
        step=partial(step, setup),
        learn=partial(learn, setup),
        run=_compiled(setup),
        check=partial(_check, setup),
        agent=agent,
        env=env,
        memory=memory,
        num_envs=num_envs,
        rollout=rollout,
        updates=updates,
        sync_every=sync_every,
        warmup=warmup,
        episodes=episodes,
    )


def _check_pieces(env: Env, agent: Agent, memory: Memory) -> None:
    """Check that the pieces of a loop are of the right kind, and fit one another."""
    check_record("env", env, Env)
    check_record("agent", agent, Agent)
    check_record("memory", memory, Memory)
    check_table("an agent", agent.table, env)
    check_table("a memory", memory.table, env)
    check_fit(agent, memory)
    check_legal(env)
    memory.check(env)
    _check_frames(env, memory)
    if env.legal is not None and not agent.masks:
        raise ValueError(
            f"{env.name} has illegal actions, which the agent's targets would count: give it"
            " qjax.masked(network, env.legal), or a table with minus infinity there (qjax.legal_table)"
        )


def _check_frames(env: Env, memory: Memory) -> None:
    """Check that a memory that stores each observation once knows when the environment cuts its episodes."""
    if memory.frames is None:
        return
    if not concrete(env.max_steps):
        raise ValueError(f"the time limit of {env.name} is traced, and a memory's frames need a number")
    if memory.frames.max_steps != env.max_steps:
        raise ValueError(
            f"the memory's frames are of episodes that are cut after {memory.frames.max_steps} steps, those of"
            f" {env.name} are after {env.max_steps}: give it qjax.Frames(env.max_steps)"
        )


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


def _check(setup: Setup, lane: Lane) -> None:
    jax.eval_shape(partial(sync, setup), lane.key, lane.agent, jnp.int32(0))


def _compiled(setup: Setup) -> Callable[..., Lane]:
    """Return `run`, compiled as one program where nobody else compiles it, which takes a third of the time."""
    whole = jax.jit(partial(_run, setup), static_argnames=("iterations", "learning"), inline=True)

    def run(lane: Lane, clock: Clock, iterations: int, learning: bool = True) -> Lane:
        _check_iterations(setup, iterations, learning)
        return whole(lane, clock, iterations=int(iterations), learning=bool(learning))

    return run


def _run(setup: Setup, lane: Lane, clock: Clock, iterations: int, learning: bool = True) -> Lane:
    """Run a number of iterations; the target follows in each of them, or between scans of `sync_every` of them."""
    sync_every, key = setup.sync_every if learning else 1, _inner_key(lane)
    once: Advance = partial(iterate if learning else step, setup)
    if sync_every == 1:
        once = frozen(setup, synced(setup, once) if learning else once)
        return repeated(once, key, setup.rollout, iterations, lane)(lane, clock)

    inner = repeated(frozen(setup, once), key, setup.rollout, sync_every, lane)
    block = frozen(setup, synced(setup, inner))
    if iterations == sync_every:
        return block(lane, clock)
    return lax.fori_loop(
        0,
        iterations // sync_every,
        lambda number, lane: block(lane, clocks.plus(clock, number * sync_every * setup.rollout)),
        lane,
    )


def _check_iterations(setup: Setup, iterations: int, learning: bool) -> None:
    check_size("iterations", iterations)
    steps = iterations * setup.rollout * setup.num_envs
    for name, number in (("steps", steps), ("updates", iterations * setup.updates)):
        if number >= 2**31:
            raise ValueError(f"{iterations} iterations make {number} {name}, not below 2**31")
    if learning and iterations % setup.sync_every:
        raise ValueError(f"{iterations} iterations are not a multiple of sync_every, {setup.sync_every}")


def _inner_key(lane: Lane) -> Key[Array, ""]:
    """Return the lane's key as one whose threefry is unrolled.

    Where another key stands in the lane's state it is returned as it is, for kinds of keys do not mix.
    """
    others = [x for name, x in lane._asdict().items() if name != "key"]
    keeps = any(jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key) for x in jax.tree.leaves(others))
    return lane.key if keeps else unrolled(lane.key)
