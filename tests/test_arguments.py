"""Every argument of everything public: values it takes, and values that it refuses with one line that names both.

A new function, or a new argument, has to be told of here: `test_the_table_is_whole` fails until it is.
"""

import functools
import inspect
import pathlib
import types
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jaxtyping
import kinds as k
import matplotlib
import numpy as np
import optax
import pytest

import qjax
from qjax import members, schedules, solve
from qjax.types import Time, Transition

LONGEST = 400
"""Characters of a message."""


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
    for name in qjax.__all__:
        value = getattr(qjax, name)
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
        return not issubclass(value, tuple) and value is not qjax.results.Results
    return isinstance(value, types.FunctionType) or hasattr(value, "__wrapped__")


NAMES = sorted(public())

# What stands in for arguments -----------------------------------------------------------------------------------

TIME = Time(jnp.float32(0), jnp.int32(0), jnp.float32(0), jnp.int32(0), 1)
Q = jnp.zeros(2)
ROW = Transition(jnp.int32(0), jnp.int32(0), jnp.float32(0), jnp.float32(0), jnp.int32(0), jnp.bool_(False))


def chain() -> Any:
    """Return an MDP of two states and two actions."""
    shape = (2, 2, 1)
    ends = np.array([[[False], [True]], [[False], [True]]])
    return qjax.mdp.from_outcomes(np.ones(shape, int), np.ones(shape), np.ones(shape), ends, [1.0, 0.0])


def select(key: Any, transition: Any, q_online: Any, q_target: Any, time: Any) -> Any:
    """Return the greedy action's weights."""
    return qjax.maximum(key, transition, q_online, q_target, time)


@functools.cache
def table() -> dict[str, Entry]:
    """Return the arguments of every public function, by name."""
    return {**factories(), **worlds(), **runs(), **numbers(), **pictures()}


def factories() -> dict[str, Entry]:
    """Return the pieces of agents: no good value of theirs compiles anything."""
    states, units, net = k.size(2), k.name("step", "episode", "update"), qjax.MLP(2, (4,))
    policy = k.function(qjax.greedy, qjax.first)
    alpha = k.scheduled(k.half_open(0.1))
    alpha = alpha._replace(good=(*alpha.good, qjax.visit_count()))
    initial = k.array(0.0, 1, np.ones((2, 2)), jnp.zeros((2, 2)))
    initial = initial._replace(bad=(*initial.bad, [1.0, 2.0], np.ones((2, 1)), True), traced=True)
    network = k.record(net, qjax.table(2, 2))._replace(bad=(*k.record(net).bad, qjax.MLP))
    optimizer, head = k.record(optax.sgd(1.0), optax.adam(1e-3)), k.record(qjax.scalar(), qjax.quantile())
    sync = k.record(qjax.periodic(5), qjax.polyak(0.1))
    selects, cut = k.function(qjax.maximum, select), k.function(qjax.watkins, qjax.uncut)
    eps = k.number(1e-5, 0, 1, open_low=True, traced=False)
    start = k.name(*qjax.layers.INITIALIZERS)
    start = start._replace(good=(*start.good, qjax.layers.INITIALIZERS["orthogonal"]))
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
    flax = {"parent": k.raw(None), "name": k.raw(None)}
    ring = {"capacity": k.size(8), "batch_size": k.size(1), "window": k.size(1)}
    return {
        "MLP": entry(actions=k.size(2), hidden=widths, torso=torso, **mlp, **flax),
        "as_network": entry(network=network),
        "boltzmann": entry(temperature=k.scheduled(k.positive())),
        "categorical": entry(
            low=k.number(-1.0, high=0.9), high=k.number(1.0, low=-0.9), atoms=k.size(3, 2, 2**24),
            floor=k.number(0.1, 0, 0.5),
        ),
        "convolutional": entry(
            lambda options={}, **given: qjax.convolutional(**given, **options),
            actions=k.size(2), hidden=widths, features=k.size(2), norm=k.flag(), norm_eps=eps, initializer=start,
            options=k.Kind(({}, {"noisy": True}), ({"noisy": "no"},), called="noisy"),
        ),
        "dqn": entry(
            network=network, optimizer=optimizer, head=k.optional(head), select=selects,
            reward=k.function(qjax.environment_reward), target=k.optional(sync),
        ),
        "dyna": entry(num_states=states, num_actions=states, planning=k.size(2, least=0)),
        "encoded": entry(network=network, encode=k.function(lambda obs: obs)),
        "epsilon_greedy": entry(epsilon=k.scheduled(k.unit()), base=policy),
        "executed": entry(policy=policy),
        "expected": entry(policy=policy),
        "huber": entry(threshold=k.positive()),
        "latest": entry(n=k.size()),
        "munchausen": entry(
            temperature=k.positive(), alpha=k.unit(), low=k.number(-1.0, high=0, infinite=True)
        ),
        "n_step": entry(memory=k.record(qjax.ring(8, 2)), n=k.size()),
        "pairs": entry(n=k.size()),
        "periodic": entry(period=k.number(4, 1, 2**30, whole=True), unit=units),
        "polyak": entry(rate=k.half_open()),
        "pqn": entry(
            network=network, optimizer=optimizer, lam=k.unit(), epochs=k.size(), minibatches=k.size(),
            head=k.optional(head), select=selects,
        ),
        "prioritized": entry(
            **ring, alpha=k.number(0.5, 0), beta=k.scheduled(k.unit()), floor=k.positive(), fan=k.size(4, 2)
        ),
        "quantile": entry(kappa=k.positive()),
        "ring": entry(**ring),
        "sampled": entry(policy=policy),
        "scalar": entry(loss=k.function(qjax.squared, qjax.huber())),
        "schedules.constant": entry(value=k.number(0.5)),
        "schedules.linear": entry(start=k.number(1.0), end=k.number(0.1), duration=k.positive(9), unit=units),
        "schedules.geometric": entry(start=k.number(1.0), factor=k.unit(), end=k.number(0.1), unit=units),
        "schedules.ladder": entry(num_envs=k.size(), base=k.half_open(), exponent=k.number(2.0, 0)),
        "schedules.of": entry(count_schedule=k.function(optax.constant_schedule(0.1)), unit=units),
        "schedules.as_schedule": entry(
            lambda value: schedules.as_schedule("value", value, 0, 1), value=k.scheduled(k.unit())
        )._replace(arguments={
            "name": k.raw("value"), "value": k.scheduled(k.unit()), "low": k.raw(0), "high": k.raw(1),
            "open_low": k.raw(False),
        }, call=None),
        "table": entry(num_states=states, num_actions=states, initial=initial),
        "tabular": entry(
            num_states=states, num_actions=states, alpha=alpha, select=k.optional(selects), initial=initial,
            tables=k.size(1, 1, 2),
        ),
        "traces": entry(
            num_states=states, num_actions=states, alpha=alpha, lam=k.unit(), select=selects, cut=cut,
            replacing=k.flag(), initial=initial,
        ),
        "visit_count": entry(power=k.half_open(), scale=k.half_open()),
    }  # fmt: skip


def worlds() -> dict[str, Entry]:
    """Return environments, MDPs and their solutions."""
    mdp, env = chain(), qjax.make(chain(), max_steps_in_episode=5)
    record, policy, gamma = k.record(mdp), k.array(np.full((2, 2), 0.5)), k.unit()
    policy = policy._replace(bad=(*policy.bad, np.ones((2, 2)), np.full((2, 3), 0.5), -np.ones((2, 2))))
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
        ),
        "make": entry(
            lambda env=mdp, params=None, kwargs=None: qjax.make(env, params, **(kwargs or {})),
            env=k.Kind((mdp,), (True, 1j, None, 3, 1.5, [3], {}), called="reset"),
            params=k.raw(None), kwargs=k.raw(None),
        ),
        "mdp.from_outcomes": entry(**outcomes),
        "mdp.from_dense": entry(**dense),
        "mdp.checked": entry(mdp=record),
        "mdp.check_policy": entry(mdp=k.raw(mdp), policy=policy),
        "mdp.check_pairs": entry(what=k.raw("array"), array=k.raw(np.zeros((2, 2))), mdp=k.raw(mdp)),
        "mdp.refuse": entry(wrong=k.raw(np.zeros(1)), values=k.raw(np.zeros(1)), message=k.raw("")),
        "mdp.possible": entry(mdp=k.raw(mdp), policy=k.raw(None)),
        "mdp.steps_to_end": entry(mdp=k.raw(mdp), policy=k.raw(None)),
        "mdp.reachable": entry(mdp=k.raw(mdp), policy=k.raw(None), start=k.raw(None)),
        "mdp.until_still": entry(f=k.raw(lambda x: x), x=k.raw(jnp.zeros(2))),
        "mdps.from_table": entry(
            table=k.record({0: {0: [(1.0, 0, 0.0, True)]}}), start=k.array([1.0]),
        ),
        "mdps.from_gymnasium": entry(env=k.record()._replace(called="table"), runs=False),
        "mdps.toy_text": entry(
            lambda name, kwargs=None: qjax.mdps.toy_text(name, **(kwargs or {})),
            name=k.text("CliffWalking-v1"), kwargs=k.raw(None),
        ),
        "mdps.of": entry(env=k.record(env)),
        "mdps.frozen_lake": entry(env=k.record(), runs=False),
        "mdps.garnet": entry(
            key=k.key(), states=k.size(4), actions=k.size(2), branching=k.size(1), termination=k.unit()
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


def loop(_: Any = None) -> Any:
    """Return a loop that is cheap to build."""
    env = qjax.make(chain(), max_steps_in_episode=5)
    return qjax.make_loop(env, qjax.tabular(2, 2, 0.1), qjax.greedy, qjax.latest(), gamma=0.9)


def runs() -> dict[str, Entry]:
    """Return loops, sweeps and their folders."""
    env, agent, memory = loop().env, qjax.tabular(2, 2, 0.1), qjax.latest()
    policy = k.function(qjax.greedy)
    limit = k.optional(k.size(9), first=True)
    evaluation = {"env": k.record(env), "agent": k.record(agent), "episodes": k.size(), "policy": policy,
                  "max_steps": limit}  # fmt: skip
    seeds = k.listed(k.size(5, 0, 2**32 - 2), [5, 6], called="seed")
    seeds = seeds._replace(bad=(*seeds.bad[:-2], np.nan, 0, -1, 2**63, 2**32, 1.5, [], [5, 5]))
    seed = k.size(0, 0, 2**32 - 1)
    work: dict[str, Any] = {
        "build": k.function(loop), "seeds": seeds, "hypers": k.raw(None), "seed": seed,
        "steps": k.optional(k.size(9, most=2**53))._replace(good=(9,)), "log_points": k.size(),
        "width": k.optional(k.size()),
        "devices": k.optional(k.listed(k.record(jax.devices()[0]), jax.devices()), first=True),
    }  # fmt: skip
    bad = (1j, "3", None, [3], np.nan, 1e39, 10**400, 1e-46)
    values = k.listed(k.Kind((), bad), [1.0, 2.0], np.ones(2), [1, 2], [True, False], called="rate")
    values = values._replace(
        bad=(*values.bad[:-5], [2**31], [2**63], 1.5, [], [[1.0, 2.0], [3.0]], np.ones((2, 2)))
    )
    parts = ("valued", "c51", "rainbow", "pqn_parts")
    folder, member = k.path("nowhere"), k.name("sarsa")._replace(called="member")
    protocol = k.optional(k.record(members.TabularProtocol())._replace(called="Protocol"))
    return {
        "evaluate": entry(**evaluation, state=k.raw(jnp.zeros((2, 2))), key=k.key()),
        "evaluate_seeds": entry(
            **evaluation, states=k.raw(jnp.zeros((2, 2, 2))), seeds=k.listed(k.size(5, 0, 2**32 - 1), [5, 6]),
            seed=seed, batch_size=k.size(), runs=False,
        ),
        "grid": entry(lambda values: qjax.grid(rate=values), values=values),
        "zipped": entry(lambda values: qjax.zipped(rate=values), values=values),
        "make_loop": entry(
            env=k.record(env), agent=k.record(agent), policy=policy, memory=k.record(memory), gamma=k.unit(),
            num_envs=k.size(2), rollout=k.size(2), updates=k.size(1),
            replay_ratio=k.optional(k.number(1, 0, 2**31, open_low=True, traced=False)._replace(good=(1, 1.0, 2))),
            cadence=k.size(2), warmup=k.size(0, 0), episodes=k.optional(k.size(3, 1, 2**30)),
        )._replace(call=_one_ratio),
        "load_agents": entry(folder=folder, like=k.raw(None), runs=False),
        "load_config": entry(folder=folder, runs=False),
        "load_metrics": entry(folder=folder, runs=False),
        "load_points": entry(folder=folder, runs=False),
        "members.member": entry(name=k.name("dqn")._replace(called="member")),
        "members.protocol_of": entry(name=k.name("dqn", "sarsa")._replace(called="member")),
        "members.make": entry(
            name=member, env=k.record(env), protocol=protocol,
            cadence=k.optional(k.size(1), first=True),
        ),
        "members.reads": entry(name=member, protocol=protocol),
        **{
            f"members.{name}": formula(*inspect.signature(getattr(members, name)).parameters)
            for name in ("assumed", "support_of", "network", "optimizer", "epsilon", *parts)
        },
        "members.traced": entry(field=k.name("gamma", "alpha")),
        "progress.show_progress": entry(
            lambda **given: qjax.progress.show_progress(**given).__enter__(), description=k.text(), shown=k.flag()),
        "progress.describe": entry(progress=k.record(qjax.Progress(0.5, 1.0, 1, 1, 0.0, 0))),
        "results.load": entry(run=folder, metrics=k.optional(k.listed(k.text(), ["loss"])), runs=False),
        "results.aligned": Entry(
            {"runs": k.record((), ()), "interpolate": k.flag()},
            lambda runs, interpolate: qjax.results.aligned(runs, interpolate=interpolate), runs=False,
        ),
        "sinks.Feed": entry(sinks=k.raw([]), start=k.raw(None)),
        "sinks.check_sinks": entry(sinks=k.raw([]), has_run=k.raw(False)),
        "sinks.tensorboard": entry(folder=k.optional(folder)),
        "sinks.wandb": entry(project=k.text(), folder=k.optional(folder), mode=k.name("offline"), runs=False),
        "static_sweeps": entry(
            lambda arguments=None, **given: qjax.static_sweeps(**given, **(arguments or {})),
            build=k.function(loop), static=k.listed(k.record({}), [{}]), run_for=k.optional(k.function(print)),
            arguments=k.raw({"seeds": 1, "steps": 9}), runs=False,
        ),
        "sweep": entry(
            **work, schedules=k.optional(k.record({"a": schedules.constant(1.0)}), first=True),
            report=k.optional(k.function(lambda hyper, agent: {}), first=True),
            on_log=k.optional(k.function(print), first=True),
            on_progress=k.optional(k.function(print), first=True),
            sinks=k.listed(k.record(qjax.sinks.Sink("a", print)), []),
            run=k.optional(k.record(None), first=True), chunk_seconds=k.positive(1.0)._replace(traced=False),
            checkpoint_every=k.number(1.0, 0, infinite=True, traced=False), stop_on_nan=k.flag(), runs=False,
        ),
        "Run": entry(
            folder=k.path("nowhere", pathlib.Path("nowhere")), experiment=k.text(),
            arguments=k.record({}, {"a": 1}), overwrite=k.flag(), resume=k.flag(),
            free=k.listed(k.text(), [], ["a"], ("a",)), parquet=k.flag(), accept_program=k.flag(),
        ),
        "take": entry(lane=k.raw(None), runs=False),
        "use_cores": entry(count=k.optional(k.size(2)), runs=False),
    }  # fmt: skip


def _one_ratio(**given: Any) -> Any:
    """Give the updates of an iteration by one of the two arguments that say it."""
    if type(given["replay_ratio"]) is int and given["replay_ratio"] == 1:
        given["replay_ratio"] = None
    return qjax.make_loop(**given)


def formula(*arguments: str, **others: k.Kind) -> Entry:
    """Return the entry of a formula: what it computes with is traced, and refused by JAX where it is nothing."""
    return entry(runs=False, **{name: k.raw(None) for name in arguments}, **others)


def numbers() -> dict[str, Entry]:
    """Return random numbers, clocks, statistics and formulas."""
    clock, seed = qjax.clock.at(0), k.size(0, 0, 2**32 - 1)
    selects = ("key", "transition", "q_online", "q_target", "time")
    ticks, scores = k.size(3, 0), k.raw(np.arange(8.0))
    confidence = k.number(0.9, 0, 0.99, open_low=True, traced=False)
    confidence = confidence._replace(bad=(*k.STRANGE, *k.NOWHERE, 0, 1, 1.5, -0.1))
    boot = {"confidence": confidence, "resamples": k.size(16), "seed": k.size(0, 0, 2**63 - 1)}
    return {
        "clock.at": entry(ticks=k.size(3, 0, 2**63 - 1)),
        "clock.ticks": entry(clock=k.raw(clock)),
        "clock.plus": entry(clock=k.raw(clock), ticks=ticks._replace(traced=True)),
        "clock.minus": entry(clock=k.raw(clock), ticks=ticks._replace(traced=True)),
        "clock.modulo": entry(clock=k.raw(clock), modulus=k.size(3, 1, 2**24)),
        "clock.capped": entry(clock=k.raw(clock), most=ticks),
        "clock.missing": entry(clock=k.raw(clock), most=ticks),
        "clock.as_float": entry(clock=k.raw(clock)),
        "clock.fold": entry(key=k.raw(k.key().good[0]), clock=k.raw(clock)),
        "clock.folds": entry(key=k.raw(k.key().good[0]), clock=k.raw(clock), ticks=k.raw(jnp.arange(3))),
        "fast_key": entry(seed=seed._replace(traced=True)),
        "random.fast_key": entry(seed=seed._replace(traced=True)),
        "random.root_key": entry(seed=seed._replace(good=(*seed.good, jax.random.key(0)))),
        "random.unrolled": entry(key=k.key()),
        "random.describe_key": entry(key=k.key()._replace(traced=False)),
        "random.mix": formula("word"),
        "draw": formula("u", "probabilities"),
        "first": formula("q", "time"),
        "greedy": formula("q", "time"),
        "uniform": formula("q", "time"),
        "maximum": formula(*selects),
        "double": formula(*selects),
        "environment_reward": formula("transition", "q", "q_next", "weights", "time"),
        "squared": formula("delta"),
        "td_error": formula("q", "action", "target"),
        "td_target": formula("reward", "discount", "next_q", "weights"),
        "td_loss": formula(*inspect.signature(qjax.td_loss).parameters),
        "lambda_returns": entry(
            **{name: k.raw(jnp.zeros(3)) for name in ("reward", "discount", "next_value")},
            last=k.raw(jnp.zeros(3, bool)), lam=k.unit(),
        ),
        "n_step_transition": formula("window"),
        "tabular_update": formula("table", "obs", "action", "delta", "alpha", "weight"),
        "watkins": formula("transition", "next_q"),
        "uncut": formula("transition", "next_q"),
        **{
            f"stats.{name}": formula(*inspect.signature(getattr(qjax.stats, name)).parameters)
            for name in ("iqm", "mean", "median", "optimality_gap", "area", "wilson")
        },
        "stats.estimate": entry(scores=scores, statistic=k.function(np.median), **boot),
        "stats.iqm_interval": entry(scores=scores, **boot),
        "stats.profile": entry(scores=scores, thresholds=k.raw([1.0]), average=k.raw(False), **boot),
        "stats.improvement": entry(x=scores, y=scores, **boot),
        "stats.paired": entry(
            x=scores, y=scores, x_seeds=k.raw(None), y_seeds=k.raw(None), statistic=k.function(np.median), **boot
        ),
    }  # fmt: skip


def pictures() -> dict[str, Entry]:
    """Return pictures: what they draw is data, and their words are anything."""
    drawn = [name for name in NAMES if name.startswith("plot.")]
    return {name: formula(*inspect.signature(public()[name]).parameters) for name in drawn}


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


def caller(name: str, one: Entry) -> Callable[..., Any]:
    """Return what calls a function with arguments by their names, without compiling what it computes."""
    function = one.call or public()[name]
    if name.startswith(("solve.", "evaluate", "lambda_returns", "mdps.garnet")):
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
        wrong = complaint(
            lambda first=first, traced=traced: jax.eval_shape(traced, jax.ShapeDtypeStruct((3,), first.dtype)),
            kind.called or argument, jnp.zeros((3,)),
        )  # fmt: skip
        assert wrong is None or "[3]" in wrong, (name, argument, wrong)


def deep_fields() -> dict[str, tuple[str, k.Kind]]:
    """Return which member reads a field of `Protocol`, and its kind."""
    size, steps = k.size(1), k.size(500, most=2**53)
    counts = {name: k.optional(size) for name in ("num_envs", "rollout", "n")}
    dqn = {
        "steps": steps._replace(bad=tuple(x for x in steps.bad if x is not None)),
        "episodes": k.optional(k.size(3, 1, 2**30)),
        "hidden": k.listed(k.size(4), (4,), [4], ())._replace(called="hidden"),
        "initializer": k.name(*qjax.layers.INITIALIZERS),
        "output_scale": k.number(0.5, 0, 1e3, traced=False),
        "optimizer": k.optional(k.name(*members.OPTIMIZERS)),
        "optimizer_eps": k.optional(k.positive(1e-5)),
        "learning_rate": k.optional(k.positive(1e-3)),
        "max_grad_norm": k.optional(k.number(1.0, 0, open_low=True, infinite=True)),
        "loss": k.name("squared", "huber"),
        "gamma": k.unit(),
        "capacity": k.size(128),
        "batch_size": size,
        **counts,
        "warmup": k.size(0, 0),
        "target_period": k.number(10, 1, 2**30, whole=True)._replace(called="period"),
        "target_unit": k.name("step", "episode", "update")._replace(called="unit"),
        "epsilon_end": k.unit(),
        "epsilon_fraction": k.half_open(),
        "epsilon_decay": k.optional(k.unit()),
    }
    return {
        **{name: ("dqn", kind) for name, kind in dqn.items()},
        "norm_eps": ("pqn", k.number(1e-5, 0, 1, open_low=True, traced=False)),
        "alpha": ("prioritized-dqn", k.optional(k.number(0.5, 0))),
        "beta": ("prioritized-dqn", k.unit()),
        "temperature": ("munchausen-dqn", k.positive()),
        "low": ("munchausen-dqn", k.number(-1.0, high=0, infinite=True)),
        "support": ("c51", k.Kind((None, (0, 1.0)), ((0,), 3, "3", (1, 0), (0, np.nan), ("a", 1)), called=" ")),
        "atoms": ("c51", k.size(3, 2, 2**24)),
        "floor": ("c51", k.number(0.1, 0, 0.5)),
        "quantiles": ("qr-dqn", k.size(3)),
        "levels": ("iqn", k.size(3)),
        "kappa": ("iqn", k.positive()),
        "lam": ("pqn", k.unit()),
        "epochs": ("pqn", size),
        "minibatches": ("pqn", size),
    }


def tabular_fields() -> dict[str, tuple[str, k.Kind]]:
    """Return which member reads a field of `TabularProtocol`, and its kind."""
    initial, steps = k.array(0.0, np.ones((2, 2))), k.size(500, most=2**53)
    q_learning = {
        "steps": steps._replace(bad=tuple(x for x in steps.bad if x is not None)),
        "episodes": k.optional(k.size(3, 1, 2**30)),
        "alpha": k.scheduled(k.half_open()),
        "alpha_power": k.optional(k.half_open())._replace(called="power"),
        "gamma": k.unit(),
        "epsilon": k.optional(k.scheduled(k.unit())),
        "epsilon_end": k.unit(),
        "epsilon_fraction": k.half_open(),
        "epsilon_decay": k.optional(k.unit()),
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
PROTOCOLS: dict[Any, Any] = {
    members.Protocol: (deep_fields, members.Protocol(**SMALL)),
    members.TabularProtocol: (tabular_fields, members.TabularProtocol()),
}


@pytest.mark.parametrize(
    ("protocol", "field"), [(protocol, field) for protocol in PROTOCOLS for field in protocol._fields]
)
def test_fields_of_a_protocol(protocol, field):
    fields, usual = PROTOCOLS[protocol][0](), PROTOCOLS[protocol][1]
    assert set(fields) == set(protocol._fields)
    member, kind = fields[field]
    env = loop().env
    call = lambda **given: members.make(member, env, usual._replace(**given))
    wrong = refusals(call, {}, field, kind)
    assert not wrong, "\n".join([f"{member}: {field}", *wrong])
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
