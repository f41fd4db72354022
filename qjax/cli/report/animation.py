"""Agents that play, as animated pictures, where an environment has a renderer."""

import io
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image

from qjax.cli import watch
from qjax.cli.compare import describe
from qjax.cli.render import Renderer, frames, renderer, write_gif
from qjax.cli.report.material import Material, Part, Run
from qjax.cli.report.parts import Figure, Section, Words
from qjax.cli.report.pictures import embedded

AGENTS = 6
"""Runs whose agents play."""

STEPS = 250
"""After which an episode is cut."""

WIDTH = 240
"""Pixels."""

HEAVIEST = 700_000
"""Bytes of one animation."""


def sections(material: Material, episodes: int) -> Iterator[Section]:
    """Yield an agent of each run at play."""
    parts: list[Any] = []
    left = [run.name for run in material.runs[AGENTS:]]
    for run in material.runs[:AGENTS]:
        if run.study is None:
            continue
        try:
            parts.append(_agent(run, material, episodes))
        except (OSError, ValueError, TypeError, ImportError, KeyError) as error:
            parts.append(Words(material.hidden(f"No agent of {run.name} is shown: {error}"), notice=True))
    if left:
        parts.append(Words(f"Agents of {AGENTS} runs are shown, not of {', '.join(left)}."))
    if parts:
        yield Section("agents", "Agents at play", parts)


def _agent(run: Run, material: Material, episodes: int) -> Figure:
    """Return a typical agent of a run's best setting: that of its median seed.

    Raises:
        OSError, ValueError, ImportError: as `watch.load` and `render.renderer`.

    """
    number, why = _best(run, material)
    part, setting = run.origins()[number]
    assert run.study is not None
    sample = run.study.samples[number]
    place = _middle(sample.evaluation)
    seed = int(_seeds(part)[place])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        trained = watch.load(part.folder, seed, setting)
        drawn = renderer(trained.loop.env)
        limit = min(STEPS, trained.loop.env.max_steps or STEPS)
        recording = watch.play(trained, episodes, limit)
    gif, still = _gif(_small(drawn), recording)
    returns = ", ".join(f"{total:g}" for total in recording.episodes.returns)
    cut = "" if recording.episodes.ended.all() else f" An episode is cut after {limit} steps."
    typical = "the seed with the median score" if sample.evaluation is not None else "its first seed"
    named = ", ".join(filter(None, (run.name, describe(sample.setting))))
    caption = (
        f"{named}: the last agent of seed {seed}, {typical}{why}, plays greedily, on the"
        f" first key that evaluates this seed. Return {returns}.{cut}"
    )
    return Figure(caption, _still_or_moving(gif, still, caption), WIDTH, WIDTH, card=True)


def _best(run: Run, material: Material) -> tuple[int, str]:
    """Return the number of a run's best setting, and how it was chosen, in words."""
    for group in material.groups:
        for name in group.runs:
            if group.runs[name] is run.study and len(run.study.samples) > 1:
                return group.best(name)[0], " of the best setting"
    return 0, ""


def _middle(scores: np.ndarray | None) -> int:
    """Return the place of the median score, the lower one of two; the first without scores."""
    return 0 if scores is None else int(np.argsort(scores, kind="stable")[(len(scores) - 1) // 2])


def _seeds(part: Part) -> np.ndarray:
    assert part.table is not None
    return part.table.seeds


def _small(drawn: Renderer) -> Renderer:
    """Return a renderer of pictures that are no wider than `WIDTH`."""

    def draw(obs: np.ndarray, action: int | None) -> np.ndarray:
        picture = Image.fromarray(np.ascontiguousarray(drawn.draw(obs, action)))
        height = round(picture.height * WIDTH / picture.width)
        return np.asarray(picture.resize((WIDTH, height), Image.Resampling.LANCZOS))

    return drawn._replace(draw=draw)


def _gif(drawn: Renderer, recording: Any) -> tuple[bytes, bytes]:
    """Return a GIF, of every second picture or so where it would be too heavy, and its first picture as PNG."""
    pictures = list(frames(drawn, recording))
    every, data = 1, b""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "agent.gif"
        while not data or (len(data) > HEAVIEST and every < len(pictures)):
            kept = [each for i, each in enumerate(pictures) if i % every == 0 or each[1]]
            write_gif(path, kept, min(drawn.fps, 50) / every)
            data, every = path.read_bytes(), 2 * every
    first = io.BytesIO()
    pictures[0][0].save(first, "PNG")
    return data, first.getvalue()


def _still_or_moving(gif: bytes, still: bytes, caption: str) -> Markup:
    """Return an animation that stands still for readers who asked for less motion, and in print."""
    moving, first = embedded(gif, "gif", caption), embedded(still, "png", caption)
    source = str(first).partition('src="')[2].partition('"')[0]
    queries = "(prefers-reduced-motion: reduce), print"
    return Markup('<picture><source media="{}" srcset="{}">{}</picture>').format(queries, source, moving)
