"""Samplers: which settings of a space are tried."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from qjax.core.checks import check_callable, check_size
from qjax.core.distribution import needs
from qjax.core.text import shown
from qjax.searches.space import Range, Space, check_space

MOST = 2**20
"""Settings of a bracket."""


class Trial(NamedTuple):
    """A setting that was tried to its last step in an earlier bracket."""

    values: dict[str, Any]
    """By name."""
    score: float
    """Its score, of which higher is better."""


@runtime_checkable
class Sampler(Protocol):
    """A function that chooses settings."""

    def __call__(self, space: Space, number: int, seed: int, seen: Sequence[Trial], /) -> dict[str, np.ndarray]:
        """Return columns `[number]` by the space's names.

        Args:
            space: what each hyper-parameter may be.
            number: of settings.
            seed: of its random numbers; the same gives the same settings, so that a search can be resumed.
            seen: what earlier brackets came to.

        """


def sobol(space: Space, number: int, seed: int, seen: Sequence[Trial] = ()) -> dict[str, np.ndarray]:
    """Return scrambled Sobol points (Sobol 1967, Owen 1998), which fill a space more evenly than random ones.

    Args:
        space: what each hyper-parameter may be.
        number: of settings; powers of two fill it best.
        seed: of the scrambling.
        seen: of no effect.

    """
    from scipy.stats import qmc

    points = qmc.Sobol(len(check_space(space)), rng=_generator(seed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a number that is no power of two
        return _columns(space, points.random(check_size("number", number, most=MOST)))


def random(space: Space, number: int, seed: int, seen: Sequence[Trial] = ()) -> dict[str, np.ndarray]:
    """Return independent random settings (Bergstra and Bengio 2012); the arguments are those of `sobol`."""
    return _columns(
        space, _generator(seed).random((check_size("number", number, most=MOST), len(check_space(space))))
    )


def from_optuna(make: Callable[[int], Any]) -> Sampler:
    """Return a sampler of Optuna's, told what earlier brackets came to: with TPE and Hyperband as in BOHB.

    One bracket is drawn at once, so within it a model learns nothing (Falkner et al. 2018).

    Args:
        make: `seed -> sampler`, `lambda seed: optuna.samplers.TPESampler(seed=seed)` for instance.

    Raises:
        ImportError: Optuna is not installed.

    """
    check_callable("make", make, "(seed) -> sampler")
    try:
        import optuna
    except ImportError as error:
        raise ImportError(needs("from_optuna", "optuna", "optuna")) from error

    def sample(space: Space, number: int, seed: int, seen: Sequence[Trial] = ()) -> dict[str, np.ndarray]:
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            study = optuna.create_study(direction="maximize", sampler=make(seed))
            known = {name: _distribution(optuna, own) for name, own in space.items()}
            worst = min((trial.score for trial in seen if np.isfinite(trial.score)), default=0.0)
            for values, score in seen:
                told = max(score, worst)  # it takes no infinity, which stands for divergence
                study.add_trial(optuna.trial.create_trial(params=values, distributions=known, value=told))
            asked = [study.ask(known).params for _ in range(number)]
        finally:
            optuna.logging.set_verbosity(verbosity)
        return {name: _rounded(own, [params[name] for params in asked]) for name, own in space.items()}

    return sample


def _tpe() -> Sampler:
    """Return Optuna's tree-structured Parzen estimator (Bergstra et al. 2011)."""

    def make(seed: int) -> Any:
        import optuna

        return optuna.samplers.TPESampler(seed=seed)

    return from_optuna(make)


NAMED: dict[str, Callable[[], Sampler]] = {"sobol": lambda: sobol, "random": lambda: random, "tpe": _tpe}
"""By its name on a command line what makes a sampler."""


def draw(sampler: Sampler, space: Space, number: int, seed: int, seen: Sequence[Trial]) -> dict[str, np.ndarray]:
    """Return what a sampler chooses, checked; a setting that comes twice is there once.

    Raises:
        ValueError: it has other names than the space, or another number of settings.

    """
    found = sampler(space, number, seed, seen)
    lengths = {name: np.shape(column) for name, column in found.items()} if isinstance(found, dict) else None
    if lengths is None or set(lengths.values()) != {(number,)} or set(lengths) != set(space):
        raise ValueError(f"the sampler must return columns [{number}] of {shown(list(space))}, got {shown(found)}")
    rows = list(dict.fromkeys(zip(*(np.asarray(found[name]).tolist() for name in space), strict=True)))
    return {name: np.array([row[i] for row in rows]) for i, name in enumerate(space)}


def _generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(check_size("seed", seed, least=0))


def _columns(space: Space, points: np.ndarray) -> dict[str, np.ndarray]:
    return {name: own.at(points[:, i]) for i, (name, own) in enumerate(space.items())}


def _rounded(own: Range, values: Sequence[Any]) -> np.ndarray:
    """Return values with as many digits as a range's own have."""
    if own.kind not in ("uniform", "log"):
        return np.array(values)
    return np.clip([float(f"{value:.4g}") for value in values], *own.values)


def _distribution(optuna: Any, own: Range) -> Any:
    """Return a range as Optuna's."""
    kinds = optuna.distributions
    if own.kind == "choice":
        return kinds.CategoricalDistribution(own.values)
    kind = kinds.IntDistribution if own.kind.endswith("int") else kinds.FloatDistribution
    return kind(*own.values, log=own.kind.startswith("log"))
