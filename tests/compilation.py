"""How the tests compile: quickly rather than well, as compilation is most of their time.

What tests the compiled program itself, or that two programs agree in every bit, asks for users' programs.
"""

import functools
import os
import subprocess
import sys
from contextlib import contextmanager

QUICKLY = {
    "xla_backend_optimization_level": "0",
    "xla_cpu_use_fusion_emitters": "false",
    "xla_cpu_parallel_codegen_split_count": "1",
    "xla_cpu_opt_preset": "CPU_OPT_PRESET_FAST_COMPILE",
}
"""The compiler's options for all tests and the processes that they start, as far as it knows them."""

_PARSE = "from jaxlib import xla_client; xla_client.CompileOptions()"


def use_flags():
    """Put into XLA_FLAGS what the compiler knows of `QUICKLY`; a flag unknown to it ends a process at once."""
    given = os.environ.get("XLA_FLAGS", "")

    def known(flags):
        command, env = [sys.executable, "-c", _PARSE], {**os.environ, "XLA_FLAGS": " ".join([given, *flags])}
        return subprocess.run(command, env=env, capture_output=True, check=False).returncode == 0

    flags = [f"--{name}={value}" for name, value in QUICKLY.items()]
    if not known(flags):
        assert known([]), f"the compiler does not start with XLA_FLAGS={given!r}"
        flags = [flag for flag in flags if known([flag])]
    os.environ["XLA_FLAGS"] = " ".join([given, *flags])


def share_context():
    """Lower the programs of this process in one MLIR context, for one each takes a sixth of the tests' time.

    One that is lowered while another is has its own, for it would become a part of that.
    """
    from jax._src.interpreters import mlir

    if hasattr(mlir, "make_ir_context"):
        make = mlir.make_ir_context
        shared = functools.cache(make)
        mlir.make_ir_context = lambda: shared() if mlir.ir.Context.current is None else make()


def _instead(level):
    """Return compiler options in the place of flags, without those that the compiler does not know."""
    options = {
        "xla_backend_optimization_level": level,
        "xla_cpu_use_fusion_emitters": True,
        "xla_cpu_opt_preset": "CPU_OPT_PRESET_DEFAULT",
    }
    return {name: value for name, value in options.items() if f"--{name}=" in os.environ.get("XLA_FLAGS", "")}


def __getattr__(name):  # when a test asks: the flags are set by then
    if name == "FUSED":
        return _instead(0)
    if name == "AS_USERS":
        return _instead(3)
    raise AttributeError(name)


@contextmanager
def sweeps(options):
    """Have sweeps compile with these options."""
    from qjax.sweeps import compiler

    before = compiler.OPTIONS
    compiler.OPTIONS = before | options
    try:
        yield
    finally:
        compiler.OPTIONS = before


def once(compile, builds):
    """Return `Programs.compile`, which shares the programs of the same work of `builds` on the same devices."""
    made = {}

    def compile_once(self, inner_iterations, watch=False, *asked):
        if self.build not in builds or any(asked):
            return compile(self, inner_iterations, watch, *asked)
        root, devices = (self._root.tobytes(), self._impl), tuple(self.placement.mesh.devices.flat)
        work = (self.build, root, devices, self.placement.size, *inner_iterations.items(), watch, self._evaluation)
        if work not in made:
            made[work] = compile(self, inner_iterations, watch)
        self.__dict__ |= {
            name: getattr(made[work], name) for name in ("compiled", "compile_s", "temp_bytes", "_look")
        }
        return self

    return compile_once
