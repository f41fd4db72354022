"""Memories: where transitions wait until they are learned from.

Rows are counted by the loop's clock, so a memory holds no cursor: the same row is written in every lane, and the
write stays one slice for any number of vmapped lanes.
"""

from collections.abc import Callable
from functools import cache, partial

import jax
import jax.custom_batching
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int, Shaped

from qjax.checks import check_key, check_size
from qjax.clock import MODULUS_LIMIT, capped, missing, modulo
from qjax.packing import pack
from qjax.types import Batch, Memory, Transition


def latest() -> Memory:
    """Return the memory that holds just the newest block: online learning from each transition once.

    Its batch is the block itself, `T` rows of `N` streams, in order.
    """

    def init(block):
        rows = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), block)
        return rows, jnp.zeros(block.reward.shape, jnp.float32)

    def add(state, block, clock):
        rows, envs = block.reward.shape
        # A wrapper that holds rows back sets the clock back: rows from before the start do not count.
        known = jnp.arange(rows) >= missing(clock, rows)
        return block, jnp.broadcast_to(known[:, None], (rows, envs)).astype(jnp.float32)

    def sample(key, state, clock, time):
        block, weight = state
        streams = jnp.arange(weight.shape[1], dtype=jnp.int32)
        return Batch(block, weight, slot=streams, env=streams)

    return Memory(init, add, sample)


def ring(capacity: int, batch_size: int) -> Memory:
    """Return a uniform replay memory: a fixed-size ring of arrays (Lin 1992; Mnih et al. 2015).

    Its state is `Packed` transitions, rows `[capacity // N, N, words]`; `state.unpacked()` shows them. A batch is
    drawn with replacement, uniformly from what is stored, from integer bits: float32 uniforms give each slot of a
    million only eight or nine values. The bias of the remainder is below capacity / 2**32.

    Args:
        capacity: transitions held, a multiple of a block's T x N.
        batch_size: transitions drawn.

    Raises:
        TypeError: a size is traced or no whole number.
        ValueError: a size is not positive, the batch is larger than the capacity, or (in `init`) the capacity is
            no multiple of a block or more than 2**24 rows.

    """
    check_size("capacity", capacity)
    check_size("batch_size", batch_size)
    if batch_size > capacity:
        raise ValueError(f"batch_size {batch_size} exceeds capacity {capacity}")

    def init(block):
        steps, envs = block.reward.shape
        if capacity % (steps * envs):
            raise ValueError(
                f"capacity {capacity} is not a multiple of a block: {steps} steps x {envs} environments"
                f" = {steps * envs}"
            )
        rows = capacity // envs
        if rows > MODULUS_LIMIT:
            raise ValueError(f"capacity {capacity} makes {rows} rows of {envs}, more than {MODULUS_LIMIT}")
        packed = jax.eval_shape(lambda block: pack(block, axes=2), block)
        return packed.map(lambda x: jnp.zeros((rows, *x.shape[1:]), x.dtype))

    def add(store, block, clock):
        row = modulo(clock, store.axes[0])
        new = pack(block, axes=2)
        return store.map(lambda held, rows: write_slice(held, rows, row), new)

    def sample(key, store, clock, time):
        check_key(key)
        rows, envs = store.axes
        # Rows fill from 0 upwards, so what is stored is always the first `filled` of them. At least one: before
        # the first write there is nothing to draw, and a remainder by zero would be out of bounds.
        filled = jnp.maximum(capped(clock, rows), 1) * envs
        bits = jax.random.bits(key, (batch_size,), jnp.uint32)
        slot = lax.rem(bits, filled.astype(jnp.uint32)).astype(jnp.int32)
        data: Transition = store.at(slot[None])
        return Batch(data, jnp.ones((1, batch_size), jnp.float32), slot=slot, env=slot % envs)

    return Memory(init, add, sample)


def write_slice(held: Shaped[Array, "..."], new: Shaped[Array, "..."], row: Int[Array, ""]) -> Shaped[Array, "..."]:
    """Return `held` with rows from `row` on replaced by `new`; one slice, also for vmapped lanes with one `row`.

    JAX's own rule for such a slice under `vmap` makes it a scatter, of which the compiler makes a slice again, but
    one that first reads what it overwrites.
    """
    return _writer(0)(held, new, row)


@cache
def _writer(axis: int) -> Callable[[Array, Array, Array], Array]:
    @jax.custom_batching.custom_vmap
    def write(held, new, row):
        return lax.dynamic_update_slice_in_dim(held, new, row, axis)

    @write.def_vmap
    def of_lanes(size, batched, held, new, row):
        if batched[2]:
            plain = partial(lax.dynamic_update_slice_in_dim, axis=axis)
            return jax.vmap(plain, in_axes=[0 if one else None for one in batched])(held, new, row), True
        held, new = (
            x if one else jnp.broadcast_to(x, (size, *x.shape))
            for x, one in zip((held, new), batched, strict=False)
        )
        return _writer(axis + 1)(held, new, row), True

    return write
