"""Data sets for tests."""

import jax
import numpy as np

from qjax.datasets import Dataset


def at_random(env, rows, streams=1, seed=0, **fields):
    """Return arrays of what an environment's transitions are like, drawn at random."""
    rng = np.random.default_rng(seed)

    def observations(spec):
        drawn = rng.normal(size=(rows, streams, *spec.shape))
        return np.asarray(drawn > 0 if spec.dtype == bool else drawn, spec.dtype)

    obs, next_obs = (jax.tree.map(observations, env.obs_spec) for _ in range(2))
    action = rng.integers(0, env.num_actions, (rows, streams)).astype(np.int32)
    reward = rng.normal(size=(rows, streams)).astype(np.float32)
    ends = rng.random((rows, streams))
    probability = rng.uniform(0.1, 1, (rows, streams)).astype(np.float32)
    made = Dataset(
        obs, action, reward, ends < 0.1, (ends >= 0.1) & (ends < 0.2), next_obs, env.num_actions, probability
    )
    return made._replace(**fields)
