"""Several hosts: JAX's multi-controller runtime, and the few words that its processes exchange between chunks.

A host that ends before its time tells the others by JAX's store of keys and values, and they end too. Only where
the first one is killed, which keeps that store, JAX aborts the others in its own way.
"""

import atexit
import contextlib
import json
import os
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

import jax
import numpy as np

from qjax.machine.streams import tell

T = TypeVar("T")

MESSAGE_BYTES = 4096
SHUTDOWN_SECONDS = 24 * 3600
"""How long the others wait at the end while the first process evaluates and draws."""
JOIN_SECONDS = 300
"""How long a process waits at the start for all others."""
LEAVE_SECONDS = 5.0
"""How long a process waits for the others to hear that it ends."""
LOOK_SECONDS = 0.2
"""How often a process looks whether another one has ended."""
ENDED, HEARD, DONE = "qjax/ended", "qjax/heard", "qjax/done"
FAILED = 2
"""Exit status of a host that another one ended."""

_leaving = threading.Lock()
"""Held by what ends this process: it says one line."""


def initialize(join_seconds: float = JOIN_SECONDS) -> None:
    """Join the processes of one job (`jax.distributed.initialize`), before JAX starts.

    Where they are not all there after `join_seconds`, the process ends with one line and status 2.

    Under SLURM, Open MPI or Kubernetes JAX finds the others by itself; elsewhere the environment names them:
    `JAX_COORDINATOR_ADDRESS` (host:port of process 0), `JAX_NUM_PROCESSES` and `JAX_PROCESS_ID`.

    Raises:
        ValueError: neither is there.

    """
    count, number = os.environ.get("JAX_NUM_PROCESSES"), os.environ.get("JAX_PROCESS_ID")

    def late() -> None:
        of = "" if count is None else f" {count}"
        tell(f"error: not all{of} processes of this job were there after {join_seconds:g} s")
        os._exit(FAILED)

    joining = threading.Timer(join_seconds, late)  # when JAX's own time is up it aborts
    joining.daemon = True
    joining.start()
    try:
        jax.distributed.initialize(
            num_processes=None if count is None else int(count),
            process_id=None if number is None else int(number),
            initialization_timeout=int(join_seconds) + 60,
            shutdown_timeout_seconds=SHUTDOWN_SECONDS,
        )
    finally:
        joining.cancel()
    over = threading.Event()
    listener = threading.Thread(target=_listen, args=(_client(), over), daemon=True)
    listener.start()
    atexit.register(_close, _client(), over, listener)


def _client() -> Any:
    """Return JAX's store of keys and values."""
    from jax._src import distributed

    return distributed.global_state.client


def _listen(client: Any, over: threading.Event) -> None:
    """Look out for a host that ends before its time, and end with it."""
    said: list[Any] = []
    while not said and not over.wait(LOOK_SECONDS):
        with contextlib.suppress(Exception):
            said = client.key_value_dir_get(ENDED)
    if said:
        with _leaving:
            tell(f"error: {said[0][1]}")
            part()
            os._exit(FAILED)


def _close(client: Any, over: threading.Event, listener: threading.Thread) -> None:
    """Wait for the other hosts at the end, and look out for those that fail until all are there."""
    with contextlib.suppress(Exception):
        client.key_value_set(f"{DONE}/{jax.process_index()}", "")
        while len(client.key_value_dir_get(DONE)) < jax.process_count():
            time.sleep(LOOK_SECONDS)
    over.set()  # a thread in compiled code would break the interpreter's end
    listener.join()


def leave(why: str, line: str) -> None:
    """Tell the others that this process ends before its time, and that they are to end: they may wait for it.

    Args:
        why: what the others say.
        line: what this process says.

    """
    _leaving.acquire()  # for good
    if line:
        tell(line)
    if jax.distributed.is_initialized():
        with contextlib.suppress(Exception):
            number = jax.process_index()
            _client().key_value_set(f"{ENDED}/{number}", f"host {number} ended: {why}")
        part(told=True)


def part(told: bool = False) -> None:
    """Let the first process be the last one to end, for without it JAX aborts the others; all processes call.

    With `told`, each waits until all have heard that one of them ends.
    """
    if alone():
        return
    client = _client()
    with contextlib.suppress(Exception):
        client.key_value_set(f"{HEARD}/{jax.process_index()}", "")
        deadline = time.monotonic() + LEAVE_SECONDS
        while (told or is_first()) and time.monotonic() < deadline:
            if len(client.key_value_dir_get(HEARD)) >= jax.process_count():
                break
            time.sleep(0.05)
    if is_first():
        time.sleep(LOOK_SECONDS)  # the others end at once


def is_first() -> bool:
    """Return whether this process is the one that joins what the others write."""
    return jax.process_index() == 0


def alone() -> bool:
    """Return whether there is but one process; where JAX has not started, it does not start it."""
    return not jax.distributed.is_initialized() or jax.process_count() == 1


def gather(message: dict[str, Any]) -> list[dict[str, Any]]:
    """Return every process's message, in the order of the processes; all of them must call.

    Raises:
        ConnectionError: another process has gone.

    """
    if alone():
        return [message]
    from jax.experimental import multihost_utils

    words = json.dumps(message).encode()
    if len(words) > MESSAGE_BYTES:
        raise ValueError(f"a message of {len(words)} bytes is longer than {MESSAGE_BYTES}: {message}")
    padded = np.frombuffer(words.ljust(MESSAGE_BYTES), np.uint8)
    try:
        found = np.asarray(multihost_utils.process_allgather(padded))
    except Exception as error:
        raise ConnectionError(f"another host has gone: {str(error).splitlines()[0]}") from error
    return [json.loads(row.tobytes()) for row in found]


def agreed(action: Callable[[], T]) -> T:
    """Do something on every host, and return what it returns; what fails on one fails on all.

    Raises:
        OSError: it failed on another host; the message says why.

    """
    failure, result = None, None
    try:
        result = action()
    except Exception as error:
        failure = error
    text = None if failure is None else f"{failure or repr(failure)}"[:1000]
    said = {number: each["failure"] for number, each in enumerate(gather({"failure": text}))}
    if failure is not None:
        raise failure
    for number, why in said.items():
        if why is not None:
            raise OSError(f"host {number}: {why}")
    return cast("T", result)


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
