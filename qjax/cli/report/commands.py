"""The command lines that make the same runs again, go on with them, and look at them."""

import json
import shlex
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from qjax.cli.arguments import OWN, Arguments, arguments_of, flags, resolve
from qjax.cli.grid import flag
from qjax.cli.reading import read, read_back
from qjax.cli.report.material import Material, Run
from qjax.cli.report.parts import Code, Section, Words
from qjax.core.jsonfile import TEXT, list_of
from qjax.core.text import joined, short
from qjax.runs.agents import AGENTS, BEST
from qjax.runs.config import CONFIG, lane_seeds

TRAIN = "qjax.cli.train"
LISTED = list_of(TEXT)
WIDTH = 72


def sections(material: Material) -> Iterator[Section]:
    """Yield how to run everything again."""
    parts: list[Any] = []
    for run in material.runs:
        parts += _of(run, material)
    named = [run for run in material.runs if not run.place.count("/")]
    drawn = [run for run in material.runs if not run.searches]
    lines = [shlex.join(["qjax", name, *(run.place for run in drawn)]) for name in ("plot", "results") if drawn]
    lines.append(shlex.join(["qjax", "report", *(run.place for run in named)]))
    parts.append(Code("Pictures for a paper, the table of scores, and this page:", "\n".join(lines)))
    yield Section("commands", "Commands", parts)


def _of(run: Run, material: Material) -> Iterator[Code | Words]:
    words, told = again(run)
    if words is None:
        yield Words(f"{run.name}: {material.hidden(told)}")
    else:
        yield Code(f"{run.name}, again. {told}", material.hidden(_lines([*words, "--out", run.place])))
        if not run.complete:
            text = _lines([*words, "--out", run.place, "--resume"])
            yield Code(f"{run.name} has not ended; this goes on from its last checkpoint.", material.hidden(text))
    watched = isinstance(run.config.get("machine", {}).get("script"), str) and not run.searches
    for part in run.parts if watched else ():
        where = "/".join(filter(None, (run.place, part.name)))
        if (part.folder / AGENTS).is_dir():
            lines = [shlex.join(["qjax", "watch", where, "--seed", f"{next(iter(lane_seeds(part.sweep)))}"])]
            lines += [f"{lines[0]} --which best"] * (part.folder / BEST).is_dir()
            yield Code(f"{where}: an agent that plays.", "\n".join(lines))


def _lines(words: Sequence[str]) -> str:
    """Return a command as a shell takes it, in lines that are broken before flags."""
    lines = [""]
    for word in words:
        quoted = shlex.quote(word)
        if word.startswith("--") and len(lines[-1]) + len(quoted) > WIDTH:
            lines.append("   ")
        lines[-1] += f" {quoted}" if lines[-1] else quoted
    return " \\\n".join(lines)


def again(run: Run) -> tuple[list[str] | None, str]:
    """Return the words of the command that made a run, but for `--out`, and how far to trust them; or why none.

    The command of `qjax train` is read back as the command line would be, and compared with the config.
    """
    if "/" in run.place:
        return None, "its seeds and its setting are of the search, whose command makes it, too."
    script = run.config.get("machine", {}).get("script")
    if run.searches:
        words = run.config.get("machine", {}).get("words")
        if not LISTED.holds(words):
            return None, f"it was not made by a command line: its {CONFIG} has the space and all else."
        return ["qjax", "search", *words], "As it was given."
    arguments = run.config.get("arguments", {})
    if not isinstance(script, str):
        return None, f"it was not made by a command line: its {CONFIG} names none."
    if script != TRAIN:
        words = ["python", "-m", script, *_plain(arguments)]
        return words, f"Written from its {CONFIG}, and not checked: it is the command of a script."
    return _trained(run)


def _trained(run: Run) -> tuple[list[str] | None, str]:
    """Return the same for a run of `qjax train`."""
    try:
        words = train(run)
    except (ValueError, OSError, TypeError, KeyError, ImportError) as error:
        return None, f"no command can be written: {error}."
    if any("initial" in part.sweep for part in run.parts):
        words += ["--initial-agents", "RUN"]
    version = next((part.config.get("versions", {}).get("qjax", "") for part in run.parts), "")
    defaults = f" What is not named has the default of qjax {version}." if version else ""
    if words[-1] == "RUN":
        defaults += " RUN is the run whose agents it began with; where they were not its last, add --initial-which."
    if extended := next((part.config["extended"] for part in run.parts if part.config.get("extended")), None):
        first = extended[0]
        defaults += (
            f" It had {first['steps']:,} steps at first, and {first['log_points']} log points: run at once it has"
            " the same last agents, and log points at other steps."
        )
    return words, f"It was read back and has the arguments of the run's {CONFIG}.{defaults}"


def train(run: Run) -> list[str]:
    """Return the words of `qjax train` that have the arguments of a run's config, checked.

    Raises:
        ValueError: there are none, or the config is damaged or another version's.

    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        args = resolve(read_back(run.folder))
        plain = resolve(arguments_of(args.name)(name=args.name, env=args.env, preset=args.preset, out=args.out))
        words = ["qjax", "train", args.name, *_own(args, plain), *_constants(args, plain)]
        made = resolve(read([*words[2:], "--out", "nowhere"]))
    written = {name: value for name, value in run.config["arguments"].items() if name != "assumed"}
    seeds = [part.sweep["seeds"] for part in run.parts if "seeds" in part.sweep]
    if strange := [own for own in seeds if own != args.seeds]:
        raise ValueError(f"its seeds are {short(joined(strange[0]), 40)}, and flags give 0 to {args.seeds - 1}")
    if json.loads(json.dumps(made.recorded)) != written:
        raise ValueError("flags do not give all that its config has; give `qjax train --config` that config")
    widths = {part.sweep.get("width") for part in run.parts}
    width = widths.pop() if len(widths) == 1 else None
    return [*words, *(["--width", str(width)] if width else [])]


def _own(args: Arguments, plain: Arguments) -> list[str]:
    """Return the flags that all algorithms have, where they are not what they are by default."""
    given = {name: getattr(args, name) for name in OWN if name != "name"}
    changed = {name: x for name, x in given.items() if x != getattr(plain, name)}
    always = {"env": args.env, "seeds": args.seeds, "preset": args.preset}
    return _plain(always | {name: list(x) if isinstance(x, tuple) else x for name, x in changed.items()})


def _constants(args: Arguments, plain: Arguments) -> list[str]:
    """Return an algorithm's flags, where they are not what they are by default."""
    words = []
    for name, how in flags(args.name).items():
        value = getattr(args, name)
        if value == getattr(plain, name) and type(value) is type(getattr(plain, name)):
            continue
        if value is not None:
            words += _plain({name: value}) if isinstance(value, bool) else [flag(name), *how.words(value)]
    return words


def _plain(arguments: Mapping[str, Any]) -> list[str]:
    """Return arguments as tyro reads them: flags without a word, lists as words; None is left out."""
    words = []
    for name, value in arguments.items():
        if isinstance(value, bool):
            words.append(flag(name) if value else flag(f"no_{name}"))
        elif isinstance(value, list):
            words += [flag(name), *map(str, value)] if value else []
        elif value is not None:
            words += [flag(name), str(value)]
    return words
