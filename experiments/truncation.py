"""What it costs to take a time limit for an end, and by how much a best checkpoint flatters.

    python -m experiments.truncation --out runs/truncation

DQN and PQN learn in three environments twice, with the same seeds: as they should, and in an environment that calls
the step at its time limit terminal, so that nothing is expected after it. Every seed is evaluated as it goes, on
the same episodes both ways. Each is a run in a folder of its own, so what was stopped goes on where it was.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

import qjax
from experiments.records import keep
from qjax import algorithms, plot, stats
from qjax.cli.command import Setting, describe_interval, digits, end_if_stopped, main
from qjax.core.checks import check_size
from qjax.plot.lines import STEPS, band, middle, thousands
from qjax.plot.style import PAGE, figure, head, legend, paper


class Task(NamedTuple):
    """An environment, and how long agents learn in it."""

    name: str
    steps: int
    kwargs: dict[str, Any]
    reward_scale: dict[str, float]
    """By algorithm, where it is not 1. Returns are told of unscaled rewards."""

    @property
    def title(self) -> str:
        """What it is called in a picture."""
        return self.name + "".join(f" in {bins} bins" for bins in self.kwargs.values())


TASKS = {
    "cartpole": Task("CartPole-v1", 200_000, {}, {}),
    "mountaincar": Task("MountainCar-v0", 500_000, {}, {}),
    # From whole rewards PQN learns nothing here; the factor was chosen on seeds of another root.
    "pendulum": Task("Pendulum-v1", 200_000, {"action_bins": 5}, {"pqn": 0.01}),
}
WAYS = {"as such": False, "as an end": True}
"""How a time limit is taken, by its name in pictures, and whether that is as termination."""


@dataclass(kw_only=True)
class Arguments(Setting):
    """Train DQN and PQN with time limits as such and as ends, and evaluate every seed as it goes."""

    seeds: int = 64
    tasks: tuple[str, ...] = tuple(TASKS)
    """Which of cartpole, mountaincar and pendulum."""
    names: tuple[str, ...] = ("dqn", "pqn")
    """Which algorithms, each with its defaults."""
    evaluations: int = 20
    """Of every seed, evenly spaced, the last of them of the last parameters."""
    episodes: int = 20
    """Greedy ones of an evaluation."""
    shorten: int = 1
    """Divides the steps: for a quick look."""
    accept_program: bool = False
    """Go on although a program's text is another, as with `qjax train`."""
    out: Path = Path("runs/truncation")
    """Folder for the runs, a picture and a JSON file."""


def ends_at_its_limit(env: qjax.Env) -> qjax.Env:
    """Return the environment with its truncations called terminations."""

    def step(key: Any, state: Any, action: Any) -> Any:
        made = env.step(key, state, action)
        return made._replace(terminated=made.terminated | made.truncated, truncated=jnp.zeros_like(made.truncated))

    return env._replace(step=step, wrappers=(*env.wrappers, "ends_at_its_limit"))


Found = dict[str, dict[str, dict[str, list[Any]]]]
"""By environment and line of the picture: `env_steps` of evaluations, and every seed's `eval_return` at each."""


def evaluations(points: list[qjax.Point], scale: float) -> dict[str, list[Any]]:
    """Return what is known of one line."""
    returns = np.stack([point.values["eval_return"] for point in points]) / scale
    steps = np.max([point.env_steps for point in points], axis=1)
    return {"env_steps": steps.tolist(), "eval_return": np.round(returns, 2).tolist()}


def trained(args: Arguments, task: str, name: str, way: str) -> dict[str, list[Any]]:
    """Return the evaluations of one algorithm in one environment, trained now unless it was before."""
    made = TASKS[task]
    env, steps = qjax.make(made.name, **made.kwargs), made.steps // args.shorten
    env = ends_at_its_limit(env) if WAYS[way] else env
    scale = made.reward_scale.get(name, 1.0)
    env = env if scale == 1 else qjax.wrappers.reward_scale(env, scale)
    loop = algorithms.make(name, env, algorithms.config(name, steps=steps))
    work: dict[str, Any] = {"seeds": args.seeds, "steps": steps, "log_points": args.evaluations}
    given = {"task": task, "name": name, "way": way, "seed": args.seed, "episodes": args.episodes, **work}
    given |= {} if scale == 1 else {"reward_scale": scale}
    folder = args.out / task / f"{name}-{way.replace(' ', '-')}"
    with qjax.Run(folder, "truncation", given, resume=True, accept_program=args.accept_program) as run:
        result = qjax.sweep(
            lambda _: loop,
            seed=args.root,
            evaluate_every=1,
            evaluate_episodes=args.episodes,
            run=run,
            progress=f"{name}, {task}, {way}",
            **work,
        )
    end_if_stopped(result, f"{folder}")
    return evaluations(result.points, scale)


def said(title: str, lines: dict[str, dict[str, list[Any]]]) -> str:
    """Return what is reached in one environment: by the last parameters, and by each seed's best."""
    told = [title]
    for name, each in lines.items():
        returns = np.array(each["eval_return"])
        last, best = returns[-1], returns.max(0)
        places = digits(last)
        gain = f"{stats.iqm(best) - stats.iqm(last):z.{places}f}"
        shown = f"{stats.iqm(last):z.{places}f} {describe_interval(last, places)[1]}"
        told.append(f"  {name}: {shown}; each seed's best of {len(returns)} evaluations says {gain} more")
    return "\n".join(told)


def draw(found: Found, seeds: str) -> Any:
    """Return the picture: algorithms below each other, environments side by side, and greedy returns both ways."""
    names = list(dict.fromkeys(name.split(", ")[0] for lines in found.values() for name in lines))
    with paper():
        drawn, panels = figure(PAGE, 0.6 + 1.6 * len(names), len(found), len(names))
        head(drawn, f"Greedy returns, interquartile mean over {seeds}, 95% bootstrap interval")
        panels = np.reshape(panels, (len(names), len(found)))
        for (row, column), panel in np.ndenumerate(panels):
            task, lines = list(found.items())[column]
            for number, way in enumerate(WAYS):
                each = lines[f"{names[row]}, limit {way}"]
                values = np.array(each["eval_return"], np.float32).T
                band(panel, np.array(each["env_steps"]), middle(values), f"limit {way}", number)
            panel.set(xlim=(0, None), xlabel=STEPS if row == len(names) - 1 else "")
            panel.set_title(f"{names[row]}, {task}", loc="left")
            thousands(panel.xaxis)
        legend(drawn, panels[0, 0])
    return drawn


def run(args: Arguments) -> None:
    """Train what is not trained yet; say and draw it, and write what is drawn."""
    for given, known in ((args.tasks, TASKS), (args.names, algorithms.DEEP)):
        if unknown := [x for x in given if x not in known]:
            raise ValueError(f"{unknown} is none of {', '.join(known)}")
    check_size("shorten", args.shorten)
    found: Found = {}
    for task in args.tasks:
        lines = found.setdefault(TASKS[task].title, {})
        for name in args.names:
            for way in WAYS:
                lines[f"{name}, limit {way}"] = trained(args, task, name, way)
        print(said(TASKS[task].title, lines))
        keep(args.out / "truncation.json", found)
        plot.save(draw(found, args.count), args.out / "truncation")
    print(f"a picture, and what it shows, in {args.out}")


if __name__ == "__main__":
    main(run, Arguments.parse)
