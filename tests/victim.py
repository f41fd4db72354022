"""A small sweep in a process of its own, to be killed: `python victim.py KIND OUT [SETTING=VALUE...]`."""

import itertools
import sys
from pathlib import Path

import jax
import numpy as np
import optax
import probes

import qjax
from qjax.machine import hosts
from qjax.sweeps import saving

STEPS = {"tabular": 60_000, "deep": 12_000, "long": 10**12, "dropping": 60_000}

saving.CHECKPOINT_SHARE = 0  # a checkpoint at every chunk, so that many a kill meets one half written


def build(kind):
    table = kind in ("tabular", "dropping")
    env = qjax.make(probes.Walk(box=not table))
    if table:
        agent, memory = qjax.tabular(env.num_states, 2, 0.1), qjax.online()
    else:
        agent = qjax.dqn(qjax.MLP(2, (16,)), optax.adam(1e-2), target=qjax.polyak(0.1))
        memory = qjax.ring(64, 16)
    return qjax.make_loop(env, agent, qjax.epsilon_greedy(0.3), memory, gamma=0.9, num_envs=2, warmup=20)


class Crash(Exception):
    pass


def crashing(after):
    """Return an `on_progress` that raises from outside at the end of so many chunks; None for never."""
    chunks = itertools.count(1)

    def count(progress):
        if next(chunks) == after:
            raise Crash

    return count


def unlucky(point, number):
    """Drop lanes by what they did, whichever process holds them: about a third at every fourth log point."""
    return (point.episodes % 3 == 0) & (number % 4 == 2)


def main(kind, out, **settings):
    values = {"chunk_seconds": 0.05, "checkpoint_every": 0.0, "cores": 2, "distributed": 0}
    values |= {name: float(value) for name, value in settings.items()}
    qjax.use_cores(int(values.pop("cores")))
    if values.pop("distributed"):
        hosts.initialize()
    with qjax.Run(Path(out), kind, {}, resume=True) as run:
        # Seven lanes in groups of two a device: every number of devices has to pad.
        result = qjax.sweep(
            lambda _: build(kind),
            seeds=7,
            steps=STEPS[kind],
            log_points=30,
            width=2,
            run=run,
            drop=unlucky if kind == "dropping" else None,
            **values,
        )
    print(result.stopped, flush=True)
    if result.stopped is None and hosts.is_first():
        np.savez(Path(out) / "result.npz", **{str(i): x for i, x in enumerate(leaves(result))})


def leaves(result):
    ends = result.agents, result.diverged_at, result.dropped_at
    return jax.tree.leaves((*ends, [point[:7] for point in result.points]))


if __name__ == "__main__":
    main(*sys.argv[1:3], **dict(pair.split("=") for pair in sys.argv[3:]))
