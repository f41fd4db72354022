"""Algorithms by name, and anyone's own: a function `(env, config)` whose second argument is a dataclass."""

import dataclasses
import importlib
import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, get_type_hints

from qjax.agents.normalized import normalized
from qjax.algorithms import deep, ensembles, offline, recurrent, streaming, tabular
from qjax.algorithms.constants import Config, Parts
from qjax.core.checks import check_listed, check_record, check_size, one_of
from qjax.core.text import shown
from qjax.training.loop import Loop, make_loop
from qjax.types import Env


class Algorithm(NamedTuple):
    """An algorithm: its name, its constants, and the function that composes it."""

    name: str
    """How it is called on a command line."""
    compose: Callable[[Env, Any], Parts | Loop]
    """`(env, config) -> parts` of a loop, or the whole loop."""
    config: type[Any]
    """The dataclass of its constants."""
    composition: str = ""
    """What it is made of, in code."""
    paper: str = ""
    """Where it was published."""


def _known(*algorithms: Algorithm) -> dict[str, Algorithm]:
    return {algorithm.name: algorithm for algorithm in algorithms}


TABULAR = _known(
    Algorithm("q-learning", tabular.q_learning, tabular.Tabular, "tabular on online()", "Watkins 1989"),
    Algorithm(
        "sarsa", tabular.sarsa, tabular.Tabular, "target_policy=action_taken(policy), on with_next_action()",
        "Rummery and Niranjan 1994",
    ),
    Algorithm(
        "expected-sarsa", tabular.expected_sarsa, tabular.Tabular, "target_policy=expected(policy)",
        "van Seijen et al. 2009",
    ),
    Algorithm(
        "double-q-learning", tabular.double_q_learning, tabular.Tabular, "tables=2, target_policy=double",
        "van Hasselt 2010",
    ),
    Algorithm("n-step-q", tabular.n_step_q, tabular.NStepQ, "online(n=3)", "Sutton and Barto 2018, 7.1"),
    Algorithm(
        "q-lambda", tabular.q_lambda, tabular.Traces, "traces(lam=0.9, cut=watkins) on with_next_action()",
        "Watkins 1989",
    ),
    Algorithm(
        "sarsa-lambda", tabular.sarsa_lambda, tabular.Traces,
        "traces(lam=0.9, target_policy=action_taken(policy), cut=never_cut) on with_next_action()",
        "Rummery and Niranjan 1994",
    ),
    Algorithm("dyna-q", tabular.dyna_q, tabular.DynaQ, "tabular on dyna(planning=10)", "Sutton 1990"),
)  # fmt: skip
"""The tabular family."""

DEEP = _known(
    Algorithm("dqn", deep.dqn, deep.DQN, "dqn on ring", "Mnih et al. 2015"),
    Algorithm("double-dqn", deep.double_dqn, deep.DQN, "target_policy=double", "van Hasselt et al. 2016"),
    Algorithm("dueling-dqn", deep.dueling_dqn, deep.DQN, "MLP(dueling=True)", "Wang et al. 2016"),
    Algorithm("n-step-dqn", deep.dqn, deep.NStepDQN, "n_step(ring(window=3), 3)", "Sutton and Barto 2018, 7.1"),
    Algorithm(
        "prioritized-dqn", deep.prioritized_dqn, deep.PrioritizedDQN, "prioritized(alpha=0.6, beta=0.4 to 1)",
        "Schaul et al. 2016",
    ),
    Algorithm("c51", deep.c51, deep.C51, "categorical(low, high, 51), MLP(atoms=51)", "Bellemare et al. 2017"),
    Algorithm(
        "hl-gauss-dqn", deep.hl_gauss_dqn, deep.HLGaussDQN, "hl_gauss(low, high, 51), MLP(atoms=51)",
        "Farebrother et al. 2024",
    ),
    Algorithm("qr-dqn", deep.qr_dqn, deep.QRDQN, "quantile(kappa=1), MLP(atoms=200)", "Dabney et al. 2018a"),
    Algorithm("iqn", deep.iqn, deep.IQN, "quantile(kappa=1), MLP(levels=64)", "Dabney et al. 2018b"),
    Algorithm(
        "munchausen-dqn", deep.munchausen_dqn, deep.MunchausenDQN,
        "munchausen(temperature=0.03, alpha=0.9, low=-1)", "Vieillard et al. 2020",
    ),
    Algorithm(
        "noisy-dqn", deep.noisy_dqn, deep.NoisyDQN, "MLP(noisy=True), policy=greedy", "Fortunato et al. 2018"
    ),
    Algorithm(
        "retrace-dqn", deep.retrace_dqn, deep.RetraceDQN, "dqn(trace=retrace(1.0)) on ring(window=8)",
        "Munos et al. 2016",
    ),
    Algorithm(
        "redo-dqn", deep.redo_dqn, deep.ReDoDQN,
        "with_resets(dqn, redo(threshold=0.1), periodic(1_000, \"update\"))", "Sokar et al. 2023",
    ),
    Algorithm(
        "qrc", streaming.qrc, streaming.QRC, "qrc(beta=1) on ring, no target network", "Ghiassian et al. 2020"
    ),
    Algorithm(
        "stream-q", streaming.stream_q, streaming.StreamQ,
        "normalized(stream_q(lam=0.8, optimizer=obgd())) on online(), one environment", "Elsayed et al. 2024",
    ),
    Algorithm(
        "rainbow", deep.rainbow, deep.Rainbow,
        "double, n_step(prioritized(alpha=0.5, beta=0.4 to 1), 3), categorical, MLP(dueling, noisy), greedy",
        "Hessel et al. 2018",
    ),
    Algorithm(
        "pqn", deep.pqn, deep.PQN, "pqn(lam=0.65) on online(), rollouts of 128 steps in 4 environments",
        "Gallici et al. 2024",
    ),
    Algorithm(
        "drqn", recurrent.drqn, recurrent.DRQN, "recurrent_dqn(stored_state=False) on sequences",
        "Hausknecht and Stone 2015",
    ),
    Algorithm(
        "r2d2", recurrent.r2d2, recurrent.R2D2,
        "recurrent_dqn(n=5), double, scalar(rescale=signed_hyperbolic()), on sequences with burn-in by priority",
        "Kapturowski et al. 2019",
    ),
    Algorithm(
        "recurrent-pqn", recurrent.recurrent_pqn, recurrent.RecurrentPQN, "recurrent_pqn(lam=0.65) on online()",
        "Gallici et al. 2024",
    ),
    Algorithm(
        "bootstrapped-dqn", ensembles.bootstrapped_dqn, ensembles.BootstrappedDQN,
        "bootstrapped(dqn, 10) of networks with_prior(scale=3), policy=greedy", "Osband et al. 2016, 2018",
    ),
    Algorithm(
        "averaged-dqn", ensembles.averaged_dqn, ensembles.AveragedDQN, "averaged_dqn(copies=10)",
        "Anschel et al. 2017",
    ),
    Algorithm(
        "maxmin-dqn", ensembles.maxmin_dqn, ensembles.MaxminDQN, "maxmin_dqn(size=4)", "Lan et al. 2020"
    ),
    Algorithm(
        "cql", offline.cql, offline.CQL, "conservative(quantile(kappa=1), alpha=1), on recorded or ring",
        "Kumar et al. 2020",
    ),
    Algorithm(
        "bcq", offline.bcq, offline.BCQ,
        "double, batch_constrained(threshold=0.3), MLP(atoms=2), on recorded or ring", "Fujimoto et al. 2019",
    ),
)  # fmt: skip
"""The deep family."""

ALGORITHMS = {**TABULAR, **DEEP}


def algorithm(name: Any) -> Algorithm:
    """Return an algorithm by its name, by `module:function`, or of a function of your own.

    Args:
        name: a name of `ALGORITHMS`; `module:function`, which is imported; or a function `(env, config)` that
            returns `Parts` or a `qjax.Loop`, where the annotation of `config` is a dataclass whose fields all have
            a default.

    Raises:
        ValueError: there is no such name, module or function; the nearest names are given.
        TypeError: the function's second argument is annotated with no such dataclass.

    """
    if callable(name):
        return _own(f"{name.__module__}:{name.__qualname__}", name)
    if isinstance(name, str) and ":" in name:
        return _own(name, _imported(name))
    found: Algorithm = one_of("algorithm", name, ALGORITHMS)
    return found


def _imported(name: str) -> Any:
    module, _, function = name.partition(":")
    try:
        found = importlib.import_module(module)
    except Exception as error:
        raise ValueError(f"{name}: {module} cannot be imported: {type(error).__name__}: {error}") from error
    if not callable(made := getattr(found, function, None)):
        raise ValueError(f"{name}: {module} has no function {function!r}")
    return made


def _own(name: str, compose: Callable[..., Any]) -> Algorithm:
    """Return a function of someone's own as an algorithm."""
    wanted = f"{name} must be a function (env, config) whose config is annotated with a dataclass"
    try:
        arguments, hints = list(inspect.signature(compose).parameters), get_type_hints(compose)
    except (NameError, TypeError, ValueError) as error:
        raise TypeError(f"{wanted}: {error}") from error
    kind = hints.get(arguments[1]) if len(arguments) >= 2 else None
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        raise TypeError(f"{wanted}, got ({', '.join(arguments)}) with {shown(kind)}")
    bare = [
        field.name
        for field in dataclasses.fields(kind)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if bare:
        raise TypeError(f"{name}: {kind.__name__} has fields without a default: {', '.join(bare)}")
    return Algorithm(name, compose, kind, (inspect.getdoc(compose) or "").partition("\n")[0])


def config(name: Any, **constants: Any) -> Any:
    """Return an algorithm's constants, those of its paper but for the ones given.

    Raises:
        ValueError: there is no such algorithm.
        TypeError: it has no such constant; those that it has are named.

    """
    found = algorithm(name)
    known = [field.name for field in dataclasses.fields(found.config)]
    if unknown := sorted(constants.keys() - set(known)):
        raise TypeError(f"{found.name} has no {', '.join(unknown)}; it has {', '.join(known)}")
    return found.config(**constants)


def parts(name: Any, env: Env, config: Any = None) -> Parts | Loop:
    """Return what an algorithm puts into a loop: agent, policy, memory and sizes; or its own whole loop.

    Raises:
        TypeError: the config is another algorithm's.
        ValueError: constants do not fit together; the numbers are named.

    """
    check_record("env", env, Env)
    found = algorithm(name)
    chosen = found.config() if config is None else config
    if not isinstance(chosen, found.config):
        raise TypeError(
            f"{found.name} takes a {found.config.__name__}, got a {type(chosen).__name__}, {shown(chosen)}"
        )
    if isinstance(chosen, Config):
        chosen.check()
    made = found.compose(env, chosen)
    if not isinstance(made, Parts | Loop):
        raise TypeError(f"{found.name} must return qjax.algorithms.Parts or a qjax.Loop, got {shown(made)}")
    return made


def _normalized(name: str, made: Parts | Loop, config: Any, what: Sequence[str]) -> Parts:
    """Return parts whose agent is `qjax.normalized`."""
    if isinstance(made, Loop):
        raise ValueError(f"{name} makes its own loop; it must normalise there")
    if unknown := set(what) - {"observations", "rewards"}:
        raise ValueError(f"normalize takes observations and rewards, got {', '.join(sorted(map(str, unknown)))}")
    if "rewards" in what and isinstance(config, deep.Support) and config.support is None:
        raise ValueError(f"{name} on normalised rewards: give the support, least and largest value")
    agent = normalized(made.agent, observations="observations" in what, rewards="rewards" in what)
    return made._replace(agent=agent)


def make(
    name: Any, env: Env, config: Any = None, *, sync_every: int | None = None, normalize: Sequence[str] = ()
) -> Loop:
    """Return the training loop of one seed of an algorithm.

    Args:
        name: as for `algorithm`.
        env: the environment.
        config: the constants, of the algorithm's own dataclass; default those of its paper.
        sync_every: iterations between two calls of `Agent.sync`; default the target's period, 1 where that is
            swept.
        normalize: "observations", "rewards" or both, for `qjax.normalized`.

    Raises:
        TypeError: the config is another algorithm's, or a tabular one meets observations that are not discrete.
        ValueError: the name is unknown, or constants do not fit together; the numbers are named; or the algorithm
            makes its own loop, or has a support for rewards as they are, which would be normalised.

    """
    if sync_every is not None:
        check_size("sync_every", sync_every)
    found, made = algorithm(name), parts(name, env, config)
    chosen = found.config() if config is None else config
    if normalize:
        made = _normalized(found.name, made, chosen, check_listed("normalize", normalize, "names"))
    if isinstance(made, Loop):
        return made
    if not hasattr(chosen, "gamma"):
        raise TypeError(f"{found.name} returns parts of a loop, so {found.config.__name__} must have a field gamma")
    sizes = made._asdict() | ({} if sync_every is None else {"sync_every": sync_every})
    agent, policy, memory = (sizes.pop(each) for each in ("agent", "policy", "memory"))
    return make_loop(
        env, agent, policy, memory, gamma=chosen.gamma, episodes=getattr(chosen, "episodes", None), **sizes
    )
