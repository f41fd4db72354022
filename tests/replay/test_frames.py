"""A memory that stores each observation once gives the batches of one that stores every transition whole."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import qjax
from qjax.core import clock as clocks
from qjax.types import Time, Transition

TIME = Time(jnp.float32(0), jnp.int32(0), jnp.float32(0))


def episodes(steps, envs, blocks, limit, stack, flags):
    """Yield blocks `[T, N]` of random episodes with both endings, in which every frame is another."""
    rng = np.random.default_rng(0)

    def frame():
        return rng.integers(0, 2, (6, 2), bool) if flags else rng.integers(0, 256, (6, 2), np.uint8)

    shown, time = [], np.zeros(envs, int)
    for _ in range(envs):
        shown.append([frame()] * stack)
    for _ in range(blocks):
        rows = []
        for _ in range(steps):
            obs = np.stack([np.concatenate(one, -1) for one in shown])
            time += 1
            terminated = rng.random(envs) < 0.15
            truncated = ~terminated & (time == limit)
            after = [[*one[1:], frame()] for one in shown]
            next_obs = np.stack([np.concatenate(one, -1) for one in after])
            last = terminated | truncated
            shown = [[frame()] * stack if over else one for over, one in zip(last, after, strict=True)]
            time = np.where(last, 0, time)
            reward = rng.normal(size=envs).astype(np.float32)
            discount = np.where(terminated, 0, 0.5).astype(np.float32)
            action = rng.integers(0, 3, envs, np.int32)
            rows.append(Transition(obs, action, reward, discount, next_obs, last))
        yield jax.device_put(jax.tree.map(lambda *x: np.stack(x), *rows))


def batches(memory, blocks):
    """Yield what a memory draws after every few blocks, with what its state is."""
    state, clock = jax.jit(memory.init)(blocks[0]), clocks.at(0)
    add = jax.jit(memory.add)
    sample = jax.jit(lambda keys, *rest: jax.lax.map(lambda key: memory.sample(key, *rest), keys))
    for number, block in enumerate(blocks):
        state, clock = add(state, block, clock), clocks.plus(clock, block.reward.shape[0])
        if number % 5 == 0 or number < 5:
            yield state, jax.device_get(sample(jax.random.split(jax.random.key(number), 8), state, clock, TIME))


def uniform(capacity, window, frames):
    return qjax.ring(capacity, 16, window, frames)


def by_priority(capacity, window, frames):
    return qjax.prioritized(capacity, 16, 0.5, 0.5, window=window, frames=frames)


def folded(capacity, window, frames):
    return qjax.n_step(qjax.ring(capacity, 16, window, frames), window)


@pytest.mark.parametrize(
    ("memory", "steps", "envs", "capacity", "window", "limit", "stack", "flags"),
    [
        (uniform, 1, 1, 16, 1, 5, 1, True),
        (uniform, 1, 3, 48, 1, 7, 1, False),
        (uniform, 1, 2, 40, 1, None, 1, True),
        (uniform, 1, 2, 40, 1, 100, 4, False),
        (uniform, 1, 2, 42, 3, 4, 4, True),
        (uniform, 4, 2, 48, 2, 5, 3, False),
        (uniform, 4, 1, 20, 1, 1, 2, True),
        (folded, 1, 2, 40, 3, 6, 4, False),
        (by_priority, 1, 2, 40, 1, 6, 2, True),
        (by_priority, 2, 2, 40, 3, 6, 3, False),
    ],
)
def test_batches_are_those_of_whole_transitions(memory, steps, envs, capacity, window, limit, stack, flags):
    blocks = list(episodes(steps, envs, 4 * capacity // (steps * envs) + 7, limit, stack, flags))
    whole = batches(memory(capacity, window, None), blocks)
    once = batches(memory(capacity, window, qjax.Frames(limit, stack)), blocks)
    cut = 0
    for (_, expected), (_, found) in zip(whole, once, strict=True):
        for name in ("weight", "slot", "env"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
        known = np.broadcast_to(expected.weight > 0, expected.data.reward.shape)
        for name in ("obs", "action", "reward", "discount", "last"):
            one, other = (getattr(batch.data, name) for batch in (found, expected))
            assert one.dtype == other.dtype and one.shape == other.shape
            np.testing.assert_array_equal(one[known], other[known])
        # Without a discount a successor is no one's.
        counts = known & (expected.data.discount > 0)
        np.testing.assert_array_equal(found.data.next_obs[counts], expected.data.next_obs[counts])
        cut += (counts & expected.data.last).sum()
    assert limit in (None, 100) or cut > 20


def test_each_frame_is_stored_once():
    block = next(episodes(1, 2, 1, 5, 4, False))
    held = lambda frames: sum(x.size * 4 for x in jax.tree.leaves(qjax.ring(4000, 8, frames=frames).init(block)))
    # Of a stack's 48 bytes a frame has 12; the 2,000 rows of an environment have room for 402 cuts.
    assert held(None) == 4000 * (2 * 48 + 16)
    assert held(qjax.Frames(5, 4)) == (4000 + 2 * 5) * (12 + 16) + 402 * 2 * 12
    assert held(qjax.Frames(None, 4)) == (4000 + 2 * 5) * (12 + 16)


def test_it_trains_as_whole_transitions_do():
    env = qjax.make("CartPole-v1", max_steps_in_episode=12)
    agent = qjax.dqn(qjax.MLP(2, (8,)), optax.adam(1e-2))

    def trained(frames):
        memory = qjax.n_step(qjax.ring(60, 8, 2, frames), 2)
        loop = qjax.make_loop(env, agent, qjax.epsilon_greedy(0.5), memory, gamma=0.9, num_envs=2, warmup=10)
        lane = jax.jit(loop.run, static_argnums=2)(loop.init(jax.random.key(0)), clocks.at(0), 150)
        return lane.agent, lane.stats.sums

    whole, once = trained(None), trained(qjax.Frames(env.max_steps))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, 1e-5, 1e-6), whole, once)


@pytest.mark.parametrize(
    ("frames", "error", "said"),
    [
        (qjax.Frames(5, 3), ValueError, r"an observation \[6, 8\] has no 3 frames"),
        (qjax.Frames(0), ValueError, "frames.max_steps"),
        (qjax.Frames(5, 0), ValueError, "frames.stack"),
        (qjax.Frames(2**23 + 1), ValueError, "too many"),
        (7, TypeError, "frames"),
    ],
)
def test_what_does_not_fit_is_refused(frames, error, said):
    block = next(episodes(1, 2, 1, 5, 4, False))
    with pytest.raises(error, match=said):
        qjax.ring(16, 4, frames=frames).init(block)


@pytest.mark.parametrize("memory", [qjax.ring, functools.partial(qjax.prioritized, alpha=0.6, beta=0.4)])
@pytest.mark.parametrize("limit", [None, 4, 500])
def test_frames_for_another_limit_are_refused(memory, limit):
    """A cut's successor would stand in the place of another's."""
    env = qjax.make("CartPole-v1", max_steps_in_episode=5)
    agent = qjax.dqn(qjax.MLP(2, (4,)), optax.adam(1e-2))

    def loop(frames):
        held = qjax.n_step(memory(16, 4, window=2, frames=frames), 2)
        return qjax.make_loop(env, agent, qjax.epsilon_greedy(0.5), held, gamma=0.9)

    with pytest.raises(ValueError, match=rf"cut after {limit} steps, those of CartPole-v1 are after 5: give it"):
        loop(qjax.Frames(limit))
    loop(qjax.Frames(5))
