"""The lanes of a sweep on their devices: groups that one compiled program advances in turn.

A group is `width` vmapped lanes on each device of a one-axis mesh over all hosts' devices, held in buffers of its
own and donated to every call, so nothing is copied and any number of lanes runs the same compiled program: the
last group is padded. A device that holds nothing but padding of it makes no iteration.
"""

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from qjax.core import clock as clocks
from qjax.machine import hosts
from qjax.sweeps.hyperparameters import Build
from qjax.training.lane import Lane, take

# XLA compiles a program for several devices with a clean-up (a common-subexpression pass) before all the others,
# and one for a single device without. What is fused then differs, and with it the last digits.
COMPILER_OPTIONS: dict[str, Any] = {"xla_disable_hlo_passes": "spmd-cleanup"}
"""What groups ask of the compiler, as far as it knows it: names of options come and go with its versions."""

AXIS = PartitionSpec("lanes")

Report = Callable[[Any, Any], dict[str, Any]]
"""`(hyper, agent) -> {name: number}`, of one lane's setting and its agent's state."""


class Groups:
    """Settings x seeds, ordered by setting and then by seed, in groups of one size."""

    def __init__(
        self,
        build: Build,
        hypers: Any,
        settings: np.ndarray,
        seeds: np.ndarray,
        root: Any,
        width: int,
        devices: Sequence[Any],
    ):
        """Place lanes `[L]` given by their `settings` and `seeds`; nothing is compiled or made yet.

        Lanes start from keys folded from `root` and their seeds.

        Raises:
            ValueError: a host would have no lane.

        """
        self.build, self.width, self.lanes = build, width, len(seeds)
        self._root, self._impl = np.asarray(jax.random.key_data(root)), jax.random.key_impl(root)
        self.mesh = Mesh(np.array(_used(devices, -(-len(seeds) // width))), ("lanes",))
        self.size = width * self.mesh.size
        begins = np.arange(0, len(seeds), self.size)[:, None] + width * np.arange(self.mesh.size)
        self._busy = [(row < len(seeds)).astype(np.int32) for row in begins]
        # Padding repeats the last setting with further seeds; its results are dropped.
        missing = -len(seeds) % self.size
        settings = np.concatenate([settings, np.full(missing, settings[-1])])
        numbers = np.concatenate([seeds, seeds.max() + 1 + np.arange(missing)])
        self.place = NamedSharding(self.mesh, AXIS)
        rows = [slice(i, i + self.size) for i in range(0, len(settings), self.size)]
        self._hypers = [None if hypers is None else self._spread(_cells(hypers, settings[r])) for r in rows]
        self._numbers = [self._spread(numbers[r].astype(np.uint32)) for r in rows]
        self.states: list[Lane] = []
        ours = [self._ours() + r.start for r in rows]
        self.local = np.concatenate([index[index < self.lanes] for index in ours])
        """Which lanes this process holds, `[local lanes]`."""
        self._programs: dict[str, Any] = {}

    def _spread(self, tree: Any) -> Any:
        """Return host arrays `[size, ...]` as arrays over the mesh."""
        place = self.place
        return jax.tree.map(lambda x: jax.make_array_from_callback(x.shape, place, lambda index: x[index]), tree)

    def _ours(self) -> np.ndarray:
        """Return which rows of a group this process holds."""
        slices = self.place.addressable_devices_indices_map((self.size,)).values()
        return np.concatenate(sorted((np.arange(self.size)[index] for index in slices), key=lambda rows: rows[0]))

    @property
    def count(self) -> int:
        """How many groups there are."""
        return len(self._numbers)

    @cached_property
    def shapes(self) -> Lane:
        """One group's lanes as shapes."""
        return self._look[0]

    @cached_property
    def _look(self) -> tuple[Lane, list[Any], Any]:
        """One group's lanes as shapes, each leaf's key implementation (None: no key), and the traced start.

        Only an array or a tracer tells the implementation; tracing takes a while, and is done once.
        """
        found: list[Any] = []

        def look(hyper: Any, number: Any) -> Lane:
            lane = self._init(hyper, number)
            found.extend(jax.random.key_impl(x) if _is_key(x) else None for x in jax.tree.leaves(lane))
            return lane

        traced = jax.jit(self._program(look)).trace(self._hypers[0], self._numbers[0])
        placed = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=self.place), traced.out_info
        )
        return placed, found, traced

    def _init(self, hyper: Any, number: Any) -> Lane:
        root = jax.random.wrap_key_data(jnp.asarray(self._root), impl=self._impl)
        return self.build(hyper).init(jax.random.fold_in(root, number))

    def _program(self, function: Callable[..., Any], *more: PartitionSpec) -> Callable[..., Any]:
        """Return `function` of one lane for a whole group: vmapped over a device's lanes, sharded over the mesh.

        Further arguments are the same for all lanes of a device; `more` says how they lie on the mesh.
        """
        return jax.shard_map(
            jax.vmap(function, in_axes=(0, 0) + (None,) * len(more)),
            mesh=self.mesh,
            in_specs=(AXIS, AXIS, *more),
            out_specs=AXIS,
            check_vma=False,
        )

    def compile(self, turns: dict[bool, int], watch: bool = False, report: Report | None = None) -> float:
        """Compile the programs: the start, what `take` fetches, and one for each kind of iteration.

        Args:
            turns: iterations in one turn of the outer loop, without and with learning.
            watch: have `peek` look at the agents' states too.
            report: what `report` returns.

        Returns:
            The seconds it took.

        """
        began = time.perf_counter()
        with _no_collection():
            self._compile(turns, watch, report)
        return time.perf_counter() - began

    def _compile(self, turns: dict[bool, int], watch: bool, report: Report | None) -> None:
        first, shapes, options = self._hypers[0], self.shapes, known_options(COMPILER_OPTIONS)
        none = (clocks.at(0), self._spread(self._busy[0]))

        def compiled(
            function: Any, *arguments: Any, more: tuple[PartitionSpec, ...] = (), donate: tuple[int, ...] = ()
        ) -> Any:
            # What a program does not read is kept as well: what is donated comes back in its own buffer.
            program = jax.jit(self._program(function, *more), donate_argnums=donate, keep_unused=True)
            return program.lower(*arguments).compile(compiler_options=options)

        self._programs["init"] = self._look[2].lower().compile(compiler_options=options)
        self._programs["take"] = compiled(lambda _, lane: take(lane), first, shapes, donate=(1,))
        if watch:
            self._programs["peek"] = compiled(lambda _, lane: take(lane)[1], first, shapes)
        if report is not None:
            self._programs["report"] = compiled(lambda hyper, lane: report(hyper, lane.agent), first, shapes)
        for learning, turn in turns.items():

            def run(
                hyper: Any, lane: Lane, clock: Any, counts: Any, turn: int = turn, learns: bool = learning
            ) -> Lane:
                loop = self.build(hyper)

                def once(number: Any, lane: Lane) -> Lane:
                    return loop.run(lane, clocks.plus(clock, number * (turn * loop.rollout)), turn, learns)

                return jax.lax.fori_loop(0, counts[0], once, lane)

            name = "learn" if learning else "warm up"
            self._programs[name] = compiled(run, first, shapes, *none, more=(PartitionSpec(), AXIS), donate=(1,))

    @property
    def names(self) -> tuple[str, ...]:
        """The compiled programs."""
        return tuple(self._programs)

    def temp_bytes(self) -> int:
        """Return what a program needs on one device beside its arguments, by the compiler's own analysis."""
        found = {name: program.memory_analysis() for name, program in self._programs.items()}
        # What the start returns are the lanes themselves.
        made = {n: x.output_size_in_bytes - x.alias_size_in_bytes if n != "init" else 0 for n, x in found.items()}
        return max(x.temp_size_in_bytes + made[name] for name, x in found.items())

    def start(self) -> None:
        """Make every lane's first state."""
        init = self._programs["init"]
        self.states = [init(h, n) for h, n in zip(self._hypers, self._numbers, strict=True)]
        jax.block_until_ready(self.states)  # here an allocation that failed is raised; reading it would hang

    def run(self, ticks: int, turns: int, learning: bool) -> None:
        """Advance every lane from the clock's `ticks` by so many turns, and wait for it."""
        program = self._programs["learn" if learning else "warm up"]
        for i, hyper in enumerate(self._hypers):
            counts = self._spread(self._busy[i] * np.int32(turns))
            self.states[i] = program(hyper, self.states[i], clocks.at(ticks), counts)
        jax.block_until_ready(self.states)

    def take(self) -> dict[str, np.ndarray]:
        """Return the sums of this process's lanes, padding dropped, and set them to zero."""
        reports = []
        for i, hyper in enumerate(self._hypers):
            self.states[i], report = self._programs["take"](hyper, self.states[i])
            reports.append(report)
        return self._joined(reports)

    def peek(self) -> dict[str, np.ndarray]:
        """Return some of the sums so far, as they are."""
        if "peek" in self._programs:
            return self._asked("peek")
        stats = [state.stats for state in self.states]
        return self._joined([{"steps": s.steps, "updates": s.updates, "diverged_at": s.diverged_at} for s in stats])

    def report(self) -> dict[str, np.ndarray]:
        """Return what the compiled report says of this process's lanes; nothing where there is none."""
        if "report" not in self._programs:
            return {}
        return self._asked("report")

    def _asked(self, name: str) -> dict[str, np.ndarray]:
        """Return what a program that changes nothing says of this process's lanes."""
        program = self._programs[name]
        return self._joined([program(h, s) for h, s in zip(self._hypers, self.states, strict=True)])

    def _joined(self, groups: list[Any]) -> Any:
        return jax.tree.map(lambda *xs: np.concatenate([hosts.local(x) for x in xs])[: len(self.local)], *groups)

    def agents(self) -> Any:
        """Return the agents of all lanes, on every host: NumPy arrays `[lanes, ...]`."""
        found = [jax.tree.map(hosts.everywhere, state.agent) for state in self.states]
        return jax.tree.map(lambda *xs: np.concatenate(xs)[: self.lanes], *found)

    def everywhere(self, column: np.ndarray) -> np.ndarray:
        """Return a host's column `[local lanes]`, int64, for all lanes, on every host."""
        if jax.process_count() == 1:
            return column
        from jax.experimental import multihost_utils

        width = self.lanes  # every host's message has the same length; JAX has no 64-bit integers by default
        words = np.zeros((width, 3), np.uint32)
        words[: len(column)] = np.stack([self.local, column % 2**32, column // 2**32 % 2**32], 1)
        counts = np.asarray(multihost_utils.process_allgather(np.uint32(len(column))))
        found = np.asarray(multihost_utils.process_allgather(words)).astype(np.int64)
        whole = np.zeros(width, np.int64)
        for rows, count in zip(found, counts, strict=True):
            whole[rows[:count, 0]] = rows[:count, 1] + (rows[:count, 2].astype(np.int32).astype(np.int64) << 32)
        return whole

    def leaves(self) -> Iterator[list[jax.Array]]:
        """Yield each group's leaves, keys as their data: what a checkpoint holds."""
        for state in self.states:
            yield [jax.random.key_data(x) if _is_key(x) else x for x in jax.tree.leaves(state)]

    def describe(self) -> list[dict[str, Any]]:
        """Return name, shape and dtype of each leaf of a lane; of a key, its implementation."""
        paths = jax.tree_util.tree_leaves_with_path(self.shapes)
        return [
            {"name": jax.tree_util.keystr(path), "shape": list(x.shape[1:]), "dtype": str(impl or x.dtype)}
            for (path, x), impl in zip(paths, self._look[1], strict=True)
        ]

    def restore(self, rows: Callable[[int, int], list[np.ndarray]]) -> None:
        """Take every lane's state from `rows(first, last)`, which returns the leaves of those lanes."""
        structure, impls = jax.tree.structure(self.shapes), self._look[1]
        self.states = []
        for group in range(self.count):
            pieces: dict[Any, list[np.ndarray]] = {}
            for device, index in self.place.addressable_devices_indices_map((self.size,)).items():
                assert index is not None
                begin = (index[0].start or 0) + group * self.size
                pieces[device] = rows(begin, begin + self.width)
            arrays = [self._assembled(pieces, number, impl) for number, impl in enumerate(impls)]
            self.states.append(jax.tree.unflatten(structure, arrays))

    def _assembled(self, pieces: dict[Any, list[np.ndarray]], number: int, impl: Any) -> jax.Array:
        """Return one leaf over the mesh from each device's rows."""
        parts = [jax.device_put(rows[number], device) for device, rows in pieces.items()]
        shape = (self.size, *parts[0].shape[1:])
        array = jax.make_array_from_single_device_arrays(shape, self.place, parts)
        return array if impl is None else jax.random.wrap_key_data(array, impl=impl)


def known_options(options: dict[str, Any]) -> dict[str, Any]:
    """Return those of the compiler's options that it knows; with any other nothing would compile."""
    return {name: value for name, value in options.items() if _is_known(name, value)}


@cache
def _is_known(name: str, value: Any) -> bool:
    try:
        jax.jit(lambda: 0).lower().compile(compiler_options={name: value})
    except jax.errors.JaxRuntimeError:
        return False
    return True


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep Python from looking for garbage, which takes a sixth of the time in which programs are traced."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _is_key(array: Any) -> bool:
    return jax.dtypes.issubdtype(array.dtype, jax.dtypes.prng_key)


def _cells(hypers: Any, settings: np.ndarray) -> Any:
    """Return each lane's own values; JAX's default precision, as every argument of a program."""
    return jax.tree.map(lambda x: x[settings].astype(jax.dtypes.canonicalize_dtype(x.dtype)), hypers)


def _used(devices: Sequence[Any], pieces: int) -> list[Any]:
    """Return the devices that share so many widths of lanes with the least padding, as many on each host."""
    owners = sorted({device.process_index for device in devices})
    each = [[d for d in devices if d.process_index == owner] for owner in owners]
    if len({len(found) for found in each}) > 1:
        raise ValueError(f"every host needs the same number of devices, got {[len(found) for found in each]}")
    if pieces < len(owners):
        raise ValueError(f"lanes of {pieces} widths leave one of {len(owners)} hosts without any; use fewer hosts")
    groups = -(-pieces // (len(owners) * len(each[0])))
    share = -(-pieces // (len(owners) * groups))
    while (len(owners) - 1) * share >= pieces:  # the last host would have padding alone
        share -= 1
    return [device for found in each for device in found[:share]]
