"""The ring holds what a deque of the same size would, and samples all of it alike; `online` holds one block."""

from collections import deque

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from scipy import stats

import qjax
from qjax.core import clock as clocks
from qjax.types import Batch, Time, Transition

TIME = Time(jnp.float32(0), jnp.int32(0), jnp.float32(0))
MILLION = 10**6


def block_of(ids):
    """A block `[T, N]` whose every field is a function of the transitions' numbers, so mix-ups show."""
    ids = np.asarray(ids)
    image = lambda x: np.stack([x, -x, x % 11], axis=-1).astype(np.float32)
    block = Transition(
        obs={"image": image(ids), "index": (ids % 251).astype(np.uint8)},
        action=(ids % 5).astype(np.int32),
        reward=ids.astype(np.float32),
        discount=(ids % 3).astype(np.float32) / 4,
        next_obs={"image": image(ids + 1), "index": ((ids + 1) % 251).astype(np.uint8)},
        last=ids % 7 == 0,
    )
    return jax.device_put(block)


def scalars(steps, envs):
    """The smallest block: what it holds does not matter, only its shapes."""
    x = jnp.zeros((steps, envs), jnp.float32)
    return Transition(jnp.uint8(x), jnp.int32(x), x, x, jnp.uint8(x), x > 0)


def assert_same(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.fixture
def own_messages(monkeypatch):
    """Switch the suite's type checker off: it would answer before the package's own checks."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


# Ring: what it holds -----------------------------------------------------------------------------------------


SIZES = [  # steps, envs, capacity, batch size
    (1, 1, 1, 1),
    (1, 1, 5, 4),
    (1, 3, 12, 8),
    (4, 1, 20, 16),
    (4, 3, 60, 60),
    (5, 2, 10, 10),  # a block fills it
    (2, 8, 48, 32),
]


def simulate(steps, envs, capacity, batch_size, start):
    """Write random blocks and yield, after each, the ring's state and batches with what a deque holds."""
    memory = qjax.ring(capacity, batch_size)
    rng = np.random.default_rng(capacity)
    rounds = 3 * capacity // (steps * envs) + 2
    # Numbers from 1 in random order: 0 is what an unwritten row would show.
    ids = rng.permutation(np.arange(1, rounds * steps * envs + 1)).reshape(rounds, steps, envs)
    stored, env_of = deque(maxlen=capacity), {}
    state, clock = jax.jit(memory.init)(block_of(ids[0])), clocks.at(start)
    add = jax.jit(memory.add)
    # A map rather than a vmap, which takes XLA two seconds to compile.
    sample = jax.jit(lambda keys, *rest: jax.lax.map(lambda key: memory.sample(key, *rest), keys))
    for number, block in enumerate(ids):
        state, clock = add(state, block_of(block), clock), clocks.plus(clock, steps)
        stored.extend(block.ravel().tolist())
        env_of.update((int(i), env) for row in block for env, i in enumerate(row))
        batches = sample(jax.random.split(jax.random.key(number), 16), state, clock, TIME)
        yield state, batches, set(stored), env_of


@pytest.mark.parametrize(("steps", "envs", "capacity", "batch_size"), SIZES)
def test_ring_holds_and_samples_what_a_deque_holds(steps, envs, capacity, batch_size):
    for state, batches, stored, env_of in simulate(steps, envs, capacity, batch_size, start=0):
        flat = np.asarray(state.unpacked().reward).ravel()
        # While it fills, exactly the stored ones are written, from the first row on.
        assert set(flat[: len(stored)].tolist()) == stored
        assert (flat[len(stored) :] == 0).all()

        ids = np.asarray(batches.data.reward)[:, 0].astype(int)
        assert set(ids.ravel().tolist()) <= stored
        assert_same(batches.data, block_of(ids[:, None]))
        np.testing.assert_array_equal(flat[np.asarray(batches.slot)], ids)
        assert np.asarray(batches.env).ravel().tolist() == [env_of[i] for i in ids.ravel().tolist()]


@pytest.mark.parametrize(("steps", "envs", "capacity", "batch_size"), [(1, 3, 21, 8), (2, 2, 20, 8)])
def test_ring_goes_on_across_the_32_bit_word(steps, envs, capacity, batch_size):
    # Rows that divide no power of two: a cursor from the low word alone would jump there.
    rows = capacity // envs
    start = (2**32 // rows - 1) * rows
    for state, batches, stored, _ in simulate(steps, envs, capacity, batch_size, start):
        if len(stored) == capacity:  # before that, the clock says full and rows are unwritten
            assert set(np.asarray(state.unpacked().reward).ravel().tolist()) == stored
            assert set(np.asarray(batches.data.reward).ravel().tolist()) <= stored


def test_ring_writes_vmapped_lanes_as_it_writes_one():
    memory = qjax.ring(12, 2)
    ids = np.random.default_rng(0).permutation(np.arange(1, 37)).reshape(3, 4, 1, 3)  # [lanes, blocks, T, N]
    lanes = jax.vmap(memory.init)(block_of(ids[:, 0]))
    add = jax.jit(jax.vmap(memory.add, in_axes=(0, 0, None)))
    for tick in range(4):
        lanes = add(lanes, block_of(ids[:, tick]), clocks.at(tick))
    np.testing.assert_array_equal(lanes.unpacked().reward, ids.reshape(3, 4, 3))


def test_ring_learns_nothing_from_priorities():
    memory = qjax.ring(4, 2)
    state = memory.init(scalars(1, 1))
    assert memory.update(state, jnp.array([0, 1]), jnp.ones(2)) is state


# Ring: shapes ------------------------------------------------------------------------------------------------


def test_ring_state_keeps_the_blocks_dtypes():
    block = block_of(np.arange(6).reshape(2, 3))
    state = qjax.ring(24, 4).init(block)
    expected = jax.tree.map(lambda x: ((8, *x.shape[1:]), x.dtype), block)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), state.unpacked()) == expected


def test_ring_init_reads_shapes_alone():
    # The loop has no block yet where it makes the memory.
    block = jax.eval_shape(lambda: block_of(np.arange(6).reshape(2, 3)))
    assert not any(x.any() for x in jax.tree.leaves(qjax.ring(24, 4).init(block)))


def check_batch(batch, rows, streams, block):
    assert isinstance(batch, Batch)
    expected = jax.tree.map(lambda x: ((rows, streams, *x.shape[2:]), x.dtype), block)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), batch.data) == expected
    assert (batch.weight.shape, batch.weight.dtype) == ((rows, streams), jnp.float32)
    for indices in (batch.slot, batch.env):
        assert (indices.shape, indices.dtype) == ((streams,), jnp.int32)


@pytest.mark.parametrize("batch_size", [1, 7, 24])
def test_ring_batches_have_one_row(batch_size):
    memory, block = qjax.ring(24, batch_size), block_of(np.arange(6).reshape(2, 3))
    batch = jax.jit(memory.sample)(jax.random.key(0), memory.init(block), clocks.at(4), TIME)
    check_batch(batch, 1, batch_size, block)
    assert (batch.weight == 1).all()


def test_ring_samples_in_bounds_before_the_first_write():
    # A wrapper that holds rows back sets the clock back, so the first batches may find nothing stored.
    memory = qjax.ring(12, 12)
    state = memory.init(scalars(1, 3))
    sample = jax.jit(lambda clock: memory.sample(jax.random.key(0), state, clock, TIME).slot)
    for clock in (clocks.at(0), clocks.minus(clocks.at(0), 2)):
        slot = sample(clock)
        assert set(slot.tolist()) == {0, 1, 2}


# Ring: uniform sampling --------------------------------------------------------------------------------------


DRAWS, BATCH = 4_000_000, 500_000


def pvalue(counts, expected=None):
    return stats.chisquare(counts, expected).pvalue


def drawn(filled, envs=1):
    """Slots of many draws from a ring of a million, of which `filled` rows are written."""
    memory = qjax.ring(MILLION, BATCH)
    state = memory.init(scalars(1, envs))
    sample = jax.jit(lambda key: memory.sample(key, state, clocks.at(filled), TIME).slot)
    return np.concatenate([sample(key) for key in jax.random.split(jax.random.key(7), DRAWS // BATCH)])


@pytest.fixture(scope="module")
def slots():
    return drawn(filled=3 * MILLION)


def from_float32():
    """The defect to be caught: slots from float32 uniforms, of which there are just 2**23."""
    u = np.asarray(jax.random.uniform(jax.random.key(7), (DRAWS,)))
    return (u * np.float32(MILLION)).astype(np.int32)


def favoured_share(slots):
    """Counts of the slots to which float32 uniforms give eight values, and of those to which they give nine."""
    every = (np.arange(2**23, dtype=np.float32) / np.float32(2**23) * np.float32(MILLION)).astype(np.int32)
    nine = np.bincount(every, minlength=MILLION) > 8
    hits = nine[slots].sum()
    return [slots.size - hits, hits], np.array([(~nine).mean(), nine.mean()]) * slots.size


def test_every_slot_of_a_million_is_drawn_alike(slots):
    counts = np.bincount(slots, minlength=MILLION)
    assert counts.size == MILLION
    assert pvalue(counts) > 1e-3
    # Poisson: with 4 draws per slot a share exp(-4) of them stays out, give or take 5 sigma of 130 slots.
    assert abs((counts == 0).sum() - MILLION * np.exp(-DRAWS / MILLION)) < 650


@pytest.mark.parametrize("cells", [10, 1000])
def test_coarse_bins_are_drawn_alike(slots, cells):
    assert pvalue(np.bincount(slots // (MILLION // cells), minlength=cells)) > 1e-3


@pytest.mark.parametrize("modulus", [2, 4, 5, 8, 16, 32, 1000])
@pytest.mark.parametrize("lowest", [0, 900_000])
def test_low_bits_are_drawn_alike(slots, modulus, lowest):
    # Near the top of the range as well, where few float32 numbers are left. The moduli divide both ranges.
    top = slots[slots >= lowest]
    assert (MILLION - lowest) % modulus == 0
    assert pvalue(np.bincount(top % modulus, minlength=modulus)) > 1e-3


@pytest.mark.parametrize("prime", [3, 7, 11, 13, 101])
def test_residues_are_drawn_alike(slots, prime):
    expected = np.bincount(np.arange(MILLION) % prime) / MILLION * DRAWS
    assert pvalue(np.bincount(slots % prime, minlength=prime), expected) > 1e-3


def test_float32_uniforms_would_be_caught(slots):
    # The fine tests have the power to see slots of eight and of nine float32 values apart.
    assert pvalue(*favoured_share(slots)) > 1e-3
    defect = from_float32()
    assert pvalue(*favoured_share(defect)) < 1e-12
    assert pvalue(np.bincount(defect, minlength=MILLION)) < 1e-12


@pytest.mark.parametrize(("filled", "envs"), [(700_001, 1), (3, 1), (99_991, 4)])
def test_a_ring_that_fills_is_sampled_uniformly_up_to_its_last_row(filled, envs):
    slots = drawn(filled, envs)
    stored = filled * envs
    counts = np.bincount(slots, minlength=stored)
    assert counts.size == stored
    assert pvalue(counts) > 1e-3
    if envs > 1:  # one cell would be no test
        assert pvalue(np.bincount(slots % envs, minlength=envs)) > 1e-3


def test_every_slot_of_a_ring_is_reached():
    memory = qjax.ring(4096, 4096)
    state = memory.init(scalars(1, 1))
    sample = jax.jit(lambda key: memory.sample(key, state, clocks.at(4096), TIME).slot)
    slots = [sample(key) for key in jax.random.split(jax.random.key(0), 32)]
    assert np.unique(slots).size == 4096


def test_samples_follow_their_key():
    memory = qjax.ring(4096, 64)
    state = memory.init(scalars(1, 1))
    sample = jax.jit(lambda key: memory.sample(key, state, clocks.at(4096), TIME).slot)
    first, again, other = (sample(jax.random.key(seed)).tolist() for seed in (0, 0, 1))
    assert first == again != other


# Latest ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("steps", "envs"), [(1, 1), (1, 4), (5, 3)])
def test_latest_returns_the_newest_block_in_order(steps, envs):
    memory = qjax.online()
    blocks = [block_of(np.arange(steps * envs).reshape(steps, envs) + 100 * number) for number in range(3)]
    state = memory.init(blocks[0])
    slots = []
    for number, block in enumerate(blocks):
        state = memory.add(state, block, clocks.at(number * steps))
        batch = memory.sample(jax.random.key(number), state, clocks.at((number + 1) * steps), TIME)
        check_batch(batch, steps, envs, block)
        assert_same(batch.data, block)
        assert (batch.weight == 1).all()
        assert batch.env.tolist() == list(range(envs))
        slots += batch.slot.tolist()
    assert len(set(slots)) == 3 * envs  # what is learned once has a place of its own


def test_latest_leaves_out_what_comes_before_the_first_block():
    memory, block = qjax.online(), block_of(np.arange(1, 7).reshape(2, 3))
    batch = memory.sample(jax.random.key(0), memory.init(block), clocks.at(0), TIME)
    check_batch(batch, 2, 3, block)
    assert not batch.weight.any()


@pytest.mark.parametrize("start", [0, 2])
@pytest.mark.parametrize("back", [0, 1, 2, 3, 4, 5, 9])
def test_latest_leaves_out_rows_from_before_the_start(start, back):
    # A wrapper that holds rows back sets the clock back; its first rows are padding.
    memory, block = qjax.online(), block_of(np.arange(8).reshape(4, 2))
    clock = clocks.minus(clocks.at(start), back)
    state = jax.jit(memory.add)(memory.init(block), block, clock)
    batch = memory.sample(jax.random.key(0), state, clock, TIME)
    expected = [[float(start - back + row >= 0)] * 2 for row in range(4)]
    assert batch.weight.tolist() == expected


def test_latest_state_keeps_its_structure():
    # The loop carries it: a dtype or shape that changed on the first write would not fit.
    memory, block = qjax.online(), block_of(np.arange(8).reshape(4, 2))
    describe = lambda state: jax.tree.map(lambda x: (x.shape, x.dtype), state)
    state = memory.init(block)
    assert describe(memory.add(state, block, clocks.at(0))) == describe(state)
    assert memory.update(state, jnp.array([0, 1]), jnp.ones(2)) is state


# Bad input ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, -1, -64])
def test_sizes_must_be_positive(size):
    with pytest.raises(ValueError, match=f"capacity must be at least 1, got {size}$"):
        qjax.ring(size, 1)
    with pytest.raises(ValueError, match=f"batch_size must be at least 1, got {size}$"):
        qjax.ring(8, size)


@pytest.mark.parametrize("size", [True, 8.0, 2.5, "8", None])
def test_sizes_must_be_whole_numbers(size, own_messages):
    with pytest.raises(TypeError, match=f"capacity must be a whole number, got {size!r}$"):
        qjax.ring(size, 1)
    with pytest.raises(TypeError, match=f"batch_size must be a whole number, got {size!r}$"):
        qjax.ring(8, size)


def test_sizes_may_be_numpy_integers(own_messages):
    memory = qjax.ring(np.int64(8), np.int32(2))
    state = memory.init(scalars(1, 1))
    batch = jax.eval_shape(memory.sample, jax.random.key(0), state, clocks.at(8), TIME)
    assert batch.slot.shape == (2,)


def test_a_traced_size_cannot_be_swept(own_messages):
    with pytest.raises(TypeError, match=r"capacity is static.*cannot be swept"):
        jax.jit(lambda size: qjax.ring(size, 1).init(scalars(1, 1)))(8)
    with pytest.raises(TypeError, match=r"batch_size is static.*cannot be swept"):
        jax.vmap(lambda size: qjax.ring(8, size).init(scalars(1, 1)))(jnp.array([1, 2]))


def test_a_batch_larger_than_the_ring():
    with pytest.raises(ValueError, match="batch_size 9 exceeds capacity 8"):
        qjax.ring(8, 9)


@pytest.mark.parametrize(
    ("capacity", "steps", "envs"), [(10, 2, 3), (10, 1, 3), (10, 4, 1), (4, 8, 1), (12, 8, 1), (12, 4, 2)]
)
def test_a_capacity_that_is_no_multiple_of_a_block(capacity, steps, envs):
    message = f"capacity {capacity} is not .* {steps} steps x {envs} environments = {steps * envs}$"
    with pytest.raises(ValueError, match=message):
        qjax.ring(capacity, 1).init(scalars(steps, envs))


@pytest.mark.parametrize("envs", [1, 2])
def test_a_ring_has_at_most_as_many_rows_as_the_clock_can_divide_by(envs):
    # Shapes only: nothing of this size is made.
    block = jax.eval_shape(lambda: scalars(1, envs))
    most = 2**24
    assert jax.eval_shape(qjax.ring(most * envs, 1).init, block).axes == (most, envs)
    message = f"capacity {(most + 1) * envs} makes {most + 1} rows of {envs}, more than {most}$"
    with pytest.raises(ValueError, match=message):
        qjax.ring((most + 1) * envs, 1).init(block)


@pytest.mark.parametrize("memory", [qjax.ring, lambda *x, **k: qjax.prioritized(*x, 0.5, 0.5, **k)])
def test_slots_are_int32(memory):
    """A slot of 2**30 and the distance to a window's last row may add up to 2**31."""
    for capacity, window in ((2**30 - 64, 3), (2**31 - 64, 1)):
        memory(capacity, 1, window=window)
    for capacity, window, limit in ((2**30, 3, 2**30), (2**31, 1, 2**31), (2**33, 2, 2**30)):
        with pytest.raises(ValueError, match=rf"capacity must be below {limit}.* got {capacity}$"):
            memory(capacity, 1, window=window)
