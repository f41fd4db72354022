"""Sweeps: many lanes (settings x seeds) in groups of one fixed width, on every device.

A group is `width` vmapped lanes on each device of a one-axis mesh, held in buffers of its own and donated to
every call, so nothing is copied and any number of lanes runs the same compiled program: the last group is padded.
The host calls the program once per group and log interval.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from qjax import clock as clocks
from qjax.checks import check_size
from qjax.evaluate import EVALUATION
from qjax.loop import Lane, Loop, take
from qjax.types import Schedule, Time

Build = Callable[[Any], Loop]
"""`hyper -> loop`: the researcher's own function; `hyper` is one setting, or None."""

MIN_WIDTH, MAX_WIDTH = 8, 256
CACHE_BYTES = 2**20
"""What a group's agents may take of a core's cache, beside their activations."""


class Point(NamedTuple):
    """What a sweep knows at a log point; every array is `[lanes]`."""

    env_steps: np.ndarray
    """Environment steps of each lane since the start, int64."""
    episodes: np.ndarray
    """Episodes finished since the start, int64."""
    mean_return: np.ndarray
    """Mean return of the episodes that ended in the interval; NaN where none did."""
    means: dict[str, np.ndarray]
    """Mean over the interval's updates of every scalar the agent reports (`loss`, `q`); NaN without updates."""
    values: dict[str, np.ndarray]
    """The logged schedules."""
    changed: np.ndarray
    """Whether the lane stepped in the interval, bool."""
    updates: int
    """Learner updates of all lanes in the interval, padding left out."""
    done: float
    """Share of the work done, in [0, 1]."""
    seconds: float
    """Run time since the start, compilation left out."""


class Result(NamedTuple):
    """What a sweep returns. Lanes are ordered by setting, then by seed."""

    agents: Any
    """The agents' last states, NumPy arrays `[lanes, ...]`."""
    points: list[Point]
    seeds: np.ndarray
    """`[lanes]`"""
    settings: np.ndarray
    """Index of each lane's setting in `hypers`, `[lanes]`."""
    width: int
    """Lanes per device in a group."""
    env_steps: int
    """Of all lanes together; only steps of lanes that still had work."""
    compile_s: float
    run_s: float


def use_cores(count: int | None = None) -> None:
    """Make JAX show one CPU device per core (or `count`), for sweeps to shard their lanes over.

    Call it once, before JAX starts: before the first array is made and before gymnax is imported.

    Raises:
        RuntimeError: JAX has already started with another number of CPU devices.

    """
    affinity = getattr(os, "sched_getaffinity", None)
    cores = (len(affinity(0)) if affinity else os.cpu_count() or 1) if count is None else count
    check_size("count", cores)
    try:
        jax.config.update("jax_num_cpu_devices", cores)
    except RuntimeError:
        found = len(jax.devices("cpu"))
        if found != cores:
            raise RuntimeError(
                f"JAX has already started with {found} CPU device(s), too late for {cores}:"
                " call qjax.use_cores() before anything makes an array"
            ) from None


def sweep(
    build: Build,
    *,
    seeds: int | Sequence[int],
    hypers: Any = None,
    seed: int = 0,
    steps: int | None = None,
    log_points: int = 100,
    width: int | None = None,
    devices: Sequence[Any] | None = None,
    schedules: Mapping[str, Schedule] | None = None,
    on_log: Callable[[Point], None] | None = None,
) -> Result:
    """Train every setting with every seed, in one compiled program per phase.

    Lane i of a setting starts from `fold_in(key(seed), i)`, so every setting sees the same seeds. With the same
    width a lane's result is the same bit for bit, whichever lanes run beside it.

    Args:
        build: returns the loop for one setting; it is traced, and called with each setting's concrete values
            before, so that the factories check them.
        seeds: how many (0, 1, ...), or which.
        hypers: a pytree of arrays with one leading axis of settings; None for a single setting.
        seed: root of all randomness.
        steps: environment steps per lane, rounded up to whole iterations (and sync cadences); may be left out
            where the loop has a number of episodes, and then bounds nothing.
        log_points: how many intervals `steps` is cut into; where steps are left out, the interval is
            `episodes * max_steps / log_points` and the run ends with its slowest lane.
        width: lanes per device in a group; default by the size of an agent's state (`default_width`).
        devices: default all local ones.
        schedules: named schedules to log, "epsilon" for instance.
        on_log: called with every `Point`.

    Raises:
        ValueError: no seeds or one twice, hypers of different lengths, a value that a factory refuses, or
            steps that end before warm-up does.

    """
    numbers = _check_seeds(seeds)
    if not 0 <= check_size("seed", seed, least=0) < 2**32:
        raise ValueError(f"seed must be below 2**32, got {seed}")
    hypers, num_settings = _check_settings(build, hypers)
    loop = build(None if hypers is None else jax.tree.map(lambda x: x[0], hypers))
    plan = _segments(loop, steps, log_points)
    began = time.perf_counter()
    groups = _Groups(build, hypers, numbers, num_settings, seed, width, devices)
    compile_s = time.perf_counter() - began

    tally = _Tally(loop, len(numbers) * num_settings, steps, schedules or {})
    run_s, tick, points = 0.0, 0, []
    for iterations, learning, log in plan:
        compile_s += groups.compile(iterations, learning)
        began = time.perf_counter()
        groups.run(clocks.at(tick), iterations, learning)
        tick += iterations * loop.rollout
        report = groups.take() if log else None
        run_s += time.perf_counter() - began
        if report is not None:
            points.append(tally.point(report, run_s))
            if on_log is not None:
                on_log(points[-1])
            if points[-1].done >= 1:
                break
    return Result(
        agents=groups.agents(),
        points=points,
        seeds=np.tile(numbers, num_settings),
        settings=np.repeat(np.arange(num_settings), len(numbers)),
        width=groups.width,
        env_steps=int(tally.env_steps.sum()),
        compile_s=compile_s,
        run_s=run_s,
    )


def default_width(lane: Lane) -> int:
    """Return how many lanes a group should hold on each device, from a lane's shapes.

    The power of two whose agents take up to `CACHE_BYTES`, between `MIN_WIDTH` and `MAX_WIDTH`: few networks, many
    small tables. It depends on the program alone and not on the number of lanes, so neither do a lane's bits.
    """
    small = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(lane.agent))
    fitting = max(CACHE_BYTES // max(small, 1), 1)
    return int(np.clip(2 ** int(np.log2(fitting)), MIN_WIDTH, MAX_WIDTH))


def _check_seeds(seeds: int | Sequence[int]) -> np.ndarray:
    """Return the numbers of the seeds, `[S]`."""
    if isinstance(seeds, int | np.integer | float):
        return np.arange(check_size("seeds", seeds))
    numbers = np.array([check_size("a seed", s, least=0) for s in seeds], np.int64)
    if (numbers >= EVALUATION).any():
        raise ValueError(f"seeds must be below {EVALUATION}, got {numbers[numbers >= EVALUATION].tolist()}")
    if not len(numbers):
        raise ValueError("a sweep needs at least one seed, got none")
    twice = sorted({s for s in numbers.tolist() if (numbers == s).sum() > 1})
    if twice:
        raise ValueError(f"seeds listed more than once: {twice}")
    return numbers


def _check_settings(build: Build, hypers: Any) -> tuple[Any, int]:
    """Return hypers as NumPy arrays and the number of settings, every one checked by building it once."""
    if hypers is None:
        return None, 1
    hypers = jax.tree.map(np.asarray, hypers)
    leaves = {jax.tree_util.keystr(k): x for k, x in jax.tree_util.tree_leaves_with_path(hypers)}
    single = [name for name, x in leaves.items() if x.ndim == 0]
    if single or not leaves:
        raise ValueError(
            f"hypers must be arrays with a first axis of settings, got numbers for {single} in {hypers}"
        )
    lengths = {name: len(x) for name, x in leaves.items()}
    num_settings = next(iter(lengths.values()))
    if set(lengths.values()) != {num_settings} or not num_settings:
        raise ValueError(f"every array of hypers needs the same, positive number of settings, got {lengths}")
    settings = [jax.tree.map(lambda x, i=i: x[i], hypers) for i in range(num_settings)]
    lane = jax.eval_shape(build(settings[0]).init, jax.random.key(0))
    for setting in settings:
        build(setting).check(lane)
    return hypers, num_settings


def _segments(loop: Loop, steps: int | None, log_points: int) -> list[tuple[int, bool, bool]]:
    """Return the calls of a run: (iterations, learning, whether a log point follows)."""
    check_size("log_points", log_points)
    per_iteration = loop.num_envs * loop.rollout
    if steps is None:
        if loop.episodes is None or loop.env.max_steps is None:
            raise ValueError("steps are needed: the loop has no number of episodes, or its episodes no time limit")
        steps = loop.episodes * int(loop.env.max_steps)
    total = -(-check_size("steps", steps) // per_iteration)
    learning = -(-(total - loop.warmup) // loop.cadence) * loop.cadence
    if learning <= 0:
        raise ValueError(f"{steps} steps end before the warm-up of {loop.warmup * per_iteration} steps does")
    interval = max(round(total / log_points / loop.cadence), 1) * loop.cadence

    def cut(iterations: int) -> list[int]:
        whole, rest = divmod(iterations, interval)
        return [interval] * whole + [rest] * (rest > 0)

    warm = [(n, False, n == interval) for n in cut(loop.warmup)]
    return warm + [(n, True, True) for n in cut(learning)]


class _Groups:
    """The lanes of a sweep on their devices: a list of groups that one compiled program advances in turn."""

    def __init__(self, build, hypers, seeds, num_settings, seed, width, devices):
        lanes = [(setting, s) for setting in range(num_settings) for s in seeds.tolist()]
        self.build, self.lanes = build, len(lanes)
        root = jax.random.key(seed)
        first = None if hypers is None else jax.tree.map(lambda x: x[0], hypers)
        shapes = jax.eval_shape(lambda key: build(first).init(key), root)
        self.width = default_width(shapes) if width is None else check_size("width", width)
        # No more devices than there are widths of lanes to fill, but two where there are two: XLA compiles a mesh
        # of one by another route, which rounds otherwise, and a lane's bits must not depend on its neighbours.
        available = list(jax.local_devices() if devices is None else devices)
        self.mesh = Mesh(np.array(available[: max(2, -(-len(lanes) // self.width))]), ("lanes",))
        self.sharded = PartitionSpec("lanes")
        size = self.width * self.mesh.size
        # Padding repeats the last setting with further seeds; its results are dropped.
        spare = range(max(seeds.tolist()) + 1, max(seeds.tolist()) + 1 + size)
        lanes += [(num_settings - 1, s) for s, _ in zip(spare, range(-len(lanes) % size), strict=False)]

        place = NamedSharding(self.mesh, self.sharded)
        numbers = [np.array(lanes[i : i + size]) for i in range(0, len(lanes), size)]
        self.hypers = [
            None if hypers is None else jax.device_put(jax.tree.map(lambda x, n=n: x[n[:, 0]], hypers), place)
            for n in numbers
        ]
        init = self._program(
            lambda hyper, key, number: build(hyper).init(jax.random.fold_in(key, number)),
            in_axes=(0, None, 0),
        )
        self.states = [
            jax.jit(init)(h, root, jax.device_put(jnp.asarray(n[:, 1], jnp.uint32), place))
            for h, n in zip(self.hypers, numbers, strict=True)
        ]
        take_all = jax.jit(self._program(lambda hyper, lane: take(lane), in_axes=(0, 0)), donate_argnums=1)
        self._take = take_all.lower(self.hypers[0], self.states[0]).compile()
        self._compiled: dict[tuple[int, bool], Any] = {}

    def _program(self, function, in_axes):
        """Return `function` of one lane for a whole group: vmapped over a device's lanes, sharded over the mesh."""
        specs = tuple(PartitionSpec() if axis is None else self.sharded for axis in in_axes)
        return jax.shard_map(
            jax.vmap(function, in_axes=in_axes),
            mesh=self.mesh,
            in_specs=specs,
            out_specs=self.sharded,
            check_vma=False,
        )

    def compile(self, iterations: int, learning: bool) -> float:
        """Compile the call for a number of iterations if that is still to do; return the seconds it took."""
        if (iterations, learning) in self._compiled:
            return 0.0
        began = time.perf_counter()
        program = self._program(
            lambda hyper, lane, clock: self.build(hyper).run(lane, clock, iterations, learning),
            in_axes=(0, 0, None),
        )
        lowered = jax.jit(program, donate_argnums=1).lower(self.hypers[0], self.states[0], clocks.at(0))
        self._compiled[iterations, learning] = lowered.compile()
        return time.perf_counter() - began

    def run(self, clock, iterations: int, learning: bool) -> None:
        program = self._compiled[iterations, learning]
        for i, hyper in enumerate(self.hypers):
            self.states[i] = program(hyper, self.states[i], clock)

    def take(self) -> dict[str, np.ndarray]:
        """Return every lane's sums, padding dropped, and set them to zero."""
        reports = []
        for i, hyper in enumerate(self.hypers):
            self.states[i], report = self._take(hyper, self.states[i])
            reports.append(report)
        return self._joined(reports)

    def agents(self) -> Any:
        return self._joined([state.agent for state in self.states])

    def _joined(self, parts: list[Any]) -> Any:
        host = [jax.device_get(part) for part in parts]
        return jax.tree.map(lambda *xs: np.concatenate(xs)[: self.lanes], *host)


class _Tally:
    """Turns the lanes' sums over an interval into a `Point`; totals are kept in 64 bits."""

    def __init__(self, loop: Loop, lanes: int, steps: int | None, schedules: Mapping[str, Schedule]):
        self.loop, self.steps, self.schedules = loop, steps, schedules
        self.env_steps, self.updates, self.episodes = (np.zeros(lanes, np.int64) for _ in range(3))

    def point(self, report: dict[str, np.ndarray], seconds: float) -> Point:
        report = dict(report)
        steps, updates, episodes = (report.pop(k).astype(np.int64) for k in ("steps", "updates", "episodes"))
        total = report.pop("total_episodes")
        returns, _ = report.pop("returns"), report.pop("lengths")
        self.env_steps += steps
        self.updates += updates
        self.episodes += episodes
        at = Time(
            jnp.asarray(self.env_steps.astype(np.float32)),
            jnp.asarray(total),
            jnp.asarray(self.updates.astype(np.float32)),
            jnp.zeros(len(total), jnp.int32),
        )
        shares = []
        if self.steps is not None:
            shares.append(self.env_steps / self.steps)
        if self.loop.episodes is not None:
            shares.append(np.minimum(self.episodes / self.loop.episodes, 1))
        return Point(
            env_steps=self.env_steps.copy(),
            episodes=self.episodes.copy(),
            mean_return=_mean(returns, episodes),
            means={name: _mean(value, updates) for name, value in report.items()},
            values={name: np.asarray(jax.vmap(f)(at)) for name, f in self.schedules.items()},
            changed=steps > 0,
            updates=int(updates.sum()),
            done=float(min(np.max(shares, axis=0).min(), 1.0)),
            seconds=seconds,
        )


def _mean(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    return np.divide(total, count, out=np.full(total.shape, np.nan, np.float32), where=count > 0)
