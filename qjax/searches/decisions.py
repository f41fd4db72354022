"""What a search decides: how many settings go on at which steps, and which; pure functions of scores."""

from typing import NamedTuple

import numpy as np

from qjax.core.checks import check_size, one_of
from qjax.stats.estimates import iqm


class Bracket(NamedTuple):
    """One run of successive halving, before it begins."""

    settings: int
    """How many begin."""
    rungs: tuple[int, ...]
    """Environment steps of a lane at which its setting is judged; the last are those of a whole run."""
    kept: tuple[int, ...]
    """How many settings go on after each rung; after the last it is one."""

    @property
    def steps(self) -> int:
        """Environment steps of all settings together, with one seed each."""
        alive, before = (self.settings, *self.kept), (0, *self.rungs)
        return sum(n * (b - a) for n, a, b in zip(alive[:-1], before[:-1], self.rungs, strict=True))


def halving(settings: int, steps: int, eta: int, rungs: int | None = None) -> list[Bracket]:
    """Return the one bracket of successive halving (Jamieson and Talwalkar 2016).

    Args:
        settings: how many begin.
        steps: of a whole run.
        eta: one of so many goes on at each rung.
        rungs: at `steps / eta**j`; default so many that about one setting is left at the last.

    Raises:
        ValueError: fewer settings than the rungs divide, `eta` below 2, or steps that do not make so many rungs.

    """
    most = _rungs_of(settings, eta)
    return [_bracket(settings, steps, eta, most if rungs is None else _checked_rungs(rungs, settings, eta))]


def hyperband(settings: int, steps: int, eta: int, rungs: int | None = None) -> list[Bracket]:
    """Return the brackets of Hyperband, each of about the same steps (Li et al. 2018, algorithm 1).

    The first begins with all settings and judges them first after few steps; each next one has fewer settings and a
    rung less, until the last runs all of its own to the end. With `settings = eta**(rungs - 1)` these are the
    paper's numbers; others scale them.

    Args:
        settings: how many begin in the first bracket.
        steps: of a whole run.
        eta: one of so many goes on at each rung.
        rungs: of the first bracket, which are as many as brackets; default as for `halving`.

    Raises:
        ValueError: as `halving`.

    """
    most = _rungs_of(settings, eta) if rungs is None else _checked_rungs(rungs, settings, eta)
    found = []
    for own in range(most, 0, -1):
        # ceil(settings * eta**(own - most) * most / own), in whole numbers
        number = -(-settings * most // (own * eta ** (most - own)))
        found.append(_bracket(number, steps, eta, own))
    return found


METHODS = {"halving": halving, "hyperband": hyperband}


def brackets(method: str, settings: int, steps: int, eta: int, rungs: int | None) -> list[Bracket]:
    """Return the brackets of a method by its name.

    Raises:
        ValueError: there is no such method; else as `halving`.

    """
    check_size("settings", settings)
    check_size("steps", steps, most=2**53)
    check_size("eta", eta, least=2)
    return one_of("method", method, METHODS)(settings, steps, eta, rungs)


def merits(scores: np.ndarray) -> np.ndarray:
    """Return the interquartile mean over seeds of scores `[settings, seeds]`, `[settings]`; -inf where all are NaN.

    A lane that diverged has minus infinity, and so has its setting where more than a quarter of them have.
    """
    with np.errstate(invalid="ignore"):
        found = iqm(scores, axis=1)
    return np.where(np.isnan(found), -np.inf, found)


def best(merit: np.ndarray, number: int, alive: np.ndarray) -> np.ndarray:
    """Return which so many settings of those alive are the best, bool `[settings]`; of equal ones the first."""
    order = np.lexsort((np.arange(len(merit)), -merit, ~alive))
    kept = np.zeros(len(merit), bool)
    kept[order[: min(number, int(alive.sum()))]] = True
    return kept


def normalised(
    merit: np.ndarray, alive: np.ndarray, reference: tuple[np.ndarray, np.ndarray] | None = None
) -> np.ndarray:
    """Return the mean over environments of merits `[settings, envs]` on one scale, `[settings]`.

    An environment's scale has 0 and 1 at the least and the most finite merit of the settings alive, or at its
    reference's low and high. A merit that is not finite has the least, at most 0; where all merits are equal all
    are 0.

    Args:
        merit: higher is better.
        alive: which settings count, bool `[settings]`.
        reference: low and high, `[envs]` each.

    """
    finite = np.isfinite(merit) & alive[:, None]
    low = np.where(finite, merit, np.inf).min(0) if reference is None else reference[0]
    high = np.where(finite, merit, -np.inf).max(0) if reference is None else reference[1]
    width = np.where(high > low, high - low, 1.0)
    scaled = np.where(finite, (np.where(finite, merit, 0) - np.where(np.isfinite(low), low, 0)) / width, np.nan)
    least = np.minimum(np.where(finite, scaled, np.inf).min(0), 0)
    return np.where(np.isnan(scaled), least, scaled).mean(1)


def _bracket(settings: int, steps: int, eta: int, rungs: int) -> Bracket:
    """Return a bracket: `settings / eta**j` at `steps / eta**(rungs - 1 - j)`, rounded down, at least one each."""
    first = steps // eta ** (rungs - 1)
    if not first:
        raise ValueError(f"{steps} steps do not make {rungs} rungs with eta {eta}: the first would have none")
    at = tuple(steps // eta ** (rungs - 1 - j) for j in range(rungs))
    return Bracket(settings, at, (*(max(settings // eta ** (j + 1), 1) for j in range(rungs - 1)), 1))


def _rungs_of(settings: int, eta: int) -> int:
    """Return so many rungs that at least one setting is left at the last."""
    found = 1
    while settings >= eta**found:
        found += 1
    return found


def _checked_rungs(rungs: int, settings: int, eta: int) -> int:
    rungs = check_size("rungs", rungs)
    if settings < eta ** (rungs - 1):
        raise ValueError(
            f"{rungs} rungs with eta {eta} need at least {eta ** (rungs - 1)} settings, got {settings}"
        )
    return rungs
