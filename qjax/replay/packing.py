"""Transitions packed into rows of words: one array to write to and gather from, in place of one for each field.

A transition of CartPole has six fields; packed it is one row of 12 words. A random row of a large memory is then
one miss of the cache in place of six, and on a GPU one kernel. What is smaller than a word shares one: 32 flags,
four bytes. Two frames of MinAtar's Breakout are 25 words.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int, UInt32

WORD = 32
"""Bits of a word."""


class _Field(NamedTuple):
    """Where a leaf stands."""

    shape: tuple[int, ...]
    """Of one transition, in entries."""
    dtype: str
    bits: int
    """Of an entry: 1, 8, 16 or 32; one of 64 is two entries."""
    first: int
    """Entry among those of as many bits."""

    @property
    def entries(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)


@jax.tree_util.register_pytree_with_keys_class
class Packed:
    """Transitions as rows of words `[*axes, words]`; a pytree of one array."""

    def __init__(self, rows: Any, structure: Any, fields: tuple[_Field, ...]):
        """Keep rows, and what they stand for."""
        self.rows, self.structure, self.fields = rows, structure, fields

    def map(self, function: Any, *others: "Packed") -> "Packed":
        """Return the rows with a function applied to them, and to those of others."""
        return Packed(function(self.rows, *(other.rows for other in others)), self.structure, self.fields)

    def unpacked(self) -> Any:
        """Return the transitions, leaves `[*axes, ...]`."""
        counts, first, entries = _counts(self.fields), 0, {}
        for bits, count in counts.items():
            words = _words(bits, count)
            entries[bits] = _spread(self.rows[..., first : first + words], bits, count)
            first += words
        return jax.tree.unflatten(self.structure, [_leaf(entries[f.bits], f) for f in self.fields])

    def at(self, slot: Int[Array, "*shape"]) -> Any:
        """Return the transitions at some places of all leading axes together, leaves `[*shape, ...]`."""
        return self.map(lambda x: x.reshape(-1, x.shape[-1])[slot]).unpacked()

    @property
    def axes(self) -> tuple[int, ...]:
        """The leading axes, those of a block."""
        return self.rows.shape[:-1]

    @property
    def field_bytes(self) -> dict[str, float]:
        """The bytes of one transition by field, an eighth for a flag; what fills the last words up is `padding`."""
        whole = jax.tree.unflatten(self.structure, [f.entries * f.bits / 8 for f in self.fields])
        found: dict[str, float] = {}
        for path, number in jax.tree.leaves_with_path(whole):
            name = jax.tree_util.keystr(path[:1], simple=True)
            found[name] = found.get(name, 0.0) + number
        padding = self.rows.shape[-1] * WORD / 8 - sum(found.values())
        return found | ({"padding": padding} if padding else {})

    def tree_flatten_with_keys(self) -> Any:
        """Return the array with its name, and the rest, for JAX."""
        return [(jax.tree_util.GetAttrKey("rows"), self.rows)], (self.structure, self.fields)

    @classmethod
    def tree_unflatten(cls, rest: Any, arrays: Any) -> "Packed":
        """Return what `tree_flatten_with_keys` took apart."""
        return cls(*arrays, *rest)


def block_axes(block: Any) -> tuple[int, int]:
    """Return the leading axes that all arrays of a block share: rows and environments."""
    rows, envs, *_ = jax.tree.leaves(block)[0].shape
    return rows, envs


def pack(tree: Any, axes: int) -> Packed:
    """Return a pytree of arrays that share so many leading axes, packed; entries keep their bits."""
    leaves, structure = jax.tree.flatten(tree)
    fields: list[_Field] = []
    parts: dict[int, list[Array]] = {}
    for leaf in leaves:
        bits = 1 if leaf.dtype == bool else min(8 * leaf.dtype.itemsize, WORD)
        plain = leaf if bits == 1 else lax.bitcast_convert_type(leaf, f"uint{bits}")
        shape = plain.shape[axes:]
        fields.append(_Field(shape, leaf.dtype.name, bits, sum(f.entries for f in fields if f.bits == bits)))
        parts.setdefault(bits, []).append(plain.reshape(*leaf.shape[:axes], math.prod(shape)))
    words = [_gathered(jnp.concatenate(parts[bits], axis=-1), bits) for bits in _counts(fields)]
    return Packed(jnp.concatenate(words, axis=-1), structure, tuple(fields))


def _counts(fields: Any) -> dict[int, int]:
    """Return the number of entries by their bits, in the order in which they stand in a row."""
    sizes = sorted({f.bits for f in fields}, reverse=True)
    return {bits: sum(f.entries for f in fields if f.bits == bits) for bits in sizes}


def _words(bits: int, count: int) -> int:
    return -(-count * bits // WORD)


def _places(count: int) -> UInt32[Array, " places"]:
    """Return at which bits of a word its flags stand: a single flag at one place alone."""
    return jnp.arange(min(WORD, count), dtype=jnp.uint32)


def _gathered(entries: Array, bits: int) -> UInt32[Array, "*axes words"]:
    """Return entries of so many bits in as few words as hold them."""
    if bits == WORD or not entries.shape[-1]:
        return entries.astype(jnp.uint32)
    *axes, count = entries.shape
    words, places = _words(bits, count), _places(count)
    each = places.size if bits == 1 else WORD // bits
    entries = jnp.pad(entries, [(0, 0)] * len(axes) + [(0, words * each - count)]).reshape(*axes, words, each)
    if bits > 1:
        return lax.bitcast_convert_type(entries, jnp.uint32)
    return (entries.astype(jnp.uint32) << places).sum(-1, dtype=jnp.uint32)


def _spread(words: Array, bits: int, count: int) -> Array:
    """Return the entries that stand in words."""
    if bits == WORD:
        return words
    if bits == 1:
        kept = (words[..., None] >> _places(count) & 1).astype(bool)
    else:
        kept = lax.bitcast_convert_type(words, f"uint{bits}")
    return kept.reshape(*words.shape[:-1], words.shape[-1] * kept.shape[-1])[..., :count]


def _leaf(entries: Array, field: _Field) -> Array:
    part = entries[..., field.first : field.first + field.entries].reshape(*entries.shape[:-1], *field.shape)
    return part if field.bits == 1 else lax.bitcast_convert_type(part, field.dtype)
