"""The classic loop: tabular Q-learning on gymnasium's slippery FrozenLake with NumPy, one seed."""

from collections.abc import Callable

import gymnasium
import numpy as np

ALPHA, GAMMA, EPSILON = 0.1, 0.99, 0.1


def make(seed: int) -> Callable[[], None]:
    """Return a function that makes one step of the environment, and learns from it."""
    env = gymnasium.make("FrozenLake-v1", is_slippery=True)
    rng = np.random.default_rng(seed)
    q = np.zeros((16, 4))
    obs, _ = env.reset(seed=seed)

    def step() -> None:
        nonlocal obs
        action = int(rng.integers(4)) if rng.random() < EPSILON else int(q[obs].argmax())
        next_obs, reward, terminated, truncated, _ = env.step(action)
        target = reward + GAMMA * (1 - terminated) * q[next_obs].max()
        q[obs, action] += ALPHA * (target - q[obs, action])
        obs = env.reset()[0] if terminated or truncated else next_obs

    return step
