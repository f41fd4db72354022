"""Environments by name: gymnax's ids, and gymnasium's names with gymnasium's limits and arguments."""

import dataclasses
import difflib
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from qjax.core.checks import check_range, check_size, concrete
from qjax.core.text import given, telling
from qjax.envs.arguments import LIMIT, UNLIMITED, argument, check_order, field
from qjax.mdp.lakes import map_of

STICKY = "sticky_action_prob"
"""MinAtar's argument: the probability with which the last action is taken again."""

ALIASES: dict[str, tuple[str, dict[str, Any]]] = {
    "FrozenLake-v1": ("FrozenLake-misc", {"max_steps_in_episode": 100}),
    "FrozenLake8x8-v1": ("FrozenLake-misc", {"map_name": "8x8", "max_steps_in_episode": 200}),
    "CliffWalkingSlippery-v1": ("CliffWalking-v1", {"is_slippery": True}),
    "CartPole-v0": ("CartPole-v1", {"max_steps_in_episode": 200}),
    "MinAtar/Asterix-v1": ("Asterix-MinAtar", {"max_steps_in_episode": None, STICKY: 0.1}),
    "MinAtar/Breakout-v1": ("Breakout-MinAtar", {"max_steps_in_episode": None, STICKY: 0.1}),
    "MinAtar/Freeway-v1": ("Freeway-MinAtar", {"max_steps_in_episode": 2500, STICKY: 0.1}),
    "MinAtar/Seaquest-v1": ("Seaquest-MinAtar", {"max_steps_in_episode": None, STICKY: 0.1}),
    "MinAtar/SpaceInvaders-v1": ("SpaceInvaders-MinAtar", {"max_steps_in_episode": None, STICKY: 0.1}),
}
"""gymnasium's names for what gymnax calls otherwise, with the arguments that make them so. MinAtar registers its
games without a time limit, with actions that stick; Freeway ends by itself after so many steps."""

TOY_TEXT = ("CliffWalking-v1", "Taxi-v4")
"""gymnasium's environments that gymnax does not have, read from gymnasium's tables (`qjax.mdp.toy_text`)."""


def known() -> list[str]:
    """Return all the names."""
    from gymnax import registration

    return [*registration.registered_envs, *ALIASES, *TOY_TEXT]


def construct(name: str, kwargs: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    """Return the named environment, its default parameters, and the arguments that are fields of those.

    Raises:
        ValueError: the name is unknown (the nearest known ones are named), or an argument has a bad value.
        TypeError: an argument is unknown, or traced though it shapes the program.
        ImportError: the suite that the name is of is not installed, or does not run on this Python.

    """
    if ":" in name:
        from qjax.envs.suites.names import construct as of_suite

        return of_suite(name, kwargs)
    gymnax_name, preset = ALIASES.get(name, (name, {}))
    if kwargs.get("render_mode") is not None:
        raise TypeError(f"{name} takes no render_mode: `qjax watch` draws what an agent does")
    kwargs = {key: value for key, value in kwargs.items() if key != "render_mode"}
    build = _builder(name, gymnax_name)
    accepted = inspect.signature(build).parameters
    arguments = {key: value for key, value in {**preset, **kwargs}.items() if key in accepted}
    arguments = {key: argument(build, key, value, accepted[key].default) for key, value in arguments.items()}
    with telling(f"{name} cannot be made{given(arguments)}", own=inspect.isfunction(build)):
        env = build(**arguments)
        params = env.default_params
    fields = [field.name for field in dataclasses.fields(params)]
    if unknown := [key for key in kwargs if key not in accepted and key not in fields]:
        takes = [*accepted, *([STICKY] if STICKY in preset else [])]
        raise TypeError(
            f"{name} has no argument {listed(unknown)}; its constructor takes {listed(takes)},"
            f" its parameters have {listed(fields)}"
        )
    usual = {key: value for key, value in preset.items() if key in fields}
    return env, with_fields(name, params, usual), {k: v for k, v in kwargs.items() if k in fields}


def stickiness(name: str, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return the probability that an action is taken again, where the name's environment has one, and the rest.

    Raises:
        TypeError: it is no number.
        ValueError: it lies outside [0, 1].

    """
    usual = ALIASES.get(name, (name, {}))[1].get(STICKY)
    if usual is None:
        return None, kwargs
    probability = kwargs.get(STICKY, usual)
    check_range(STICKY, probability, 0, 1)
    sticks = not (concrete(probability) and np.array_equal(probability, 0))
    return probability if sticks else None, {key: value for key, value in kwargs.items() if key != STICKY}


def _builder(name: str, gymnax_name: str) -> Callable[..., Any]:
    """Return what makes the named environment, a function of its arguments."""
    if gymnax_name in TOY_TEXT:
        return taxi if gymnax_name == "Taxi-v4" else cliff
    from gymnax import registration

    if gymnax_name not in registration.registered_envs:
        lower = {k.lower(): k for k in known()}
        near = [lower[k] for k in difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.5)]
        raise ValueError(
            f"unknown environment {name!r}"
            + (f"; did you mean {' or '.join(near)}?" if near else f"; known are {', '.join(sorted(known()))}")
            + "; names of other suites have a prefix, pgx:minatar-breakout for instance"
        )
    own: dict[str, Callable[..., Any]] = {
        "FrozenLake-misc": lake, "CartPole-v1": cartpole, "DiscountingChain-bsuite": _discounting_chain
    }  # fmt: skip
    if gymnax_name in own:
        return own[gymnax_name]
    with telling(f"{name} cannot be made"):
        found = type(registration.make(gymnax_name)[0])
    if not gymnax_name.endswith("-MinAtar"):
        return found
    from qjax.envs.variants import with_flags

    return with_flags(found)  # type: ignore[arg-type]


def lake(desc: Any = None, map_name: Any = "4x4", is_slippery: bool = True, map_seed: int = 0) -> Any:
    """Return a lake: of the map `desc`, else the named one, else (map_name=None) one drawn as gymnasium does.

    The map of a `map_seed` is the same every time: gymnasium's `generate_random_map(seed=map_seed)`.
    """
    from qjax.envs.variants import Lake

    return Lake(map_of(desc, map_name, map_seed), is_slippery, drawn=desc is None and map_name is None)


def cartpole(sutton_barto_reward: bool = False) -> Any:
    """Return CartPole, paid 1 for every step, or nothing but -1 where the pole falls."""
    from gymnax.environments.classic_control.cartpole import CartPole

    from qjax.envs.variants import SuttonBartoCartPole

    return SuttonBartoCartPole() if sutton_barto_reward else CartPole()


def _discounting_chain(n_actions: int = 5, mapping_seed: int = 0) -> Any:
    """Return bsuite's DiscountingChain, in which the action of that number pays more."""
    from gymnax.environments.bsuite.discounting_chain import DiscountingChain

    check_size("mapping_seed", mapping_seed, 0, n_actions - 1)
    return DiscountingChain(n_actions, mapping_seed)


def cliff(is_slippery: bool = False) -> Any:
    """Return CliffWalking, read from gymnasium's table."""
    from qjax.mdp.examples import toy_text

    return toy_text("CliffWalking-v1", is_slippery=is_slippery)


def taxi(
    is_rainy: bool = False,
    fickle_passenger: bool = False,
    rainy_probability: Any = 0.8,
    fickle_probability: Any = 0.3,
) -> Any:
    """Return Taxi, read from gymnasium's table; the probabilities may be traced."""
    from qjax.mdp.examples import toy_text

    return toy_text(
        "Taxi-v4",
        is_rainy=is_rainy,
        fickle_passenger=fickle_passenger,
        rainy_probability=rainy_probability,
        fickle_probability=fickle_probability,
    )


# Fields of parameters -----------------------------------------------------------------------------------------


def with_limit(name: str, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments with gymnasium's `max_episode_steps`, -1 for none, as `max_steps_in_episode`.

    Raises:
        TypeError: both are given, or it is no number.
        ValueError: it is less than 1, and not -1.

    """
    rest = {key: value for key, value in kwargs.items() if key != "max_episode_steps"}
    limit = kwargs.get("max_episode_steps")
    if "max_episode_steps" in kwargs and LIMIT in rest:
        raise TypeError(f"{name}: max_episode_steps is gymnasium's word for {LIMIT}; give one of them")
    if limit is None:
        return rest  # the usual limit, as in gymnasium
    if concrete(limit) and np.array_equal(limit, -1):
        return rest | {LIMIT: None}
    try:
        check_range("max_episode_steps", limit, 1, UNLIMITED, whole=True)
    except ValueError as error:
        raise ValueError(f"{error}; -1 is none") from None
    return rest | {LIMIT: limit}


def with_fields(name: str, params: Any, fields: dict[str, Any]) -> Any:
    """Return parameters with other values of the named fields.

    Raises:
        TypeError: they have no such field, or a field of True or False, or of numbers, is given something else.
        ValueError: a number is NaN, or lies outside its range.

    """
    if not fields:
        return params
    known = [f.name for f in dataclasses.fields(params)] if dataclasses.is_dataclass(params) else []
    if unknown := [key for key in fields if key not in known]:
        raise TypeError(f"{name}'s parameters have no {listed(unknown)}; they have {listed(known)}")
    changed = dataclasses.replace(params, **{key: field(key, value, params) for key, value in fields.items()})
    check_order(changed)
    return changed


def limit_of(params: Any) -> Any:
    """Return the time limit among an environment's parameters, None where there is none.

    Raises:
        TypeError: it is no number.
        ValueError: it is less than 1 or no whole number.

    """
    limit: Any = getattr(params, LIMIT, None)
    if limit is not None:
        check_range(LIMIT, limit, 1, UNLIMITED, whole=True)
    return None if concrete(limit) and np.array_equal(limit, UNLIMITED) else limit


def listed(names: Any) -> str:
    """Return names side by side."""
    return ", ".join(names) or "none"
