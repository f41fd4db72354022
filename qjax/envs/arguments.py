"""Arguments and parameters of environments, checked by the kind of their usual values and by what they are called.

gymnax's environments check nothing: what is no probability, duration or size there goes wrong in silence, or ends
the process. Of environments of others only kinds are known.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qjax.core.checks import (
    LARGEST,
    check_array,
    check_flag,
    check_key,
    check_listed,
    check_number,
    check_range,
    check_size,
    concrete,
)
from qjax.core.text import shown
from qjax.mdp.lakes import rewards_of

LIMIT, UNLIMITED = "max_steps_in_episode", LARGEST
"""gymnax's name for the time limit, and what stands for none where the parameters need a number."""

LONGEST = 2**12
"""The largest size: tiles of a square with such a side are as much as one observation may hold."""

Check = Callable[[str, Any], Any]
"""Returns the value of an argument as it is wanted, or raises."""


# Constructors -------------------------------------------------------------------------------------------------


def _size(least: int, most: int = LONGEST, odd: bool = False) -> Check:
    def check(key: str, value: Any) -> int:
        size = check_size(key, value, least, most)
        if odd and size % 2 == 0:
            raise ValueError(f"{key} must be odd, got {shown(value)}")
        return size

    return check


def _place(key: str, value: Any) -> list[int] | None:
    """Return a free tile of gymnax's four rooms; None is the usual one."""
    if value is None:
        return None
    from gymnax.environments.misc.rooms import four_rooms_map

    rows = four_rooms_map.strip().splitlines()
    place = [
        check_size(f"{key} (each)", each, 0, len(rows) - 1) for each in check_listed(key, value, "two numbers")
    ]
    if len(place) != 2 or rows[place[0]][place[1]] != " ":
        raise ValueError(f"{key} must be the row and the column of a tile that is no wall, got {shown(value)}")
    return place


def _random_key(key: str, value: Any) -> Any:
    try:
        if value is not None:
            check_key(value)
    except TypeError as error:
        raise TypeError(f"{key}: {error}") from None
    return value


def _share(key: str, value: Any) -> Any:
    check_range(key, value, 0, 1, open_low=True)
    return value


CONSTRUCTORS: dict[str, Check] = {
    "rows": _size(2),
    "n_distractor": _size(0),
    "paddle_half_height": _size(0),
    "maze_size": _size(3, 255, odd=True),  # gymnax looks at each tile by itself
    "rf_size": _size(3, 255, odd=True),
    "n_actions": _size(1, 5),  # that many times of reward are there
    "mapping_seed": _size(0, 4),
    "map_seed": _size(0, LARGEST),
    "goal_fixed": _place,
    "pos_fixed": _place,
    "action_mapping_key": _random_key,
    "fraction": _share,
}
"""Arguments of which more is known than their kind: other whole numbers are sizes from 1."""


def argument(build: Any, key: str, value: Any, usual: Any) -> Any:
    """Return an argument of what makes an environment, of the kind of its usual value.

    Raises:
        TypeError: it is of another kind, or traced though it shapes the program.
        ValueError: it has no meaning.

    """
    known = _known(build)
    if known and key in CONSTRUCTORS:
        return CONSTRUCTORS[key](key, value)
    if isinstance(usual, bool):
        return check_flag(key, value)
    if isinstance(usual, float):
        check_number(key, value)
    elif not concrete(value):
        raise TypeError(f"{key} is static: it shapes the compiled program and cannot be swept")
    least, most = (1, LONGEST) if known else (-LARGEST, LARGEST)
    return check_size(key, value, least, most) if isinstance(usual, int) else value


# Fields of parameters -----------------------------------------------------------------------------------------

POSITIVE = {
    "masscart", "total_mass", "length", "tau", "theta_threshold_radians", "x_threshold", "max_speed", "max_torque",
    "dt", "m", "l", "link_length_1", "link_length_2", "link_mass_1", "link_mass_2", "link_moi", "max_vel_1",
    "max_vel_2", "max_force", "circle_radius", "goal_radius",
}  # fmt: skip
FROM_ZERO = {
    "masspole", "polemass_length", "link_com_pos_1", "link_com_pos_2", "torque_noise_max", "sigma_p", "sigma_l",
    "reward_noise",
}  # fmt: skip
CHANCES = {"fail_prob", "reward_prob", "success_rate"}
WHOLE_FROM_ZERO = {"shot_cool_down", "ball_max_y_speed", "paddle_y_speed"}
"""Of gymnax's environments and ours: other whole numbers there are from 1, other numbers any that are finite."""


def checked_params(name: str, params: Any, own: Any) -> Any:
    """Return parameters, which are of the kind of an environment's own, with fields that have a meaning.

    Raises:
        TypeError: they are another environment's, or a field is of another kind.
        ValueError: a field has no meaning.

    """
    if own is None:
        return params
    if not isinstance(params, type(own)):
        raise TypeError(f"params must be {name}'s {type(own).__name__}, got {shown(params)}")
    if not (dataclasses.is_dataclass(params) and _known(type(params))):
        return params
    for each in dataclasses.fields(params):
        try:
            field(each.name, getattr(params, each.name), own)
        except (TypeError, ValueError) as error:
            raise type(error)(f"params.{error}") from None
    check_order(params)
    return params


def _known(made: Any) -> bool:
    """Return whether a class or a function is gymnax's, or ours."""
    return made.__module__.partition(".")[0] in ("gymnax", "qjax")


def field(key: str, value: Any, params: Any) -> Any:
    """Return the value of one of some parameters' fields, of the kind that it usually has.

    Raises:
        TypeError: it is of another kind.
        ValueError: it has no meaning, or is not finite in float32, or no int32.

    """
    usual, known = getattr(params, key), _known(type(params))
    if value is None and (usual is None or key == LIMIT):
        return UNLIMITED if usual is not None else None
    if key == LIMIT:
        return _whole(key, value, 1)
    if known and key == "reward_schedule":
        return rewards_of(value)
    return _typed(key, value, params)


def _typed(key: str, value: Any, params: Any) -> Any:
    """Return the value of a field as its usual value and its annotation are."""
    usual, known = getattr(params, key), _known(type(params))
    if isinstance(usual, bool):
        return check_flag(key, value) if concrete(value) else value
    annotated = next(each.type for each in dataclasses.fields(params) if each.name == key)
    if isinstance(usual, int | np.integer) and annotated in (int, "int"):
        return _whole(key, value, int(key not in WHOLE_FROM_ZERO) if known else -LARGEST)
    if isinstance(usual, int | float | np.number) or (known and key == "reward_noise"):
        return _number(key, value, known)
    if isinstance(usual, np.ndarray | jax.Array) and concrete(value):
        check_array(key, value)
        return _array(key, value, usual) if known else value
    return value


def _array(key: str, value: Any, usual: Any) -> jax.Array:
    """Return an array of the usual one's shape and kind of numbers; actions index it while they are traced."""
    if np.shape(value) != np.shape(usual):
        raise ValueError(f"{key} must be an array of shape {np.shape(usual)}, got {shown(value)}")
    for each in np.ravel(value) if jnp.issubdtype(usual.dtype, jnp.integer) else ():
        check_range(f"{key} (each)", each, 1, LARGEST, whole=True)
    with jax.ensure_compile_time_eval():
        return jnp.asarray(np.asarray(value), usual.dtype)


def check_order(params: Any) -> None:
    """Check that the least of something is below the largest, where an environment of gymnax's has both.

    Raises:
        ValueError: it is not.

    """
    for end in ("position", "action", "lim"):
        low, high = (getattr(params, f"{side}_{end}", np.nan) for side in ("min", "max"))
        if _known(type(params)) and concrete(low, high) and low >= high:
            raise ValueError(f"min_{end} must be below max_{end}, got {shown(low)} and {shown(high)}")


def _whole(key: str, value: Any, least: int) -> Any:
    check_range(key, value, least, LARGEST, whole=True)
    return int(value) if concrete(value) and not isinstance(value, jax.Array) else value


def _number(key: str, value: Any, known: bool) -> Any:
    if known and key in CHANCES:
        check_range(key, value, 0, 1)
    elif known and key in POSITIVE | FROM_ZERO:
        check_range(key, value, 0, np.inf, open_low=key in POSITIVE)
    else:
        check_number(key, value)
    large = isinstance(value, int | np.integer) and abs(int(value)) > LARGEST
    return float(value) if large else value  # JAX would have it as int32
