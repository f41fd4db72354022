"""Which suites there are, what each needs, and their environments by name."""

import functools
import importlib
import sys
from importlib.util import find_spec
from typing import Any, NamedTuple

import jax

from qjax.core.checks import check_size, nearest
from qjax.core.distribution import needs
from qjax.core.text import given, telling
from qjax.envs.arguments import LIMIT
from qjax.envs.suites.base import Suite


class Entry(NamedTuple):
    """A suite; its prefix is the package that is imported, its extra, and the module of its adapter."""

    example: str
    does: str
    python: tuple[int, int] = (3, 11)
    """The oldest Python that it runs on."""
    pool: int | None = None
    """First states that episodes begin with, unless another number is given; None for a new one each time."""


SUITES = {
    "navix": Entry("Navix-Empty-5x5-v0", "MiniGrid", python=(3, 12)),
    "xminigrid": Entry("MiniGrid-Empty-5x5", "MiniGrid and XLand"),
    "pgx": Entry("minatar-breakout", "MinAtar and 2048"),
    "jumanji": Entry("Snake-v1", "puzzles, packing and routing"),
    "craftax": Entry("Craftax-Classic-Symbolic-v1", "an open world", pool=64),
}
"""By prefix."""


def construct(name: str, kwargs: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    """Return a suite's environment, its parameters, and the arguments that are fields of those.

    Raises:
        ImportError: the suite is not installed, or does not run on this Python.
        ValueError: the suite, or its environment, is unknown, for several players or of too many actions.
        TypeError: an argument is unknown to the suite, or `pool` is no size.

    """
    limit = {key: value for key, value in kwargs.items() if key == LIMIT}
    options = tuple((key, value) for key, value in kwargs.items() if key != LIMIT)
    try:
        hash(options)
    except TypeError:
        env = _made(name, options)
    else:
        env = _kept(name, options)
    return env, env.default_params, limit


def adapter(name: str) -> type[Suite]:
    """Return the adapter of the suite that a name or a prefix is of, whose package can be imported.

    Raises:
        ValueError: there is no such suite.
        ImportError: it is not installed, or does not run on this Python.

    """
    prefix = name.partition(":")[0]
    if prefix not in SUITES:
        raise ValueError(f"no suite {prefix!r} of environments; {nearest(prefix, SUITES)}")
    oldest, here = SUITES[prefix].python, sys.version_info[:2]
    if here < oldest:
        raise ImportError("{} needs Python {}.{} or newer; this is {}.{}".format(prefix, *oldest, *here))
    if find_spec(prefix) is None:
        raise ImportError(needs(name, prefix, prefix))
    found: type[Suite] = getattr(importlib.import_module(f"qjax.envs.suites.{prefix}"), prefix.capitalize())
    return found


def _made(name: str, given_options: tuple[tuple[str, Any], ...]) -> Suite:
    (prefix, _, own), options, suite = name.partition(":"), dict(given_options), adapter(name)
    if own not in (ids := suite.ids()):
        raise ValueError(f"{prefix} has no environment {own!r}; {nearest(own, ids)}")
    size = options.pop("pool", SUITES[prefix].pool)
    with jax.ensure_compile_time_eval():  # concrete inside a traced function, too, for it is kept
        with telling(f"{name} cannot be made{given(options)}"):
            built = suite.build(own, **options)
        env = suite(name, built)
        if size is not None:
            env.gather(check_size("pool", size))
    return env


_kept = functools.lru_cache(maxsize=32)(_made)  # a loop is built many times, while it is traced
