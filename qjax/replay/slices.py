"""Slices written in place, that stay slices when lanes are vmapped."""

from collections.abc import Callable
from functools import cache, partial

import jax
import jax.custom_batching
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int, Shaped


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
