"""The contenders: each function sets one up, warms it up, and returns how to measure it.

    python -m benchmarks.contenders NAME '{"argument": value}'

speaks the harness's protocol: it prints a line of JSON when ready, and a line with its speed and how many cores it
had for each line of seconds that it reads.
"""

import json
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

Measure = Callable[[float], float]
"""`seconds -> speed`"""

CHUNK_SECONDS = 1.5
"""About how long one call of a sweep's program takes; sweeps themselves make it two seconds."""


def numpy_lake(seed: int = 0) -> Measure:
    """Return the classic tabular loop, env-steps/s."""
    from benchmarks.baselines.numpy_lake import make

    return timed(make(seed))


def torch_cartpole(seed: int = 0, threads: int | None = None) -> Measure:
    """Return the classic PyTorch loop, env-steps/s."""
    from benchmarks.baselines.torch_cartpole import make

    return timed(make(seed, threads), warm=3.0)


def sb3_cartpole(seed: int = 0, threads: int | None = None, library: str = "stable_baselines3") -> Measure:
    """Return Stable-Baselines3, or `sbx`, the same in JAX, env-steps/s."""
    from benchmarks.baselines.sb3_cartpole import make

    return make(seed, threads, library)


def rejax_training(protocol: str, seeds: int = 64, sharded: bool = False) -> Measure:
    """Return rejax after its warm-up, on JAX's default device or sharded over one device per core, env-steps/s."""
    import jax

    sharding = _over_cores() if sharded else None
    from benchmarks.baselines import rejax_agents

    start, chunk = rejax_agents.programs(protocol, seeds)
    found = rejax_agents.PROTOCOLS[protocol]
    state = _spread(start(jax.random.key(0)), sharding)
    if found.warmup:
        state = chunk(state, found.warmup)
    iterations = 500 // found.steps + 1
    return chunked(lambda state: chunk(state, iterations), state, seeds * found.steps * iterations)


def plain_dqn(seeds: int = 64, sharded: bool = False) -> Measure:
    """Return plain JAX on JAX's default device, or sharded over one device per core, env-steps/s."""
    import jax

    sharding = _over_cores() if sharded else None
    from benchmarks.baselines import plain_dqn as plain

    start, chunk = plain.programs(seeds)
    carry = chunk(_spread(start(jax.random.key(0)), sharding), plain.WARMUP, False)
    return chunked(lambda carry: chunk(carry, 50, True), carry, seeds * plain.ENVS * 50)


def plain_lake(seeds: int = 1024, sharded: bool = False) -> Measure:
    """Return plain JAX on JAX's default device, or sharded over one device per core, env-steps/s."""
    import jax

    sharding = _over_cores() if sharded else None
    from benchmarks.baselines import plain_lake as plain  # gymnax starts JAX

    start, chunk = plain.programs(seeds, sharding)
    return chunked(lambda carry: chunk(carry, 500), start(jax.random.key(0)), seeds * 500)


def plain_recurrent_pqn(seeds: int = 16, sharded: bool = False) -> Measure:
    """Return plain JAX on JAX's default device, or sharded over one device per core, env-steps/s."""
    import jax

    sharding = _over_cores() if sharded else None
    from benchmarks.baselines import plain_recurrent_pqn as plain  # gymnax starts JAX

    start, chunk = plain.programs(seeds, sharding)
    steps = seeds * plain.ENVS * plain.ROLLOUT * 4
    return chunked(lambda carry: chunk(carry, 4), start(jax.random.key(0)), steps)


def _over_cores() -> Any:
    """Return a sharding over one device per core, which it makes: before JAX starts."""
    import jax
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    jax.config.update("jax_num_cpu_devices", cores())
    return NamedSharding(Mesh(np.array(jax.devices()), ("lanes",)), PartitionSpec("lanes"))


def _spread(state: Any, sharding: Any) -> Any:
    """Return a state with each seed's part on a device, and what all seeds count alike on all of them."""
    import jax
    from jax.sharding import NamedSharding, PartitionSpec

    if sharding is None:
        return state
    shared = NamedSharding(sharding.mesh, PartitionSpec())
    return jax.tree.map(lambda x: jax.device_put(x, sharding if x.ndim else shared), state)


def qjax_dqn(protocol: str = "cleanrl", lanes: int = 64, width: int | None = None, without: str = "") -> Measure:
    """Return a sweep of DQN on CartPole after its warm-up, env-steps/s; `without` one of `TRICKS`."""
    _prepare(without)
    from experiments import cartpole

    # Without an end: a lane that has its episodes would stand still, and its steps would count.
    constants = cartpole.preset(protocol, None).replace(episodes=None)
    sync_every = 1 if without == "sync outside the loop" else None
    return _sweep(cartpole.build(constants, sync_every), lanes, width, False, without)


def qjax_lake(lanes: int = 1024, fast: bool = False, width: int | None = None, without: str = "") -> Measure:
    """Return a sweep of tabular Q-learning on the slippery lake, env-steps/s; `without` one of `TRICKS`."""
    _prepare(without)
    return _sweep(lake_loop(), lanes, width, fast, without)


def lake_to_its_end(
    lanes: int = 1024, episodes: int = 2000, width: int | None = None, compacts: bool = True
) -> Measure:
    """Return whole sweeps of so many episodes of each lane on the slippery lake, env-steps/s of lanes with work.

    As `python -m experiments.frozenlake --slippery` makes them, without its folder. Lanes leave as they end; unless
    the sweep `compacts`, groups stay as many as they were.
    """
    _prepare("")
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


def random_steps(env_name: str, envs: int = 160, steps: int = 200, wrap: Sequence[str] = ()) -> Measure:
    """Return environments by a name of `qjax.make`'s under random actions, env-steps/s."""
    import qjax
    from qjax.cli.wrapping import wrapped

    env = wrapped(qjax.make(env_name), wrap)

    def step(key: Any, state: Any, action: Any) -> Any:
        after = env.step(key, state, action)
        return after.state, after.reward, (after.obs, after.final_obs)

    return _random_actions(step, env.reset, env.num_actions, envs, steps)


def bare_steps(env_name: str, envs: int = 160, steps: int = 200) -> Measure:
    """Return the same of the steps of gymnax or a suite as they are, with no limit and no new episode."""
    import qjax

    actions = qjax.make(env_name).num_actions
    if ":" in env_name:
        from qjax.envs.suites.names import construct

        suite = construct(env_name, {})[0]

        def step(key: Any, state: Any, action: Any) -> Any:
            obs, state, reward, _ = suite.advance(key, state, action)
            return state, reward, obs

        return _random_actions(step, suite.begin, actions, envs, steps)
    import gymnax

    env, params = gymnax.make(env_name)

    def step_env(key: Any, state: Any, action: Any) -> Any:
        obs, state, reward, *_ = env.step_env(key, state, action, params)
        return state, reward, obs

    return _random_actions(step_env, lambda key: env.reset(key, params), actions, envs, steps)


def _random_actions(step: Any, reset: Any, actions: int, envs: int, steps: int) -> Measure:
    """Return environments under random actions: `step` gives state, reward, and what else is to be computed."""
    import jax

    def one(carry: Any, key: Any) -> Any:
        state, total = carry
        drawn = jax.random.randint(key, (envs,), 0, actions)
        state, reward, rest = jax.vmap(step)(jax.random.split(key, envs), state, drawn)
        return (state, total + reward + _sum(rest)), None  # nothing left out

    @jax.jit
    def run(held: Any) -> Any:
        carry, key = held
        key, own = jax.random.split(key)
        return jax.lax.scan(one, carry, jax.random.split(own, steps))[0], key

    _, state = jax.vmap(reset)(jax.random.split(jax.random.key(0), envs))
    start = ((state, np.zeros(envs, np.float32)), jax.random.key(1))
    return chunked(run, start, envs * steps)


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
    _prepare("")
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


TRICKS = (
    "one device per core",
    "groups of lanes",
    "the clock outside the lanes",
    "sync outside the loop",
    "unrolled threefry",
    "draws ahead of the loop",
    "packed rows",
    "donation",
    "the barrier behind the environment",
    "slices of several lanes",
    "sums for the values of actions",
)
"""What can be taken out, one at a time."""


def _prepare(without: str) -> None:
    """Start JAX as the command lines do, but for the trick that is left out."""
    if without and without not in TRICKS:
        raise ValueError(f"{without!r} is none of {TRICKS}")
    import jax

    import qjax
    from qjax.objectives import heads
    from qjax.replay import memory
    from qjax.training import ahead, iteration
    from qjax.training import loop as loops

    if without != "one device per core":
        qjax.use_cores()
    if without == "unrolled threefry":
        loops.unrolled = lambda key: key
    if without == "draws ahead of the loop":
        ahead.AHEAD_ITERATIONS = 1
    if without == "packed rows":
        memory.pack = _separate
    if without == "the barrier behind the environment":
        iteration.lax = SimpleNamespace(**{**vars(jax.lax), "optimization_barrier": lambda x: x})  # type: ignore[assignment]
    if without == "slices of several lanes":
        memory.write_slice = partial(jax.lax.dynamic_update_slice_in_dim, axis=0)
    if without == "sums for the values of actions":
        for module in (heads, import_module("qjax.agents.dqn")):
            module.at_action = lambda values, action: values[action]  # type: ignore[attr-defined]
    if without == "donation":
        jit = jax.jit
        jax.jit = lambda function, donate_argnums=(), **rest: jit(function, **rest)  # type: ignore[assignment]


class _Separate(NamedTuple):
    """Transitions packed field by field, with what the memories use of `Packed`."""

    fields: Any

    def _each(self, function: Any, *others: Any) -> Any:
        import jax

        from qjax.replay.packing import Packed

        return jax.tree.map(
            function, self.fields, *(other.fields for other in others), is_leaf=lambda x: isinstance(x, Packed)
        )

    def map(self, function: Any, *others: Any) -> Any:
        """Return the fields with a function applied to the rows of each."""
        return _Separate(self._each(lambda one, *rest: one.map(function, *rest), *others))

    def unpacked(self) -> Any:
        """Return the transitions."""
        return self._each(lambda one: one.unpacked())

    def at(self, slot: Any) -> Any:
        """Return the transitions at some places."""
        return self._each(lambda one: one.at(slot))

    @property
    def axes(self) -> Any:
        """The leading axes."""
        return self.fields.reward.axes


def _separate(tree: Any, axes: int) -> Any:
    """Return transitions with an array of its own for each field, in the place of packed ones."""
    import jax

    from qjax.replay.packing import pack

    return _Separate(jax.tree.map(lambda leaf: pack(leaf, axes), tree))


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


def table(algorithm: str, states: int) -> Measure:
    """Return one lane of a tabular algorithm on a random MDP of so many states, env-steps/s."""
    import jax

    import qjax
    from qjax import algorithms
    from qjax.mdp import examples
    from qjax.mdp.environment import mdp_params

    mdp = examples.garnet(jax.random.key(0), states, actions=4, branching=2, termination=0.01)
    world, params = qjax.MDPEnvironment(mdp), mdp_params(mdp)

    def loop(params: Any) -> Any:
        return algorithms.make(algorithm, qjax.make(world, params))

    @partial(jax.jit, donate_argnums=0)
    def run(held: Any, params: Any) -> Any:
        lane, clock = held
        return loop(params).run(lane, clock, CALLS), qjax.clock.plus(clock, CALLS)

    lane = jax.jit(lambda params: loop(params).init(jax.random.key(1)))(params)
    return chunked(lambda held: run(held, params), (lane, qjax.clock.at(0)), CALLS)


def ring(capacity: int, batch: int = 128, envs: int = 10) -> Measure:
    """Return the memory alone: a block written and a batch drawn, times a second."""
    import jax
    import jax.numpy as jnp

    import qjax

    memory, row = qjax.ring(capacity, batch), _row(envs)
    state = memory.init(jax.tree.map(lambda x: x[None], row), ())

    def once(held: tuple[Any, Any, Any], number: Any) -> tuple[Any, None]:
        state, total, clock = held
        now = qjax.clock.plus(clock, number)
        block = jax.tree.map(lambda x: x[None], row._replace(reward=row.reward + number))
        state = memory.add(state, block, now, ())
        key = jax.random.fold_in(qjax.fast_key(0), now.low)
        drawn = memory.sample(key, state, qjax.clock.plus(now, 1), qjax.Time(0, 0, 0))
        return (state, total + _sum(drawn.data), clock), None

    def run(held: Any) -> Any:
        state, total, clock = held
        state, total, _ = jax.lax.scan(once, (state, total, clock), jnp.arange(CALLS))[0]
        return state, total, qjax.clock.plus(clock, CALLS)

    full = qjax.clock.at(capacity // envs)  # as many rows to draw from as it will ever have
    return chunked(jax.jit(run, donate_argnums=0), (state, jnp.float32(0), full), CALLS)


def recorded(rows: int, batch: int = 128) -> Measure:
    """Return a data set of so many transitions: a batch drawn, times a second."""
    import jax
    import jax.numpy as jnp

    import qjax

    rng = np.random.default_rng(0)  # of equal numbers XLA would gather none
    obs, ends = rng.random((rows + 1, 4), np.float32), np.arange(rows) % 200 == 199
    action, reward = rng.integers(0, 2, rows), rng.random(rows)
    data = qjax.datasets.from_arrays(obs[:-1], action, reward, ends, ~ends & False, obs[1:], num_actions=2)
    memory = qjax.recorded(data, gamma=0.99, batch_size=batch)

    def once(total: Any, number: Any) -> tuple[Any, None]:
        key = jax.random.fold_in(qjax.fast_key(0), number)
        return total + _sum(memory.sample(key, (), qjax.clock.at(0), qjax.Time(0, 0, 0)).data), None

    @jax.jit
    def run(total: Any, begun: Any) -> Any:
        return jax.lax.scan(once, total, begun + jnp.arange(CALLS))[0], begun + CALLS

    return chunked(lambda held: run(*held), (jnp.float32(0), jnp.int32(0)), CALLS)


def gather(capacity: int, batch: int = 128, envs: int = 10, packed: bool = False) -> Measure:
    """Return a bare gather of random rows from arrays of the same size, times a second; `packed` into one array."""
    import jax
    import jax.numpy as jnp

    import qjax
    from qjax.replay.packing import pack

    rows = jax.tree.map(lambda x: jnp.zeros((capacity, *x.shape[1:]), x.dtype), _row(envs))
    rows = pack(rows, axes=1).rows if packed else rows

    @jax.jit
    def run(rows: Any, total: Any, begun: Any) -> Any:
        def once(total: Any, number: Any) -> tuple[Any, None]:
            key = jax.random.fold_in(qjax.fast_key(0), begun + number)
            slot = jax.random.bits(key, (batch,)) % jnp.uint32(capacity)
            return total + _sum(jax.tree.map(lambda x: x[slot], rows)), None

        return jax.lax.scan(once, total, jnp.arange(CALLS, dtype=jnp.uint32))[0], begun + CALLS

    return chunked(lambda held: run(rows, *held), (jnp.float32(0), jnp.uint32(0)), CALLS)


CALLS = 2_000


def _row(envs: int) -> Any:
    """Return one row of CartPole's transitions."""
    import jax.numpy as jnp

    import qjax

    obs, one = jnp.zeros((envs, 4)), jnp.zeros(envs)
    return qjax.Transition(obs, jnp.zeros(envs, jnp.int32), one, one, obs, jnp.zeros(envs, bool))


def _sum(tree: Any) -> Any:
    """Return the sum of all leaves, so that nothing drawn is left out."""
    import jax
    import jax.numpy as jnp

    return sum(jnp.sum(x.astype(jnp.float32)) for x in jax.tree.leaves(tree))


def sgemm(size: int = 2048) -> Measure:
    """Return float32 matrix products in operations/s: NumPy's with its own threads, or on a GPU JAX's."""
    import jax

    a = np.random.default_rng(0).random((size, size), np.float32)
    if jax.default_backend() != "cpu":
        held = jax.device_put(a)
        product = jax.jit(lambda a: jax.numpy.matmul(a, a, precision="highest"))
        return chunked(lambda _: product(held), None, 2 * size**3)
    return chunked(lambda _: a @ a, None, 2 * size**3)


def timed(step: Callable[[], object], warm: float = 0.5) -> Measure:
    """Return the speed of a step in plain Python."""

    def measure(seconds: float) -> float:
        began = now = time.perf_counter()
        steps = 0
        while now - began < seconds:
            step()
            steps += 1
            now = time.perf_counter()
        return steps / (now - began)

    measure(warm)
    return measure


def chunked(advance: Callable[[Any], Any], state: Any, steps: int) -> Measure:
    """Return the speed of a function of a state that makes so many steps at each call."""
    import jax

    held = [jax.block_until_ready(advance(state))]

    def measure(seconds: float) -> float:
        began, calls = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            held[0] = jax.block_until_ready(advance(held[0]))
            calls += 1
        return steps * calls / (time.perf_counter() - began)

    measure(0.2)
    return measure


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def main() -> None:
    """Answer the harness."""
    name, arguments = sys.argv[1], json.loads(sys.argv[2])
    began = time.perf_counter()
    measure = globals()[name](**arguments)
    print(json.dumps({"ready_s": time.perf_counter() - began}), flush=True)
    for line in sys.stdin:
        began, used = time.perf_counter(), time.process_time()
        speed = measure(float(line))
        had = (time.process_time() - used) / (time.perf_counter() - began)
        print(json.dumps({"speed": speed, "cores": had}), flush=True)


if __name__ == "__main__":
    main()
