"""What keeps a network able to learn: now and then its parameters, all of them or some, begin again.

A `Reset` says what becomes of the parameters; `with_resets` has it done at the target's cadence, around any agent
with a network, so that loops and updates stay as they are.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

from qjax.core.checks import check_range, check_record, check_text
from qjax.core.default_rules import makes_usual
from qjax.core.text import shown
from qjax.types import Agent, Batch, HiddenLayer, Params, State, Sync, Time, no_carry, no_update


class Reset(NamedTuple):
    """What becomes of a network's parameters at a reset."""

    apply: Callable[[Params, Params, tuple[HiddenLayer, ...]], tuple[Params, PyTree[Bool[Array, "..."]]]]
    """`(params, fresh, layers) -> (params, renewed)`: the new parameters, of those before and of others as they are
    at a start, and flags of which have lost their past. Of a hidden layer `units` are here the mean of their
    absolute values over the last batch, `[n]`."""
    reads_layers: bool = False
    """Whether it reads `layers`, which is `()` else."""


class ResettableState(NamedTuple):
    """The state of an agent `with_resets`."""

    agent: State
    """Its own."""
    since: State
    """What the period has counted."""
    activity: tuple[Float[Array, " n"], ...]
    """Mean absolute value of the units of each hidden layer over the last batch; `()` where nothing reads it."""


@makes_usual
def with_resets(agent: Agent, reset: Reset, when: Sync, obs: PyTree[Any]) -> Agent:
    """Return an agent whose network is reset, in whole or in part, once in a period.

    What is renewed has moments of 0 in the optimiser and the same values in the target network. The optimiser's own
    count goes on, with which rates fall, and nothing in the memory is forgotten.

    Args:
        agent: one with `params` in its state (`qjax.dqn`, `qjax.pqn`, `qjax.recurrent_dqn`, ...); of an ensemble
            the member, and of one that is `qjax.normalized` the agent within.
        reset: `qjax.reset_layers()`, `qjax.shrink_and_perturb(...)`, `qjax.redo(...)` or one of your own.
        when: `qjax.periodic(period, unit)`. A loop asks every `sync_every` iterations; no period is shorter.
        obs: an observation of which only shapes and dtypes are read: `env.obs_spec`.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: the reset reads hidden layers, and those of the agent's network are not known; (in `init`) the
            agent's state has no `params`, or the reset does not fit them.

    """
    check_record("agent", agent, Agent)
    check_record("reset", reset, Reset)
    check_record("when", when, Sync)
    if reset.reads_layers and agent.hidden is None:
        raise ValueError("the reset reads hidden layers, and those of the agent's network are not known")
    blank = jax.tree.map(lambda x: jnp.zeros((1, *x.shape), x.dtype), obs)

    def renewed(key: Any, state: ResettableState) -> Any:
        """Return the agent's state after a reset."""
        own, fresh = state.agent, agent.init(key, blank)
        params, flags = reset.apply(own.params, fresh.params, _layers(agent, state, obs))
        changed = {"params": params, "opt_state": _restarted(own.opt_state, fresh.opt_state, flags)}
        if hasattr(own, "target_params"):
            changed["target_params"] = _renewed_targets(own.target_params, params, flags)
        return own._replace(**changed)

    def init(key: Any, obs: Any) -> ResettableState:
        own = agent.init(key, obs)
        if not hasattr(own, "params"):
            raise ValueError(f"the agent's state has no params, it is a {type(own).__name__}: reset what is in it")
        one = jax.tree.map(lambda x: x[0], obs)
        units = [jnp.zeros(x.units.shape[-1]) for x in _shapes(agent, own, one)] if reset.reads_layers else ()
        state = ResettableState(own, when.init(), tuple(units))
        jax.eval_shape(renewed, key, state)
        return state

    def learn(key: Any, state: ResettableState, batch: Batch, time: Time) -> Any:
        own, info = agent.learn(key, state.agent, batch, time)
        units = _activity(agent, state.agent, batch) if reset.reads_layers else ()
        return state._replace(agent=own, activity=units), info

    def sync(key: Any, state: ResettableState, elapsed: Time) -> ResettableState:
        sync_key, reset_key = jax.random.split(key)
        state = state._replace(agent=agent.sync(sync_key, state.agent, elapsed))
        # What it makes of a flag tells whether a reset is due.
        since, due = when.step(state.since, jnp.bool_(True), jnp.bool_(False), elapsed)
        own = jax.tree.map(partial(jnp.where, due), renewed(reset_key, state), state.agent)
        return state._replace(agent=own, since=since)

    return _within(agent)._replace(init=init, learn=learn, sync=sync, zero_weight_noop=False)


def _within(agent: Agent) -> Agent:
    """Return an agent, whose state stands in another, where nothing but that changes."""

    def act(noise: Any, state: ResettableState, carry: Any, obs: Any) -> Any:
        return agent.act(noise, state.agent, carry, obs)

    def begin(key: Any, state: ResettableState) -> Any:
        return agent.begin(key, state.agent)

    def observe(state: ResettableState, block: Any) -> Any:
        return state._replace(agent=agent.observe(state.agent, block))

    def hidden(state: ResettableState, obs: Any) -> Any:
        assert agent.hidden is not None
        return agent.hidden(state.agent, obs)

    return agent._replace(
        act=act,
        begin=no_carry if agent.begin is no_carry else begin,
        observe=no_update if agent.observe is no_update else observe,
        hidden=None if agent.hidden is None else hidden,
    )


def _shapes(agent: Agent, state: State, obs: Any) -> tuple[HiddenLayer, ...]:
    """Return an agent's hidden layers as shapes."""
    assert agent.hidden is not None
    found: tuple[HiddenLayer, ...] = jax.eval_shape(agent.hidden, state, obs)
    if not found:
        raise ValueError("the reset reads hidden layers, and the agent's network has none")
    return found


def _layers(agent: Agent, state: ResettableState, obs: Any) -> tuple[HiddenLayer, ...]:
    """Return the hidden layers with their activity in the place of units."""
    if not state.activity:
        return ()
    known = _shapes(agent, state.agent, obs)
    return tuple(HiddenLayer(x, y.incoming, y.outgoing) for x, y in zip(state.activity, known, strict=True))


def _activity(agent: Agent, state: State, batch: Batch) -> tuple[Float[Array, " n"], ...]:
    """Return the mean absolute value of each hidden layer's units over a batch."""
    assert agent.hidden is not None
    rows = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), batch.data.obs)
    return mean_activity(jax.vmap(agent.hidden, in_axes=(None, 0))(state, rows))


def mean_activity(layers: tuple[HiddenLayer, ...]) -> tuple[Float[Array, " n"], ...]:
    """Return the mean absolute value of each unit over observations and places of an image, of `[B, ..., n]`."""
    return tuple(abs(x.units).reshape(-1, x.units.shape[-1]).mean(0) for x in layers)


def _renewed_targets(targets: Any, params: Params, flags: Any) -> Any:
    """Return target parameters that are those of the network where it is renewed; of several copies all of them."""
    copies, structure = jax.tree.flatten(targets)
    leaves = zip(jax.tree.leaves(flags), jax.tree.leaves(params), copies, strict=True)
    return jax.tree.unflatten(structure, [jnp.where(*each) for each in leaves])


def _restarted(old: Any, fresh: Any, flags: Any) -> Any:
    """Return an optimiser's state that is fresh where parameters are renewed; what is not of parameters stays."""

    def form(tree: Any) -> Any:
        return jax.tree.structure(tree), [x.shape for x in jax.tree.leaves(tree)]

    def of_params(part: Any) -> bool:
        return bool(form(part) == form(flags))

    def restarted(old: Any, fresh: Any) -> Any:
        return jax.tree.map(jnp.where, flags, fresh, old) if of_params(old) else old

    return jax.tree.map(restarted, old, fresh, is_leaf=of_params)


def _named(params: Params) -> Any:
    """Return the path of each array, such as params/Dense_0/kernel, in the place of it."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: jax.tree_util.keystr(path, simple=True, separator="/"), params
    )


def _is_in(path: str, layer: str) -> bool:
    return f"/{layer}/" in f"/{path}/"


def reset_layers(*names: Any) -> Reset:
    """Return the reset of some layers, or of the whole network (Nikishin et al. 2022).

    Args:
        names: of layers, as the parameters have them: Dense_2 is the last one of two hidden layers and an output;
            none for all.

    Raises:
        TypeError: a name is no string.
        ValueError: (when it is applied) there is no such layer.

    """
    for name in names:
        check_text("a layer's name", name)

    def apply(params: Params, fresh: Params, layers: Any) -> tuple[Params, Any]:
        paths = _named(params)
        known = {path.rpartition("/")[0] for path in jax.tree.leaves(paths)}
        for name in names:
            if not any(_is_in(path, name) for path in known):
                raise ValueError(f"the network has no layer {shown(name)}; it has {', '.join(sorted(known))}")
        chosen = jax.tree.map(lambda path: not names or any(_is_in(path, name) for name in names), paths)
        flags = jax.tree.map(lambda x, flag: jnp.full(x.shape, flag), params, chosen)
        return jax.tree.map(lambda flag, x, new: new if flag else x, chosen, params, fresh), flags

    return Reset(apply)


def shrink_and_perturb(shrink: Any = 0.8, perturb: Any = 0.2) -> Reset:
    """Return the reset theta <- shrink theta + perturb phi, with phi as at a start (Ash and Adams 2020, section 3).

    Raises:
        ValueError: a factor lies outside [0, 1].

    """
    check_range("shrink", shrink, 0, 1)
    check_range("perturb", perturb, 0, 1)

    def apply(params: Params, fresh: Params, layers: Any) -> tuple[Params, Any]:
        mixed = jax.tree.map(lambda x, new: shrink * x + perturb * new, params, fresh)
        return mixed, jax.tree.map(lambda x: jnp.ones(x.shape, bool), params)

    return Reset(apply)


def dormant(activity: Float[Array, " n"], threshold: Any) -> Bool[Array, " n"]:
    """Return which units are dormant: whose share of their layer's mean activity is at most `threshold`.

    Source: Sokar et al. 2023, definition 3.1, with `activity` the mean absolute value of each unit.
    """
    return activity <= threshold * activity.mean()


def redo(threshold: Any = 0.1) -> Reset:
    """Return the reset of dormant units alone, ReDo (Sokar et al. 2023, algorithm 1).

    What makes a dormant unit begins again, and what reads it is 0, so that the network's output hardly changes.

    Args:
        threshold: tau, share of their layer's mean activity up to which units are dormant, at least 0; may be
            traced.

    Raises:
        ValueError: the threshold is negative; (when it is applied) a layer that reads units has not a row for each.

    """
    check_range("threshold", threshold, 0, float("inf"))

    def apply(params: Params, fresh: Params, layers: tuple[HiddenLayer, ...]) -> tuple[Params, Any]:
        asleep = [dormant(layer.units, threshold) for layer in layers]

        def renew(path: str, x: Any, new: Any) -> tuple[Any, Any]:
            flags = jnp.zeros(x.shape, bool)
            for layer, units in zip(layers, asleep, strict=True):
                if any(_is_in(path, each) for each in layer.incoming):
                    own = jnp.broadcast_to(units, x.shape)
                    x, flags = jnp.where(own, new, x), flags | own
            for layer, units in zip(layers, asleep, strict=True):
                if x.ndim == 2 and any(_is_in(path, each) for each in layer.outgoing):
                    own = _rows(path, units, x.shape)
                    x, flags = jnp.where(own, 0, x), flags | own
            return x, flags

        leaves, structure = jax.tree.flatten(params)
        paths = jax.tree.leaves(_named(params))
        pairs = [renew(*each) for each in zip(paths, leaves, jax.tree.leaves(fresh), strict=True)]
        made, flags = zip(*pairs, strict=True)
        return jax.tree.unflatten(structure, made), jax.tree.unflatten(structure, flags)

    return Reset(apply, reads_layers=True)


def _rows(path: str, units: Bool[Array, " n"], shape: tuple[int, ...]) -> Bool[Array, "rows columns"]:
    """Return which entries of a kernel read one of some units, at any place."""
    rows, count = shape[0], units.size
    if rows % count:
        raise ValueError(f"{path} has {rows} rows, not a multiple of the {count} units that it is said to read")
    return jnp.broadcast_to(jnp.tile(units, rows // count)[:, None], shape)
