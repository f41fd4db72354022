"""Sweeps: their compiled groups at work, as between two looks of the host."""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from benchmarks.contenders.measuring import Measure, chunked
from benchmarks.contenders.tricks import prepare

CHUNK_SECONDS = 1.5
"""About how long one call of a sweep's program takes; sweeps themselves make it two seconds."""


def qjax_dqn(protocol: str = "cleanrl", lanes: int = 64, width: int | None = None, without: str = "") -> Measure:
    """Return a sweep of DQN on CartPole after its warm-up, env-steps/s; `without` one of `TRICKS`."""
    prepare(without)
    from experiments import cartpole

    # Without an end: a lane that has its episodes would stand still, and its steps would count.
    constants = cartpole.preset(protocol, None).replace(episodes=None)
    sync_every = 1 if without == "sync outside the loop" else None
    return _sweep(cartpole.build(constants, sync_every), lanes, width, False, without)


def qjax_lake(lanes: int = 1024, fast: bool = False, width: int | None = None, without: str = "") -> Measure:
    """Return a sweep of tabular Q-learning on the slippery lake, env-steps/s; `without` one of `TRICKS`."""
    prepare(without)
    return _sweep(lake_loop(), lanes, width, fast, without)


def lake_to_its_end(
    lanes: int = 1024, episodes: int = 2000, width: int | None = None, compacts: bool = True
) -> Measure:
    """Return whole sweeps of so many episodes of each lane on the slippery lake, env-steps/s of lanes with work.

    As `python -m experiments.frozenlake --slippery` makes them, without its folder. Lanes leave as they end; unless
    the sweep `compacts`, groups stay as many as they were.
    """
    prepare("")
    import qjax
    from experiments import frozenlake
    from qjax.sweeps import compaction

    if not compacts:
        compaction.SHARE = 0
    loop = frozenlake.build(True, "4x4", "random", episodes)
    asked: dict[str, Any] = {"schedules": {"epsilon": frozenlake.EPSILON}, "log_points": 400, "width": width}

    def measure(seconds: float) -> float:
        steps, took = 0, 0.0
        while not took or took < seconds:
            result = qjax.sweep(lambda _: loop, seeds=lanes, **asked)
            steps, took = steps + result.env_steps, took + result.run_s
        return steps / took

    measure(0.0)
    return measure


def qjax_training(
    algorithm: str,
    env_name: str,
    lanes: int = 16,
    iterations: int = 50,
    wrap: Sequence[str] = (),
    **constants: Any,
) -> Measure:
    """Return a sweep of an algorithm on an environment, both by name, after its warm-up, env-steps/s.

    `iterations` is the least of a call, the other constants are the algorithm's.
    """
    prepare("")
    import qjax
    from qjax.cli.wrapping import wrapped

    config = qjax.algorithms.config(algorithm, **constants)
    loop = qjax.algorithms.make(algorithm, wrapped(qjax.make(env_name), wrap), config)
    return _sweep(loop, lanes, None, False, "", iterations)


def lake_loop() -> Any:
    """Return tabular Q-learning on the slippery lake."""
    import qjax

    env = qjax.make("FrozenLake-v1", is_slippery=True)
    assert env.num_states is not None
    agent = qjax.tabular(env.num_states, env.num_actions, alpha=0.1)
    return qjax.make_loop(env, agent, qjax.epsilon_greedy(0.1), qjax.online(), gamma=0.99)


def _sweep(loop: Any, lanes: int, width: int | None, fast: bool, without: str, iterations: int = 50) -> Measure:
    """Return the compiled groups of a sweep at work, as between two looks of the host."""
    import jax
    import jax.numpy as jnp

    import qjax
    from qjax.machine.devices import default_width

    if without == "the clock outside the lanes":
        run = loop.run

        def inside(lane: Any, clock: Any, *arguments: Any) -> Any:
            late = jnp.where(lane.episodes < 0, 1, 0)  # never, but it differs from lane to lane
            return run(lane, qjax.clock.plus(clock, late), *arguments)

        loop = loop._replace(run=inside)
    if width is None:
        width = default_width(jax.eval_shape(loop.init, jax.random.key(0)), lanes, jax.devices())
    if without == "groups of lanes":
        width = -(-lanes // jax.device_count())
    begun = started(loop, lanes, width, qjax.fast_key(0) if fast else jax.random.key(0), iterations)
    begun.advance(1)
    outer = max(int(CHUNK_SECONDS / begun.advance(1)), 1)

    def call(_: None) -> None:
        begun.advance(outer)

    return chunked(call, None, begun.steps * outer)


class Started(NamedTuple):
    """The compiled groups of a sweep, warmed up."""

    programs: Any
    """Their programs."""
    advance: Callable[[int], float]
    """Runs so many inner loops with learning, and returns the seconds."""
    inner: int
    """Iterations of one of these."""
    steps: int
    """Environment steps of one, of all lanes."""


def started(loop: Any, lanes: int, width: int, root: Any, iterations: int) -> Started:
    """Return a sweep's groups, warmed up: of its inner loops each is of at least so many iterations."""
    import jax

    from qjax.sweeps.groups import Groups
    from qjax.sweeps.placement import Placement
    from qjax.sweeps.programs import Programs

    placement = Placement(np.zeros(lanes, int), np.arange(lanes), width, jax.devices())
    programs = Programs(lambda _: loop, None, root, placement)
    inner = -(-iterations // loop.sync_every) * loop.sync_every
    first = math.gcd(loop.warmup, 50)
    groups = Groups(programs.compile({False: first, True: inner} if loop.warmup else {True: inner}))
    groups.start()
    if loop.warmup:
        groups.run(0, loop.warmup // first, False)
    ticks = loop.warmup * loop.rollout

    def advance(outer: int) -> float:
        nonlocal ticks
        began = time.perf_counter()
        groups.run(ticks, outer, True)
        ticks += outer * inner * loop.rollout
        return time.perf_counter() - began

    return Started(programs, advance, inner, lanes * loop.num_envs * loop.rollout * inner)
