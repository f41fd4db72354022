"""Sequences hold what a list of all rows would say: consecutive, inside the memory, with the carry before each."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_memory import TIME, block_of

import qjax
from qjax.core import clock as clocks
from qjax.sweeps.plan import transition_bytes
from qjax.types import no_update

PRIORITIZED = partial(qjax.prioritized, alpha=1.0, beta=0.5)


def carry_at(tick, envs):
    """What the actors remembered before a tick, so that no two are alike."""
    number = tick * envs + np.arange(envs)
    return jax.device_put({"h": np.stack([number, -number], -1).astype(np.float32), "head": number.astype(np.int8)})


def filled(memory, steps, envs, blocks, first=0):
    """Return the memory after some blocks of rows numbered in their order, the first at a tick of the clock."""
    number = lambda tick: np.arange(tick * envs, (tick + steps) * envs).reshape(steps, envs) % 2**20
    state, add = memory.init(block_of(number(0)), carry_at(0, envs)), jax.jit(memory.add)
    for tick in range(first, first + blocks * steps, steps):
        state = add(state, block_of(number(tick)), clocks.at(tick), carry_at(tick, envs))
    return state


def joined(batches):
    """Several batches of as many sequences as one."""
    rows = lambda x: jnp.moveaxis(x, 0, 1).reshape(x.shape[1], -1, *x.shape[3:])
    data, weight = jax.tree.map(rows, (batches.data, batches.weight))
    slot, env, carry = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), batches[2:])
    return qjax.Batch(data, weight, slot, env, carry)


SIZES = [  # T, N, rows of an environment, length, burn-in
    (1, 1, 6, 1, 0),
    (1, 2, 6, 3, 2),
    (3, 1, 12, 6, 2),
    (2, 3, 8, 8, 1),  # a sequence fills it
    (4, 2, 12, 4, 3),
    (5, 2, 20, 10, 5),
]


@pytest.mark.parametrize("replay", [qjax.ring, PRIORITIZED], ids=["uniform", "prioritized"])
@pytest.mark.parametrize(("steps", "envs", "rows", "length", "burn_in"), SIZES)
def test_sequences_are_those_of_a_list_of_all_rows(steps, envs, rows, length, burn_in, replay):
    """At every number of blocks, from none to three times around: all sequences that there are, and their carry."""
    memory = qjax.sequences(rows * envs, rows * envs // steps, length, burn_in, replay)
    sample = jax.jit(lambda *of: joined(jax.vmap(memory.sample, in_axes=(0, None, None, None))(*of)))
    for blocks in range(3 * rows // steps + 2):
        state, ticks = filled(memory, steps, envs, blocks), blocks * steps
        batch = jax.device_get(sample(jax.random.split(jax.random.key(blocks), 40), state, clocks.at(ticks), TIME))
        if ticks < length:
            assert not batch.weight.any()
            continue
        starts = [tick for tick in range(max(ticks - rows, 0), ticks - length + 1) if tick % steps == 0]
        first = batch.data.reward[0].astype(int)
        assert set(first) == {tick * envs + env for tick in starts for env in range(envs)}
        number = first + np.arange(length)[:, None] * envs
        jax.tree.map(np.testing.assert_array_equal, batch.data, jax.device_get(block_of(number)))
        np.testing.assert_array_equal(batch.env, first % envs)
        np.testing.assert_array_equal(batch.carry["h"], np.stack([first, -first], -1))
        np.testing.assert_array_equal(batch.carry["head"], first.astype(np.int8))
        np.testing.assert_array_equal(
            batch.weight > 0, np.arange(length)[:, None] >= burn_in + np.zeros(first.size)
        )
        assert (batch.weight[burn_in:] == 1).all()


def test_far_from_the_start_the_clock_still_tells_the_place():
    memory, first = qjax.sequences(24, 8, 6), 3 * (2**33 // 3)
    state = filled(memory, 3, 2, 5, first)
    batch = memory.sample(jax.random.key(0), state, clocks.at(first + 15), TIME)
    number = (np.arange(first + 3, first + 15) % 2**20 * 2) % 2**20  # rows of environment 0
    assert set(np.asarray(batch.data.reward[0], int)) <= set(number) | set(number + 1)
    assert (batch.weight == 1).all()


def draws(memory, key, state):
    return jax.vmap(lambda key: memory.sample(key, state, clocks.at(12), TIME))(jax.random.split(key, 2_000))


@pytest.mark.parametrize("envs", [1, 3])
def test_priorities_are_those_of_sequences(envs):
    """Drawn in proportion to what `update` was told of a sequence, in NumPy; new ones have the largest so far."""
    steps, rows, length = 2, 8, 4
    memory = qjax.sequences(rows * envs, 4 * envs, length, replay=PRIORITIZED)
    state = filled(memory, steps, envs, 6)
    sample = jax.jit(lambda key, state: joined(draws(memory, key, state)))
    batch = sample(jax.random.key(0), state)
    slots = np.unique(batch.slot)
    assert len(slots) == 3 * envs  # of four blocks the newest begins no sequence
    told = np.linspace(1, 5, len(slots)).astype(np.float32)
    state = memory.update(state, jnp.asarray(slots), jnp.asarray(told))
    batch = sample(jax.random.key(1), state)
    share = np.array([(batch.slot == slot).mean() for slot in slots])
    np.testing.assert_allclose(share, told / told.sum(), atol=5e-3)
    one = memory.sample(jax.random.key(2), state, clocks.at(12), TIME)
    drawn = told[np.searchsorted(slots, one.slot)]
    np.testing.assert_allclose(one.weight, np.broadcast_to((drawn.min() / drawn) ** 0.5, (4, 4 * envs)), rtol=1e-4)


def test_a_plan_tells_the_bytes_of_a_transition_with_its_part_of_the_carry():
    """The carry, two floats and a byte, is stored once for every block of four rows."""
    row = 3 * 4 + 1 + 4 + 4 + 4 + 3 * 4 + 1 + 1 / 8  # obs, action, reward, discount, next_obs, last
    state = qjax.sequences(24, 2, 4).init(block_of(np.zeros((4, 3), int)), carry_at(0, 3))
    told = transition_bytes(state)
    assert (told["rows"], told["carry"]) == (row, 9 / 4)
    assert told["padding"] < 4


def test_a_uniform_memory_hears_of_no_priorities():
    assert qjax.sequences(8, 2, 4).update is no_update
    assert qjax.sequences(8, 2, 4, replay=PRIORITIZED).update is not no_update


def test_observations_that_are_stored_once_are_refused():
    for replay in (qjax.ring, partial(qjax.prioritized, alpha=0.6, beta=0.4)):
        with pytest.raises(ValueError, match="give replay no frames"):
            qjax.sequences(24, 3, length=4, replay=partial(replay, frames=qjax.Frames(5)))


@pytest.mark.parametrize(
    ("capacity", "length", "burn_in", "message"),
    [
        (24, 4, 4, "a burn_in of 4 rows leaves none of a sequence's 4"),
        (24, 5, 0, r"sequences of 5 rows \(length\) are not made of whole blocks of 2"),
        (26, 4, 0, "capacity 26 is not a multiple of a block: 2 steps x 3 environments = 6"),
        (24, 10, 0, r"sequences of 10 rows \(length\) exceed the 8 rows"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_with_their_numbers(capacity, length, burn_in, message):
    with pytest.raises(ValueError, match=message):
        qjax.sequences(capacity, 2, length, burn_in).init(block_of(np.zeros((2, 3), int)), ())
