"""Pictures of what an agent observes, by gymnasium's own renderers and gymnax's, and animated GIFs of them."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import numpy as np
from PIL import Image, ImageDraw, ImageFont

import qjax
from qjax.core.distribution import needs
from qjax.training.recording import Recording

CLASSIC = ("Acrobot-v1", "CartPole-v1", "MountainCar-v0")
"""gymnax's names of what gymnasium draws from a vector of floats."""
LAKE = "FrozenLake-misc"
TOY_TEXT = ("CliffWalking-v1", "CliffWalkingSlippery-v1", "Taxi-v4")
"""What gymnasium draws from a state's number."""
CHANNELS = (
    "Asterix-MinAtar", "Breakout-MinAtar", "Freeway-MinAtar", "Seaquest-MinAtar", "SpaceInvaders-MinAtar",
    "Pong-misc",
)  # fmt: skip
"""What gymnax draws with one colour for each channel."""

HOLD = 1500
"""Milliseconds for which an episode's last picture stands."""
COLOURS = 128


class Renderer(NamedTuple):
    """How to draw an environment."""

    draw: Callable[[np.ndarray, int | None], np.ndarray]
    """`(observation, action that led to it) -> RGB [height, width, 3]`, uint8; the first has no action."""
    fps: float
    """Steps per second, by default."""


def renderer(env: qjax.Env) -> Renderer:
    """Return the renderer of an environment.

    Raises:
        ValueError: it has none; those that have one are named; or a wrapper hides what is drawn.
        ImportError: what gymnasium draws with is not installed; the extra is named.

    """
    original = env.original
    if original is None:
        raise ValueError(f"{env.name} cannot be drawn: what it observes does not show what the environment does")
    if env.wrappers:
        inner = renderer(env._replace(obs_spec=jax.eval_shape(original, env.obs_spec), wrappers=()))
        return inner._replace(draw=lambda obs, action: inner.draw(np.asarray(original(obs)), action))
    name = getattr(env.unwrapped, "name", env.name)
    if name in CHANNELS:
        return _channels(env)
    if name in CLASSIC:
        return _classic(env, name)
    if name == LAKE:
        tiles = ["".join("SFHG"[int(tile)] for tile in row) for row in np.asarray(env.unwrapped.desc)]
        return _numbered("FrozenLake-v1", desc=tiles)
    if name in TOY_TEXT:
        return _numbered(name)
    known = ", ".join((*CLASSIC, "FrozenLake-v1", "FrozenLake8x8-v1", *TOY_TEXT, *CHANNELS))
    raise ValueError(f"{env.name} has no renderer; these have one: {known}")


def _gymnasium(name: str, **kwargs: Any) -> Any:
    """Return gymnasium's environment of this id, to be drawn into arrays without a screen."""
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    os.environ.setdefault("SDL_AUDIODRIVER", "dummy")
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    try:
        import gymnasium
        import pygame  # noqa: F401 (gymnasium imports it when it draws)
    except ImportError as error:
        raise ImportError(f"{needs(f'drawing {name}', 'gymnasium and pygame', 'watch')} ({error})") from None
    env = gymnasium.make(name, render_mode="rgb_array", disable_env_checker=True, **kwargs)
    env.reset()
    return env.unwrapped


def _classic(env: qjax.Env, name: str) -> Renderer:
    screen = _gymnasium(name)
    from gymnax.visualize import vis_gym

    vis_gym.set_gym_params(screen, name, env.params)

    def draw(obs: np.ndarray, action: int | None) -> np.ndarray:
        screen.state = obs.astype(float)
        if name == "Acrobot-v1":  # cosine and sine of two angles, and their velocities
            screen.state = np.array([np.arctan2(obs[1], obs[0]), np.arctan2(obs[3], obs[2]), *obs[4:]], float)
        return screen.render()

    return Renderer(draw, screen.metadata["render_fps"])


def _numbered(name: str, **kwargs: Any) -> Renderer:
    screen = _gymnasium(name, **kwargs)

    def draw(obs: np.ndarray, action: int | None) -> np.ndarray:
        screen.s, screen.lastaction = int(obs), action
        return screen.render()

    return Renderer(draw, screen.metadata["render_fps"])


def _channels(env: qjax.Env) -> Renderer:
    from gymnax.visualize import vis_minatar
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4, 4), dpi=80)
    canvas, axes = FigureCanvasAgg(figure), figure.add_axes((0, 0, 1, 1))
    # gymnax draws what its environment observes in a state; here that is already observed.
    seen = SimpleNamespace(obs_shape=env.obs_spec.shape, observe=lambda key, obs, action, params: obs)
    shown: list[Any] = []

    def draw(obs: np.ndarray, action: int | None) -> np.ndarray:
        if shown:
            vis_minatar.update_minatar(shown[0], seen, obs, None)
        else:
            shown.append(vis_minatar.init_minatar(axes, seen, obs, None))
        canvas.draw()
        return np.array(canvas.buffer_rgba())[..., :3]

    return Renderer(draw, 10)


def frames(drawn: Renderer, recording: Recording) -> Iterator[tuple[Image.Image, bool]]:
    """Yield the pictures of a recording's episodes, one after the other, and whether each is its episode's last.

    Below each stands the step and the return so far; in the end "end", or "cut" where `max_steps` ended it.
    """
    episodes = recording.episodes
    for e, length in enumerate(episodes.lengths.tolist()):
        for t in range(length + 1):
            action = int(recording.actions[t - 1, e]) if t else None
            picture = drawn.draw(_at(recording.observations, t, e), action)
            last = t == length
            words = [f"episode {e + 1}"] * (len(episodes.lengths) > 1)
            words += [f"step {t}", f"return {recording.returns[t, e]:g}"]
            words += [("end" if episodes.ended[e] else "cut")] * last
            yield _captioned(picture, ", ".join(words)), last


def _at(observations: Any, step: int, episode: int) -> Any:
    """Return one observation, which may be of several arrays."""
    return jax.tree.map(lambda x: x[step, episode], observations)


def _captioned(picture: np.ndarray, caption: str) -> Image.Image:
    """Return a picture `[height, width, 3]` with a line of text below it."""
    height, width, _ = picture.shape
    image = Image.new("RGB", (width, height + 24), "white")
    image.paste(Image.fromarray(picture))
    ImageDraw.Draw(image).text((6, height + 4), caption, "black", ImageFont.load_default(14))
    return image


def write_gif(path: Path, pictures: Iterable[tuple[Image.Image, bool]], fps: float) -> None:
    """Write an animated GIF that repeats for ever; a picture marked as last stands for `HOLD` ms.

    All have the palette of the first, the middle and the last picture. The file is whole or not there.
    """
    images, last = zip(*pictures, strict=True)
    samples = [np.asarray(images[i]) for i in (0, len(images) // 2, -1)]
    palette = Image.fromarray(np.concatenate(samples)).quantize(COLOURS, dither=Image.Dither.NONE)
    first, *rest = (image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images)
    new = path.with_name(f"{path.name}.new")
    durations = [HOLD if over else round(1000 / fps) for over in last]
    first.save(new, "GIF", save_all=True, append_images=rest, duration=durations, loop=0)
    new.replace(path)
