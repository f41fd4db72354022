"""The compiled programs of a sweep: a lane's functions for a whole group, the same for every group.

A group's lanes are donated to every call, so nothing is copied.
"""

import time
from collections.abc import Callable
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Key

from qjax.core import clock as clocks
from qjax.sweeps import compiler, evaluating
from qjax.sweeps.evaluating import Evaluation
from qjax.sweeps.hyperparameters import Build
from qjax.sweeps.initial import Initial
from qjax.sweeps.placement import AXIS, Placement
from qjax.training.lane import Lane, pop_metrics
from qjax.types import Clock


@runtime_checkable
class Report(Protocol):
    """A function of yours that says what else a sweep logs."""

    def __call__(self, hyper: Any, lane: Lane, clock: Clock, key: Key[Array, ""], /) -> dict[str, Any]:
        """Return numbers of one lane by their names; it is computed on the device.

        Args:
            hyper: the lane's setting, None where nothing is swept.
            lane: all its state; `lane.agent` is its agent's.
            clock: the ticks so far, as a memory's `sample` takes them.
            key: another one for each lane and log point, from which nothing else is drawn.

        """


class Programs:
    """Programs of lanes where they stand: known by their shapes from the start, callable once they are compiled."""

    def __init__(
        self,
        build: Build,
        hypers: Any,
        root: Any,
        placement: Placement,
        initial: Initial | None = None,
        evaluation: Evaluation | None = None,
    ):
        """Put the lanes' settings and seeds in their places; nothing is traced yet.

        Args:
            build: returns one setting's loop.
            hypers: NumPy arrays `[settings, ...]`, or None.
            root: the key that lanes' keys are folded from, with their seeds.
            placement: where the lanes stand.
            initial: the agents that they begin with; None for fresh ones.
            evaluation: what is evaluated while they train; None for nothing.

        """
        self.build, self.placement, self._initial, self._evaluation = build, placement, initial, evaluation
        self._root, self._impl = np.asarray(jax.random.key_data(root)), jax.random.key_impl(root)
        self._hypers = hypers
        self._first = self.given(placement, groups=1)[0]
        self.compiled: dict[str, Any] = {}
        self._shared: dict[str, tuple[list[jax.Array]]] = {}
        """Arguments before a program's own."""
        self._made: dict[Any, jax.Array] = {}
        """What stands there, by where the host has it."""
        self.compile_s = 0.0
        self.temp_bytes = 0
        """What a program needs on one device beside its arguments, by the compiler's own analysis."""

    @cached_property
    def shapes(self) -> Lane:
        """One group's lanes as shapes."""
        return self._look[0]

    @property
    def keys(self) -> list[Any]:
        """The key implementation of each of a lane's leaves, None where it is no key."""
        return self._look[1]

    @cached_property
    def _look(self) -> tuple[Lane, list[Any], Any]:
        """One group's lanes as shapes, each leaf's key implementation (None: no key), and the traced start.

        Only an array or a tracer tells the implementation; tracing takes a while, and is done once.
        """
        found: list[Any] = []

        def look(hyper: Any, begun: tuple[Any, Any]) -> Lane:
            lane = self._init(hyper, begun)
            found.extend(jax.random.key_impl(x) if is_key(x) else None for x in jax.tree.leaves(lane))
            return lane

        traced = jax.jit(self._program(look)).trace(self._first[0], (self._first[1], self.agents(0)))
        placed = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=self.placement.place), traced.out_info
        )
        return placed, found, traced

    def describe(self) -> list[dict[str, Any]]:
        """Return name, shape and dtype of each leaf of a lane; of a key, its implementation."""
        paths = jax.tree_util.tree_leaves_with_path(self.shapes)
        return [
            {"name": jax.tree_util.keystr(path), "shape": list(x.shape[1:]), "dtype": str(impl or x.dtype)}
            for (path, x), impl in zip(paths, self.keys, strict=True)
        ]

    def root(self) -> Any:
        """Return the key that lanes' keys are folded from, with their seeds."""
        return jax.random.wrap_key_data(jnp.asarray(self._root), impl=self._impl)

    def given(self, placement: Placement, groups: int | None = None) -> list[tuple[Any, jax.Array]]:
        """Return the settings and the seeds of each group, or of so many, where its lanes stand."""
        each = zip(placement.settings[:groups], placement.seeds[:groups], strict=True)
        cells = [(None if self._hypers is None else _cells(self._hypers, s), n.astype(np.uint32)) for s, n in each]
        return [placement.spread(pair) for pair in cells]

    def agents(self, group: int) -> Any:
        """Return the agents that a group's lanes begin with, None for fresh ones."""
        if self._initial is None:
            return None
        size = self.placement.size
        return self.placement.spread(self._initial.rows(group * size + np.arange(size)))

    def _init(self, hyper: Any, begun: tuple[Any, Any]) -> Lane:
        number, agent = begun
        key = jax.random.fold_in(self.root(), number)
        lane = self.build(hyper).init(key) if agent is None else self.build(hyper).init(key, agent)
        return lane if self._evaluation is None else evaluating.unevaluated(lane)

    def _program(self, function: Callable[..., Any], *more: PartitionSpec) -> Callable[..., Any]:
        """Return `function` of one lane for a whole group: vmapped over a device's lanes, sharded over the mesh.

        Further arguments are the same for all lanes of a device; `more` says how they lie on the mesh.
        """
        return jax.shard_map(
            compiler.without_empty_constants(jax.vmap(function, in_axes=(0, 0) + (None,) * len(more))),
            mesh=self.placement.mesh,
            in_specs=(AXIS, AXIS, *more),
            out_specs=AXIS,
            check_vma=False,
        )

    def compile(
        self, inner_iterations: dict[bool, int], watch: bool = False, report: Report | None = None
    ) -> "Programs":
        """Compile the programs: the start, what `pop_metrics` fetches, and one for each kind of iteration.

        Args:
            inner_iterations: of the programs' inner loops, without and with learning.
            watch: compile `read_metrics`, which looks at the agents' states too.
            report: compile what `report` returns.

        Returns:
            Itself; `compile_s` is how many seconds it took.

        """
        began = time.perf_counter()
        with compiler.no_collection():
            options = compiler.known_options(compiler.OPTIONS)
            self.compiled["init"] = self._look[2].lower().compile(compiler_options=options)
            self._compile("pop_metrics", lambda _, lane: pop_metrics(lane), donate=True)
            if watch:
                self._compile("read_metrics", lambda _, lane: pop_metrics(lane)[1])
            if report is not None:
                self._compile_at_points("report", evaluating.REPORT, report)
            if self._evaluation is not None:
                self._compile_at_points("evaluate", evaluating.GREEDY, self._evaluate, donate=True)
            for learning, inner in inner_iterations.items():
                self._compile_run(inner, learning)
        self.compile_s, self.temp_bytes = time.perf_counter() - began, self._temp_bytes()
        return self

    def _compile_run(self, inner: int, learning: bool) -> None:
        """Compile two loops, the outer one's length decided while running: one program for chunks of any length."""

        def run(hyper: Any, lane: Lane, clock: Any, counts: Any) -> Lane:
            loop = self.build(hyper)

            def once(number: Any, lane: Lane) -> Lane:
                return loop.run(lane, clocks.plus(clock, number * (inner * loop.rollout)), inner, learning)

            return jax.lax.fori_loop(0, counts[0], once, lane)

        none = (clocks.at(0), self.placement.spread(self.placement.busy[0]))
        self._compile("learn" if learning else "warm up", run, *none, more=(PartitionSpec(), AXIS), donate=True)

    def _evaluate(self, hyper: Any, lane: Lane, clock: Clock, key: Any) -> tuple[Lane, dict[str, Any]]:
        assert self._evaluation is not None
        return evaluating.evaluated(self.build(hyper), lane, key, self._evaluation.episodes)

    def _compile_at_points(
        self, name: str, stream: int, function: Callable[[Any, Lane, Clock, Any], Any], donate: bool = False
    ) -> None:
        """Compile a function `(hyper, lane, clock, key)` for log points, each with a key from a stream of keys."""

        def at_point(given: tuple[Any, Any], lane: Lane, clock: Clock, point: Any) -> Any:
            hyper, seed = given
            return function(hyper, lane, clock, evaluating.key_at(self.root(), seed, stream, point))

        more = (PartitionSpec(), PartitionSpec())
        self._compile(name, at_point, clocks.at(0), jnp.uint32(0), more=more, given=self._first, donate=donate)

    def _compile(
        self,
        name: str,
        function: Any,
        *arguments: Any,
        more: tuple[PartitionSpec, ...] = (),
        donate: bool = False,
        given: Any = None,
    ) -> None:
        """Compile a function of what is `given` of a lane, its setting, of the lane and `arguments`.

        The lanes may be donated.
        """
        arguments = (self._first[0] if given is None else given, self.shapes, *arguments)
        traced = self._traced(self._program(function, *more), arguments, 1 if donate else None)
        if large := compiler.large_constants(traced):
            shared = [self._everywhere(x) for x in large]
            taking = compiler.taking_large_constants(traced)
            traced = self._traced(taking, (shared, *arguments), 2 if donate else None)
            self._shared[name] = (shared,)
        self.compiled[name] = traced.lower().compile(compiler_options=compiler.known_options(compiler.OPTIONS))

    @staticmethod
    def _traced(program: Callable[..., Any], arguments: tuple[Any, ...], donated: int | None) -> Any:
        # What a program does not read is kept as well: what is donated comes back in its own buffer.
        return jax.jit(program, donate_argnums=donated, keep_unused=True).trace(*arguments)

    def _everywhere(self, array: Any) -> jax.Array:
        """Return an array on every device, once for all programs; on a CPU that of a mapped file is the file's."""
        host = np.asarray(array)
        found = (host.ctypes.data, host.shape, host.dtype.str)
        if found not in self._made:
            place = NamedSharding(self.placement.mesh, PartitionSpec())
            self._made[found] = jax.device_put(array, place, may_alias=True)
        return self._made[found]

    def call(self, name: str, *arguments: Any) -> Any:
        """Return what a compiled program makes of its arguments."""
        return self.compiled[name](*self._shared.get(name, ()), *arguments)

    @property
    def shared_bytes(self) -> int:
        """What all lanes of a device read, such as recorded data: it is there once."""
        return sum(x.nbytes for x in self._made.values())

    @property
    def copied_bytes(self) -> int:
        """What one device holds of that, where it is not the host's own memory."""
        found = {where: x.addressable_shards[0].data for (where, *_), x in self._made.items()}
        return sum(x.nbytes for where, x in found.items() if x.unsafe_buffer_pointer() != where)

    @property
    def names(self) -> tuple[str, ...]:
        """The compiled programs."""
        return tuple(self.compiled)

    def _temp_bytes(self) -> int:
        found = {name: program.memory_analysis() for name, program in self.compiled.items()}
        # What the start returns are the lanes themselves.
        made = {n: x.output_size_in_bytes - x.alias_size_in_bytes if n != "init" else 0 for n, x in found.items()}
        return max(x.temp_size_in_bytes + made[name] for name, x in found.items())


def is_key(array: Any) -> bool:
    """Return whether an array, or its shape, is one of keys."""
    return jax.dtypes.issubdtype(array.dtype, jax.dtypes.prng_key)


def _cells(hypers: Any, settings: np.ndarray) -> Any:
    """Return each lane's own values; JAX's default precision, as every argument of a program."""
    return jax.tree.map(lambda x: x[settings].astype(jax.dtypes.canonicalize_dtype(x.dtype)), hypers)
