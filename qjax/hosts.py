"""Several hosts: JAX's multi-controller runtime, and the few words that its processes exchange between chunks."""

import json
import os
from typing import Any

import jax
import numpy as np

MESSAGE_BYTES = 4096
SHUTDOWN_SECONDS = 24 * 3600
"""How long the others wait at the end while the first process evaluates and draws."""


def initialize() -> None:
    """Join the processes of one job (`jax.distributed.initialize`), before JAX starts.

    Under SLURM, Open MPI or Kubernetes JAX finds the others by itself; elsewhere the environment names them:
    `JAX_COORDINATOR_ADDRESS` (host:port of process 0), `JAX_NUM_PROCESSES` and `JAX_PROCESS_ID`.

    Raises:
        ValueError: neither is there.

    """
    count, number = os.environ.get("JAX_NUM_PROCESSES"), os.environ.get("JAX_PROCESS_ID")
    jax.distributed.initialize(
        num_processes=None if count is None else int(count),
        process_id=None if number is None else int(number),
        shutdown_timeout_seconds=SHUTDOWN_SECONDS,
    )


def is_first() -> bool:
    """Return whether this process is the one that joins what the others write."""
    return jax.process_index() == 0


def alone() -> bool:
    """Return whether there is but one process."""
    return jax.process_count() == 1


def gather(message: dict[str, Any]) -> list[dict[str, Any]]:
    """Return every process's message, in the order of the processes; all of them must call."""
    if jax.process_count() == 1:
        return [message]
    from jax.experimental import multihost_utils

    words = json.dumps(message).encode()
    if len(words) > MESSAGE_BYTES:
        raise ValueError(f"a message of {len(words)} bytes is longer than {MESSAGE_BYTES}: {message}")
    padded = np.frombuffer(words.ljust(MESSAGE_BYTES), np.uint8)
    found = np.asarray(multihost_utils.process_allgather(padded))
    return [json.loads(row.tobytes()) for row in found]


def local(array: jax.Array) -> np.ndarray:
    """Return the rows of an array, sharded over its first axis, that this process holds, in order."""
    shards = sorted(array.addressable_shards, key=lambda shard: shard.index[0].start or 0)
    return np.concatenate([np.asarray(shard.data) for shard in shards])


def everywhere(array: jax.Array) -> np.ndarray:
    """Return all rows of an array that is sharded over its first axis; all processes must call."""
    if array.is_fully_addressable:
        return np.asarray(array)
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(array, tiled=True))
