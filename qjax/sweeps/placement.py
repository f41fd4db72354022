"""Where lanes stand: settings x seeds in groups of one size, on the devices of all hosts."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXIS = PartitionSpec("lanes")


class Placement:
    """Lanes ordered by setting and then by seed, the last group padded; host arrays only, and their places.

    A group is `width` lanes on each device of a one-axis mesh over all hosts' devices.
    """

    def __init__(self, settings: np.ndarray, seeds: np.ndarray, width: int, devices: Sequence[Any]):
        """Place lanes `[L]` given by their `settings` and `seeds`.

        Raises:
            ValueError: a host would have no lane.

        """
        self.width, self.lanes = width, len(seeds)
        self.mesh = Mesh(np.array(devices_for(devices, -(-len(seeds) // width))), ("lanes",))
        self.size = width * self.mesh.size
        """Lanes of a group."""
        self.count = -(-len(seeds) // self.size)
        """Groups."""
        self.place = NamedSharding(self.mesh, AXIS)
        begins = np.arange(0, len(seeds), self.size)[:, None] + width * np.arange(self.mesh.size)
        self.busy = [(row < len(seeds)).astype(np.int32) for row in begins]
        """Of each group which devices have a lane, `[devices]`: one that holds padding alone makes no iteration."""
        # Padding repeats the last setting with further seeds; its results are dropped.
        missing = -len(seeds) % self.size
        self.settings = np.concatenate([settings, np.full(missing, settings[-1])]).reshape(self.count, self.size)
        self.seeds = np.concatenate([seeds, seeds.max() + 1 + np.arange(missing)]).reshape(self.count, self.size)
        slices = self.place.addressable_devices_indices_map((self.size,)).values()
        ours = np.concatenate(sorted((np.arange(self.size)[index] for index in slices), key=lambda rows: rows[0]))
        local = np.concatenate([ours + group * self.size for group in range(self.count)])
        self.local = local[local < self.lanes]
        """Which lanes this process holds, `[local lanes]`."""

    def spread(self, tree: Any) -> Any:
        """Return host arrays `[size, ...]`, or `[devices]`, as arrays over the mesh."""
        place = self.place
        return jax.tree.map(lambda x: jax.make_array_from_callback(x.shape, place, lambda index: x[index]), tree)

    def assembled(self, pieces: dict[Any, np.ndarray]) -> jax.Array:
        """Return an array over the mesh from each device's rows."""
        parts = [jax.device_put(rows, device) for device, rows in pieces.items()]
        return jax.make_array_from_single_device_arrays((self.size, *parts[0].shape[1:]), self.place, parts)

    def begins(self, group: int) -> dict[Any, int]:
        """Return the first lane of a group on each of this process's devices."""
        indices = self.place.addressable_devices_indices_map((self.size,))
        return {d: (i[0].start or 0) + group * self.size for d, i in indices.items() if i is not None}

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


def devices_for(devices: Sequence[Any], pieces: int) -> list[Any]:
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
