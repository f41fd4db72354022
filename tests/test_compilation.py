"""The compiler's options: those it does not know are left out, and the others are checked by their effect."""

import os
import re
import struct
from collections import Counter
from functools import cache
from importlib.metadata import version

import compilation
import jax
import jax.numpy as jnp
import numpy as np
from compilation import AS_USERS, FUSED
from jax.sharding import Mesh, PartitionSpec

from qjax.sweeps import compiler

FLAGS = {name for name in compilation.QUICKLY if f"--{name}=" in os.environ["XLA_FLAGS"]}
OTHERWISE = {
    "xla_backend_optimization_level": 3,
    "xla_cpu_use_fusion_emitters": True,
    "xla_cpu_parallel_codegen_split_count": 32,
    "xla_cpu_opt_preset": "CPU_OPT_PRESET_DEFAULT",
}
"""Values that the compiler would take by itself."""


@cache
def lowered():
    """Return a function of several kernels, some of them fusions."""

    def function(x):
        for _ in range(4):
            x = jnp.tanh(x @ x) + jnp.cumsum(x, 0) * x.sum(0) / jnp.exp(x).mean(1)
        return x

    return jax.jit(function).lower(jax.ShapeDtypeStruct((64, 64), jnp.float32))


def code(options):
    """Return the object files (ELF) that a program consists of."""
    text, found = lowered().compile(options).runtime_executable().serialize(), []
    begin = text.find(b"\x7fELF")
    while begin >= 0:
        (sections,), (size, count) = (struct.unpack_from(f, text, begin + i) for f, i in (("<Q", 40), ("<HH", 58)))
        found.append(text[begin : begin + sections + size * count])
        begin = text.find(b"\x7fELF", begin + 4)
    assert found
    return sorted(found)


def test_every_flag_of_the_tests_changes_programs():
    """From jaxlib 0.11 on, programs are split by their functions, and the number of splits is read no more."""
    plain = code({})
    heeded = {name for name, value in OTHERWISE.items() if name in FLAGS and code({name: value}) != plain}
    newer = tuple(map(int, version("jaxlib").split(".")[:2])) >= (0, 11)
    assert heeded == (FLAGS - {"xla_cpu_parallel_codegen_split_count"} if newer else set(OTHERWISE))


def test_what_is_asked_for_as_users():
    """The same text as theirs; and with all options also the same code, but for the files that it stands in."""
    text = lambda options: lowered().compile(options).as_text()
    assert text(FUSED) == text(AS_USERS)
    assert (text(FUSED) == text({})) == FLAGS.isdisjoint({"xla_cpu_use_fusion_emitters", "xla_cpu_opt_preset"})
    assert set(code(AS_USERS)).isdisjoint(code(FUSED))


def test_unknown_flags_and_options_are_left_out(monkeypatch):
    real = {"xla_backend_optimization_level": "0"}
    monkeypatch.setattr(compilation, "QUICKLY", real | {"xla_cpu_use_wishes": "true"})
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
    compilation.use_flags()
    given = "--xla_force_host_platform_device_count=2 --xla_backend_optimization_level=0"
    assert os.environ["XLA_FLAGS"] == given
    assert compiler.known_options(real | {"xla_cpu_use_wishes": True}) == real


def operations(devices, options):
    """Count the operations of quotients with one divisor, for two lanes on each device, by their names."""
    mesh, lanes = Mesh(np.array(jax.devices()[:devices]), ("lanes",)), PartitionSpec("lanes")
    quotients = jax.vmap(lambda x: [x / (1 - x.sum()), x * x / (1 - x.sum())])
    program = jax.jit(jax.shard_map(quotients, mesh=mesh, in_specs=lanes, out_specs=lanes))
    compiled = program.lower(jax.ShapeDtypeStruct((2 * devices, 3), jnp.float32)).compile(FUSED | options)
    return Counter(re.findall(r" = .*? ([\w-]+)\(", compiled.as_text()))


def test_one_device_and_two_run_the_same_program():
    """Which is what the option is for: without it they differ. Where they no longer do, it may go."""
    one = operations(1, compiler.OPTIONS)
    assert one["fusion"] and one == operations(2, compiler.OPTIONS)
    assert operations(1, {}) != operations(2, {})
