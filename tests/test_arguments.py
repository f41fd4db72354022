"""Every argument of everything public: values it takes, and values that it refuses with one line that names both.

A new function, or a new argument, has to be told of here: `test_the_table_is_whole` fails until it is.
"""

import functools
import inspect
import pathlib
import pkgutil
import types
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import jaxtyping
import kinds as k
import matplotlib
import numpy as np
import optax
import pytest
from constants import constants

import qjax
from qjax import algorithms
from qjax.exploration import schedules
from qjax.mdp import solve
from qjax.types import Noise, Time, Transition

LONGEST = 400
"""Characters of a message."""

BESIDE = ("core.random", "sweeps.progress")
"""Modules whose functions check their arguments as public ones do."""


class Entry(NamedTuple):
    """The arguments of one function."""

    arguments: dict[str, k.Kind]
    call: Callable[..., Any] | None = None
    """Called with the arguments in the place of the function; None for the function itself."""
    runs: bool = True
    """Whether good values are tried, which must be cheap."""


def entry(call: Callable[..., Any] | None = None, runs: bool = True, **arguments: k.Kind) -> Entry:
    """Return an entry of the table."""
    return Entry(arguments, call, runs)


def public() -> dict[str, Any]:
    """Return what is public and can be called, by name; records and types are not, nor is what only they do."""
    found = {}
    folders = [name for name in dir(qjax) if name not in qjax.__all__ and hasattr(getattr(qjax, name), "__all__")]
    for name in [*qjax.__all__, *folders, *BESIDE]:
        value = pkgutil.resolve_name(f"qjax.{name}")
        if not isinstance(value, types.ModuleType):
            found[name] = value
            continue
        own = [n for n, x in vars(value).items() if getattr(x, "__module__", None) == value.__name__]
        for inner in getattr(value, "__all__", None) or [n for n in own if not n.startswith("_")]:
            found[f"{name}.{inner}"] = getattr(value, inner)
    return {name: value for name, value in found.items() if _is_function(value)}


def _is_function(value: Any) -> bool:
    """Return whether it is a function, or a class with arguments of its own that are no record's fields."""
    if isinstance(value, type):
        types_alone = tuple | qjax.results.Table | algorithms.Config | qjax.searches.Searched
        types_alone |= qjax.networks.RecurrentParams
        return not (getattr(value, "_is_protocol", False) or issubclass(value, types_alone))
    return isinstance(value, types.FunctionType) or hasattr(value, "__wrapped__")


NAMES = sorted(public())

# What stands in for arguments -----------------------------------------------------------------------------------

TIME = Time(jnp.float32(0), jnp.int32(0), jnp.float32(0), jnp.int32(0), 1)
Q = jnp.zeros(2)
BY_FIELD = k.raw(None, "of the environment: `test_fields_of_an_environment`")
ROW = Transition(jnp.int32(0), jnp.int32(0), jnp.float32(0), jnp.float32(0), jnp.int32(0), jnp.bool_(False))


def chain() -> Any:
    """Return an MDP of two states and two actions."""
    shape = (2, 2, 1)
    ends = np.array([[[False], [True]], [[False], [True]]])
    return qjax.mdp.from_outcomes(np.ones(shape, int), np.ones(shape), np.ones(shape), ends, [1.0, 0.0])


def target_policy(key: Any, transition: Any, q_online: Any, q_target: Any, time: Any) -> Any:
    """Return the greedy action's weights."""
    return qjax.maximum(key, transition, q_online, q_target, time)


ABOVE_ONE = k.number(2.0, 1, open_low=True)._replace(good=(2.0, 3, jnp.float32(1.5), np.float64(1.5)))


@functools.cache
def table() -> dict[str, Entry]:
    """Return the arguments of every public function, by name."""
    return {
        **factories(),
        **worlds(),
        **wrapped(),
        **runs(),
        **recorded(),
        **estimates(),
        **searching(),
        **numbers(),
        **pictures(),
    }


def factories() -> dict[str, Entry]:
    """Return the pieces of agents: no good value of theirs compiles anything."""
    states, units, net = k.size(2), k.name("step", "episode", "update"), qjax.MLP(2, (4,))
    policy = k.function(qjax.greedy, qjax.argmax)
    alpha = k.scheduled(k.half_open(0.1))
    alpha = alpha._replace(good=(*alpha.good, qjax.visit_count()))
    initial = k.array(0.0, 1, np.ones((2, 2)), jnp.zeros((2, 2)))
    initial = initial._replace(bad=(*initial.bad, [1.0, 2.0], np.ones((2, 1)), True), traced=True)
    network = k.record(net, qjax.table(2, 2))._replace(bad=(*k.record(net).bad, qjax.MLP))
    optimizer, head = k.record(optax.sgd(1.0), optax.adam(1e-3)), k.record(qjax.scalar(), qjax.quantile())
    sync = k.record(qjax.periodic(5), qjax.polyak(0.1))
    targets, cut = k.function(qjax.maximum, target_policy), k.function(qjax.watkins, qjax.never_cut)
    recurrent = k.record(qjax.recurrent(nn.GRUCell(2), net))
    rescale = k.optional(k.record(qjax.signed_hyperbolic()), first=True)
    eps = k.number(1e-5, 0, 1, open_low=True, traced=False)
    start = k.name(*qjax.networks.layers.INITIALIZERS)
    start = start._replace(good=(*start.good, qjax.networks.layers.INITIALIZERS["orthogonal"]))
    mlp: dict[str, Any] = {
        "atoms": k.optional(k.size(3), first=True),
        "levels": k.optional(k.size(3), first=True),
        **{name: k.flag() for name in ("own_levels", "dueling", "noisy", "norm")},
        "norm_eps": eps,
        "initializer": start,
        "output_scale": k.number(0.5, 0, 1e3, traced=False),
    }
    widths = k.listed(k.size(4), (4,), [4, 4], ())._replace(called="hidden")
    torso = k.optional(k.record(qjax.MLP(2)), first=True)
    flax = {name: k.raw(None, "flax's own") for name in ("parent", "name")}
    ring = {"capacity": k.size(8), "batch_size": k.size(1), "window": k.size(1)}
    ring["frames"] = k.optional(k.record(qjax.Frames(None)), first=True)
    return {
        "MLP": entry(actions=k.optional(k.size(2)), hidden=widths, torso=torso, **mlp, **flax),
        "as_network": entry(network=network),
        "bootstrapped": entry(
            agent=k.record(qjax.tabular(2, 2, 0.1)), size=k.size(3, 2), probability=k.half_open(), vote=k.flag(),
        ),
        "linear": entry(
            features=k.array(np.ones((2, 2, 3))), initial=k.array(0.0, np.ones(3), jnp.zeros(3)),
        ),
        "obgd": entry(learning_rate=k.positive(), kappa=k.positive()),
        "stream_q": entry(network=network, optimizer=k.optional(optimizer), lam=k.unit()),
        "qrc": entry(
            network=network, optimizer=optimizer, beta=k.number(1.0, 0),
            errors=k.optional(network, first=True)._replace(called="network"),
        ),
        "with_resets": entry(
            agent=k.record(qjax.dqn(net, optax.sgd(1.0))), reset=k.record(qjax.reset_layers(), qjax.redo()),
            when=k.record(qjax.periodic(5)), obs=BY_FIELD,
        ),
        "reset_layers": entry(
            lambda names: qjax.reset_layers(*names),
            names=k.Kind((("a", "b"), ()), ((3,), ("a", None)), called="name"),
        ),
        "shrink_and_perturb": entry(shrink=k.unit(), perturb=k.unit()),
        "redo": entry(threshold=k.number(0.1, 0)),
        "keep_gradient_norm": entry(),
        "network_measures": entry(
            build=k.function(lambda hyper: None), threshold=k.number(0.1, 0), delta=k.unit(),
        ),
        "count_bonus": entry(agent=k.record(qjax.tabular(2, 2, 0.1)), beta=k.number(0.1, 0)),
        "mbie_eb": entry(
            num_states=states, num_actions=states, beta=k.number(0.1, 0), initial=initial, sweeps=k.size(),
        ),
        "averaged_dqn": entry(
            network=network, optimizer=optimizer, copies=k.size(2), head=k.optional(head), target_policy=targets,
            reward=k.function(qjax.objectives.environment_reward), target=k.optional(k.record(qjax.periodic(5))),
        ),
        "maxmin_dqn": entry(
            network=network, optimizer=optimizer, size=k.size(3, 2), learners=k.size(1, most=3),
            head=k.optional(head), target_policy=targets,
            reward=k.function(qjax.objectives.environment_reward), target=k.optional(sync),
        ),
        "with_prior": entry(network=network, scale=k.positive()),
        "boltzmann": entry(temperature=k.scheduled(k.positive())),
        "batch_constrained": entry(
            threshold=k.unit(), penalty=k.number(0.5, 0), head=k.optional(head),
        ),
        "behaviour_cloning": entry(),
        "categorical": entry(
            low=k.number(-1.0, high=0.9), high=k.number(1.0, low=-0.9), atoms=k.size(3, 2, 2**24),
            min_probability=k.number(0.1, 0, 0.5), rescale=rescale,
        ),
        "conservative": entry(head=k.optional(head), alpha=k.number(0.5, 0)),
        "convolutional": entry(
            lambda options={}, **given: qjax.convolutional(**given, **options),
            actions=k.optional(k.size(2)), hidden=widths, features=k.size(2), norm=k.flag(), norm_eps=eps,
            initializer=start,
            options=k.Kind(({}, {"noisy": True}), ({"noisy": "no"},), called="noisy"),
        ),
        "dqn": entry(
            network=network, optimizer=optimizer, head=k.optional(head), target_policy=targets,
            reward=k.function(qjax.objectives.environment_reward), target=k.optional(sync),
            trace=k.optional(k.record(qjax.retrace())),
        ),
        **{name: entry(lam=k.unit()) for name in ("retrace", "tree_backup", "watkins_trace", "peng_trace")},
        "dyna": entry(num_states=states, num_actions=states, planning=k.size(2, least=0)),
        "encoded": entry(network=network, encode=k.function(lambda obs: obs)),
        "epsilon_greedy": entry(epsilon=k.scheduled(k.unit()), base=policy),
        "epsilon_z_greedy": entry(epsilon=k.scheduled(k.unit()), mu=ABOVE_ONE, base=policy),
        "action_taken": entry(policy=policy),
        "expected": entry(policy=policy),
        "hl_gauss": entry(
            low=k.number(-1.0, high=0.9), high=k.number(1.0, low=-0.9), bins=k.size(3, 2, 2**24),
            smoothing=k.number(0.75, 0, 3, open_low=True), rescale=rescale,
        ),
        "huber": entry(threshold=k.positive()),
        "online": entry(n=k.size()),
        "memoryless": entry(values=k.function(lambda noise, state, obs: jnp.zeros(2))),
        "masked": entry(network=network, legal=k.optional(k.function(lambda obs: jnp.ones(2, bool)))),
        "munchausen": entry(
            temperature=k.positive(), alpha=k.unit(), low=k.number(-1.0, high=0, infinite=True)
        ),
        "n_step": entry(memory=k.record(qjax.ring(8, 2)), n=k.size()),
        "with_next_action": entry(n=k.size()),
        "periodic": entry(period=k.number(4, 1, 2**30, whole=True), unit=units),
        "polyak": entry(rate=k.half_open()),
        "normalized": entry(
            agent=k.record(qjax.tabular(2, 2, 0.1)), observations=k.flag()._replace(good=(True,)),
            rewards=k.flag(), clip=k.positive(), epsilon=k.half_open(),
        ),
        "pqn": entry(
            network=network, optimizer=optimizer, lam=k.unit(), epochs=k.size(), minibatches=k.size(),
            head=k.optional(head), target_policy=targets,
        ),
        "prioritized": entry(
            **ring,
            alpha=k.number(0.5, 0),
            beta=k.scheduled(k.unit()),
            min_priority=k.positive(),
            branching=k.size(4, 2),
        ),
        "quantile": entry(kappa=k.positive(), rescale=rescale),
        "two_hot": entry(
            low=k.number(-1.0, high=0.9), high=k.number(1.0, low=-0.9), atoms=k.size(3, 2, 2**24), rescale=rescale,
        ),
        "as_recurrent": entry(network=recurrent),
        "recurrent": entry(
            cell=k.record(nn.GRUCell(2), nn.LSTMCell(2)), network=network, torso=torso._replace(called="network"),
        ),
        "recurrent_dqn": entry(
            network=recurrent, optimizer=optimizer, n=k.size(1), head=k.optional(head), target_policy=targets,
            reward=k.function(qjax.objectives.environment_reward), target=k.optional(sync), eta=k.unit(),
            stored_state=k.flag(), trace=k.optional(k.record(qjax.tree_backup()), first=True),
        ),
        "recurrent_pqn": entry(
            network=recurrent, optimizer=optimizer, lam=k.unit(), epochs=k.size(), minibatches=k.size(),
            head=k.optional(head), target_policy=targets,
        ),
        "sequences": entry(
            capacity=k.size(8), batch_size=k.size(1), length=k.size(4), burn_in=k.size(0, 0),
            replay=k.function(qjax.ring),
        ),
        "signed_hyperbolic": entry(epsilon=k.half_open()),
        "ring": entry(**ring),
        "sampled": entry(policy=policy),
        "scalar": entry(loss=k.function(qjax.squared, qjax.huber()), rescale=rescale),
        "schedules.constant": entry(value=k.number(0.5)),
        "schedules.linear": entry(start=k.number(1.0), end=k.number(0.1), duration=k.positive(9), unit=units),
        "schedules.geometric": entry(start=k.number(1.0), factor=k.unit(), end=k.number(0.1), unit=units),
        "schedules.ladder": entry(num_envs=k.size(), base=k.half_open(), exponent=k.number(2.0, 0)),
        "schedules.from_optax": entry(count_schedule=k.function(optax.constant_schedule(0.1)), unit=units),
        "table": entry(num_states=states, num_actions=states, initial=initial),
        "tabular": entry(
            num_states=states, num_actions=states, alpha=alpha, target_policy=k.optional(targets), initial=initial,
            tables=k.size(1, 1, 2),
        ),
        "traces": entry(
            num_states=states, num_actions=states, alpha=alpha, lam=k.unit(), target_policy=targets, cut=cut,
            replacing=k.flag(), initial=initial,
        ),
        "visit_count": entry(power=k.half_open(), scale=k.half_open()),
    }  # fmt: skip


def worlds() -> dict[str, Entry]:
    """Return environments, MDPs and their solutions."""
    mdp, env = chain(), qjax.make(chain(), max_steps_in_episode=5)
    record, policy, gamma = k.record(mdp), k.array(np.full((2, 2), 0.5)), k.unit()
    policy = policy._replace(bad=(*policy.bad, np.ones((2, 2)), np.full((2, 3), 0.5), -np.ones((2, 2))))
    pairs = k.data(jnp.ones((2, 2)))
    pairs = k.optional(pairs._replace(bad=(*pairs.bad, np.ones((3, 2)))))
    limits = {"tolerance": k.number(0.1, 0), "max_iterations": k.size()}
    outcomes: dict[str, Any] = {name: k.array(np.array(x)) for name, x in mdp._asdict().items()}
    wrong = (np.full((2, 2, 1), 1.5), np.full((2, 2, 1), -1.0), np.full((2, 2, 1), 2**31))
    outcomes["probability"] = outcomes["probability"]._replace(called="probabilit")
    for name in ("terminated", "probability", "successor"):
        outcomes[name] = outcomes[name]._replace(bad=(*outcomes[name].bad, *wrong))
    dense = {
        "probability": k.array(np.full((2, 2, 2), 0.5)),
        "reward": k.array(np.ones((2, 2)), np.ones((2, 2, 2))),
        "terminated": k.array(np.array([False, True]), np.array([0.0, 1.0]), [0, 1]),
        "start": k.array([1.0, 0.0]),
    }
    dense["terminated"] = dense["terminated"]._replace(bad=(*dense["terminated"].bad, [0, 1.5], [2, 0], [-1, 0]))
    limit = k.optional(k.number(9, 1, k.LARGEST, whole=True), first=True)
    exact = jax.eval_shape(lambda: solve.exact(mdp, 0.9))
    whole = {"mdp": record, "policy": policy, "gamma": gamma}
    return {
        "MDPEnvironment": entry(
            mdp=record, max_steps=limit, reward_noise=k.optional(k.number(0.5, 0), first=True), name=k.text(),
            observations=k.optional(k.array(np.arange(2)), first=True),
            legal=k.optional(k.array(np.ones((2, 2), bool)), first=True),
        ),
        "check_env": entry(  # the first has only its report: nothing is compiled for each seed
            env=k.Kind(("nowhere", env)), seed=k.size(0, 0), steps=k.size(3)
        ),
        "legal_table": entry(env=k.record(env)),
        "make": entry(
            lambda env=mdp, params=None, kwargs=None: qjax.make(env, params, **(kwargs or {})),
            env=k.Kind((mdp,), (True, 1j, None, 3, 1.5, [3], {}), called="reset"),
            params=k.optional(k.record(env.params), first=True), kwargs=BY_FIELD,
        ),
        "mdp.from_outcomes": entry(**outcomes),
        "mdp.from_dense": entry(**dense),
        "mdp.checked": entry(mdp=record),
        **{f"mdp.{name}": entry(mdp=record, policy=pairs) for name in ("possible", "steps_to_end")},
        "mdp.reachable": entry(mdp=record, policy=pairs, start=k.optional(k.data(jnp.array([True, False])))),
        "mdp.from_table": entry(
            table=k.record({0: {0: [(1.0, 0, 0.0, True)]}}), start=k.array([1.0]),
        ),
        "mdp.from_gymnasium": entry(env=k.record()._replace(called="table"), runs=False),
        "mdp.toy_text": entry(
            lambda name, kwargs=None: qjax.mdp.toy_text(name, **(kwargs or {})),
            name=k.text("CliffWalking-v1"), kwargs=BY_FIELD,
        ),
        "mdp.from_env": entry(env=k.record(env)),
        "mdp.frozen_lake": entry(env=k.record(), runs=False),
        "mdp.garnet": entry(
            key=k.key(), states=k.size(4), actions=k.size(2), branching=k.size(1), termination=k.unit()
        ),
        "mdp.baird": entry(),
        "mdp.deep_sea": entry(
            size=k.size(2), right=k.raw(None, "checked in mdp/test_examples.py"),
            move_cost=k.number(0.01, 0, traced=False),
        ),
        "mdp.river_swim": entry(
            length=k.size(6, 3), small=k.number(5.0, traced=False), large=k.number(1e4, traced=False),
        ),
        "solve.backup": entry(mdp=record, values=k.array(np.zeros(2), nan=True), gamma=gamma),
        "solve.value_iteration": entry(mdp=record, gamma=gamma, **limits),
        "solve.policy_iteration": entry(mdp=record, gamma=gamma, max_iterations=limits["max_iterations"]),
        "solve.policy_values": entry(**whole),
        "solve.policy_evaluation": entry(**whole, **limits),
        "solve.action_values": entry(**whole),
        "solve.visits": entry(**whole, **limits),
        "solve.expected_return": entry(mdp=record, policy=policy, steps=k.size()),
        "solve.best_return": entry(mdp=record, steps=k.size()),
        "solve.exact": entry(mdp=record, gamma=gamma, max_iterations=limits["max_iterations"]),
        "solve.report": entry(
            exact=k.record(jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), exact)), mdp=record,
            table=k.array(np.zeros((2, 2)), nan=True), gamma=gamma, max_iterations=limits["max_iterations"],
        ),
    }  # fmt: skip


def wrapped() -> dict[str, Entry]:
    """Return wrappers of environments."""
    env = qjax.make(qjax.make(chain(), max_steps_in_episode=5))
    vector = qjax.wrappers.observe(env, lambda obs: jnp.stack([obs, obs]))
    one, two, number = k.record(env), k.record(vector), k.number(0.5)
    call = k.function(lambda obs: obs)
    bins = k.Kind(
        (3, [3, 4], np.array([3, 4])), (True, 1j, "3", None, {}, b"3", 0, -1, 1.5, np.nan, [3, 4, 5], 2**31)
    )
    end = k.Kind((0.5, 0, [0.5, 0.0]), (1j, "3", None, {}, b"3", np.nan, np.inf, [0.5, 0.0, 1.0], 1e39))
    which = k.Kind(
        (0, [1], np.array([0, 1]), [True, False]), (2, -1, [0, 0], 1.5, "at", None, {}, 1j, [[0]], np.nan)
    )
    found = {
        "cast": entry(env=one, dtype=k.Kind(("uint8", bool, jnp.float16), ("x", 3, 1j, "float64", complex))),
        "discretise": entry(
            env=two, bins=bins, low=end._replace(bad=(*end.bad, 7.0)),
            high=end._replace(good=(6, 5.5, [6.0, 7]), bad=(*end.bad, -1.0)),
        ),
        "flatten": entry(env=one),
        "frame_stack": entry(env=one, size=k.size(2, most=2**31 - 1)._replace(good=(1, 2, np.int32(2)))),
        "observe": entry(
            env=one, function=call, encode=k.optional(call, first=True), inverse=k.optional(call, first=True),
            num_states=k.optional(k.size(2), first=True),
        ),
        "previous": entry(env=one),
        "random_starts": entry(
            env=one, most=k.size(1, 0)._replace(good=(1, 0)), pool=k.size(2)._replace(good=(2, np.int32(2)))
        ),
        "remaining_time": entry(env=one),
        "repeat_action": entry(env=one, times=k.size(2)),
        "reward": entry(env=one, function=call, monotone=k.flag()),
        "reward_clip": entry(env=one, most=k.positive()),
        "reward_scale": entry(env=one, factor=number),
        "reward_sign": entry(env=one),
        "select": entry(env=two, which=which),
        "sticky_actions": entry(env=one, probability=k.unit()),
        "time_limit": entry(env=one, max_steps=k.number(9, 1, k.LARGEST, whole=True)),
    }  # fmt: skip
    return {f"wrappers.{name}": each for name, each in found.items()}


def loop(_: Any = None) -> Any:
    """Return a loop that is cheap to build."""
    env = qjax.make(chain(), max_steps_in_episode=5)
    return qjax.make_loop(env, qjax.tabular(2, 2, 0.1), qjax.greedy, qjax.online(), gamma=0.9)


def runs() -> dict[str, Entry]:
    """Return loops, sweeps and their folders."""
    env, agent, memory = loop().env, qjax.tabular(2, 2, 0.1), qjax.online()
    policy = k.function(qjax.greedy)
    limit = k.optional(k.size(9), first=True)
    evaluation = {"env": k.record(env), "agent": k.record(agent), "episodes": k.size(), "policy": policy,
                  "max_steps": limit}  # fmt: skip
    seeds = k.listed(k.size(5, 0, 2**32 - 2), [5, 6], called="seed")
    seeds = seeds._replace(bad=(*seeds.bad[:-2], np.nan, 0, -1, 2**63, 2**32, 1.5, [], [5, 5]))
    seed, several = k.size(0, 0, 2**32 - 1), (True, 1j, "3", [3], b"3", np.ones(3), 3)
    swept = k.optional(k.Kind((), (*several[:-2], {}, 3, {"a": 1.0}, {"a": [1.0, 2.0], "b": [1.0]})))
    work: dict[str, Any] = {
        "build": k.function(loop), "seeds": seeds, "hypers": swept, "seed": seed,
        "steps": k.optional(k.size(9, most=2**53))._replace(good=(9,)), "log_points": k.size(),
        "width": k.optional(k.size()),
        "devices": k.optional(k.listed(k.record(jax.devices()[0]), jax.devices()), first=True),
        "evaluate_every": k.optional(k.size(), first=True), "evaluate_episodes": k.size(),
    }  # fmt: skip
    bad = (1j, "3", None, [3], np.nan, 1e39, 10**400, 1e-46)
    values = k.listed(k.Kind((), bad), [1.0, 2.0], np.ones(2), [1, 2], [True, False], called="rate")
    values = values._replace(
        bad=(*values.bad[:-5], [2**31], [2**63], 1.5, [], [[1.0, 2.0], [3.0]], np.ones((2, 2)))
    )
    folder, name = k.path("nowhere"), k.name("sarsa")._replace(called="algorithm")
    config = k.optional(k.record(algorithms.Tabular())._replace(called="Tabular"))
    return {
        "evaluate": entry(
            **evaluation, state=k.raw(jnp.zeros((2, 2)), "the agent's own, which checks it"), key=k.key()
        ),
        "evaluate_seeds": entry(
            **evaluation, states=k.Kind((jnp.zeros((2, 2, 2)),), (*several, jnp.zeros((3, 2, 2)))),
            seeds=k.listed(k.size(5, 0, 2**32 - 1), [5, 6]), seed=seed, batch_size=k.size(), runs=False,
        ),
        "grid": entry(lambda values: qjax.grid(rate=values), values=values),
        "zipped": entry(lambda values: qjax.zipped(rate=values), values=values),
        "make_loop": entry(
            env=k.record(env), agent=k.record(agent), policy=policy, memory=k.record(memory), gamma=k.unit(),
            num_envs=k.size(2), rollout=k.size(2), updates=k.size(1),
            replay_ratio=k.optional(k.number(1, 0, 2**31, open_low=True, traced=False)._replace(good=(1, 1.0, 2))),
            sync_every=k.size(2), warmup=k.size(0, 0), episodes=k.optional(k.size(3, 1, 2**30)),
        )._replace(call=_one_ratio),
        "load_agents": entry(
            folder=folder, like=k.raw(None, "of any structure: a run with another is refused"),
            which=k.Kind(("last", "best", 5), ("", "LASTx", 0, -1, 1.5, None, True, [3])), runs=False,
        ),
        "load_config": entry(folder=folder, runs=False),
        "runs.load_metrics": entry(folder=folder, runs=False),
        "load_points": entry(folder=folder, runs=False),
        "algorithms.algorithm": entry(name=name),
        "algorithms.config": entry(
            lambda name, constants=None: algorithms.config(name, **(constants or {})), name=name,
            constants=k.raw(None, "of the algorithm: `test_constants`"),
        ),
        "algorithms.parts": entry(name=name, env=k.record(env), config=config),
        "algorithms.make": entry(
            name=name, env=k.record(env), config=config, sync_every=k.optional(k.size(1), first=True),
            normalize=k.Kind(((),), ("rewards", 3, True, ["reward"], [3])),
        ),
        "algorithms.fields": entry(config=k.raw(algorithms.DQN(), "any dataclass")),
        "algorithms.traced": entry(config=k.raw(algorithms.DQN(), "any dataclass")),
        "algorithms.meanings": entry(kind=k.raw(algorithms.DQN, "any dataclass")),
        "algorithms.preset": entry(
            name=k.name("cleanrl-dqn")._replace(called="preset"),
            of=k.optional(k.name("dqn")._replace(called="algorithm")),
        ),
        "algorithms.assumed": entry(env=k.record(env)),
        "algorithms.support_of": entry(env=k.record(env), config=k.record(algorithms.C51())),
        "sweeps.progress.show_progress": entry(
            lambda **given: qjax.sweeps.progress.show_progress(**given).__enter__(),
            description=k.text(), shown=k.flag(),
        ),
        "sweeps.progress.describe": entry(progress=k.record(qjax.sweeps.Progress(0.5, 1.0, 1, 1, 0.0, 0))),
        "results.load": entry(run=folder, metrics=k.optional(k.listed(k.text(), ["loss"])), runs=False),
        "results.aligned": Entry(
            {"runs": k.record((), ()), "interpolate": k.flag()},
            lambda runs, interpolate: qjax.results.aligned(runs, interpolate=interpolate), runs=False,
        ),
        "sinks.tensorboard": entry(folder=k.optional(folder)),
        "sinks.wandb": entry(project=k.text(), folder=k.optional(folder), mode=k.name("offline"), runs=False),
        "static_sweeps": entry(
            lambda arguments=None, **given: qjax.static_sweeps(**given, **(arguments or {})),
            build=k.function(loop), static=k.listed(k.record({}), [{}]), run_for=k.optional(k.function(print)),
            arguments=k.raw({"seeds": 1, "steps": 9}, "those of sweep, tried there"), runs=False,
        ),
        "sweep": entry(
            **work, schedules=k.optional(k.record({"a": schedules.constant(1.0)}), first=True),
            report=k.optional(k.function(lambda hyper, lane, clock, key: {}), first=True),
            initial=k.raw(None, "checked in sweeps/test_initial.py"),
            drop=k.optional(k.function(lambda point, number: None), first=True), drop_diverged=k.flag(),
            on_log=k.optional(k.function(print), first=True),
            on_progress=k.optional(k.function(print), first=True),
            progress=k.Kind((False, True, "title"), (0, 1, 1.0, None, [])),
            sinks=k.listed(k.record(qjax.sinks.Sink("a", print)), []),
            run=k.optional(k.record(None), first=True), chunk_seconds=k.positive(1.0)._replace(traced=False),
            checkpoint_every=k.number(1.0, 0, infinite=True, traced=False), stop_on_nan=k.flag(),
            snapshots=k.listed(k.size(5), [5, 6], (), called="snapshots"), runs=False,
        ),
        "Run": entry(
            folder=k.path("nowhere", pathlib.Path("nowhere")), experiment=k.text(),
            arguments=k.record({}, {"a": 1}), overwrite=k.flag(), resume=k.flag(),
            machine=k.optional(k.record({}, {"a": 1})), parquet=k.flag(), accept_program=k.flag(),
            keep_checkpoint=k.flag(),
        ),
        "training.pop_metrics": entry(lane=k.Kind((), (*k.STRANGE, 3, np.nan)), runs=False),
        "use_cache": entry(folder=k.optional(k.path("x")), runs=False),
        "use_cores": entry(count=k.optional(k.size(2)), runs=False),
    }  # fmt: skip


def recorded() -> dict[str, Entry]:
    """Return data sets, and where they come from."""
    env, agent = loop().env, qjax.tabular(2, 2, 0.1)
    block = jax.tree.map(lambda x: x[None, None], ROW._replace(last=jnp.bool_(True)))
    held = qjax.ring(1, 1).add(qjax.ring(1, 1).init(block), block, qjax.clock.at(0))
    given = {"obs": np.zeros(3, np.int32), "action": [0, 1], "reward": [0.0, 1.0], "terminated": [False, True],
             "truncated": [False, False]}  # fmt: skip
    data = qjax.datasets.from_arrays(**given, num_actions=2)
    kinds = {name: k.array(x, np.array(x)) for name, x in given.items()}
    kinds["reward"] = k.array([0.0, 1.0], [0, 1], np.ones(2))
    for name in ("terminated", "truncated"):
        kinds[name] = kinds[name]._replace(bad=(*kinds[name].bad, [0, 1], [False]))
    kinds["action"] = kinds["action"]._replace(bad=(*kinds["action"].bad, [0, 1.5], [0, 2], [0, -1], [True, False]))
    kinds["obs"] = k.Kind((given["obs"], {"a": np.zeros((3, 2))}), (*k.STRANGE, 3, np.nan, np.zeros(2)))
    kinds["probability"] = k.Kind(((), [0.5, 1.0]), (*kinds["reward"].bad, [0.0, 1.0], [0.5, 1.5], [0.5], True))
    return {
        "datasets.from_arrays": entry(
            **kinds, next_obs=k.raw(None, "as obs: `datasets/test_own_arrays.py`"),
            num_actions=k.size(2)._replace(good=(2, np.int32(3))), env=k.text(),
        ),
        "recorded": entry(
            data=k.record(data), gamma=k.unit(), batch_size=k.size(2), window=k.size(2),
            burn_in=k.size(0, 0, 1),
        ),
        "datasets.concatenate": entry(parts=k.listed(k.record(data), [data], [data, data])),
        "datasets.from_ring": entry(
            state=k.record(held), clock=k.record(qjax.clock.at(2)), num_actions=k.size(2), env=k.text()
        ),
        "datasets.collect": entry(
            env=k.record(env), agent=k.record(agent), state=k.raw(jnp.zeros((2, 2)), "the agent's own"),
            policy=k.function(qjax.greedy), key=k.key()._replace(traced=False), steps=k.size(4), num_envs=k.size(1),
            runs=False,
        ),
        "datasets.from_minari": entry(  # a name is one of Minari's, which it looks for
            dataset=k.Kind((), tuple(x for x in (*k.STRANGE, 3, np.nan) if not isinstance(x, str))), runs=False
        ),
        "load_transitions": entry(
            folder=k.path("nowhere"), loop=k.record(loop()), runs=False,
            **{name: k.listed(k.size(1, 0, 2**32 - 1), [1], [0, 2])._replace(
                bad=([], [1, 1], [-1], [1.5], 3, "3", True)) for name in ("seeds", "settings")},
        ),
        "datasets.save": entry(folder=k.path("data"), data=k.record(data), runs=False),
        "datasets.load": entry(
            folder=k.path("nowhere"), env=k.optional(k.record(env), first=True), mapped=k.flag(), runs=False
        ),
    }  # fmt: skip


def estimates() -> dict[str, Entry]:
    """Return what data say of a policy, here those of one state."""
    at, ends = np.zeros((2, 1), np.int32), np.array([[False], [True]])
    one = qjax.datasets.Dataset(
        at, at, np.ones((2, 1), np.float32), ends, ~ends, at, 2, np.full((2, 1), 0.5, np.float32)
    )
    data, gamma, sizes = k.record(one), k.number(0.9, 0, 1, traced=False), k.size(2)
    policy = k.array(np.full((2, 2), 0.5), [[0.0, 1.0]] * 2)
    policy = policy._replace(bad=(*policy.bad, np.ones((2, 2)), np.full((2, 3), 0.5), -np.ones((2, 2)), [1.0, 0.0]))
    initial = k.array(0.0, 1, np.ones((2, 2)), jnp.zeros((2, 2)))
    start = k.array([1.0, 0.0])
    start = k.optional(start._replace(bad=(*start.bad, [1.0])), first=True)
    found = {
        "importance_sampling": entry(data=data, policy=policy, gamma=gamma, from_start=k.flag()),
        "fitted_q": entry(
            data=data, num_states=sizes, gamma=gamma, policy=k.optional(policy, first=True),
            initial=initial._replace(bad=(*initial.bad, [1.0, 2.0], np.ones((2, 1)), True)),
            tolerance=k.number(0.1, 0, traced=False), max_iterations=k.size(),
        ),
        "model": entry(
            data=data, num_states=sizes, unseen=k.name("terminal", "self-loop"), start=start,
        ),
    }  # fmt: skip
    return {f"datasets.{name}": each for name, each in found.items()}


def _one_ratio(**given: Any) -> Any:
    """Give the updates of an iteration by one of the two arguments that say it."""
    if type(given["replay_ratio"]) is int and given["replay_ratio"] == 1:
        given["replay_ratio"] = None
    return qjax.make_loop(**given)


def searching() -> dict[str, Entry]:
    """Return spaces of settings, and samplers of them."""
    low, high = (k.Kind((end, jnp.float32(end)), (*k.STRANGE, *k.NOWHERE)) for end in (0.5, 2.0))
    whole = (True, 1j, "3", None, [3], 1.5, np.nan)
    space = {"rate": qjax.searches.uniform(0.0, 1.0)}
    own: dict[str, Any] = {
        "space": k.record(space)._replace(bad=(*k.STRANGE, 3, np.nan, {"rate": 1.0})),
        "number": k.size(3, most=2**20),
        "seed": k.size(0, 0), "seen": k.raw((), "what a search came to: it has no wrong values"),
    }  # fmt: skip
    values = k.Kind(([1, 2], np.ones(1), (True, False)), (1j, "3", None, 3, [], [1, 1], [[1.0]], ["a"], [np.nan]))
    made = loop()  # one for all values: most are tried after it
    build = lambda hyper: made
    table = np.array([[0.0, 1.0], [1.0, 0.5]])
    scores = k.Kind((table,), (1j, "3", None, 3, {}, np.ones(2), np.full((2, 2), np.nan), [["a", "b"]]))
    return {
        "search": entry(
            lambda arguments=None, **given: qjax.search(**given, **(arguments or {})),
            build=k.Kind((build,), (3, "3", 1j, None, np.nan, {}, {"": build})),
            space=own["space"],
            steps=k.size(900, most=2**53),
            settings=k.size(9),
            tuning_seeds=k.size(2, 2),
            fresh_seeds=k.size(2, 2),
            eta=k.size(3, 2),
            rungs=k.optional(k.size(1)),
            method=k.name("halving", "hyperband"),
            score=k.text("mean_return"),
            score_kind=k.name("final", "area"),
            lower=k.flag(),
            default=k.optional(k.record({"rate": 0.5}), first=True),
            static=k.optional(k.record({"n": [1]}), first=True)._replace(good=(None,)),
            sampler=k.function(qjax.searches.sobol),
            reference=k.optional(k.record({"": (0.0, 1.0)}), first=True),
            sensitivity=k.size(0, 0, 2**10),
            seed=k.size(0, 0, 2**32 - 1),
            folder=k.optional(k.path("nowhere")),
            resume=k.flag(),
            overwrite=k.flag(),
            on_rung=k.optional(k.function(lambda name, rung: None), first=True),
            arguments=k.raw({}, "those of sweep, tried there"),
            runs=False,
        ),
        "searches.scaled": entry(scores=scores),
        "searches.sensitivity": entry(scores=scores),
        "searches.dimensionality": entry(
            hypers=k.record({"a": np.arange(2)}), scores=scores, share=k.number(0.5, 0, 1, traced=False)
        ),
        "searches.uniform": entry(low=low, high=high),
        "searches.log_uniform": entry(low=low._replace(bad=(*low.bad, 0, -1.0, 1e-46)), high=high),
        "searches.integers": entry(
            low=k.Kind((1, np.int32(2)), (*whole, 2**31, 5)), high=k.Kind((5, 4), (*whole, 2**31, 1)), log=k.flag()
        ),
        "searches.choices": entry(values=values._replace(called="choices")),
        "searches.sobol": entry(**own, runs=False),
        "searches.random": entry(**own, runs=False),
        "searches.from_optuna": entry(make=k.function(lambda seed: None), runs=False),
    }


def numbers() -> dict[str, Entry]:
    """Return random numbers, clocks and formulas."""
    clock, seed = k.record(qjax.clock.at(0)), k.size(0, 0, 2**32 - 1)
    ticks, key, none_or_key = k.size(3, 0), k.key(), k.optional(k.key())
    transition, time = k.record(ROW, ROW._replace(next_action=jnp.int32(1))), k.record(TIME)
    q, number = k.data(Q), k.data(jnp.float32(0.5))
    weights = k.data(jnp.array([0.5, 0.5]))._replace(good=(jnp.array([0.5, 0.5]), jnp.array([True, False])))
    weights = weights._replace(bad=tuple(x for x in weights.bad if getattr(x, "dtype", None) != np.bool_))
    action = k.data(jnp.int32(1))
    action = action._replace(bad=(*action.bad, 2, -1))
    policy = {"q": q, "time": k.optional(time)}
    target_policy = {
        "key": none_or_key,
        "transition": transition,
        "q_online": q,
        "q_target": q,
        "time": k.optional(time),
    }
    chances = k.data(jnp.array([0.5, 0.5]))
    chances = chances._replace(good=chances.good[:2], bad=(*chances.bad, np.full(2, np.nan), np.full(2, -0.5)))
    several, at = k.data(jnp.zeros(3)), k.data(jnp.array([1]))
    at = at._replace(bad=(*at.bad, np.array([2]), np.array([-1])))
    net = qjax.as_network(qjax.table(2, 2))
    params = net.init(key.good[0], ROW.obs)
    return {
        "clock.at": entry(ticks=k.size(3, 0, 2**63 - 1)),
        "clock.ticks": entry(clock=clock),
        "clock.plus": entry(clock=clock, ticks=ticks._replace(traced=True)),
        "clock.minus": entry(clock=clock, ticks=ticks._replace(traced=True)),
        "clock.modulo": entry(clock=clock, modulus=k.size(3, 1, 2**24)),
        "clock.divided": entry(clock=clock, divisor=k.size(3, 1, 2**24)),
        "clock.capped": entry(clock=clock, most=ticks),
        "clock.missing": entry(clock=clock, most=ticks),
        "clock.as_float": entry(clock=clock),
        "clock.fold": entry(key=key, clock=clock),
        "clock.folds": entry(key=key, clock=clock, ticks=k.data(jnp.arange(3))),
        "fast_key": entry(seed=seed._replace(traced=True)),
        "core.random.fast_key": entry(seed=seed._replace(traced=True)),
        "core.random.root_key": entry(seed=seed._replace(good=(*seed.good, jax.random.key(0)))),
        "core.random.unrolled": entry(key=key),
        "core.random.describe_key": entry(key=key._replace(traced=False)),
        "exploration.draw": entry(u=k.unit(), probabilities=chances),
        "argmax": entry(**policy),
        "greedy": entry(**policy),
        "uniform": entry(**policy),
        "maximum": entry(**target_policy),
        "double": entry(**target_policy),
        "objectives.environment_reward": entry(transition=transition, q=q, q_next=q, weights=weights, time=time),
        "squared": entry(delta=number._replace(bad=(1j, "3", None, [3], {}, b"3", True, np.full(2, 1j)))),
        "td_error": entry(q=q, action=action, target=number),
        "td_target": entry(reward=number, discount=number, next_q=q, weights=weights),
        "td_loss": entry(
            network=k.record(net), head=k.record(qjax.scalar()), target_policy=k.function(qjax.maximum),
            reward=k.function(qjax.objectives.environment_reward),
            noise=k.record(Noise(*jax.random.split(key.good[0]))),
            **{name: k.raw(params, "the network's own") for name in ("params", "target_params")},
            transition=transition, time=time, weight=number,
        ),
        "lambda_returns": entry(
            reward=several, discount=several, next_value=several, last=k.data(jnp.zeros(3, bool)), lam=k.unit(),
        ),
        "off_policy_returns": entry(
            last=k.data(jnp.zeros(3, bool)),
            **dict.fromkeys(("reward", "discount", "value", "trace", "baseline"), several),
        ),
        "n_step_transition": entry(window=k.record(jax.tree.map(lambda x: x[None], ROW))),
        "tabular_update": entry(
            table=k.data(jnp.zeros((2, 2))), obs=at, action=at, delta=k.data(jnp.zeros(1)),
            alpha=k.data(jnp.ones(1)), weight=k.data(jnp.ones(1)),
        ),
        "watkins": entry(transition=k.record(transition.good[1]), next_q=q),
        "never_cut": entry(transition=transition, next_q=q),
        **statistics(),
    }  # fmt: skip


def statistics() -> dict[str, Entry]:
    """Return statistics: of scores NaN and infinities are some, None is NaN, and a flag or a number is one."""
    scores = np.arange(8.0)
    bad = (1j, "3", None, {}, b"3", 10**400, [1j], ["a"], [b"3"], [10**400], [[1.0, 2.0], [3.0]], [], [{}])
    some = k.Kind((scores, jnp.arange(8), [1, None, np.inf, 1e39], [True, False], scores[:, None]), bad)
    no_axis = (True, 1j, "3", None, [0], {}, b"3", np.nan, 1.5, 1, -2, 2**63, (0, 0), ())
    axis = k.Kind((0, -1, (0,), np.int32(0)), no_axis)
    several = k.Kind((scores,), bad)
    target = k.number(1.0, traced=False)
    rows = k.listed(k.size(1, 0, 2**63 - 1), range(8), np.arange(8), called="seeds")._replace(traced=False)
    rows = rows._replace(bad=(*(x for x in rows.bad if x is not None), [0, 1, 2], [1] * 8))
    confidence = k.number(0.9, 0, 0.99, open_low=True, traced=False)
    confidence = confidence._replace(bad=(*k.STRANGE, *k.NOWHERE, 0, 1, 1.5, -0.1))
    boot = {"confidence": confidence, "resamples": k.size(16), "seed": k.size(0, 0, 2**63 - 1)}
    points = k.Kind(([1.0], np.arange(3.0), [np.inf]), (*(x for x in bad if x is not bad[8]), 3, [np.nan], [[1.0]]))
    heights = k.Kind(([1.0, 2.0], [np.nan, np.inf], [[1.0, 2.0]]), (*bad, 3, [1.0], [1.0, 2.0, 3.0]))
    steps = k.Kind(([1, 2], [1, 1]), (*bad, 3, [1.0], [1, np.nan], [1, np.inf], [2, 1]))
    return {
        **{f"stats.{name}": entry(scores=some, axis=axis) for name in ("iqm", "mean", "median")},
        "stats.optimality_gap": entry(scores=some, target=target, axis=axis),
        "stats.area": entry(values=heights, env_steps=steps),
        "stats.wilson": entry(
            successes=k.size(3, 0)._replace(good=(3, 0, 5)), trials=k.size(5, 3, 2**31 - 1), confidence=confidence
        ),
        "stats.estimate": entry(scores=several, statistic=k.function(np.median), **boot),
        "stats.iqm_interval": entry(scores=several, **boot),
        "stats.profile": entry(scores=several, thresholds=points, average=k.flag(), **boot),
        "stats.improvement": entry(x=several, y=several, **boot),
        "stats.paired": entry(
            x=several, y=several, x_seeds=rows, y_seeds=rows, statistic=k.function(np.median), **boot
        ),
    }  # fmt: skip


def pictures() -> dict[str, Entry]:
    """Return pictures; those that are drawn are tried with bad values alone."""
    one, curve = np.ones(1), (np.arange(3), np.ones((2, 3)))
    point = qjax.Point(one, one, one, {}, {"a": one}, one, one, 1, 1.0, 1.0)
    twisted = ((0,), (*curve, 3), (curve[0][::-1], curve[1]), (curve[0] * np.nan, curve[1]), (curve[0], np.ones(3)))
    lines = k.mapped(k.Kind((curve,), (*k.STRANGE, 3, np.nan, *twisted, (curve[0][:2], curve[1]), ("a", curve[1]))))
    text = {name: k.text() for name in ("title", "xlabel", "ylabel", "level_name")}
    place = {"path": k.path("x.png"), "title": text["title"]}
    maybe, count = k.optional(k.number(1.0, traced=False)), k.size(16)
    mark = {"level": maybe, "level_name": text["level_name"]}
    points = k.listed(k.record(point), [point])
    points = points._replace(bad=(*points.bad, []))
    tiles = k.listed(k.text("SG"), ["SG"])
    tiles = tiles._replace(bad=(*tiles.bad, ["S", "GG"], ["SX"], [""], []))
    policy, scores = k.drawn(np.full((2, 4), 0.25)), k.drawn(np.arange(3.0))
    policy = policy._replace(bad=(*policy.bad, np.ones((3, 4)), np.ones((2, 3))))
    values = k.listed(k.Kind((1,), ([1], {})), [1, 2], ["a", "b"], (1, 2.5), called="values")
    values = values._replace(bad=tuple(x for x in values.bad if not hasattr(x, "shape")))
    swept = k.Kind((([1, 2], np.ones((2, 3))),), (*k.STRANGE, ([1], np.ones((2, 3))), ([1, 2], np.ones(2)), (3, 3)))
    axis = k.record(qjax.plot.Axis("a", [1, 2]))._replace(called="y")
    axis = axis._replace(bad=(*axis.bad, qjax.plot.Axis(3, [1, 2]), qjax.plot.Axis("a", 3)))
    bins = {"curves": k.mapped(k.drawn(np.ones((2, 3)))), "label": k.text(), "every": k.size(1),
            "level": k.optional(k.Kind(((1.0, "a"),), (3, (1.0,), ("a", 1.0), "x")))}  # fmt: skip
    example = qjax.plot.Example({"a": np.ones((2, 3))}, "x")
    examples = k.mapped(k.record(example))
    examples = examples._replace(
        bad=(*examples.bad, *({"a": example._replace(**{n: x})} for n, kind in bins.items() for x in kind.bad))
    )
    named = k.mapped(points)
    reached = {name: k.drawn(np.ones((2, 3))) for name in ("reached", "returns")}
    x = k.drawn(np.arange(3.0))
    low, levels = {"lower": k.flag()}, k.drawn(np.ones(2))
    levels = k.Kind((np.ones(2), [1.0, 2.0]), (*levels.bad, [np.nan, 1.0], [np.inf, 1.0]))
    return {
        "plot.at_best": entry(values=values, scores=k.drawn(np.ones((2, 3))), **low),
        "plot.ordered": entry(values=values),
        "plot.text": entry(value=k.raw(1, "any value is shown")),
        "plot.interval": entry(seeds=count),
        "plot.save": entry(
            drawn=k.Kind((qjax.plot.style.figure(1, 1)[0],), (*k.STRANGE, 3, np.nan)), stem=k.path("x"), runs=False
        ),
        "plot.steps_to_reach": entry(x=x, values=k.drawn(np.ones((2, 3))), levels=k.drawn(np.ones(2)), **low),
        "plot.episode_bins": entry(**reached, episodes=k.size(3), bins=count),
        "plot.returns_by_step": entry(points=points),
        "plot.returns_by_episode": entry(points=points, episodes=k.size(3), bins=count),
        "plot.curves": entry(
            runs=False, lines=lines, **{name: text[name] for name in ("title", "xlabel", "ylabel")}, **mark,
            resamples=count, singles=k.size(1, 0), metric=k.text(),
        ),
        "plot.distribution": entry(scores=k.mapped(scores), title=k.text(), xlabel=k.text(), runs=False),
        "plot.profiles": entry(
            scores=k.mapped(scores), title=k.text(), xlabel=k.text(), **low, runs=False
        ),
        "plot.efficiency": entry(
            lines=lines, title=k.text(), threshold=maybe, levels=k.optional(levels), **low,
            xlabel=k.text(), ylabel=k.text(), runs=False,
        ),
        "plot.sensitivity": entry(
            lines=k.mapped(swept), name=k.text(), title=k.text(), ylabel=k.text(), runs=False
        ),
        "plot.heat_map": entry(
            y=axis, x=axis._replace(called="x"), scores=k.drawn(np.ones((2, 2, 3))), title=k.text(), label=k.text(),
            runs=False,
        ),
        "plot.lake_picture": entry(
            **place, tiles=tiles, policies=k.drawn(np.ones((3, 2, 4))), values=k.drawn(np.ones((3, 2))),
            optimal=k.drawn(np.ones(2)), runs=False,
        ),
        "plot.policy_maps": entry(
            **place, tiles=tiles, policies=k.mapped(policy), runs=False,
            arrows=k.listed(k.Kind((), (3, (1,), ("a", 1), None)), qjax.plot.ARROWS),
        ),
        "plot.by_episode": entry(**place, examples=examples, runs=False),
        "plot.measures": entry(
            **place, curves=k.mapped(named), names=k.mapped(k.text()), resamples=count, runs=False
        ),
        "plot.learning_curve": entry(
            **place, points=points, episodes=k.optional(k.size(3)), **mark, max_lines=k.size(3, 0), runs=False
        ),
        "plot.learning_curves": entry(**place, curves=named, **mark, resamples=count, runs=False),
    }  # fmt: skip


# What is tried ----------------------------------------------------------------------------------------------------


def test_the_table_is_whole():
    """Nothing public is forgotten, no argument of it, and nothing stands there that is gone."""
    found = {name: set(inspect.signature(value).parameters) for name, value in public().items()}
    told = {name: set(one.arguments) for name, one in table().items()}
    assert {name: told.get(name) for name in found | told} == {name: found.get(name) for name in found | told}


@pytest.fixture(autouse=True)
def own_messages(monkeypatch, tmp_path):
    """Switch the suite's type checker off: it would answer before the package's own checks."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    monkeypatch.chdir(tmp_path)
    matplotlib.use("Agg")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def shows(value: Any, message: str) -> bool:
    """Return whether a message shows a value, or of what kind it is; of an array or a list what is wrong in it."""
    if isinstance(value, list | tuple | dict) or callable(value) or getattr(value, "shape", ()):
        return True
    return any(x in message for x in (repr(value), str(value), type(value).__name__)) or len(str(value)) > LONGEST


def complaint(function: Callable[[], Any], called: str, value: Any) -> str | None:
    """Return what is wrong with how a value is refused; None where nothing is."""
    try:
        function()
    except (ValueError, TypeError) as error:
        text = str(error)
        if isinstance(error, jax.errors.JAXTypeError) or "\n" in text or len(text) > LONGEST:
            return f"{type(error).__name__}: {text[:200]}"
        if called not in text:
            return f"not named: {text}"
        return None if shows(value, text) else f"not shown: {text}"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    return "accepted"


FORMULAS = {
    "argmax", "exploration.draw", "greedy", "uniform", "maximum", "double", "objectives.environment_reward",
    "squared", "td_error", "td_target", "td_loss", "lambda_returns", "n_step_transition", "tabular_update",
    "off_policy_returns",
    "watkins", "never_cut",
}  # fmt: skip


def caller(name: str, one: Entry) -> Callable[..., Any]:
    """Return what calls a function with arguments by their names, without compiling what it computes."""
    function = one.call or public()[name]
    gives_arrays = name.startswith(("solve.", "evaluate", "mdp.", "clock.")) and name != "mdp.toy_text"
    if gives_arrays or name in FORMULAS:
        return lambda **given: jax.eval_shape(lambda: function(**given))
    return function


def tried(name: str) -> tuple[Entry, Callable[..., Any], dict[str, Any]]:
    """Return an entry, what calls it, and a good value of each argument."""
    one = table()[name]
    return one, caller(name, one), {argument: kind.good[0] for argument, kind in one.arguments.items() if kind.good}


def refusals(call: Callable[..., Any], given: dict[str, Any], argument: str, kind: k.Kind) -> list[str]:
    """Return what is wrong with how the bad values of an argument are refused."""
    found = []
    for value in kind.bad:
        wrong = complaint(lambda value=value: call(**{**given, argument: value}), kind.called or argument, value)
        if wrong is not None:
            found.append(f"{argument}={str(value)[:60]!r}: {wrong}")
    return found


@pytest.mark.parametrize("name", NAMES)
def test_bad_values_are_refused(name):
    one, call, given = tried(name)
    wrong = [text for argument, kind in one.arguments.items() for text in refusals(call, given, argument, kind)]
    assert not wrong, "\n".join([name, *wrong])


@pytest.mark.parametrize("name", NAMES)
def test_good_values_are_taken(name):
    one, call, given = tried(name)
    for argument, kind in one.arguments.items() if one.runs else ():
        for value in kind.good:
            call(**{**given, argument: value})


@pytest.mark.parametrize("name", NAMES)
def test_traced_values_are_taken_and_their_shape_is_checked(name):
    one, call, given = tried(name)
    for argument, kind in one.arguments.items():
        if not kind.traced:
            continue

        def traced(value, argument=argument):
            call(**{**given, argument: value})

        first = jnp.asarray(next(x for x in kind.good if x is not None))
        jax.eval_shape(traced, jax.ShapeDtypeStruct(first.shape, first.dtype))
        if name == "squared":  # of any shape
            continue
        other = jax.ShapeDtypeStruct((3,) * (first.ndim + 1), first.dtype)
        wrong = complaint(functools.partial(jax.eval_shape, traced, other), kind.called or argument, other)
        assert wrong is None or "[3]" in wrong, (name, argument, wrong)


@pytest.mark.parametrize("name", sorted(FORMULAS))
def test_checks_are_nothing_in_a_program(name):
    _, _, given = tried(name)
    traced = {argument: value for argument, value in given.items() if isinstance(value, jax.Array | tuple)}
    traced = {argument: x for argument, x in traced.items() if not any(map(callable, jax.tree.leaves(x)))}
    checked, plain = (
        str(jax.make_jaxpr(lambda own, each=each: each(**{**given, **own}))(traced))
        for each in (public()[name], inspect.unwrap(public()[name]))
    )
    assert checked == plain


def deep_constants() -> dict[str, tuple[str, k.Kind]]:
    """Return an algorithm that has a constant of the deep family, and its kind."""
    size, steps = k.size(1), k.size(500, most=2**53)
    counts = dict.fromkeys(("num_envs", "rollout", "n"), size)
    dqn = {
        "steps": steps._replace(bad=tuple(x for x in steps.bad if x is not None)),
        "episodes": k.optional(k.size(3, 1, 2**30)),
        "hidden": k.listed(k.size(4), (4,), [4], ())._replace(called="hidden"),
        "initializer": k.name(*qjax.networks.layers.INITIALIZERS),
        "output_scale": k.number(0.5, 0, 1e3, traced=False),
        "optimizer": k.name("adam", "rmsprop", "adamw"),
        "optimizer_eps": k.optional(k.positive(1e-5)),
        "learning_rate": k.positive(1e-3),
        "max_grad_norm": k.optional(k.number(1.0, 0, open_low=True, infinite=True)),
        "loss": k.name("squared", "huber"),
        "gamma": k.unit(),
        "capacity": k.size(128),
        "batch_size": size,
        **counts,
        "warmup": k.size(0, 0),
        "target_period": k.number(10, 1, 2**30, whole=True),
        "target_unit": k.name("step", "episode", "update"),
        "epsilon_end": k.unit(),
        "epsilon_fraction": k.half_open(),
        "epsilon_decay": k.optional(k.unit()),
        "epsilon_z": k.optional(ABOVE_ONE),
        "frames": k.optional(k.size(1)),
        "data": k.Kind((None,), (3, 0.5, ["a"], np.nan), called="folder"),
        "updates": size,
        "measures": k.flag(),
        "reset_layers": k.raw((), "names of layers, with a period alone: `test_constants_of_resets`"),
        "reset_shrink": k.raw(None, "with a period alone: `test_constants_of_resets`"),
        "weight_decay": k.Kind((None,), (-1, "3", np.nan, [0.1])),
        "reset_period": k.optional(k.number(1_000, 1, 2**30, whole=True))._replace(called="period"),
    }
    return {
        **{name: ("dqn", kind) for name, kind in dqn.items()},
        "norm_eps": ("pqn", k.number(1e-5, 0, 1, open_low=True, traced=False)),
        "alpha": ("prioritized-dqn", k.number(0.5, 0)),
        "beta": ("prioritized-dqn", k.unit()),
        "temperature": ("munchausen-dqn", k.positive()),
        "low": ("munchausen-dqn", k.number(-1.0, high=0, infinite=True)),
        "support": ("c51", k.Kind((None, (0, 1.0)), ((0,), 3, "3", (1, 0), (0, np.nan), ("a", 1)))),
        "atoms": ("c51", k.size(3, 2, 2**24)),
        "bins": ("hl-gauss-dqn", k.size(3, 2, 2**24)),
        "smoothing": ("hl-gauss-dqn", k.half_open()._replace(bad=(*k.positive().bad, 52.0))),
        "threshold": ("redo-dqn", k.number(0.1, 0)),
        "penalty": ("bcq", k.number(0.01, 0)),
        "normalized": ("stream-q", k.flag()),
        "regularization": ("qrc", k.number(1.0, 0)._replace(called="beta")),
        "trace": ("retrace-dqn", k.name("retrace", "tree-backup", "watkins", "peng")),
        "target_epsilon": ("retrace-dqn", k.unit()),
        "min_probability": ("c51", k.number(0.1, 0, 0.5)),
        "quantiles": ("qr-dqn", k.size(3)),
        "levels": ("iqn", k.size(3)),
        "kappa": ("iqn", k.positive()),
        "cell": ("drqn", k.name("gru", "lstm")),
        "cell_size": ("drqn", k.size(3)),
        "hidden_after": ("drqn", k.listed(k.size(4), (4,), [4], ())._replace(called="hidden")),
        "dueling": ("drqn", k.flag()),
        "length": ("drqn", k.size(5)),
        "burn_in": ("drqn", k.size(3, 0)),
        "stored_state": ("drqn", k.flag()),
        "double": ("drqn", k.flag()),
        "rescale": ("drqn", k.flag()),
        "eta": ("r2d2", k.unit()),
        "members": ("bootstrapped-dqn", k.size(3, 2)),
        "copies": ("averaged-dqn", k.size(2)),
        "learners": ("maxmin-dqn", k.size(1, most=4)),
        "mask_probability": ("bootstrapped-dqn", k.half_open()),
        "prior_scale": ("bootstrapped-dqn", k.number(2.0, 0)),
        "vote": ("bootstrapped-dqn", k.flag()),
        "lam": ("pqn", k.unit()),
        "epochs": ("pqn", size),
        "minibatches": ("pqn", size),
    }


def tabular_constants() -> dict[str, tuple[str, k.Kind]]:
    """Return an algorithm that has a constant of the tabular family, and its kind."""
    initial, steps = k.array(0.0, np.ones((2, 2))), k.size(500, most=2**53)
    q_learning = {
        "steps": steps._replace(bad=tuple(x for x in steps.bad if x is not None)),
        "episodes": k.optional(k.size(3, 1, 2**30)),
        "alpha": k.scheduled(k.half_open()),
        "alpha_power": k.optional(k.half_open()),
        "gamma": k.unit(),
        "epsilon": k.optional(k.scheduled(k.unit())),
        "epsilon_end": k.unit(),
        "epsilon_fraction": k.half_open(),
        "epsilon_decay": k.optional(k.unit()),
        "epsilon_z": k.optional(ABOVE_ONE),
        "initial": initial,
        "ties": k.name("random", "first"),
        "temperature": k.optional(k.scheduled(k.positive())),
        "policy": k.optional(k.function(qjax.greedy)),
        "num_envs": k.size(1),
    }
    return {
        **{name: ("q-learning", kind) for name, kind in q_learning.items()},
        "n": ("n-step-q", k.size(3)),
        "lam": ("q-lambda", k.unit()),
        "replacing": ("q-lambda", k.flag()),
        "planning": ("dyna-q", k.size(2, 0)),
    }


SMALL = {"steps": 500, "hidden": (4,), "batch_size": 1, "num_envs": 1, "rollout": 1, "warmup": 0}
FAMILIES = {"deep": (algorithms.DEEP, deep_constants), "tabular": (algorithms.TABULAR, tabular_constants)}


def has(family: str) -> set[str]:
    """Return the names of all constants of a family."""
    return {field for each in FAMILIES[family][0].values() for field in algorithms.fields(each.config)}


@pytest.mark.parametrize(
    ("family", "field"), [(family, field) for family in FAMILIES for field in sorted(has(family))]
)
def test_constants(family, field):
    found = FAMILIES[family][1]()
    assert set(found) == has(family)
    name, kind = found[field]
    env, small = loop().env, constants(name, **SMALL)
    call = lambda **given: algorithms.make(name, env, small.replace(**given))
    wrong = refusals(call, {}, field, kind)
    assert not wrong, "\n".join([f"{name}: {field}", *wrong])
    for value in kind.good:
        call(**{field: value})


FIELDS = {
    "max_steps_in_episode": k.optional(k.number(9, 1, k.LARGEST, whole=True)),
    "reward_noise": k.optional(k.number(0.5, 0)),
    "gravity": k.number(9.8),
    "is_slippery": k.flag(),
}


@pytest.mark.parametrize(
    ("env", "field"),
    [
        (chain, "max_steps_in_episode"),
        (chain, "reward_noise"),
        (lambda: "CartPole-v1", "max_steps_in_episode"),
        (lambda: "CartPole-v1", "gravity"),
        (lambda: "FrozenLake-v1", "is_slippery"),
    ],
)
def test_fields_of_an_environment(env, field):
    world = env()
    call = lambda **given: qjax.make(world, **given)
    assert not refusals(call, {}, field, FIELDS[field])
    for value in FIELDS[field].good:
        call(**{field: value})
