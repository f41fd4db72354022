"""Single pieces: one lane's table, replay, recorded data, bare gathers and matrix products."""

from functools import partial
from typing import Any

import numpy as np

from benchmarks.contenders.measuring import Measure, chunked, sum_of

CALLS = 2_000


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
        return (state, total + sum_of(drawn.data), clock), None

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
        return total + sum_of(memory.sample(key, (), qjax.clock.at(0), qjax.Time(0, 0, 0)).data), None

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
            return total + sum_of(jax.tree.map(lambda x: x[slot], rows)), None

        return jax.lax.scan(once, total, jnp.arange(CALLS, dtype=jnp.uint32))[0], begun + CALLS

    return chunked(lambda held: run(rows, *held), (jnp.float32(0), jnp.uint32(0)), CALLS)


def sgemm(size: int = 2048) -> Measure:
    """Return float32 matrix products in operations/s: NumPy's with its own threads, or on a GPU JAX's."""
    import jax

    a = np.random.default_rng(0).random((size, size), np.float32)
    if jax.default_backend() != "cpu":
        held = jax.device_put(a)
        product = jax.jit(lambda a: jax.numpy.matmul(a, a, precision="highest"))
        return chunked(lambda _: product(held), None, 2 * size**3)
    return chunked(lambda _: a @ a, None, 2 * size**3)


def _row(envs: int) -> Any:
    """Return one row of CartPole's transitions."""
    import jax.numpy as jnp

    import qjax

    obs, one = jnp.zeros((envs, 4)), jnp.zeros(envs)
    return qjax.Transition(obs, jnp.zeros(envs, jnp.int32), one, one, obs, jnp.zeros(envs, bool))
