"""An animated GIF of a trained agent that plays greedily.

    qjax watch runs/cartpole --seed 3

RUN is a folder of `qjax train`, or of a script with a function `load` that returns a run's loop and agents:
`load(folder)`, or `load(folder, setting)` where its runs may have several settings. Where it evaluates with another
policy than `qjax.greedy`, its function `greedy_policy(folder)` returns that. The first episode starts from the key
with which the run's end evaluated that seed.
"""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import tyro

import qjax
from qjax.cli import command
from qjax.cli.command import UNLIMITED, Machine, Setting, written
from qjax.cli.render import frames, renderer, write_gif
from qjax.cli.studies import check_no_search
from qjax.cli.words import Which
from qjax.core import jsonfile
from qjax.core.checks import check_range, check_size
from qjax.core.text import short
from qjax.machine.streams import tell
from qjax.runs.agents import AGENTS
from qjax.runs.config import CONFIG, lane_seeds, load_summary
from qjax.training.evaluation import evaluation_key
from qjax.training.recording import Recording, record


@dataclass(kw_only=True)
class Arguments(Machine):
    """Write an animated GIF of a trained agent that plays greedily."""

    folder: Annotated[Path, tyro.conf.arg(name="RUN", metavar="RUN"), tyro.conf.Positional]
    """Folder of a run of `qjax train`, or of a script whose module can be imported."""
    seed: int = 0
    """Which of its seeds."""
    setting: int = 0
    """Which of its settings, where it has several: the column `setting` of its metrics.csv."""
    which: Which = "last"
    """The agent that the run ended with, the one of the best evaluation while it trained, or the one kept at so
    many steps."""
    episodes: int = 1
    """Episodes, shown one after the other."""
    max_steps: int | None = None
    """Steps after which an episode is cut; default the environment's own limit, 1,000 where it has none."""
    fps: float | None = None
    """Steps shown per second, at most 50; default by environment."""
    out: Path | None = None
    """The picture; default watch_SEED.gif in RUN."""

    @classmethod
    def program(cls) -> str:
        """Return how the command is started."""
        return "qjax watch"


class Trained(NamedTuple):
    """One trained agent of a run."""

    loop: qjax.Loop
    state: Any
    policy: qjax.Policy
    """The greedy one that the run was evaluated with."""
    key: Any
    """The key that it was evaluated with."""


def load(folder: Path, seed: int, setting: int = 0, which: str | int = "last") -> Trained:
    """Return the last agent of a run's seed in one of its settings, the best, or that of so many steps.

    Raises:
        OSError: there is no such folder, or no run in it, or one that has not ended, or it has no such agents.
        ValueError: the run is of another experiment or version, or has not this seed or setting.

    """
    config = _config(folder)
    arguments = written(folder, Setting)
    jsonfile.check(folder / CONFIG, config["sweep"], {}, needs=("seeds", "lanes"))
    place = _place(config["sweep"], folder, seed, setting)
    if not (folder / AGENTS).is_dir():
        raise FileNotFoundError(
            f"{folder} holds no final agents: the run was interrupted, or still goes on; its command with --resume"
            " ends it"
        )
    script = _script(config, folder)
    try:
        loop, agents = script.load(folder, setting) if setting else script.load(folder)
        policy = script.greedy_policy(folder) if hasattr(script, "greedy_policy") else qjax.greedy
        root = qjax.fast_key(arguments["seed"]) if arguments["fast_keys"] else arguments["seed"]
    except KeyError as error:
        raise ValueError(f"{folder} is of another version: its {CONFIG} has no {error}") from None
    if which == "best":
        _tell_when(folder, place, setting)
    if which != "last":
        place += setting * len(jax.tree.leaves(agents)[0])  # they are those of all settings
        agents = jax.tree.unflatten(
            jax.tree.structure(agents), jax.tree.leaves(qjax.load_agents(folder, which=which))
        )
    return Trained(loop, jax.tree.map(lambda x: jnp.asarray(x[place]), agents), policy, evaluation_key(root, seed))


def _tell_when(folder: Path, place: int, setting: int) -> None:
    """Tell when the best evaluation of a seed was, by the place of the seed among its setting's."""
    summary = load_summary(folder)
    own = summary["settings"][setting] if "settings" in summary else summary
    if steps := own.get("best_env_steps"):
        when = f"at {steps[place]:,} steps" if steps[place] else "none: it never was evaluated, and has not learned"
        tell(f"best evaluation while it trained: {when}")


def _config(folder: Path) -> dict[str, Any]:
    """Return the config of a run that can be watched."""
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    if not (folder / CONFIG).is_file():
        raise FileNotFoundError(f"{folder} holds no run: it has no {CONFIG}")
    config = qjax.load_config(folder)
    check_no_search(folder, config)
    if "sweep" not in config and (runs := sorted(path.parent.name for path in folder.glob(f"*/{CONFIG}"))):
        raise ValueError(f"{folder} holds several runs: {', '.join(runs)}; name one of them, {folder / runs[0]}")
    if not {"experiment", "arguments", "sweep"} <= config.keys():
        raise ValueError(f"{folder} holds no run that can be watched: its {CONFIG} tells no sweep of an experiment")
    return config


def _script(config: dict[str, Any], folder: Path) -> Any:
    """Return the module of the command that made a run, which has a function `load`."""
    name = config.get("machine", {}).get("script")
    if not isinstance(name, str) or not all(part.isidentifier() for part in name.split(".")):
        raise ValueError(
            f"{folder} is a run of {config['experiment']!r}: its {CONFIG} names no script that loads it"
        )
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        raise ValueError(f"{folder} is a run of {name}, which cannot be imported: {error}") from None
    if not callable(getattr(module, "load", None)):
        raise ValueError(f"{folder} is a run of {name}, which has no function `load` for `qjax watch`")
    return module


def _place(sweep: dict[str, Any], folder: Path, seed: int, setting: int) -> int:
    """Return which of its setting's seeds a seed is; check that both are in the run."""
    given, seeds = sweep["seeds"], lane_seeds(sweep)
    settings = sweep["lanes"] // len(seeds)
    if seed not in seeds:
        there = f"0 to {given - 1}" if isinstance(given, int) else short(", ".join(map(str, given)))
        raise ValueError(f"{folder} has no seed {seed}; its seeds are {there}")
    if not 0 <= setting < settings:
        raise ValueError(f"{folder} has no setting {setting}; its settings are 0 to {settings - 1}")
    return seeds.index(seed)


def play(trained: Trained, episodes: int = 1, max_steps: int | None = None) -> Recording:
    """Return whole episodes of a trained agent, step by step."""
    env = trained.loop.env
    limit = UNLIMITED if max_steps is None and env.max_steps is None else max_steps
    return record(env, trained.loop.agent, trained.state, trained.key, episodes, trained.policy, limit)


def destination(args: Arguments) -> Path:
    """Return where the picture goes.

    Raises:
        OSError: its folder is not there.
        ValueError: it is not named as a GIF.

    """
    suffix = f"_setting{args.setting}" if args.setting else ""
    out = args.folder / f"watch_{args.seed}{suffix}.gif" if args.out is None else args.out
    if out.suffix.lower() != ".gif":
        raise ValueError(f"--out names a GIF, *.gif; got {out}")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {out.parent} for {out.name}")
    return out


def run(args: Arguments) -> None:
    """Play, write the picture, and print what it shows."""
    check_size("episodes", args.episodes)
    if args.max_steps is not None:
        check_size("max_steps", args.max_steps)
    if args.fps is not None:
        check_range("fps", args.fps, 0, 50, open_low=True)  # players slow down what is faster
    trained = load(args.folder, args.seed, args.setting, args.which)
    out, drawn = destination(args), renderer(trained.loop.env)
    print("compiling, then playing", flush=True)
    recording = play(trained, args.episodes, args.max_steps)
    write_gif(out, frames(drawn, recording), args.fps or drawn.fps)
    played = recording.episodes
    for number, (total, length, ended) in enumerate(zip(*map(list, played), strict=True)):
        print(f"episode {number + 1}: return {total:g} in {length} steps{'' if ended else ', cut before its end'}")
    print(f"wrote {out} ({out.stat().st_size / 1e6:.2f} MB)")


def main() -> None:
    """Watch as the command line says."""
    command.main(run, Arguments.parse)
