"""rejax's DQN and PQN on CartPole with others' constants as ours has them, each seed a lane of one `vmap`."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import rejax
from flax import linen as nn


class Protocol(NamedTuple):
    """What is trained, and how."""

    algorithm: Any
    constants: dict[str, Any]
    hidden: tuple[int, ...]
    """Units of the layers."""
    steps: int
    """Environment steps of an iteration of one seed."""
    warmup: int
    """Iterations before the first update."""


PROTOCOLS = {
    "dqn": Protocol(
        rejax.DQN,
        {"num_envs": 10, "buffer_size": 10_000, "fill_buffer": 1_000, "batch_size": 128, "polyak": 0.0,
         "target_update_freq": 500, "ddqn": False, "exploration_fraction": 0.5},
        (120, 84), 10, 101,
    ),
    "pqn": Protocol(
        rejax.PQN,
        {"num_envs": 4, "num_steps": 128, "num_minibatches": 4, "num_epochs": 4, "td_lambda": 0.65,
         "exploration_fraction": 0.5},
        (120, 84), 512, 0,
    ),
    "wide-pqn": Protocol(
        rejax.PQN,
        {"num_envs": 32, "num_steps": 64, "num_minibatches": 16, "num_epochs": 4, "td_lambda": 0.95,
         "exploration_fraction": 0.2, "learning_rate": 1e-4},
        (256, 256), 2_048, 0,
    ),
}  # fmt: skip


def made(name: str) -> Any:
    """Return the algorithm, with layers as CleanRL has them."""
    protocol = PROTOCOLS[name]
    shared = {"env": "CartPole-v1", "learning_rate": 2.5e-4, "gamma": 0.99, "total_timesteps": 500_000}
    whole = protocol.algorithm.create(**shared | protocol.constants)
    layers: dict[str, Any] = {"hidden_layer_sizes": protocol.hidden}
    if name == "dqn":
        layers["activation"] = nn.relu
    return whole.replace(agent=whole.agent.clone(**layers))


def with_counters(state: Any, change: Callable[[Any], Any]) -> Any:
    """Return a state with what all seeds count alike changed: the step, and the place in the buffer."""
    found = state.replace(global_step=change(state.global_step))
    if not hasattr(state, "replay_buffer"):
        return found
    buffer = state.replay_buffer
    return found.replace(replay_buffer=buffer.replace(index=change(buffer.index), full=change(buffer.full)))


def programs(name: str, seeds: int) -> tuple[Callable[[Any], Any], Callable[[Any, int], Any]]:
    """Return what starts so many seeds from a key, and what runs so many iterations of each.

    What all seeds count alike is one number, as in `jax.vmap(algorithm.train)`: so conditions on it stay
    conditions.
    """
    algorithm = made(name)

    @jax.jit
    def start(key: Any) -> Any:
        return with_counters(jax.vmap(algorithm.init_state)(jax.random.split(key, seeds)), lambda x: x[0])

    @partial(jax.jit, static_argnums=1, donate_argnums=0)
    def chunk(state: Any, iterations: int) -> Any:
        def run(state: Any) -> Any:
            return jax.lax.fori_loop(0, iterations, lambda _, state: algorithm.train_iteration(state), state)

        lanes = with_counters(jax.tree.map(lambda _: 0, state), lambda _: None)
        return jax.vmap(run, in_axes=(lanes,), out_axes=lanes)(state)

    return start, chunk
