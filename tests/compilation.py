"""How the tests compile: quickly rather than well, as compilation is most of their time.

What tests the compiled program itself, or that two programs agree in every bit, asks for users' programs.
"""

from contextlib import contextmanager

FLAGS = (
    "--xla_backend_optimization_level=0",
    "--xla_cpu_use_fusion_emitters=false",
    "--xla_cpu_parallel_codegen_split_count=1",
)
"""In XLA_FLAGS for all tests and the processes that they start."""

FUSED = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": True}
"""Compiler options that give the text of users' programs, but not what is made of it after."""

AS_USERS = {"xla_backend_optimization_level": 3, "xla_cpu_use_fusion_emitters": True}
"""Compiler options that give users' programs, which round as theirs do and run as fast."""


@contextmanager
def sweeps(options):
    """Have sweeps compile with these options."""
    from qjax import groups

    before = groups.COMPILER_OPTIONS
    groups.COMPILER_OPTIONS = before | options
    try:
        yield
    finally:
        groups.COMPILER_OPTIONS = before
