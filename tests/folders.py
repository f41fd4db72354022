"""Runs' folders as sweeps leave them, written from arrays."""

import math
import types

import jax.numpy as jnp
import numpy as np

import qjax
from qjax.runs.points import Point


def written(folder, returns, hypers=None, scores=None, **options):
    """Write a run with these mean returns, `[S, N, P]`; NaN after a lane's last log point ends the lane there.

    Args:
        folder: the run's.
        returns: `[S, N, P]`
        hypers: columns `[S]` of what was swept.
        scores: greedy returns `[S, N]`, for a summary; without them the run has not ended.
        options: `experiment`, `env`, `arguments`, `machine`, `every` (steps between log points), `log_points`,
            `episodes` (the run is counted in them; `reached` are those of each log point `[S, N, P]`), `agents`,
            `logged` (by name `[S, N, P]`), `diverged` (steps `[S, N]`, -1 for never), and what else the `summary`
            holds.

    """
    returns, hypers = np.asarray(returns, float), hypers or {}
    settings, seeds, points = returns.shape
    lanes, every = settings * seeds, options.get("every", 100)
    flat = returns.reshape(lanes, points)
    lengths = points - np.isnan(flat)[:, ::-1].argmin(1) if options.get("ends") else np.full(lanes, points)
    episodes = options.get("episodes")
    logged = {name: np.reshape(values, (lanes, points)) for name, values in options.get("logged", {}).items()}
    diverged = np.reshape(options.get("diverged", np.full(lanes, -1)), lanes)
    reached = options.get("reached", np.broadcast_to(10 * np.arange(1, points + 1), returns.shape))
    described = {
        "seeds": seeds, "lanes": lanes, "hypers": {name: list(column) for name, column in hypers.items()},
        "columns": [], "logged": list(logged), "log_points": options.get("log_points", points),
        "episodes": episodes,
        "steps": None if episodes else every * points, "environment": options.get("env", "FrozenLake-v1"),
    }  # fmt: skip
    ids = {"seed": np.tile(np.arange(seeds), settings), "setting": np.repeat(np.arange(settings), seeds)}
    env_steps = np.zeros(lanes, np.int64)
    given = {"arguments": options.get("arguments", {}), "machine": options.get("machine")}
    with qjax.Run(folder, options.get("experiment", "q-learning"), **given) as run:
        run.lifecycle.open(described)
        for p in range(points):
            changed = p < lengths
            env_steps = np.where(changed, every * (p + 1), env_steps)
            blank, ended = np.full(lanes, np.nan), np.reshape(reached, (lanes, points))[:, p]
            values = {name: own[:, p] for name, own in logged.items()}
            lost = np.where(diverged <= env_steps, diverged, -1)
            point = Point(
                env_steps, ended, flat[:, p], {"loss": blank}, values, changed, lost, 1, math.nan, p + 1.0
            )
            run.log(point, ids)
        if "agents" in options:
            run.save_agents(options["agents"])
        if scores is not None:
            each = [{"final_return_per_seed": own} for own in np.asarray(scores, float)]
            run.finish({**({"settings": each} if hypers else each[0]), **options.get("summary", {})})
    return folder


def grid(folder, several, runs):
    """Write the config of a grid whose runs were made in turn, and of those runs `options`."""
    with qjax.Run(folder, "q-learning", {"grid": several}) as run:
        run.lifecycle.begin()
        for name, options in runs.items():
            written(folder / name, **options)
    return folder


# ---- what a sweep of two lanes tells its run

LANES = 2
SWEEP = {"seeds": LANES, "lanes": LANES, "hypers": {}, "columns": [], "logged": []}


def point(number):
    counts, blank = np.full(LANES, 10 * (number + 1)), np.full(LANES, np.nan)
    return Point(counts, counts, blank, {}, {}, np.ones(LANES, bool), np.full(LANES, -1), 1, 0.5, number + 1.0)


def groups(tick):
    """Stand for the lanes of a sweep."""
    leaves = [jnp.full(LANES, tick), jnp.zeros((LANES, 3))]
    lanes, none = np.arange(LANES), (np.zeros(0, int), [])
    return types.SimpleNamespace(
        leaves=lambda: [leaves], local=lanes, count=1, size=LANES, slots=lanes, kept=lambda: none
    )


def describe(tick):
    notes = [(1, 0.5, number + 1.0, 10 * LANES) for number in range(tick)]
    leaves = [{"name": f"{i}", "shape": [3] * i, "dtype": "x"} for i in range(2)]
    return {"tick": tick, "seconds": float(tick), "points": notes, "leaves": leaves}


def contents(folder):
    """Return the bytes of every file in a folder."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
