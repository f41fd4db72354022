"""Searching for settings: brackets, each one sweep that halves at rungs; then the winner on fresh seeds."""

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jax
import numpy as np

from qjax.core import files, jsonfile
from qjax.core.checks import check_callable, check_flag, check_path
from qjax.core.default_rules import usual_rules
from qjax.core.random import describe_key, root_key
from qjax.runs.config import CONFIG
from qjax.runs.run import Run
from qjax.searches.prepared import Prepared, Setting, label, prepare
from qjax.searches.record import Alone, Searched, Tried, champion
from qjax.searches.rungs import Rung, spent
from qjax.searches.samplers import Sampler, Trial, sobol
from qjax.searches.scores import check_score
from qjax.searches.sensitivities import Line, around
from qjax.searches.space import Space
from qjax.searches.stages import Place, run_alone, run_bracket
from qjax.stats.estimates import paired
from qjax.sweeps.hyperparameters import Build
from qjax.sweeps.sweep import sweep

SEARCH = "search.json"
OF_SWEEP = (
    "log_points", "width", "devices", "schedules", "report", "evaluate_every", "evaluate_episodes", "on_progress",
    "progress", "chunk_seconds", "checkpoint_every",
)  # fmt: skip
"""Arguments of `qjax.sweep` that a search's sweeps take."""

LOCKSTEP = 2.0
"""Seconds between checkpoints where sweeps of several environments wait for one another at rungs."""


@usual_rules()
def search(
    build: Build | Mapping[str, Build] | Callable[..., Any],
    space: Space,
    *,
    steps: int,
    settings: int = 32,
    tuning_seeds: int = 5,
    fresh_seeds: int = 64,
    eta: int = 3,
    rungs: int | None = None,
    method: str = "halving",
    score: str = "mean_return",
    score_kind: str = "final",
    lower: bool = False,
    default: Setting | None = None,
    static: Mapping[str, Sequence[Any]] | None = None,
    sampler: Sampler = sobol,
    reference: Mapping[str, tuple[float, float]] | None = None,
    sensitivity: int = 0,
    seed: Any = 0,
    folder: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    on_rung: Callable[[str, Rung], None] | None = None,
    **arguments: Any,
) -> Searched:
    """Search a space for the setting of the best score, then run it and the default on seeds that no choice saw.

    Each bracket is one sweep of its settings with the tuning seeds; at each rung the better ones go on in place,
    bit for bit as they would have without the others, and the rest leave the devices. A setting's merit is the
    interquartile mean of its seeds' scores; a lane that diverged has the worst of all.

    Args:
        build: as for `qjax.sweep`, or with `static` `(hyper, **static) -> loop`; or builds by the names of several
            environments, for which one setting is sought, by the mean of their merits on one scale.
        space: by the name of a traced hyper-parameter its range (`qjax.searches.log_uniform` and others).
        steps: environment steps of a lane that goes to the end.
        settings: how many begin in the first bracket, the default among them.
        tuning_seeds: by which settings are judged.
        fresh_seeds: of the winner and the default at the end, further ones.
        eta: one of so many settings goes on at each rung.
        rungs: the first is at `steps / eta**(rungs - 1)`; default so many that about one setting is left, fewer
            where the first would be less than twice the warm-up.
        method: "halving", one bracket; or "hyperband", as many as rungs, each with a rung less.
        score: a column of the table: "mean_return", "eval_return" with `evaluate_every`, what `report` says.
        score_kind: "final", its mean over the last tenth of the steps by then, or "area", over all.
        lower: whether lower is better.
        default: a setting of all names, which takes part, and is compared with the winner.
        static: by the name of a static hyper-parameter its values; each combination is searched by itself.
        sampler: draws the settings of a bracket: `qjax.searches.sobol`, `random` or `from_optuna`.
        reference: by the environment the scores at 0 and 1 of its scale; default the least and the most finite
            merit of the settings that are left at a rung.
        sensitivity: values of each range with which the winner is tried on the tuning seeds, the others its own.
        seed: root of all randomness, as for `qjax.sweep`.
        folder: for `search.json` and a run's folder for each sweep.
        resume: go on in the folder where it stopped, bit for bit, or begin where nothing is.
        overwrite: replace an earlier search.
        on_rung: called with a bracket's name and each of its rungs as it is decided.
        arguments: those of `qjax.sweep` that are in `OF_SWEEP`.

    Raises:
        ValueError: an empty space, rungs that do not fit into the steps, a score that is not logged, too few seeds;
            else as `qjax.sweep`.
        TypeError: a hyper-parameter of the space that shapes the program: it belongs to `static`.
        FileExistsError: the folder holds something, and neither `resume` nor `overwrite` is set.

    """
    judged = check_score(score, score_kind, lower)
    if on_rung is not None:  # these before the builds are traced
        check_callable("on_rung", on_rung, "(name, rung) -> None")
    if folder is not None:
        check_path("folder", folder)
    resume, overwrite = check_flag("resume", resume), check_flag("overwrite", overwrite)
    work = {"seed": seed, "log_points": 100, **_of_sweep(arguments)}
    made = prepare(
        build, space, steps=steps, settings=settings, tuning_seeds=tuning_seeds, fresh_seeds=fresh_seeds, eta=eta,
        rungs=rungs, method=method, score=judged, default=default, static=static, sampler=sampler,
        reference=reference, sensitivity=sensitivity, work=work,
    )  # fmt: skip
    told = described(made, {"steps": steps, "eta": eta, "method": method}, work)
    with ExitStack() as stack:
        run, place = (
            None,
            Place(None, "search", lambda name, env, _: {**told, "sweep": f"{name} {env}".strip()}, None),
        )
        if folder is not None:
            run = stack.enter_context(opened(Path(folder), "search", told, resume, overwrite))
            place = place._replace(folder=Path(folder))
        elif len(made.builds) > 1:  # sweeps that wait for one another are stopped and resumed
            place = place._replace(folder=Path(stack.enter_context(tempfile.TemporaryDirectory())))
        return searched(made, place, run, {**work, "steps": steps}, on_rung)


def opened(
    folder: Path,
    experiment: str,
    arguments: Mapping[str, Any],
    resume: bool,
    overwrite: bool,
    machine: Mapping[str, Any] | None = None,
) -> Run:
    """Return the run of a whole search, its config written; what an earlier one left there is removed."""
    run = Run(folder, experiment, arguments, resume=resume, overwrite=overwrite, machine=machine)
    if overwrite and folder.is_dir():
        for path in [found.parent for found in folder.glob(f"**/{CONFIG}") if found.parent != folder]:
            shutil.rmtree(path, ignore_errors=True)
        (folder / SEARCH).unlink(missing_ok=True)
    if not run.finished:
        run.lifecycle.begin()
    return run


def described(made: Prepared, more: Mapping[str, Any], work: Mapping[str, Any]) -> dict[str, Any]:
    """Return what decides a search, as plain values."""
    own = {name: work[name] for name in ("log_points", "evaluate_every", "evaluate_episodes") if name in work}
    return {
        "space": {name: str(found) for name, found in made.space.items()},
        **more,
        "brackets": [{"settings": each.settings, "rungs": each.rungs} for each in made.brackets],
        "tuning_seeds": len(made.tuning),
        "fresh_seeds": len(made.fresh),
        "score": made.score._asdict(),
        "default": made.default,
        "static": made.statics,
        "environments": list(made.builds),
        "reference": made.reference,
        "sensitivity": made.sensitivity,
        "sampler": getattr(made.sampler, "__qualname__", str(made.sampler)),
        "seed": _root(work["seed"]),
        **own,
    }


def searched(
    made: Prepared, place: Place, run: Run | None, work: Mapping[str, Any], on_rung: Any = None
) -> Searched:
    """Run a search, and write what came of it where it has a run.

    Args:
        made: what is to be done.
        place: where its sweeps go.
        run: the open run of the whole, where there is one.
        work: arguments of its sweeps.
        on_rung: called with a bracket's name and each of its rungs.

    """
    _check_alone()
    tried = list[Tried]()
    for static in made.statics:
        seen = list[Trial]()
        for number in range(len(made.brackets)):
            told = _telling(made, list(tried), run, on_rung)
            own, stopped = _bracket(made, static, number, seen, place, work, told)
            tried.append(own)
            if stopped is not None:
                return Searched(made.score, tried, None, None, {}, {}, np.nan, stopped)
            seen += [Trial(_drawn(own, i), float(own.rungs[-1].merit[i])) for i in own.finalists]
    setting, merit = champion(tried, made.score, made.reference)
    alone, stopped = _fresh(made, setting, place, work)
    winner, default = alone.get("winner"), alone.get("default")
    lines, steps = dict[str, Line](), 0
    if stopped is None and made.sensitivity:
        lines, steps, stopped = _around(made, setting, place, work)
    if stopped is not None:
        return Searched(made.score, tried, None, None, {}, {}, merit, stopped)
    assert winner is not None
    compared = _compared(made, winner, default)
    found = Searched(made.score, tried, winner, default, compared, lines, merit, None, steps)
    if run is not None and not run.finished:
        files.write(run.folder / SEARCH, jsonfile.text(found.plain()))
        run.finish({"experiment": "search", "winner": setting, **found.env_steps})
    return found


def _telling(
    made: Prepared, before: Sequence[Tried], run: Run | None, on_rung: Any
) -> Callable[[Tried], None] | None:
    """Return what writes how far a search has come, and tells of a bracket's last rung, where anybody asks."""
    if run is None and on_rung is None:
        return None

    def tell(own: Tried) -> None:
        if run is not None and not run.finished:
            so_far = Searched(made.score, [*before, own], None, None, {}, {}, np.nan, None)
            files.write(run.folder / SEARCH, jsonfile.text(so_far.plain()))
        if on_rung is not None:
            on_rung(own.name, own.rungs[-1])

    return tell


def _bracket(
    made: Prepared, static: Setting, number: int, seen: Sequence[Trial], place: Place, work: Any, tell: Any
) -> tuple[Tried, str | None]:
    """Run one bracket of a static setting; return it and what stopped it. `tell` is told of it at each rung."""
    name = "/".join([label(static).replace(" ", "_")] * bool(static) + [f"bracket_{number}"])
    hypers = made.drawn(number, static, seen)
    judge = made.judge(number, static, hypers)
    builds = {env: made.build(env, static) for env in made.builds}
    grid = sum(own[-1] for own in made.made[label(static)].values()) * judge.settings * len(made.tuning)
    passed = list[Rung]()

    def told(rung: Rung) -> None:
        passed.append(rung)
        tell(Tried(name, dict(static), hypers, list(passed), spent(passed, len(builds) * len(made.tuning)), grid))

    own = {**work, "seeds": made.tuning.tolist()}
    if len(builds) > 1:
        own["checkpoint_every"] = min(work.get("checkpoint_every", LOCKSTEP), LOCKSTEP)
    rungs, results = run_bracket(builds, name, judge, place, tell and told, own)
    steps = sum(result.env_steps for result in results.values())
    stopped = next((result.stopped for result in results.values() if result.stopped), None)
    return Tried(name, dict(static), hypers, rungs, steps, grid), stopped


def _fresh(
    made: Prepared, winner: dict[str, Any], place: Place, work: Mapping[str, Any]
) -> tuple[dict[str, Alone], str | None]:
    """Run the winner, and the default where it is another one, on the fresh seeds; return what stopped it, too."""
    found: dict[str, Alone] = {}
    settings = {"winner": winner, **({} if made.default is None else {"default": made.default})}
    for name, setting in settings.items():
        if same := next((each for each in found.values() if each.setting == setting), None):
            found[name] = same
            continue
        scores, steps = {}, 0
        static = {key: value for key, value in setting.items() if key not in made.space}
        hyper = {key: value for key, value in setting.items() if key in made.space}
        for env in made.builds:
            own = {**work, "seeds": made.fresh.tolist()}
            result = run_alone(made.build(env, static), f"fresh_{name}", env, setting, hyper, place, own)
            if result.stopped is not None:
                return found, result.stopped
            scores[env], steps = made.score.of(result.table())[0], steps + result.env_steps
        found[name] = Alone(setting, scores, steps)
    return found, None


def _around(
    made: Prepared, winner: dict[str, Any], place: Place, work: Mapping[str, Any]
) -> tuple[dict[str, Line], int, str | None]:
    """Run the winner on the tuning seeds with one value after another in place of each of its own.

    Return the scores by the hyper-parameter, the environment steps that were made, and what stopped it.
    """
    static = {key: value for key, value in winner.items() if key not in made.space}
    hypers, which = around(winner, made.space, made.sensitivity)
    scores, steps = {}, 0
    for env in made.builds:
        own = {**work, "seeds": made.tuning.tolist()}
        with place.run("sensitivity", env) as run:
            result = sweep(made.build(env, static), hypers=hypers, run=run, **own)
        if result.stopped is not None:
            return {}, steps, result.stopped
        scores[env], steps = made.score.of(result.table()), steps + result.env_steps
    lines = {
        name: Line(hypers[name][rows], {env: found[rows] for env, found in scores.items()})
        for name, rows in which.items()
    }
    return lines, steps, None


def _compared(made: Prepared, winner: Alone, default: Alone | None) -> dict[str, Any]:
    """Return by the environment how the winner compares with the default, seed by seed."""
    if default is None:
        return {}
    better = made.score.merit
    return {env: paired(better(own), better(default.scores[env])) for env, own in winner.scores.items()}


def _of_sweep(arguments: Mapping[str, Any]) -> dict[str, Any]:
    if unknown := sorted(set(arguments) - set(OF_SWEEP)):
        raise TypeError(
            f"search has no argument {', '.join(unknown)}; of qjax.sweep it takes {', '.join(OF_SWEEP)}"
        )
    return dict(arguments)


def _check_alone() -> None:
    if jax.process_count() > 1:
        raise ValueError(
            f"a search runs on one host, not on {jax.process_count()}: rungs need the scores of all lanes"
        )


def _root(seed: Any) -> Any:
    return int(seed) if isinstance(seed, int | np.integer) else describe_key(root_key(seed))


def _drawn(tried: Tried, number: int) -> dict[str, Any]:
    return {name: column[number].item() for name, column in tried.hypers.items()}
