"""What a lane does, as a jaxpr: its text, and which hyper-parameters it reads."""

import re
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend import core
from jax.interpreters import partial_eval

from qjax.core import clock as clocks
from qjax.core.random import root_key
from qjax.sweeps.hyperparameters import Build, check_traced, names, setting


class Program(NamedTuple):
    """A lane's start and first iteration with learning, traced as a function of the hypers' leaves."""

    jaxpr: Any
    """What it does."""
    lane: Any
    """What it returns, as shapes."""


def program(build: Build, hypers: Any) -> Program:
    """Return a lane's start and first iteration with learning.

    Raises:
        TypeError: `build` needs the concrete value of a hyper-parameter, which is then static.

    """
    leaves, structure = jax.tree.flatten(setting(hypers, 0))

    def run(leaves: Sequence[Any], key: Any) -> Any:
        loop = build(jax.tree.unflatten(structure, leaves) if leaves else None)
        lane = loop.init(key)
        return loop.run(lane, clocks.at(0), loop.sync_every, True)

    try:
        return Program(*jax.make_jaxpr(run, return_shape=True)(leaves, root_key(0)))
    except TypeError as error:
        if hypers is not None:
            check_traced(build, hypers, error)
        raise


def text(jaxpr: Any) -> str:
    """Return a program's jaxpr as text, without what differs from process to process, and digests of its arrays."""
    arrays = [np.asarray(x) for x in _constants(jaxpr)]
    digests = [f"constant {x.dtype}{list(x.shape)} {_digest(x):08x}" for x in arrays if x.ndim]
    return "\n".join([re.sub(r" at 0x[0-9a-f]+", "", str(jaxpr)), *digests])


def _digest(array: np.ndarray) -> int:
    entries: Any = np.ascontiguousarray(array).reshape(-1).view(np.uint8)  # not copied, for it may be large
    return zlib.crc32(entries)


def _constants(jaxpr: Any) -> Iterator[Any]:
    """Yield the constants of a closed jaxpr and of those inside it: its text shows only their shapes."""
    yield from getattr(jaxpr, "consts", ())
    for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        yield from (x.val for x in equation.invars if isinstance(x, core.Literal) and not _is_key(x.val))
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=_is_jaxpr):
            if _is_jaxpr(inner):
                yield from _constants(inner)


def _is_jaxpr(value: Any) -> bool:
    return isinstance(value, core.Jaxpr | core.ClosedJaxpr)


def _is_key(value: Any) -> bool:
    return jax.dtypes.issubdtype(getattr(value, "dtype", np.float32), jax.dtypes.prng_key)


def unused(jaxpr: Any, hypers: Any) -> list[str]:
    """Return the names of the hypers that nothing in a program's jaxpr depends on."""
    if hypers is None:
        return []
    _, used = partial_eval.dce_jaxpr(jaxpr.jaxpr, [True] * len(jaxpr.jaxpr.outvars))
    return [name for name, read in zip(names(hypers), used, strict=False) if not read]
