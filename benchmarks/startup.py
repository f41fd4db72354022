"""How long until a program trains? Imports, compilation cold and from the cache, and the first training step.

python -m benchmarks.startup
"""

import tempfile

import numpy as np

from benchmarks.harness import Row, program, ratio, run_as_script

OURS = """
import collections, json, time
import jax
import qjax
took = collections.Counter()
jax.monitoring.register_event_duration_secs_listener(lambda name, seconds, **_: took.update({name: seconds}))
qjax.use_cores()
from experiments import cartpole
from qjax.sweeps.sweep import Sweep
loop = cartpole.build(cartpole.preset("cleanrl", None))
whole = Sweep(lambda _: loop, 64, None, 0, 500_000, 100, 8, None).compile().programs.compile_s
lowering = took["/jax/core/compile/jaxpr_to_mlir_module_duration"]
making = took["/jax/core/compile/backend_compile_duration"]
print(json.dumps([whole, whole - lowering - making, lowering, making]))
"""
PLAIN = """
import json, time
import jax
from benchmarks.baselines import plain_dqn as plain
key = jax.random.key(0)
start, chunk = plain.programs(64)
began = time.perf_counter()
carry = jax.eval_shape(start, key)
start.lower(key).compile()
for learning in (False, True):
    chunk.lower(carry, 1000, learning).compile()
print(json.dumps([time.perf_counter() - began]))
"""


def rows(quick: bool) -> list[Row]:
    """Return all of them."""
    repeats = 1 if quick else 5
    compiled: dict[str, list[float]] = {"ours": [], "plain": [], "warm": []}
    imports: dict[str, list[float]] = {"ours": [], "theirs": []}
    first, parts = [], []
    with tempfile.TemporaryDirectory() as cache:
        program(OURS, cache)
        _first_step(f"{cache}/run", cache)  # which fills the cache
        for number in range(repeats):
            compiled["ours"].append(program(OURS)[0][0])
            compiled["plain"].append(program(PLAIN)[0][0])
            parts.append(program(OURS, cache)[0])
            compiled["warm"].append(parts[-1][0])
            imports["ours"].append(program("import qjax")[1])
            imports["theirs"].append(program("import flax, optax")[1])
            first.append(_first_step(f"{cache}/run{number}", cache))
    middle = {name: f"{np.median(found):.1f} s" for name, found in compiled.items()}
    loaded = {name: f"{np.median(found):.2f} s" for name, found in imports.items()}
    return [
        Row(
            "DQN, 64 seeds, CleanRL protocol: compilation, cold: plain JAX",
            middle["ours"],
            middle["plain"],
            ratio(compiled["ours"], compiled["plain"]),
            "at most 1",
        ),
        Row(
            "the same from the persistent cache: cold",
            middle["warm"],
            middle["ours"],
            ratio(compiled["warm"], compiled["ours"]),
            "at most 0.2",
        ),
        Row("of which JAX traces, lowers, and reads the programs", _shares(parts), "", ""),
        Row(
            "`import qjax`: importing flax and optax",
            loaded["ours"],
            loaded["theirs"],
            ratio(imports["ours"], imports["theirs"]),
            "at most 1.3",
        ),
        Row(
            "`python -m experiments.cartpole`, compilation cached: from the command to the first chunk that trains",
            f"{np.median(first):.1f} s",
            "",
            f"({min(first):.1f} to {max(first):.1f} s)",
        ),
    ]


def _shares(parts: list[list[float]]) -> str:
    """Return the medians of whole times' parts as text."""
    return ", ".join(f"{x:.1f} s" for x in np.median(parts, axis=0)[1:])


def _first_step(folder: str, cache: str) -> float:
    """Return the seconds from the command to the end of the first chunk with an update in it, warm-up before."""
    code = (
        "import sys, time\n"
        "import qjax.sweeps.options\n"
        "from contextlib import contextmanager\n"
        "@contextmanager\n"
        "def show(*_):\n"
        "    def stop(progress):\n"
        "        import os\n"
        "        if progress.updates: print('[]', flush=True); os._exit(0)\n"
        "    yield stop\n"
        "qjax.sweeps.options.show_progress = show\n"
        f"sys.argv = ['cartpole', '--out', {folder!r}]\n"
        "import runpy; runpy.run_module('experiments.cartpole', run_name='__main__')\n"
    )
    return program(code, cache)[1]


if __name__ == "__main__":
    run_as_script(rows)
