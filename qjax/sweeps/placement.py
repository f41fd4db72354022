"""Where lanes stand: settings x seeds in groups of one size, on the devices of all hosts."""

from collections.abc import Sequence
from copy import copy
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from qjax.machine import hosts

AXIS = PartitionSpec("lanes")

EMPTY = -1
"""Stands for the lane of a place that has none."""


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
        # Padding repeats the last setting with further seeds; its results are dropped.
        missing = -len(seeds) % self.size
        self.settings = np.concatenate([settings, np.full(missing, settings[-1])]).reshape(self.count, self.size)
        self.seeds = np.concatenate([seeds, seeds.max() + 1 + np.arange(missing)]).reshape(self.count, self.size)
        self.rows = self._rows(jax.process_index())
        """Which rows of a group this process has, in order."""
        slots = np.arange(self.count * self.size).reshape(self.count, self.size)
        slots = np.where(slots < self.lanes, slots, EMPTY)
        each = [slots[:, self._rows(process)].reshape(-1) for process in range(jax.process_count())]
        self.begun = [lanes[lanes != EMPTY] for lanes in each]
        """Which lanes each process holds, in order, those included that have left since."""
        self.local = self.begun[jax.process_index()]
        """Which lanes this process holds, `[local lanes]`."""
        self._fill(slots)

    def _rows(self, process: int) -> np.ndarray:
        places: Any = self.place.devices_indices_map((self.size,))
        own = [np.arange(self.size)[index] for device, index in places.items() if device.process_index == process]
        return np.sort(np.concatenate(own)) if own else np.zeros(0, int)

    def _fill(self, slots: np.ndarray) -> None:
        """Put lanes into the places, `[groups, size]`."""
        self.slots = slots
        """The lane in each of this process's places, `[groups, size]`, `EMPTY` for padding and those that left."""
        self.busy = list((slots.reshape(self.count, -1, self.width) != EMPTY).any(-1).astype(np.int32))
        """Of each group which devices have a lane, `[devices]`: one that holds padding alone makes no iteration."""
        own = slots[:, self.rows].reshape(-1)
        self._held = np.flatnonzero(own != EMPTY)
        self._lanes = np.searchsorted(self.local, own[self._held])

    def without(self, lanes: np.ndarray) -> "Placement":
        """Return the same places without some of this process's lanes: padding is there in their stead."""
        found = copy(self)
        found._fill(np.where(np.isin(self.slots, lanes), EMPTY, self.slots))
        return found

    @property
    def needed(self) -> int:
        """How many groups this process's lanes need."""
        return -(-len(self._held) // len(self.rows))

    def compacted(self, count: int) -> tuple["Placement", np.ndarray]:
        """Return places for the same lanes in the same order in fewer groups, and where each row comes from.

        That is which of this process's rows in all groups together each of its rows there was. Behind the lanes
        is padding: what stood in those rows before, with its setting and seed.
        """
        found, source = copy(self), np.arange(count * len(self.rows))
        source[: len(self._held)] = self._held

        def fewer(column: np.ndarray) -> np.ndarray:
            kept = column[:count].copy()
            kept[:, self.rows] = column[:, self.rows].reshape(-1)[source].reshape(count, -1)
            return kept

        found.count, found.settings, found.seeds = count, fewer(self.settings), fewer(self.seeds)
        slots = fewer(self.slots)
        padding = np.arange(len(source)).reshape(count, -1) >= len(self._held)
        slots[:, self.rows] = np.where(padding, EMPTY, slots[:, self.rows])
        found._fill(slots)
        return found, source

    def where(self) -> np.ndarray:
        """Return where this process's lanes stand: rows of all groups together, `[local lanes]`, else `EMPTY`."""
        found = np.full(len(self.local), EMPTY)
        group, row = np.divmod(self._held, len(self.rows))
        found[self._lanes] = group * self.size + self.rows[row]
        return found

    def column(self, groups: Sequence[jax.Array], fill: float = 0) -> np.ndarray:
        """Return what an array of each group holds of this process's lanes, `[local lanes, ...]`.

        Those that have left have `fill`, 0 where that is none of the array's numbers.
        """
        rows = np.concatenate([hosts.local(group) for group in groups])
        whole = np.full((len(self.local), *rows.shape[1:]), fill if rows.dtype.kind == "f" else 0, rows.dtype)
        whole[self._lanes] = rows[self._held]
        return whole

    def spread(self, tree: Any) -> Any:
        """Return host arrays `[size, ...]`, or `[devices]`, as arrays over the mesh."""
        place = self.place
        return jax.tree.map(lambda x: jax.make_array_from_callback(x.shape, place, lambda index: x[index]), tree)

    def assembled(self, pieces: dict[Any, np.ndarray]) -> jax.Array:
        """Return an array over the mesh from each device's rows."""
        parts = [jax.device_put(rows, device) for device, rows in pieces.items()]
        return jax.make_array_from_single_device_arrays((self.size, *parts[0].shape[1:]), self.place, parts)

    def from_local(self, rows: np.ndarray) -> jax.Array:
        """Return an array over the mesh from this process's rows of a group, in order."""
        indices = self.place.addressable_devices_indices_map((self.size,))
        own = {d: np.arange(self.size)[index] for d, index in indices.items()}
        return self.assembled({d: rows[np.searchsorted(self.rows, each)] for d, each in own.items()})

    def pieces(self, group: int) -> dict[Any, np.ndarray]:
        """Return the lanes of a group on each of this process's devices, `[width]`, `EMPTY` for padding."""
        indices = self.place.addressable_devices_indices_map((self.size,))
        return {device: self.slots[group][index] for device, index in indices.items()}

    def everywhere(self, column: np.ndarray) -> np.ndarray:
        """Return a host's column `[local lanes, ...]` for all lanes, on every host."""
        if jax.process_count() == 1:
            return column
        if not column.size:
            return np.zeros((self.lanes, *column.shape[1:]), column.dtype)
        from jax.experimental import multihost_utils

        # As bytes, for JAX has no 64-bit integers by default; every host's message has the same length.
        own = np.ascontiguousarray(column).reshape(len(column), -1).view(np.uint8)
        words = np.zeros((max(map(len, self.begun)), own.shape[1]), np.uint8)
        words[: len(own)] = own
        found = np.asarray(multihost_utils.process_allgather(words))
        whole = np.zeros((self.lanes, own.shape[1]), np.uint8)
        for lanes, rows in zip(self.begun, found, strict=True):
            whole[lanes] = rows[: len(lanes)]
        return whole.view(column.dtype).reshape(self.lanes, *column.shape[1:])


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
