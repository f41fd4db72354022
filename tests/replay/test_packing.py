"""Packed rows give back what was packed, bit for bit, whatever its fields."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qjax
from qjax.replay.packing import pack

rng = np.random.default_rng(0)


def transition(obs):
    """A block of 3 steps in 2 environments, with every bit pattern that a float may have."""
    bits = lambda *shape: jnp.asarray(rng.integers(0, 2**32, (3, 2, *shape), np.uint32))
    floats = lambda *shape: jax.lax.bitcast_convert_type(bits(*shape), jnp.float32)
    return qjax.Transition(obs, bits().astype(jnp.int32), floats(), floats(), obs, bits() % 2 == 0)


OBSERVATIONS = {
    "box": jnp.asarray(rng.normal(size=(3, 2, 4)), jnp.float32),
    "discrete": jnp.asarray(rng.integers(0, 16, (3, 2)), jnp.int32),
    "image": jnp.asarray(rng.integers(0, 256, (3, 2, 5, 4, 3)), jnp.uint8),
    "flags": jnp.asarray(rng.integers(0, 2, (3, 2, 5, 4)), bool),
    "several": {"a": jnp.asarray(rng.normal(size=(3, 2, 2)), jnp.float16), "b": jnp.zeros((3, 2), jnp.int8)},
    "odd sizes": (
        jnp.asarray(rng.integers(0, 2, (3, 2, 33)), bool),
        jnp.asarray(rng.integers(0, 256, (3, 2, 7)), jnp.uint8),
        jnp.asarray(rng.integers(-(2**15), 2**15, (3, 2, 3)), jnp.int16),
        jnp.asarray(rng.integers(0, 2, (3, 2, 30)), bool),
    ),
    "nothing": jnp.zeros((3, 2, 0), bool),
}


def same(found, expected):
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(x.view(np.uint8), y.view(np.uint8)), found, expected)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), found) == jax.tree.map(lambda x: (x.shape, x.dtype), expected)


def host(tree):
    return jax.tree.map(np.ascontiguousarray, jax.device_get(tree))


@pytest.mark.parametrize("name", OBSERVATIONS)
def test_there_and_back(name):
    block = transition(OBSERVATIONS[name])
    packed = pack(block, axes=2)
    assert packed.axes == (3, 2)
    flat = lambda x: np.ascontiguousarray(np.atleast_1d(x))
    same(jax.tree.map(flat, host(packed.unpacked())), jax.tree.map(flat, host(block)))
    slot = jnp.array([[5, 0, 5]])
    rows = jax.tree.map(lambda x: x.reshape(6, *x.shape[2:])[slot], block)
    same(jax.tree.map(flat, host(packed.at(slot))), jax.tree.map(flat, host(rows)))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("box", 4 + 4 + 4),  # the last one is the flag
        ("image", 3 + 2 * 15 + 1),
        ("flags", 3 + 2),  # 41 flags
        ("several", 3 + 2 + 1 + 1),
        ("odd sizes", 3 + 3 + 4 + 4),  # floats, 6 halves, 14 bytes, 127 flags
    ],
)
def test_a_row_is_one_array_of_few_words(name, words):
    packed = pack(transition(OBSERVATIONS[name]), axes=2)
    assert (packed.rows.shape, packed.rows.dtype) == ((3, 2, words), jnp.uint32)
    assert sum(packed.field_bytes.values()) == 4 * words


def test_bytes_are_told_by_field():
    block = transition({"picture": OBSERVATIONS["flags"], "index": OBSERVATIONS["discrete"]})
    assert pack(block, axes=2).field_bytes == {
        "obs": 6.5, "action": 4, "reward": 4, "discount": 4, "next_obs": 6.5, "last": 0.125, "padding": 2.875
    }  # fmt: skip


def test_it_is_a_pytree():
    packed = pack(transition(OBSERVATIONS["image"]), axes=2)
    leaves, structure = jax.tree.flatten(packed)
    again = jax.tree.unflatten(structure, leaves)
    same(host(again.unpacked()), host(packed.unpacked()))
    other = pack(transition(OBSERVATIONS["image"]), axes=2)
    assert jax.tree.structure(other) == structure and hash(structure) == hash(jax.tree.structure(other))
    assert jax.tree.structure(pack(transition(OBSERVATIONS["box"]), axes=2)) != structure
    names = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path({"memory": packed})]
    assert names == ["['memory'].rows"]
    box = transition(OBSERVATIONS["box"])
    vmapped = jax.vmap(lambda x: pack(x, axes=1))(box)
    np.testing.assert_array_equal(vmapped.rows, pack(box, axes=2).rows)
