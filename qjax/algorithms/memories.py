"""The memories of the deep family, and the sizes of loops with replay, of an algorithm's constants."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qjax.algorithms.constants import steps_of
from qjax.core.checks import check_path, check_range, check_size, check_unit, concrete
from qjax.datasets.dataset import Dataset, check_env
from qjax.datasets.files import DATASET, load
from qjax.datasets.memory import recorded
from qjax.exploration import schedules
from qjax.replay.frames import Frames
from qjax.replay.memory import ring
from qjax.replay.prioritized import prioritized
from qjax.types import Env, Memory


def memory_of(
    env: Env, config: Any, sizes: dict[str, int], memory: Callable[..., Memory] = ring, window: int = 1
) -> Memory:
    """Return a memory of the config's constants, or of its data set.

    Args:
        env: the environment.
        config: the constants.
        sizes: of the loop.
        memory: `memory(capacity, batch_size, window=)`, or with `frames`, too.
        window: consecutive rows of a batch.

    Raises:
        ValueError: there is a data set, and the algorithm draws by priority or stores frames.

    """
    check_uniform(config, memory)
    if config.data is not None:
        if config.frames is not None:
            raise ValueError(f"recorded transitions are stored whole: leave out frames, got {config.frames}")
        return recorded(loaded(config.data, env), config.gamma, config.batch_size, window)
    stored = {} if config.frames is None else {"frames": Frames(env.max_steps, check_size("frames", config.frames))}
    return memory(whole_capacity(config, sizes), config.batch_size, window=window, **stored)


def loaded(folder: str, env: Env) -> Dataset:
    """Return a data set; while its file stays as it is the same arrays, which are then on a device once."""
    check_path("folder", folder)
    place = Path(folder).absolute()
    known = place / DATASET
    found: Dataset = _loaded(place, known.stat().st_mtime_ns if known.is_file() else 0)
    check_env(found, folder, env)
    return found


@functools.lru_cache(maxsize=4)
def _loaded(folder: Path, written: int) -> Dataset:
    return load(folder)


def check_uniform(config: Any, memory: Callable[..., Memory]) -> None:
    """Check that what learns from a data set draws uniformly.

    Raises:
        ValueError: it draws by priority.

    """
    if config.data is not None and memory is not ring:
        raise ValueError(f"recorded data are drawn uniformly, not by priority: leave out data, got {config.data}")


def whole_capacity(config: Any, sizes: dict[str, int]) -> int:
    """Return the config's capacity, rounded up to whole iterations of a loop of these sizes."""
    block = sizes["num_envs"] * sizes["rollout"]
    return -(-check_size("capacity", config.capacity) // block) * block


def loop_sizes(config: Any) -> dict[str, int]:
    """Return the sizes of a loop with replay, `warmup` and `sync_every` in iterations; data need no warm-up.

    Raises:
        ValueError: a period of the target is shorter than an iteration, at whose end copies are made.

    """
    check_unit(config.target_unit, "target_unit")
    check_range("target_period", config.target_period, 1, 2**30, whole=True)
    num_envs, rollout, updates = (check_size(x, getattr(config, x)) for x in ("num_envs", "rollout", "updates"))
    warmup, steps = check_size("warmup", config.warmup, least=0), num_envs * rollout
    if config.data is not None:
        warmup = 0
    sizes = {"num_envs": num_envs, "rollout": rollout, "updates": updates, "warmup": -(-warmup // steps)}
    sizes["sync_every"] = 1
    if config.target_unit == "step" and concrete(config.target_period):
        period = int(config.target_period)
        if period < steps:
            raise ValueError(
                f"target_period of {period} steps is shorter than an iteration's {steps}, when copies are made"
            )
        if period % steps == 0:
            sizes["sync_every"] = period // steps
    return sizes


def by_priority(config: Any) -> Callable[..., Memory]:
    """Return prioritized replay with beta rising to 1 over the run."""
    check_range("beta", config.beta, 0, 1)
    beta = schedules.linear(config.beta, 1.0, steps_of(config))

    def memory(capacity: int, batch_size: int, window: int = 1, frames: Frames | None = None) -> Memory:
        return prioritized(capacity, batch_size, config.alpha, beta, window=window, frames=frames)

    return memory
