"""What a search returns, and how it is told and written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from qjax.core.jsonfile import plain
from qjax.searches import rungs
from qjax.searches.decisions import merits, normalised
from qjax.searches.prepared import label
from qjax.searches.rungs import Reference, Rung, ends
from qjax.searches.scores import Score
from qjax.searches.sensitivities import Line
from qjax.stats.estimates import Estimate, Paired, iqm, iqm_interval


class Tried(NamedTuple):
    """A bracket that was run."""

    name: str
    """Its folder in the search's."""
    static: dict[str, Any]
    """Its static setting."""
    hypers: dict[str, np.ndarray]
    """Its settings: columns `[settings]`."""
    rungs: list[Rung]
    """What came of each of its rungs."""
    env_steps: int
    """Environment steps that were made, of all lanes together."""
    grid_steps: int
    """Those that all of its settings would have taken until the last rung."""

    def setting(self, number: int) -> dict[str, Any]:
        """Return one of its settings, static values too."""
        return {**{name: column[number].item() for name, column in self.hypers.items()}, **self.static}

    @property
    def finalists(self) -> list[int]:
        """The settings that were still there at the last rung."""
        before = self.rungs[-2].survivors if len(self.rungs) > 1 else np.ones(len(self.rungs[-1].merit), bool)
        return np.flatnonzero(before).tolist()


class Alone(NamedTuple):
    """A setting on fresh seeds."""

    setting: dict[str, Any]
    """Its values."""
    scores: dict[str, np.ndarray]
    """By the environment, `[seeds]`."""
    env_steps: int
    """Environment steps of all lanes together."""

    def interval(self, env: str = "") -> Estimate:
        """Return the interquartile mean of an environment's scores and its 95% bootstrap interval."""
        found = self.scores[env]
        return Estimate(float(iqm(found)), *iqm_interval(found))


@dataclass(frozen=True, repr=False)
class Searched:
    """What a search returns."""

    score: Score
    """What was judged by."""
    brackets: Sequence[Tried]
    """Every bracket, in the order in which they were run."""
    winner: Alone | None
    """The best setting, on fresh seeds; None where the search was stopped before."""
    default: Alone | None
    """The default, on the same fresh seeds; None where there was none, or the search was stopped before."""
    comparison: Mapping[str, Paired]
    """By the environment, by how much the winner is better than the default, seed by seed, and P(better)."""
    sensitivity: Mapping[str, Line]
    """By the hyper-parameter the winner's scores on the tuning seeds where it alone is varied, where that was asked
    for."""
    tuning_score: float
    """The winner's merit when it was chosen: the largest of many, and so biased upwards. NaN before that."""
    stopped: str | None
    """What stopped it: a signal's name, or "nan"; None where nothing did."""

    sensitivity_steps: int = 0
    """Environment steps that the sensitivity took."""

    @property
    def env_steps(self) -> dict[str, int]:
        """Environment steps of "tuning", on "fresh" seeds and for "sensitivity", and those of the whole "grid"."""
        alone = [each for each in (self.winner, self.default) if each is not None]
        if self.default is not None and self.winner is not None and self.default.setting == self.winner.setting:
            alone = alone[:1]
        return {
            "tuning": sum(each.env_steps for each in self.brackets),
            "grid": sum(each.grid_steps for each in self.brackets),
            "fresh": sum(each.env_steps for each in alone),
            **({"sensitivity": self.sensitivity_steps} if self.sensitivity else {}),
        }

    def __repr__(self) -> str:
        """Return what came of it, in a few lines."""
        steps = self.env_steps
        of = f"{steps['tuning']:,} env-steps of tuning, {steps['grid']:,} for the whole grid"
        if self.winner is None:
            return f"Searched(stopped by {self.stopped}, {len(self.brackets)} brackets begun, {of})"
        lines = [f"Searched by {self.score}, {of}", f"  winner  {label(self.winner.setting)}"]
        if self.default is not None:
            lines.append(f"  default {label(self.default.setting)}")
        for env in self.winner.scores:
            told = [f"winner {words(self.winner.interval(env))}"]
            if self.default is not None:
                told += [f"default {words(self.default.interval(env))}", better(self.comparison[env])]
            lines.append(f"  {env or 'fresh seeds'}: {', '.join(told)}")
        return "\n".join(lines)

    def plain(self) -> dict[str, Any]:
        """Return it as JSON has it: nothing in it depends on when or where it was run.

        JSON has no infinity, which is the score of what diverged: it is the text "inf" or "-inf".
        """
        found: dict[str, Any] = plain(
            {
                "score": self.score._asdict(),
                "brackets": [{**x._asdict(), "rungs": list(map(rungs.plain, x.rungs))} for x in self.brackets],
                "winner": None if self.winner is None else self.winner._asdict(),
                "default": None if self.default is None else self.default._asdict(),
                "comparison": {
                    env: {"difference": each.difference, "improvement": each.improvement}
                    for env, each in self.comparison.items()
                },
                "sensitivity": {name: line._asdict() for name, line in self.sensitivity.items()},
                "tuning_score": self.tuning_score,
                "env_steps": self.env_steps,
            }
        )
        return _finite(found)  # type: ignore[no-any-return]


def _finite(value: Any) -> Any:
    """Return what JSON holds of a value: infinity is text, and what is not known null."""
    if isinstance(value, dict):
        return {name: _finite(own) for name, own in value.items()}
    if isinstance(value, list):
        return [_finite(own) for own in value]
    return str(value) if isinstance(value, float) and np.isinf(value) else value


def champion(tried: Sequence[Tried], score: Score, reference: Reference | None) -> tuple[dict[str, Any], float]:
    """Return the setting that did best at the last rung of any bracket, and its merit; of equal ones the first.

    Of several environments all that came so far are put on one scale: that of a bracket is its own.
    """
    last = [(each, number) for each in tried for number in each.finalists]
    envs = list(tried[0].rungs[-1].scores)
    scores = {env: np.stack([each.rungs[-1].scores[env][number] for each, number in last]) for env in envs}
    merit = np.stack([merits(score.merit(found)) for found in scores.values()], 1)
    scale = ends(score, reference, envs)
    whole = merit[:, 0] if len(envs) == 1 else normalised(merit, np.ones(len(last), bool), scale)
    best = int(whole.argmax())
    return last[best][0].setting(last[best][1]), float(whole[best])


def words(found: Estimate) -> str:
    """Return an estimate as `475.2 [470.1, 480.3]`."""
    places = 1 if abs(found.value) > 10 else 2
    return f"{found.value:z.{places}f} [{found.low:z.{places}f}, {found.high:z.{places}f}]"


def better(found: Paired) -> str:
    """Return the probability that the winner is better, in words."""
    return f"P(winner is better) {words(found.improvement)}"
