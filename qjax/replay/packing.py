"""Transitions packed into rows of words: one array to write to and gather from, in place of one for each field.

A transition of CartPole has six fields; packed it is one row of 12 words. A random row of a large memory is then
one miss of the cache in place of six, and on a GPU one kernel.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int


class _Field(NamedTuple):
    """Where a leaf stands."""

    shape: tuple[int, ...]
    """Of one transition."""
    dtype: str
    words: str
    """The unsigned dtype of its words, as many bits each as the leaf's entries."""
    first: int


@jax.tree_util.register_pytree_with_keys_class
class Packed:
    """Transitions as rows of words `[*axes, words]`, one array for each size of words; a pytree of these."""

    def __init__(self, rows: dict[str, Any], structure: Any, fields: tuple[_Field, ...]):
        """Keep rows by the name of their dtype, and what they stand for."""
        self.rows, self.structure, self.fields = rows, structure, fields

    def map(self, function: Any, *others: "Packed") -> "Packed":
        """Return the rows with a function applied to each array, and to the same of others."""
        rows = {name: function(x, *(other.rows[name] for other in others)) for name, x in self.rows.items()}
        return Packed(rows, self.structure, self.fields)

    def unpacked(self) -> Any:
        """Return the transitions, leaves `[*axes, ...]`."""
        return jax.tree.unflatten(self.structure, [_leaf(self.rows[f.words], f) for f in self.fields])

    def at(self, slot: Int[Array, "*shape"]) -> Any:
        """Return the transitions at some places of all leading axes together, leaves `[*shape, ...]`."""
        return self.map(lambda x: x.reshape(-1, x.shape[-1])[slot]).unpacked()

    @property
    def axes(self) -> tuple[int, ...]:
        """The leading axes, those of a block."""
        return next(iter(self.rows.values())).shape[:-1]

    def tree_flatten_with_keys(self) -> Any:
        """Return the arrays with their names, and the rest, for JAX."""
        names = sorted(self.rows)
        keyed = [(jax.tree_util.DictKey(name), self.rows[name]) for name in names]
        return keyed, (tuple(names), self.structure, self.fields)

    @classmethod
    def tree_unflatten(cls, rest: Any, arrays: Any) -> "Packed":
        """Return what `tree_flatten_with_keys` took apart."""
        names, structure, fields = rest
        return cls(dict(zip(names, arrays, strict=True)), structure, fields)


def pack(tree: Any, axes: int) -> Packed:
    """Return a pytree of arrays that share so many leading axes, packed.

    Entries keep their bits. A field of one flag is widened to a word of 32 bits, to stand with the others.
    """
    leaves, structure = jax.tree.flatten(tree)
    fields: list[_Field] = []
    parts: dict[str, list[Array]] = {}
    taken: dict[str, int] = {}
    for leaf in leaves:
        shape, count = leaf.shape[axes:], math.prod(leaf.shape[axes:])
        flag = leaf.dtype == bool and count == 1
        words = "uint32" if flag else f"uint{8 * leaf.dtype.itemsize}"
        fields.append(_Field(shape, leaf.dtype.name, words, taken.get(words, 0)))
        taken[words] = taken.get(words, 0) + count
        plain = leaf.astype(words) if leaf.dtype == bool else lax.bitcast_convert_type(leaf, words)
        parts.setdefault(words, []).append(plain.reshape(*leaf.shape[:axes], count))
    rows = {name: jnp.concatenate(found, axis=-1) for name, found in parts.items()}
    return Packed(rows, structure, tuple(fields))


def _leaf(rows: Array, field: _Field) -> Array:
    words = rows[..., field.first : field.first + math.prod(field.shape)].reshape(*rows.shape[:-1], *field.shape)
    return words.astype(bool) if field.dtype == "bool" else lax.bitcast_convert_type(words, field.dtype)
