"""Search settings of an algorithm, then run the winner and the default on fresh seeds.

qjax search dqn --env CartPole-v1 --space lr=log:1e-5:1e-2 epsilon_end=uniform:0:0.2 --out runs/search
qjax search pqn --env Acrobot-v1 --space lr=log:1e-4:1e-2 --hidden 64,64 128,128 --method hyperband --out runs/other
"""

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import qjax
from qjax import plot, searches
from qjax.cli import command, train
from qjax.cli.arguments import Arguments, resolve
from qjax.cli.grid import Several
from qjax.cli.reading import OF_SEARCH
from qjax.cli.space import Asked, read, reference_of, space_of
from qjax.core.text import joined
from qjax.searches.prepared import Prepared, prepare
from qjax.searches.record import Searched, better, words
from qjax.searches.rungs import Rung, judged, tied
from qjax.searches.samplers import NAMED
from qjax.searches.scores import check_score
from qjax.searches.search import SEARCH, described, opened, searched
from qjax.searches.stages import Place
from qjax.stats.estimates import iqm


def prepared(asked: Asked, args: Arguments) -> tuple[Prepared, Arguments, dict[str, Any]]:
    """Return what a command line asks for: the search, the training's resolved arguments, its sweeps' arguments."""
    args = _environment(asked, args)
    args = resolve(args)
    space, static = space_of(asked.space, args), args.grid.static
    if lacking := [name for name in space if args.given.get(name) is None]:
        raise ValueError(f"{args.name} does not read {joined(lacking)} with the other flags given")
    if args.given.get("steps") is None:
        raise ValueError("a search needs --steps: its rungs are shares of them")
    plain = dataclasses.replace(args, **{name: _first(args.given[name]) for name in (*space, *static)})
    default = {name: plain.given[name] for name in (*space, *static)}
    work: dict[str, Any] = {
        "seed": args.root, "log_points": args.log_points, "evaluate_every": args.evaluate_every,
        "evaluate_episodes": args.eval_episodes, "schedules": train.epsilons(_swept(plain, space)),
    }  # fmt: skip
    made = prepare(
        _builds(asked, plain, space), space, steps=args.given["steps"], settings=asked.settings,
        tuning_seeds=asked.tuning_seeds, fresh_seeds=asked.fresh_seeds, eta=asked.eta, rungs=asked.rungs,
        method=asked.method, score=check_score(asked.score, asked.score_kind, asked.lower), default=default,
        static=static or None, sampler=NAMED[asked.sampler](), reference=reference_of(asked.reference),
        sensitivity=asked.sensitivity, work=work,
    )  # fmt: skip
    return made, plain, work


def _environment(asked: Asked, args: Arguments) -> Arguments:
    """Return the arguments with the first of several environments, checked."""
    if not asked.envs:
        return args
    if twice := [env for env in asked.envs if asked.envs.count(env) > 1]:
        raise ValueError(f"--envs has {twice[0]} twice")
    return dataclasses.replace(args, env=asked.envs[0])


def _builds(asked: Asked, plain: Arguments, space: Mapping[str, searches.Range]) -> Any:
    """Return what builds a setting's loop in the environment, or by its name in each of several."""

    def builder(args: Arguments) -> Any:
        env = args.make()

        def build(hyper: Any, **static: Any) -> qjax.Loop:
            return train.build(dataclasses.replace(_swept(args, space), **static), hyper, env)

        return build

    if not asked.envs:
        return builder(plain)
    return {env: builder(dataclasses.replace(plain, env=env)) for env in asked.envs}


def _swept(args: Arguments, space: Mapping[str, searches.Range]) -> Arguments:
    """Return arguments that have several values of what is searched, so that they are built for all of them."""
    several: dict[str, Any] = {name: Several(own.spread(2).tolist()) for name, own in space.items()}
    return dataclasses.replace(args, **several)


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, Several) else value


def run(asked: Asked, args: Arguments) -> None:
    """Search, and write the folder of the search."""
    made, plain, work = prepared(asked, args)
    print(made, flush=True)
    if args.dry_run:
        return
    told = described(made, {name: getattr(asked, name) for name in ("eta", "method")}, work)
    recorded = {**plain.recorded, "search": told}
    machine = {**args.machine, "words": asked.words}
    whole = opened(args.out, "search", recorded, args.resume, args.overwrite, machine)
    if whole.finished:
        print(f"the search in {args.out} has ended; its results stand, and qjax report {args.out} shows them")
        return

    def arguments(name: str, env: str, setting: Mapping[str, Any] | None) -> dict[str, Any]:
        own = dataclasses.replace(plain, env=env or plain.env)
        if setting is None:
            return {**dataclasses.replace(own, seeds=len(made.tuning)).recorded, OF_SEARCH: name}
        return dataclasses.replace(own, seeds=len(made.fresh), **setting).recorded

    pace = {"width": args.width, "chunk_seconds": args.chunk_seconds, "checkpoint_every": args.checkpoint_every}
    own = {**work, **pace, "steps": plain.given["steps"], "progress": title(made, plain)}
    with whole:
        place = Place(args.out, args.name, arguments, args.machine)
        found = searched(made, place, whole, own, show_rung)
    if found.stopped is not None:
        print(f"stopped by {found.stopped}; go on with --resume", file=sys.stderr)
        command.stop(command.EXIT[found.stopped])
    show(found, title(made, plain))
    draw(found, args.out, title(made, plain))
    draw_sensitivity(found, args.out, title(made, plain))
    print(f"results in {args.out}: {SEARCH}, and a run's folder for each sweep")


def title(made: Prepared, args: Arguments) -> str:
    """Return what a search is called."""
    return f"search of {args.name} on {', '.join(made.builds) if len(made.builds) > 1 else args.task}"


def show_rung(name: str, rung: Rung) -> None:
    """Print what came of a rung."""
    known = rung.merit[np.isfinite(rung.merit)]
    scores = f"merits from {known.min():.4g} to {known.max():.4g}" if len(known) else "every setting diverged"
    went = f"{int(rung.survivors.sum())} of {int(judged(rung).sum())} settings go on"
    tie = "; equal merits at the cut, of which the first went on" * tied(rung)
    print(f"{name} at {rung.steps:,} env-steps: {went}; {scores}{tie}", flush=True)


def show(found: Searched, title: str) -> None:
    """Print the winner and the default, and how they compare."""
    assert found.winner is not None
    alone = {"winner": found.winner, **({} if found.default is None else {"default": found.default})}
    table = Table("", *found.winner.setting, *(env or "score [95% interval]" for env in found.winner.scores))
    table.title = f"{title}, fresh seeds, {found.score}"
    for name, each in alone.items():
        scores = (words(each.interval(env)) for env in each.scores)
        table.add_row(name, *(joined(value) for value in each.setting.values()), *scores)
    Console().print(table)
    for env, pair in found.comparison.items():
        print(f"{env and f'{env}: '}{better(pair)}, difference {words(pair.difference)}")
    steps = found.env_steps
    varied = f", {steps['sensitivity']:,} for sensitivity" if found.sensitivity else ""
    print(
        f"{steps['tuning']:,} env-steps of tuning, {steps['grid']:,} for the whole grid; {steps['fresh']:,} on"
        f" fresh seeds{varied}. The winner's merit when it was chosen, {found.tuning_score:.4g}, is the largest of"
        " many."
    )


def draw_sensitivity(found: Searched, folder: Path, title: str) -> None:
    """Draw and print the winner's score against each hyper-parameter that was varied alone."""
    for name, line in found.sensitivity.items():
        lines = {env or "winner": (line.values.tolist(), scores) for env, scores in line.scores.items()}
        drawn = plot.sensitivity(lines, name, f"{title}: the winner, {name} varied", str(found.score.metric))
        plot.save(drawn, folder / f"sensitivity_{name}")
        table = Table(name, *lines, title=f"interquartile mean of {found.score}, tuning seeds")
        for row, value in enumerate(line.values.tolist()):
            table.add_row(f"{value:g}", *(f"{float(iqm(scores[row])):.4g}" for scores in line.scores.values()))
        Console().print(table)


def draw(found: Searched, folder: Path, title: str) -> None:
    """Draw the learning curves of the winner and the default on fresh seeds, for each environment."""
    assert found.winner is not None
    for env in found.winner.scores:
        own = env.replace("/", "-")
        runs = {name: folder / f"fresh_{name}" / own for name in ("winner", "default")}
        lines = {name: qjax.results.load(run) for name, run in runs.items() if (run / "metrics.csv").is_file()}
        drawn = plot.curves(lines, f"{title}{env and f', {env}'}, fresh seeds", metric=found.score.metric)
        plot.save(drawn, folder / f"fresh{own and f'_{own}'}")


def main() -> None:
    """Search as the command line says."""
    asked = list[Asked]()

    def parsed(given: list[str]) -> Arguments:
        search, args = read(given)
        asked.append(search)
        return args

    command.main(lambda args: run(asked[0], args), parsed)
