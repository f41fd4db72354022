"""Whether a composition works at all."""

import jax
import jax.numpy as jnp
import numpy as np

import qjax
from qjax.core import clock as clocks

LANES = 2
KEY = qjax.fast_key(0)


def works(loop):
    """Check that a composition takes ten finite learning steps, compiles once and can be resumed."""
    ticks = loop.rollout

    def advance(lanes, clock, count):
        def one(lane):
            five = lambda i, lane: loop.run(lane, clocks.plus(clock, 5 * ticks * i), 5)
            return jax.lax.fori_loop(0, count, five, lane)

        return jax.vmap(one)(lanes)

    begun = jax.jit(jax.vmap(loop.init))(jax.random.split(KEY, LANES))
    # One program, which takes no arguments of another shape or dtype, for all that follows.
    program = jax.jit(advance).lower(begun, clocks.at(0), jnp.int32(2)).compile()
    whole = program(begun, clocks.at(0), jnp.int32(2))
    assert jax.tree.structure(whole) == jax.tree.structure(begun)
    kinds = [[(x.shape, x.dtype) for x in jax.tree.leaves(lanes)] for lanes in (whole, begun)]
    assert kinds[0] == kinds[1]
    for x in jax.tree.leaves((whole.agent, whole.stats.sums)):
        assert not jnp.issubdtype(x.dtype, jnp.floating) or np.isfinite(x).all()
    assert (whole.stats.diverged_at == 0).all() and (whole.stats.updates == 10).all()
    before, after = (
        np.concatenate([x.ravel() for x in jax.tree.leaves(getattr(y.agent, "params", y.agent))])
        for y in (begun, whole)
    )
    assert (before != after).mean() > 0.3  # not all: much of an image is empty

    # Stopped after five, put away as a checkpoint does it, and gone on with.
    half = program(begun, clocks.at(0), jnp.int32(1))
    leaves, structure = jax.tree.flatten(half._replace(key=jax.random.key_data(half.key)))
    half = jax.tree.unflatten(structure, [jnp.asarray(np.array(x)) for x in leaves])
    half = half._replace(key=jax.random.wrap_key_data(half.key, impl=jax.random.key_impl(KEY)))
    again = program(half, clocks.at(5 * ticks), jnp.int32(1))
    for x, y in zip(*(jax.tree.leaves(z._replace(key=0)) for z in (whole, again)), strict=True):
        np.testing.assert_array_equal(x, y)
