"""What actors remember: begun at an episode's start, passed on by acting, given to the memory before each block."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import probes
import pytest

import qjax
from qjax.core import clock as clocks
from qjax.training.recording import record

KEY = jax.random.key(3)


class Counted(NamedTuple):
    """A carry whose value says in which episode and at which of its steps it was made."""

    tag: jax.Array
    """Drawn when the episode began."""
    steps: jax.Array
    """Observations acted on since."""


def counting(num_actions=2):
    """Return an agent that learns nothing, remembers how many steps it acted in its episode, and values them."""

    def act(noise, state, carry, obs):
        return jnp.full(num_actions, carry.steps, jnp.float32), carry._replace(steps=carry.steps + 1)

    def begin(key, state):
        return Counted(jax.random.uniform(key), jnp.int32(0))

    def learn(key, state, batch, time):
        return state + 1, {"loss": jnp.float32(0), "q": jnp.float32(0), "priority": jnp.zeros(batch.slot.shape)}

    return qjax.Agent(lambda key, obs: jnp.int32(0), act, learn, begin=begin)


def keeping(rows):
    """Return the online memory that also keeps every block, and every carry that came with one, in its state."""
    inner = qjax.online()

    def init(block, carry):
        blocks = jax.tree.map(lambda x: jnp.zeros((rows, *x.shape), x.dtype), (block, carry))
        return inner.init(block, carry), blocks, jnp.int32(0)

    def add(state, block, clock, carry):
        held, kept, number = state
        kept = jax.tree.map(lambda x, new: x.at[number].set(new), kept, (block, carry))
        return inner.add(held, block, clock, carry), kept, number + 1

    return qjax.Memory(init, add, lambda key, state, clock, time: inner.sample(key, state[0], clock, time))


def watched(rollout, iterations, num_envs=2):
    """Return the blocks, the carries before them, the lane at their end, and its loop."""
    loop = qjax.make_loop(
        qjax.make(probes.Endless()), counting(), qjax.greedy, keeping(iterations), gamma=0.9,
        num_envs=num_envs, rollout=rollout,
    )  # fmt: skip
    lane = jax.jit(lambda key: loop.run(loop.init(key), clocks.at(0), iterations))(KEY)
    (block, carry), number = lane.memory[1:]
    assert number == iterations
    return block, carry, lane, loop


@pytest.mark.parametrize("rollout", [1, 2, 5])
def test_the_carry_before_a_block_is_the_one_before_its_first_row(rollout):
    """Counted by hand over the recorded ends of episodes: a carry stored one step late would be one more."""
    block, carry, lane, _ = watched(rollout, 12)
    last = np.asarray(block.last).reshape(12 * rollout, 2)
    steps = np.zeros((12 * rollout + 1, 2), int)
    for row, ended in enumerate(last):
        steps[row + 1] = np.where(ended, 0, steps[row] + 1)
    np.testing.assert_array_equal(carry.steps, steps[:-1:rollout])
    np.testing.assert_array_equal(lane.carry.steps, steps[-1])
    assert last.any() and len(np.unique(carry.steps)) > 1


def test_an_episode_keeps_what_it_began_with_and_the_next_one_begins_anew():
    block, carry, _, _ = watched(1, 60)
    episode = np.concatenate([np.zeros((1, 2), int), np.cumsum(np.asarray(block.last)[:, 0], axis=0)])[:-1]
    tag = np.asarray(carry.tag)
    seen = {(number, env): tag[episode[:, env] == number, env] for env in (0, 1) for number in set(episode[:, env])}
    assert all(len(np.unique(tags)) == 1 for tags in seen.values())
    assert len({tags[0] for tags in seen.values()}) == len(seen) > 10


def test_evaluation_and_recording_pass_the_carry_on():
    """Values of an agent that counts: greedy after two steps, so the actions tell how many it remembers."""

    def act(noise, state, carry, obs):
        return jnp.where(carry >= 2, jnp.array([0.0, 1.0]), jnp.array([1.0, 0.0])), carry + 1

    agent = counting()._replace(act=act, begin=lambda key, state: jnp.int32(0))
    recording = record(qjax.make(probes.Endless()), agent, jnp.int32(0), KEY, episodes=3, max_steps=6)
    length = int(recording.episodes.lengths.max())
    assert length >= 3
    np.testing.assert_array_equal(recording.actions[:length], (np.arange(length) >= 2)[:, None].repeat(3, 1))
    told = qjax.evaluate(qjax.make(probes.Endless()), agent, jnp.int32(0), KEY, 3, max_steps=6)
    np.testing.assert_array_equal(told.returns, recording.episodes.returns)


def test_normalized_passes_the_carry_on():
    state = jnp.int32(0)
    agent = qjax.normalized(counting(), observations=False, rewards=True)
    outer = agent.init(KEY, jnp.zeros((2, 3)))
    carry = agent.begin(KEY, outer)
    assert carry == counting().begin(KEY, state)
    assert agent.act(None, outer, carry, jnp.zeros(3))[1].steps == 1
    memoryless = qjax.normalized(qjax.tabular(4, 2, 0.1), observations=False, rewards=True)
    assert memoryless.begin is qjax.types.no_carry


def test_chunks_may_end_in_the_middle_of_an_episode():
    """Seven iterations at once, or four and three, the episode going on between them: the same bits."""

    def build(_):
        return qjax.make_loop(
            qjax.make(probes.Endless()), counting(), qjax.greedy, qjax.online(), gamma=0.9, num_envs=2
        )

    loop = build(None)
    whole = loop.run(loop.init(KEY), clocks.at(0), 7)
    half = loop.run(loop.init(KEY), clocks.at(0), 4)
    assert (half.carry.steps > 0).all()
    again = loop.run(half, clocks.at(4), 3)
    jax.tree.map(np.testing.assert_array_equal, again._replace(key=0), whole._replace(key=0))


def test_a_seed_alone_is_the_seed_in_a_sweep():
    loop = qjax.make_loop(
        qjax.make(probes.Endless()), counting(), qjax.greedy, qjax.online(), gamma=0.9, num_envs=2, rollout=2
    )
    keys = jax.random.split(KEY, 3)
    run = lambda key: loop.run(loop.init(key), clocks.at(0), 5).carry
    together = jax.vmap(run)(keys)
    alone = jax.tree.map(lambda *lanes: jnp.stack(lanes), *(run(key) for key in keys))
    jax.tree.map(np.testing.assert_array_equal, together, alone)


# ---- what does not remember, and what is wrong


def test_an_agent_that_remembers_draws_the_keys_of_one_that_does_not():
    """Actions, episodes and learning are the same bits when a carry is begun and passed on unused."""
    plain = qjax.tabular(1, 2, 0.5)
    act = lambda noise, state, carry, obs: (plain.values(noise, state, obs), carry)
    carrying = plain._replace(act=act, begin=lambda key, state: jax.random.uniform(key))
    lanes = []
    for agent in (plain, carrying):
        loop = qjax.make_loop(
            qjax.make(probes.Endless()), agent, qjax.epsilon_greedy(0.5), qjax.ring(24, 4), gamma=0.9, num_envs=2
        )
        lanes.append(loop.run(loop.init(KEY), clocks.at(0), 12)._replace(key=0, carry=()))
    jax.tree.map(np.testing.assert_array_equal, *lanes)


def test_values_of_an_agent_that_remembers_are_refused():
    with pytest.raises(ValueError, match="depend on what it remembers"):
        counting().values(None, jnp.int32(0), jnp.int32(0))


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (lambda noise, state, carry, obs: jnp.zeros(2), TypeError, r"must return \(q, carry\)"),
        (lambda noise, state, carry, obs: (jnp.zeros(2), carry.steps), ValueError, r"it returned int32\[\]"),
        (
            lambda noise, state, carry, obs: (jnp.zeros(2), carry._replace(steps=carry.steps / 2)),
            ValueError,
            r"int32\[\]\); it returned \(float32\[\], float32",
        ),
    ],
)
def test_a_carry_of_another_form_is_refused(act, error, message):
    loop = qjax.make_loop(
        qjax.make(probes.Endless()), counting()._replace(act=act), qjax.greedy, qjax.online(), gamma=0.9
    )
    with pytest.raises(error, match=message):
        loop.init(KEY)
