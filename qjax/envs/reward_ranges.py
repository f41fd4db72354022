"""Between which two numbers an environment's rewards lie, where that is known."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from qjax.core.checks import concrete

RANGES: dict[str, tuple[float, float]] = {
    "Acrobot": (-1.0, 0.0),
    "BernoulliBandit": (0.0, 1.0),
    "CartPole": (0.0, 1.0),
    "Catch": (-1.0, 1.0),
    "FourRooms": (0.0, 1.0),
    "MNISTBandit": (-1.0, 1.0),
    "MemoryChain": (-1.0, 1.0),
    "MinAsterix": (0.0, 1.0),
    "MinBreakout": (0.0, 1.0),
    "MinFreeway": (0.0, 1.0),
    "MountainCar": (-1.0, -1.0),
    "Pong": (0.0, 1.0),
    "SimpleBandit": (0.0, 1.0),
    "SuttonBartoCartPole": (-1.0, 0.0),
    "UmbrellaChain": (-1.0, 1.0),
}
"""By the class of gymnax's object (or of `qjax.envs.variants`), whatever names it goes by; read from their code."""


def reward_range(env: Any, params: Any) -> tuple[Any, Any] | None:
    """Return the least and the largest reward of a step: of an MDP, of a lake, or of one of `RANGES`, else None.

    Of parameters that are traced they are traced too.
    """
    if hasattr(params, "mdp"):
        noisy = _noisy(getattr(params, "reward_noise", None))
        return None if noisy else _ends(params.mdp.reward, params.mdp.probability > 0)
    kind = type(env)
    if kind.__module__.partition(".")[0] not in ("gymnax", "qjax"):
        return None
    if hasattr(params, "reward_schedule"):
        schedule = params.reward_schedule
        return _ends(schedule, True) if concrete(schedule) else _ends(jnp.asarray(schedule), True)
    return RANGES.get(kind.__name__)


def _noisy(noise: Any) -> bool:
    return noise is not None and not (concrete(noise) and np.all(np.asarray(noise) == 0))


def _ends(rewards: Any, happens: Any) -> tuple[Any, Any]:
    """Return the least and the largest of the rewards that can happen."""
    if not concrete(rewards, happens):
        return jnp.where(happens, rewards, jnp.inf).min(), jnp.where(happens, rewards, -jnp.inf).max()
    possible = np.asarray(rewards)[np.broadcast_to(np.asarray(happens), np.shape(rewards))]
    return float(possible.min()), float(possible.max())
