"""What decides a run's last digits beside its arguments: libraries, machine, backend, and JAX's settings."""

import platform
from importlib.metadata import version
from typing import Any

import jax

from qjax.core.distribution import VERSION
from qjax.machine.devices import processor


def numerics() -> dict[str, Any]:
    """Return those of JAX's settings that change numbers, and are not what they are by default."""
    config, usual = jax.config, {"default_matmul_precision": None, "threefry_partitionable": True}
    found = {name: getattr(config, f"jax_{name}") for name in usual}
    return {name: value for name, value in found.items() if value != usual[name]}


def versions() -> dict[str, str]:
    """Return what else decides a run's last digits: libraries, machine and backend."""
    packages = {name: version(name) for name in ("jax", "jaxlib", "flax", "optax", "gymnax", "numpy")}
    machine = {"python": platform.python_version(), "machine": platform.machine(), "processor": processor()}
    backend = jax.default_backend()
    devices = {"backend": backend, "devices": str(jax.device_count())}
    return {
        "qjax": VERSION,
        **packages,
        **machine,
        **devices,
        "default_width": "by the work" + " and the devices" * (backend != "cpu"),
    }
