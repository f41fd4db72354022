"""Wrappers as words of a command line, `frame_stack=4`, the innermost first."""

import inspect
from collections.abc import Callable, Sequence

import qjax
from qjax.cli.words import literal
from qjax.core.checks import one_of

WRAPPERS: dict[str, Callable[..., qjax.Env]] = {
    name: getattr(qjax.wrappers, name)
    for name in (
        "cast", "discretise", "flatten", "frame_stack", "previous", "random_starts", "remaining_time",
        "repeat_action", "reward_clip", "reward_scale", "reward_sign", "select", "sticky_actions", "time_limit",
    )
}  # fmt: skip
"""Those that take no functions."""


def wrapped(env: qjax.Env, words: Sequence[str]) -> qjax.Env:
    """Return an environment in the wrappers that words say.

    Raises:
        ValueError: there is no such wrapper, the nearest are named; it takes other arguments, or not these values.

    """
    for word in words:
        name, given, text = word.partition("=")
        function = one_of("wrapper", name, WRAPPERS)
        value = literal(text)
        several = isinstance(value, tuple) and name != "select"
        arguments = (value if several else (value,)) if given else ()
        try:
            inspect.signature(function).bind(env, *arguments)
        except TypeError:
            raise ValueError(f"--wrap takes {usage(name)}, got {word}") from None
        try:
            env = function(env, *arguments)
        except (TypeError, ValueError) as error:
            raise ValueError(f"--wrap {word}: {error}") from error
    return env


def usage(name: str) -> str:
    """Return how a wrapper is written, those of its arguments in brackets that have a default."""
    _, *taken = inspect.signature(WRAPPERS[name]).parameters.values()
    text = "".join(
        f"{',' * bool(place)}{each.name.upper()}" if each.default is each.empty else f"[,{each.name.upper()}]"
        for place, each in enumerate(taken)
    )
    return f"{name}={text}" if taken else name


def listing() -> list[str]:
    """Return the wrappers with what they do, as `qjax list` shows them."""
    lines = []
    for name, function in WRAPPERS.items():
        first = (inspect.getdoc(function) or "").partition("\n")[0]
        lines += ["", usage(name), f"    {first.replace('`', '')}"]
    return lines
