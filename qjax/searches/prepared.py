"""A search described: what it will try, at which log points it decides, what that takes; nothing is compiled."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from qjax.core.checks import check_callable, check_listed, check_mapping, check_size
from qjax.core.random import root_key
from qjax.core.text import joined, shown
from qjax.searches.decisions import Bracket, brackets
from qjax.searches.rungs import Judge, Reference
from qjax.searches.samplers import Sampler, Trial, draw
from qjax.searches.scores import Score, check_metric, rung_points
from qjax.searches.space import Space, check_space
from qjax.stats.estimates import LEAST_SEEDS
from qjax.sweeps.described import describe
from qjax.sweeps.evaluating import RETURN, SPREAD
from qjax.sweeps.hyperparameters import Build
from qjax.sweeps.phases import log_steps

Setting = Mapping[str, Any]


class Prepared(NamedTuple):
    """What a search will do."""

    builds: dict[str, Any]
    """By the environment `(hyper, **static) -> loop`; one that is called "" is alone."""
    space: Space
    """What is drawn."""
    statics: list[dict[str, Any]]
    """The static settings, each searched by itself; one that is empty where there are none."""
    brackets: list[Bracket]
    """Of each static setting."""
    score: Score
    """What is judged by."""
    at: dict[str, dict[str, list[int]]]
    """By the label of a static setting and the environment, the log point of each of the first bracket's rungs."""
    made: dict[str, dict[str, list[int]]]
    """Likewise a lane's steps at each of these."""
    tuning: np.ndarray
    """Seeds by which settings are judged."""
    fresh: np.ndarray
    """Seeds of the winner and the default that no decision sees."""
    default: dict[str, Any] | None
    """The setting that the winner is compared with."""
    sampler: Sampler
    """Draws the settings."""
    seed: int
    """Of the draws."""
    reference: Reference | None
    """Scales of the environments."""
    sensitivity: int
    """Values of each hyper-parameter that are tried around the winner; 0 for none."""

    def build(self, env: str, static: Setting) -> Build:
        """Return the build of an environment with its static setting."""
        own = self.builds[env]
        return own if not static else lambda hyper: own(hyper, **static)

    def drawn(self, number: int, static: Setting, seen: Sequence[Trial]) -> dict[str, np.ndarray]:
        """Return the settings of a bracket; the default is the first one of the last bracket."""
        found = draw(self.sampler, self.space, self.brackets[number].settings, self.seed + number, seen)
        if self.default is None or number < len(self.brackets) - 1:
            return found
        if any(self.default[name] != value for name, value in static.items()):
            return found
        return {
            name: np.concatenate([np.asarray([self.default[name]]), column[: max(len(column) - 1, 0)]])
            for name, column in found.items()
        }

    def judge(self, number: int, static: Setting, hypers: Mapping[str, np.ndarray]) -> Judge:
        """Return how the settings of a static setting's bracket are judged."""
        bracket = self.brackets[number]
        last = -len(bracket.rungs)
        at = {env: own[last:] for env, own in self.at[label(static)].items()}
        return Judge(self.score, hypers, self.tuning, bracket.kept, at, self.reference)

    @property
    def steps(self) -> dict[str, int]:
        """Environment steps that each part and the full grid of the same settings take, at most."""
        searched = grid = 0
        lanes = [own for each in self.made.values() for own in each.values()]
        for bracket, made in itertools.product(self.brackets, lanes):
            own = bracket._replace(rungs=tuple(made[-len(bracket.rungs) :]))
            searched += own.steps * len(self.tuning)
            grid += bracket.settings * made[-1] * len(self.tuning)
        whole = sum(own[-1] for own in next(iter(self.made.values())).values())
        fresh = whole * len(self.fresh) * (1 + (self.default is not None))
        varied = sum(len(own.spread(self.sensitivity)) + 1 for own in self.space.values() if self.sensitivity)
        return {"tuning": searched, "grid": grid, "fresh": fresh, "sensitivity": varied * whole * len(self.tuning)}

    def __str__(self) -> str:
        """Return it in lines, what it takes among them."""
        lines = [f"searches {', '.join(f'{name}={own}' for name, own in self.space.items())}, by {self.score}"]
        if self.statics != [{}]:
            lines.append(f"for each of {'; '.join(label(static) for static in self.statics)}")
        if len(self.builds) > 1:
            lines.append(f"one setting for {', '.join(self.builds)}")
        for number, bracket in enumerate(self.brackets):
            at = next(iter(next(iter(self.made.values())).values()))[-len(bracket.rungs) :]
            counts = (bracket.settings, *bracket.kept[:-1])
            rungs = ", ".join(f"{n} until {steps:,}" for n, steps in zip(counts, at, strict=True))
            lines.append(f"bracket {number}: {rungs} env-steps, {len(self.tuning)} seeds each")
        took = self.steps
        lines.append(
            f"{took['tuning']:,} env-steps where the grid of these settings takes {took['grid']:,}"
            f" ({took['grid'] / took['tuning']:.1f} times as many), then {took['fresh']:,} on {len(self.fresh)}"
            " fresh seeds"
        )
        if self.sensitivity:
            lines[-1] += f", up to {took['sensitivity']:,} around the winner"
        return "\n".join(lines)


def prepare(
    build: Any,
    space: Any,
    *,
    steps: int,
    settings: int,
    tuning_seeds: int,
    fresh_seeds: int,
    eta: int,
    rungs: int | None,
    method: str,
    score: Score,
    default: Any,
    static: Any,
    sampler: Any,
    reference: Any,
    sensitivity: int,
    work: Mapping[str, Any],
) -> Prepared:
    """Return the arguments of a search, those of `qjax.search`, checked; `work` are those of its sweeps."""
    builds = _builds(build)
    space = check_space(space)
    statics = _statics(static, space)
    tuning, fresh = (
        check_size(name, number, LEAST_SEEDS)
        for name, number in (("tuning_seeds", tuning_seeds), ("fresh_seeds", fresh_seeds))
    )
    check_callable("sampler", sampler, "(space, number, seed, seen) -> columns")
    made = Prepared(
        builds, space, statics, [], score, {}, {}, np.arange(tuning), tuning + np.arange(fresh),
        _default(default, space, statics), sampler, int(work["seed"]) if _is_whole(work["seed"]) else 0,
        _reference(reference, builds), check_size("sensitivity", sensitivity, least=0, most=2**10),
    )  # fmt: skip
    found = brackets(method, settings, steps, eta, rungs)
    first = {name: own.spread(2) for name, own in space.items()}
    logs = {
        (label(static), env): _logs(made.build(env, static), first, steps, score, work)
        for static, env in itertools.product(statics, builds)
    }
    while rungs is None and len(found[0].rungs) > 1 and not all(own.hold(found[0], score) for own in logs.values()):
        found = brackets(method, settings, steps, eta, len(found[0].rungs) - 1)
    for (named, env), own in logs.items():
        at = own.of(found[0], score)
        made.at.setdefault(named, {})[env] = at
        made.made.setdefault(named, {})[env] = [own.steps[number] for number in at]
    return made._replace(brackets=found)


def label(setting: Setting) -> str:
    """Return a setting in words, `hidden=64,64 n=3`."""
    return " ".join(f"{name}={joined(value)}" for name, value in setting.items())


class _Logs(NamedTuple):
    """Log points of a sweep."""

    steps: list[int]
    """Environment steps of a lane at each of them."""
    warmup: int
    """Those of its warm-up."""
    evaluated: int
    """Log points until what is judged by has a value."""

    def of(self, bracket: Bracket, score: Score) -> list[int]:
        """Return the log point of each of a bracket's rungs.

        Raises:
            ValueError: two fall on one, or the first has no score, or lies in the warm-up.

        """
        first = bracket.rungs[0]
        if first <= self.warmup and len(bracket.rungs) > 1:
            raise ValueError(
                f"the first rung, at {first} of {bracket.rungs[-1]} steps, lies in the warm-up of {self.warmup}:"
                " give more steps, or fewer rungs"
            )
        return rung_points(self.steps, bracket.rungs, score, self.evaluated)

    def hold(self, bracket: Bracket, score: Score) -> bool:
        """Return whether a bracket's rungs have log points, and the first as much learning as warm-up before it."""
        try:
            self.of(bracket, score)
        except ValueError:
            return False
        return bracket.rungs[0] >= 2 * self.warmup


def _logs(build: Build, first: Any, steps: int, score: Score, work: Mapping[str, Any]) -> _Logs:
    """Return the log points of a sweep, whose settings are the ends of the space: each is built once."""
    size = max(map(len, first.values()))
    hypers = {name: np.resize(column, size) for name, column in first.items()}
    named = ("schedules", "report", "evaluate_every", "evaluate_episodes")
    more = {name: work[name] for name in named if name in work}
    made = describe(build, 1, hypers, work["seed"], steps, work["log_points"], work.get("devices"), **more)
    loop = made.loop
    check_metric(score, made, jax.eval_shape(loop.init, root_key(0)).stats.sums)
    per_iteration = loop.num_envs * loop.rollout
    evaluated = made.evaluation.every if made.evaluation is not None and score.metric in (RETURN, SPREAD) else 1
    return _Logs(log_steps(made.phases, per_iteration), loop.warmup * per_iteration, evaluated)


def _builds(build: Any) -> dict[str, Any]:
    if not isinstance(build, Mapping):
        return {"": build}
    check_mapping("build", build)
    if not build or "" in build:
        raise ValueError(f"build needs a name for each environment, got {shown(list(build))}")
    return dict(build)


def _statics(static: Any, space: Space) -> list[dict[str, Any]]:
    if static is None:
        return [{}]
    check_mapping("static", static)
    values = {name: check_listed(f"static[{name!r}]", each, "values") for name, each in static.items()}
    if empty := [name for name, each in values.items() if not each]:
        raise ValueError(f"static[{empty[0]!r}] must have at least one value, got none")
    if twice := sorted(values.keys() & space.keys()):
        raise ValueError(f"{joined(twice)}: either in space, or static, not both")
    return [dict(zip(values, row, strict=True)) for row in itertools.product(*values.values())]


def _default(default: Any, space: Space, statics: Sequence[Setting]) -> dict[str, Any] | None:
    if default is None:
        return None
    check_mapping("default", default)
    wanted = [*space, *statics[0]]
    if set(default) != set(wanted):
        raise ValueError(f"default must have the names {shown(wanted)}, got {shown(list(default))}")
    return dict(default)


def _reference(reference: Any, builds: Mapping[str, Any]) -> Reference | None:
    if reference is None:
        return None
    check_mapping("reference", reference)
    if set(reference) != set(builds):
        raise ValueError(f"reference must have {shown(list(builds))}, got {shown(list(reference))}")
    for name, ends in reference.items():
        low_high = np.asarray(ends, float)
        if low_high.shape != (2,) or not np.isfinite(low_high).all() or low_high[0] == low_high[1]:
            raise ValueError(f"reference[{name!r}] must be two different scores, got {shown(ends)}")
    return reference


def _is_whole(seed: Any) -> bool:
    return isinstance(seed, int | np.integer)
