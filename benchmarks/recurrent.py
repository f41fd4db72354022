"""What does remembering cost? PQN with a GRU against plain JAX, longer sequences, and the memory of a lane.

python -m benchmarks.recurrent
"""

import numpy as np

from benchmarks.harness import Contender, Row, program, ratio, rounds, run_as_script, versus
from qjax.sweeps.plan import size

ENV = "MemoryChain-bsuite"
SEEDS = 16
LENGTHS = (5, 10, 20, 40)
ALGORITHMS = ("dqn", "drqn", "r2d2", "recurrent-pqn")

OURS = f"""
import json
import qjax
qjax.use_cores()
from qjax.sweeps.sweep import Sweep
loop = qjax.algorithms.make("recurrent-pqn", qjax.make("{ENV}"))
print(json.dumps([Sweep(lambda _: loop, {SEEDS}, None, 0, 500_000, 1, None, None).compile().programs.compile_s]))
"""
PLAIN = f"""
import json, time
import jax
from benchmarks.baselines import plain_recurrent_pqn as plain
key = jax.random.key(0)
start, chunk = plain.programs({SEEDS})
began = time.perf_counter()
carry = jax.eval_shape(start, key)
start.lower(key).compile()
chunk.lower(carry, 50).compile()
print(json.dumps([time.perf_counter() - began]))
"""
BYTES = f"""
import json
import jax
import qjax
from qjax.sweeps.plan import bytes_of
def lane(name):  # what `qjax.sweep.plan` says, but nothing is compiled
    config = qjax.algorithms.config(name, hidden=(64,))
    return bytes_of(jax.eval_shape(qjax.algorithms.make(name, qjax.make("{ENV}"), config).init, jax.random.key(0)))
print(json.dumps([lane(name) for name in {ALGORITHMS}]))
"""


def against_plain(quick: bool) -> list[Row]:
    """Compare steps a second with the same algorithm in plain JAX."""
    seconds, repeats = (1.5, 3) if quick else (8.0, 5)
    with (
        Contender("qjax_training", algorithm="recurrent-pqn", env_name=ENV, lanes=SEEDS, iterations=4) as ours,
        Contender("plain_recurrent_pqn", seeds=SEEDS) as plain,
        Contender("plain_recurrent_pqn", seeds=SEEDS, sharded=True) as sharded,
    ):
        rounds([ours, plain, sharded], seconds, repeats)
    claim = f"PQN with a GRU, {SEEDS} seeds: plain `vmap(scan)`"
    each, base = (np.array(x.speeds) / x.cores for x in (ours, plain))
    speeds = (f"{np.median(each):,.0f} env-steps/s", f"{np.median(base):,.0f}")
    return [
        versus(f"{claim}, JAX's default device", ours, plain),
        versus("the same, sharded over the cores", ours, sharded),
        Row("the first, by seconds of a core that each had", *speeds, ratio(list(each), list(base))),
    ]


def compilation() -> Row:
    """Compare the seconds of compilation with plain JAX's."""
    compiled = np.array([(program(OURS)[0][0], program(PLAIN)[0][0]) for _ in range(3)]).T
    ours, plain = (f"{each:.1f} s" for each in np.median(compiled, axis=1))
    return Row(f"PQN with a GRU, {SEEDS} seeds, compilation, cold: plain JAX", ours, plain, ratio(*compiled))


def by_length(algorithm: str) -> list[Row]:
    """Compare sequences of several lengths, each update with as many of them, with the shortest."""
    rows = []

    def contender(length: int) -> Contender:
        burn_in = length // 4 if algorithm == "r2d2" else 0
        return Contender(
            "qjax_training", algorithm=algorithm, env_name=ENV, length=length, burn_in=burn_in, iterations=20
        )

    with contender(LENGTHS[0]) as shortest:
        for length in LENGTHS[1:]:
            shortest.speeds = []
            with contender(length) as longer:
                rounds([longer, shortest], 5.0, 5)
            claim = f"{algorithm}, {SEEDS} seeds: sequences of {length} rows: of {LENGTHS[0]}"
            rows.append(versus(claim, longer, shortest))
    return rows


def lane_bytes() -> list[Row]:
    """Compare what a lane takes, by the same network but for its cell, and as many transitions."""
    plain, *others = program(BYTES)[0]
    return [
        Row(f"memory of a lane, {name}: {ALGORITHMS[0]}", size(each), size(plain), f"{each / plain:.2f}")
        for name, each in zip(ALGORITHMS[1:], others, strict=True)
    ]


def rows(quick: bool) -> list[Row]:
    """Return all of them."""
    found = [*against_plain(quick), *lane_bytes()]
    return found if quick else [*found, compilation(), *by_length("drqn"), *by_length("r2d2")]


if __name__ == "__main__":
    run_as_script(rows)
