"""What an H100 would run of a loop, on a machine without one: kernels of each loop within, and memory.

    python -m benchmarks.h100 dqn pqn q-learning

Nothing is executed, so nothing is timed. It needs an environment of its own, for it rests on private parts of JAX
0.10.2, and of no other: `pip install 'jax[cuda12]==0.10.2'` (6 GB), qjax and tyro.
"""

import os
from contextlib import suppress
from typing import Annotated, Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import numpy as np
import tyro
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from benchmarks import gpu
from benchmarks.kernels import Loop, program
from qjax.core import clock
from qjax.sweeps.plan import size

JAX = "0.10.2"
H100 = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128
  shared_memory_per_block: 49152 shared_memory_per_core: 233472 shared_memory_per_block_optin: 232448
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000 l2_cache_size: 52428800 clock_rate_ghz: 1.98 device_memory_size: 84978434048
  cuda_compute_capability { major: 9 minor: 0 }
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 8 patch: 0 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""
"""The device, in the words in which XLA describes one."""


def compiled(name: str, lanes: int = 1_024, iterations: int = 1_000) -> Any:
    """Return `jax.vmap(loop.run)` of an algorithm, learning, compiled for an H100.

    Args:
        name: one of `benchmarks.gpu`, or another algorithm, which has its defaults on CartPole-v1.
        lanes: how many run side by side.
        iterations: of the loop.

    Raises:
        RuntimeError: another release of JAX.
        ImportError: JAX without CUDA.

    """
    loop = (gpu.LOOPS.get(name) or gpu.named(name, "CartPole-v1"))()
    keys = jax.eval_shape(lambda key: jax.random.split(key, lanes), jax.random.key(0))
    shapes = jax.eval_shape(lambda keys: (jax.vmap(loop.init)(keys), clock.at(0)), keys)
    sharding = NamedSharding(Mesh(np.array([_device()]), ("device",)), PartitionSpec())

    def run(lanes: Any, ticks: Any) -> Any:
        return jax.vmap(lambda lane: loop.run(lane, ticks, iterations))(lanes)

    jitted = jax.jit(run, in_shardings=sharding, out_shardings=sharding, donate_argnums=0)
    return jitted.trace(*shapes).lower(lowering_platforms=("cuda",)).compile()


def _device() -> Any:
    """Return a device that programs can be compiled for, and nothing else."""
    if jax.__version__ != JAX:
        raise RuntimeError(f"this rests on private parts of jax {JAX}, and here is {jax.__version__}")
    try:
        import jax_plugins.xla_cuda12 as plugin
    except ImportError as error:
        raise ImportError(f"this needs JAX with CUDA: pip install 'jax[cuda12]=={JAX}'") from error
    from jax._src.lib import xla_client

    for prepare in (plugin._load_nvidia_libraries, plugin._import_extensions):
        with suppress(Exception):  # without a driver they complain, and compiling needs neither
            prepare()
    if not xla_client.pjrt_plugin_loaded("cuda"):
        xla_client.load_pjrt_plugin_dynamically("cuda", str(plugin._get_library_path()))
    if not xla_client.pjrt_plugin_initialized("cuda"):
        xla_client.initialize_pjrt_plugin("cuda")
    described = {"target_config": H100, "topology": "1x1x1"}
    topology = xla_client._xla.get_default_c_api_topology("cuda", "1x1x1", described)
    return topology._make_compile_only_devices()[0]


def lines(loop: Loop, depth: int = 0) -> list[str]:
    """Return a line for a loop and one for each within it."""
    what = f"a loop of {loop.passes:,}" if depth else "the program"
    return [f"{'  ' * depth}{what}: {loop.kernels} kernels", *(x for i in loop.inner for x in lines(i, depth + 1))]


def main(names: Annotated[tuple[str, ...], tyro.conf.Positional] = ("dqn", "pqn", "q-learning")) -> None:
    """Print the loops of each algorithm, their kernels, and its memory."""
    for name in names:
        found = compiled(name)
        memory = found.memory_analysis()
        held = f"{size(memory.argument_size_in_bytes)} of lanes, {size(memory.temp_size_in_bytes)} beside them"
        print(f"{name}: {held}", *lines(program(found.as_text()), 1)[1:], sep="\n", flush=True)


if __name__ == "__main__":
    tyro.cli(main)
