"""What others have: classic loops, other libraries, and plain JAX."""

from typing import Any

import numpy as np

from benchmarks.contenders.measuring import Measure, chunked, cores, timed


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
