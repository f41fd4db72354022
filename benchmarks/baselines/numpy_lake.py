"""The classic loop: tabular Q-learning on gymnasium's FrozenLake with NumPy, one seed.

python -m benchmarks.baselines.numpy_lake --seconds 5

It prints its speed as JSON.
"""

import gymnasium
import numpy as np

from benchmarks.baselines.clock import report


def main(seconds: float = 5.0, seed: int = 0) -> None:
    """Train for so many seconds and report the speed."""
    env = gymnasium.make("FrozenLake-v1", is_slippery=True)
    rng = np.random.default_rng(seed)
    q = np.zeros((16, 4))
    alpha, gamma, epsilon = 0.1, 0.99, 0.1
    with report(seconds) as clock:
        obs, _ = env.reset(seed=seed)
        while clock.running():
            action = rng.integers(4) if rng.random() < epsilon else int(q[obs].argmax())
            next_obs, reward, terminated, truncated, _ = env.step(action)
            target = reward + gamma * (1 - terminated) * q[next_obs].max()
            q[obs, action] += alpha * (target - q[obs, action])
            obs = next_obs
            clock.steps += 1
            if terminated or truncated:
                obs, _ = env.reset()


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
