"""Sums do not drift: returns, lengths and what is logged, over many steps and environments and in long episodes."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import probes
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import qjax
from qjax.core import clock as clocks
from qjax.core import sums
from qjax.types import Agent

TENTH = np.float32(0.1)


def added(numbers):
    """Return the sum of `[n, ...]` over the first axis."""
    start = sums.zero(*numbers.shape[1:])
    return jax.lax.scan(lambda found, x: (sums.plus(found, x), None), start, numbers)[0]


@settings(deadline=None)
@given(st.lists(st.floats(-(2.0**40), 2.0**40, width=32), max_size=50))
def test_a_sum_is_right_to_its_last_digit(numbers):
    found = sums.zero()
    for number in numbers:
        found = sums.plus(found, jnp.float32(number))
    size = math.fsum(map(abs, numbers))
    tiny = 2.0**-120  # what is smaller may be flushed to zero
    assert abs(float(found.total) + float(found.rest) - math.fsum(numbers)) <= 2.0**-45 * size + tiny


def test_a_long_sum_is_right_as_users_compile_it():
    found = jax.jit(added).lower(jnp.full(2**20, TENTH)).compile()(jnp.full(2**20, TENTH))
    assert float(found.total) == np.float32(2**20 * float(TENTH))
    large = jnp.array([1, 1e8, 1, -1e8], jnp.float32)  # what the large one hides is not lost
    assert float(added(large).total) == 2


@pytest.mark.parametrize("count", [1, 2, 3, 7, 1000])
def test_sums_of_many_environments_together(count):
    numbers = np.random.default_rng(count).normal(size=(20, count)).astype(np.float32) * 1e4
    assert float(sums.together(added(jnp.asarray(numbers)))) == np.float32(math.fsum(numbers.ravel().tolist()))


def test_what_is_not_finite_stays():
    ends = [float(added(jnp.array([1, x, 2, 3], jnp.float32)).total) for x in (np.inf, -np.inf, np.nan)]
    assert ends[:2] == [np.inf, -np.inf] and math.isnan(ends[2])
    assert math.isnan(added(jnp.array([np.inf, -np.inf, 1])).total)
    assert float(added(jnp.array([3e38, 3e38, 1], jnp.float32)).total) == np.inf


class Tenths(probes.Probe):
    """A reward of 0.1 at every step."""

    def __init__(self, ends):
        super().__init__(limit=None if ends else 10**7)
        self.ends = ends

    def move(self, where, action):
        return where, TENTH, self.ends


def learn(key, state, batch, time):
    logged = {"loss": jnp.float32(0.1), "q": jnp.float32(-0.7), "own": time.update * 0 + jnp.float32(0.3)}
    return state, {**logged, "priority": jnp.zeros(batch.weight.shape[1])}


AGENT = Agent(lambda key, obs: jnp.zeros(1), qjax.memoryless(lambda noise, state, obs: jnp.zeros(2)), learn)


@pytest.mark.usefixtures("as_users")
@pytest.mark.parametrize("sizes", [{"rollout": 8}, {"num_envs": 3, "updates": 2}])
def test_means_of_many_episodes_and_updates_do_not_drift(sizes):
    """Half a million of a lane in one interval: each is off by no more than the rounding of 0.1 itself."""
    env = qjax.make(Tenths(ends=True))
    loop = qjax.make_loop(env, AGENT, qjax.uniform, qjax.online(), gamma=0.9, **sizes)
    result = qjax.sweep(lambda _: loop, seeds=1, steps=2**19, log_points=1, width=1)
    point = result.points[0]
    assert (point.episodes == point.env_steps).all() and (point.env_steps >= 2**19).all()
    assert (point.mean_return == TENTH).all()
    expected = {"loss": TENTH, "q": np.float32(-0.7), "own": np.float32(0.3)}
    assert point.means.keys() == expected.keys()
    assert all((point.means[name] == value).all() for name, value in expected.items())


def test_a_long_episode_has_its_return():
    """200,000 steps of 0.1, a float32 sum of which is off by one in a thousand; in training and in evaluation."""
    steps = 200_000
    env = qjax.make(Tenths(ends=False), max_steps_in_episode=steps)
    loop = qjax.make_loop(env, AGENT, qjax.argmax, qjax.online(), gamma=0.9)
    lane = loop.run(loop.init(jax.random.key(0)), clocks.at(0), steps)
    _, report = qjax.training.pop_metrics(lane)
    expected = np.float32(steps * float(TENTH))
    assert (report["returns"], report["lengths"], report["episodes"]) == (expected, steps, 1)
    played = qjax.evaluate(env, AGENT, jnp.zeros(1), jax.random.key(0), 2)
    assert played.returns.tolist() == [expected] * 2
