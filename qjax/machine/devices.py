"""Devices: how many there are, what memory they have, and how many lanes should run side by side on one."""

import os
import platform
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from qjax.core.checks import check_path, check_size

LEAST_WIDEST, MAX_WIDTH = 8, 512
CACHE_BYTES = 2**20
"""What a group's agents may take of a core's cache, beside their activations."""

PIECES = 4
"""So many cores are to have lanes, however many there are: a width depends on the work alone."""

LEAST_WIDTH, NARROW_BYTES = 2, 2**16
"""Groups whose agents take less, or of fewer lanes, are not cut for that: starting an operation costs more than it
does. And XLA compiles one lane by itself to other last digits than two, where two to eight were the same."""


def use_cores(count: int | None = None) -> None:
    """Make JAX show one CPU device per core, or `count` of them, so that sweeps use all cores.

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
        found = len(jax.local_devices(backend="cpu"))
        if found != cores:
            raise RuntimeError(
                f"JAX has already started with {found} CPU device(s), too late for {cores}:"
                " call qjax.use_cores() before anything makes an array"
            ) from None


def use_cache(folder: str | Path | None = None) -> Path:
    """Let JAX keep compiled programs on disk, so that the same command starts sooner the next time.

    Call it before the first compilation. Every version of JAX and type of CPU has a subfolder of its own: a program
    for another CPU may not run. Where `JAX_COMPILATION_CACHE_DIR` is set, that folder is used as it is.

    Args:
        folder: default `qjax` in the user's cache folder.

    Returns:
        The folder.

    """
    if folder is not None:
        check_path("folder", folder)
    given = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    if given and folder is None:
        return Path(given)
    if folder is None:
        import platformdirs

        folder = platformdirs.user_cache_path("qjax")
    lines = _cpuinfo() or [platform.processor()]
    # The first core's model and features; what changes from moment to moment, such as its clock, is left out.
    features = sorted({line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))})
    cpu = f"{platform.machine()}-{zlib.crc32(chr(10).join(features).encode()):08x}"
    chosen = Path(folder) / f"jax-{jax.__version__}-{cpu}"
    jax.config.update("jax_compilation_cache_dir", str(chosen))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)  # small programs add up
    return chosen


def processor() -> str:
    """Return the model of this machine's processor, as far as the system tells."""
    models = [line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _cpuinfo() -> list[str]:
    info = Path("/proc/cpuinfo")
    return info.read_text().splitlines() if info.is_file() else []


def default_width(lane: Any, lanes: int, devices: Sequence[Any]) -> int:
    """Return how many lanes a group should hold on each device, from a lane's shapes.

    On a CPU it depends on the work alone: at most the power of two whose agents take up to `CACHE_BYTES`, between
    `LEAST_WIDEST` and `MAX_WIDTH` (few networks, many small tables); and the lanes are shared out evenly over as
    many widths as that takes, or over `PIECES` where they do not get too narrow by it. On a GPU, where a step
    costs its kernel launches, all lanes of a device: `lanes / devices`, so numbers depend on the number of them.
    """
    if devices[0].platform != "cpu":
        return -(-lanes // len(devices))
    small = max(sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(lane.agent)), 1)
    widest = int(np.clip(2 ** int(np.log2(max(CACHE_BYTES // small, 1))), LEAST_WIDEST, MAX_WIDTH))
    narrowest = int(np.clip(NARROW_BYTES // small, LEAST_WIDTH, widest))
    pieces = max(-(-lanes // widest), min(PIECES, lanes // narrowest))
    return -(-lanes // pieces)


def memory_limit(devices: Sequence[Any]) -> int:
    """Return the bytes that these devices of one process have together: CPU devices share the machine's memory.

    A container's limit counts where there is one.
    """
    limits = [(device.memory_stats() or {}).get("bytes_limit") for device in devices]
    known = [limit for limit in limits if limit is not None]
    if len(known) == len(devices):
        return int(sum(known))
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    container = Path("/sys/fs/cgroup/memory.max")
    allowed = container.read_text().strip() if container.is_file() else "max"
    return total if allowed == "max" else min(total, int(allowed))
