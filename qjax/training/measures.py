"""Measures of a network while it trains: how much of it is in use, and how much an update changes."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float, Int, Key

from qjax.agents.plasticity import dormant, mean_activity
from qjax.core import clock as clocks
from qjax.core.annotations import checked
from qjax.core.checks import TINY, check_callable, check_range
from qjax.core.default_rules import usual
from qjax.training.lane import Lane
from qjax.training.loop import Loop
from qjax.types import Clock, HiddenLayer, Time, no_carry

MOST = 512
"""Observations that are measured, of a batch that has more every so many."""

SWEEPS = 12
"""Over all pairs of columns; Jacobi rotations converge quadratically, in float32 in fewer."""


@usual
@checked
def effective_rank(features: Float[Array, "B d"], delta: Any = 0.01) -> Int[Array, ""]:
    """Return how many of the largest singular values make a share 1 - delta of the sum of all, 0 where that is 0.

    Source: Kumar et al. 2021 (srank, section 3): min { k : sum_{i <= k} sigma_i >= (1 - delta) sum_i sigma_i }.
    """
    values = singular_values(features)
    reached = jnp.cumsum(values) >= (1 - delta) * values.sum()
    return jnp.where(values.sum() > 0, 1 + jnp.argmax(reached), 0)


def singular_values(matrix: Float[Array, "B d"]) -> Float[Array, " k"]:
    """Return the singular values of a matrix, largest first, by one-sided Jacobi rotations (Hestenes 1958).

    All pairs of columns are made orthogonal, half as many at once as there are columns, again and again; then their
    norms are the singular values. XLA's own, a call of LAPACK, waits for ever in a program on several CPU devices.
    """
    count = min(matrix.shape)
    tall = matrix if matrix.shape[1] == count else matrix.T
    tall = jnp.pad(tall / jnp.maximum(abs(tall).max(), TINY), ((0, 0), (0, count % 2)))

    def turn(_: Any, halves: Any) -> Any:
        left, right = halves
        across = (left * right).sum(0)
        half = ((right**2).sum(0) - (left**2).sum(0)) / 2
        # The tangent of the smaller angle that makes a pair orthogonal.
        sign = jnp.where(half < 0, -1.0, 1.0)
        tangent = sign * across / jnp.maximum(abs(half) + jnp.hypot(half, across), TINY)
        cosine = lax.rsqrt(1 + tangent**2)
        left, right = cosine * (left - tangent * right), cosine * (tangent * left + right)
        if count <= 2:
            return left, right
        # As in a tournament everyone but the first moves on by one place.
        moved = jnp.concatenate([left[:, :1], right[:, :1], left[:, 1:-1]], 1)
        return moved, jnp.concatenate([right[:, 1:], left[:, -1:]], 1)

    rounds = SWEEPS * max(tall.shape[1] - 1, 1)
    halves = lax.fori_loop(0, rounds, turn, tuple(jnp.split(tall, 2, axis=1)))
    norms = jnp.linalg.norm(jnp.concatenate(halves, 1), axis=0)
    return jnp.sort(norms)[::-1][:count] * abs(matrix).max()


@usual
def dormant_share(activity: tuple[Float[Array, "..."], ...], threshold: Any = 0.1) -> Float[Array, ""]:
    """Return the share of dormant units among those of all hidden layers (Sokar et al. 2023, definition 3.2).

    Args:
        activity: the mean absolute value of each layer's units, `[n]` each.
        threshold: tau, share of their layer's mean activity up to which units are dormant.

    """
    asleep = [dormant(each, threshold) for each in activity]
    return jnp.concatenate(asleep).mean()


def network_measures(
    build: Callable[[Any], Loop], threshold: Any = 0.1, delta: Any = 0.01
) -> Callable[[Any, Lane, Clock, Any], dict[str, Array]]:
    """Return a sweep's `report` of how its networks are, on a batch of the memory and after an update on it.

    It logs `dormant`, the share of dormant units (Sokar et al. 2023); `srank`, the effective rank of what the last
    hidden layer gives (Kumar et al. 2021); `weight_norm`, of all parameters; `gradient_norm`, where the optimiser
    keeps it (`qjax.keep_gradient_norm`); and `churn`, the share of observations whose greedy action the update
    changes (Schaul et al. 2022). The update is thrown away, so training is the same with and without, bit for bit.

    Args:
        build: that of the sweep, `hyper -> loop`.
        threshold: share of their layer's mean activity up to which units are dormant.
        delta: share of the singular values' sum that the effective rank leaves out.

    Raises:
        ValueError: a number lies outside its range; (when it is traced) the agent has memory, or no parameters.

    """
    check_callable("build", build, "(hyper) -> loop")
    check_range("threshold", threshold, 0, float("inf"))
    check_range("delta", delta, 0, 1)

    def report(hyper: Any, lane: Lane, clock: Clock, key: Key[Array, ""]) -> dict[str, Array]:
        loop = build(hyper)
        agent = loop.agent
        if agent.begin is not no_carry:
            raise ValueError(
                "networks are measured on single observations; the agent's values depend on those before"
            )
        own = network_state(lane.agent)
        sample_key, learn_key = jax.random.split(key)
        at = _time(loop, lane, clock)
        batch = loop.memory.sample(sample_key, lane.memory, clock, at)
        after, _ = agent.learn(learn_key, lane.agent, batch, at)
        every = -(-batch.weight.size // MOST)
        rows = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[::every], batch.data.obs)

        def greedy(state: Any) -> Any:
            return jax.vmap(lambda obs: agent.values(None, state, obs).argmax())(rows)

        found = {"weight_norm": optax.tree.norm(own.params)}
        found["churn"] = (greedy(after) != greedy(lane.agent)).mean()
        norm = optax.tree.get(network_state(after).opt_state, "gradient_norm")
        if norm is not None:
            found["gradient_norm"] = norm
        if agent.hidden is not None:
            layers = jax.vmap(agent.hidden, in_axes=(None, 0))(lane.agent, rows)
            found["dormant"] = dormant_share(mean_activity(layers), threshold)
            found["srank"] = effective_rank(features(layers), delta).astype(jnp.float32)
        return found

    return report


def _time(loop: Loop, lane: Lane, clock: Clock) -> Time:
    """Return the time at a log point."""
    learned = jnp.maximum(clocks.as_float(clock) / loop.rollout - loop.warmup, 0) * loop.updates
    return Time(clocks.as_float(clock) * loop.num_envs, lane.episodes, learned, envs=loop.num_envs)


def network_state(state: Any) -> Any:
    """Return the part of an agent's state that has the network's parameters, whatever is around it.

    Raises:
        ValueError: none has.

    """
    while not hasattr(state, "params"):
        if not hasattr(state, "agent"):
            raise ValueError(f"the agent's state has no params, it is a {type(state).__name__}")
        state = state.agent
    return state


def features(layers: tuple[HiddenLayer, ...]) -> Float[Array, "B d"]:
    """Return what the output reads: the units of the layers that no hidden layer reads, `[B, d]`."""
    hidden = {path for layer in layers for path in layer.incoming}
    last = [x.units for x in layers if not hidden & {*x.outgoing}]
    return jnp.concatenate([x.reshape(len(x), -1) for x in last], axis=1)
