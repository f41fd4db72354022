"""A function cut in two: the random numbers that it draws with keys known early, and the rest of it.

Where a function's keys do not depend on its other arguments, neither do the numbers drawn from them, even deep
inside an environment that splits its key at every step. `cut` finds these draws in the function's jaxpr: one half
draws, the other takes the numbers in the place of the draws. The numbers stay the same, bit for bit. Draws inside
an inner loop (several updates or a rollout in an iteration) stay where they are.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend import core

DRAW = "random_bits"
"""The primitive that turns a key into random words."""


class Cut(NamedTuple):
    """A function of two arguments, cut in two. Both halves raise where a jaxpr is not what they expect."""

    draw: Callable[[Any], list[Any]]
    """`early -> numbers`: the arrays that are drawn, in their order."""
    use: Callable[[Sequence[Any], Any, Any], Any]
    """`(numbers, early, late) -> out`: what the function returns, with these numbers in place of its draws."""


class _Value(NamedTuple):
    """What the evaluation of a jaxpr knows of a variable."""

    value: Any
    """An array, or a tracer of one; None where it is not evaluated."""
    early: bool
    """Whether it depends on early arguments alone."""


def cut(function: Callable[[Any, Any], Any], early: Any, late: Any) -> Cut:
    """Cut a pure function: what it draws with keys that `late` has no part in can be drawn without `late`.

    Args:
        function: `(early, late) -> out`.
        early: a pytree of arrays or their shapes, which its keys are made of.
        late: everything else.

    """
    closed, out = jax.make_jaxpr(function, return_shape=True)(early, late)
    unknown = [_Value(None, False)] * len(jax.tree.leaves(late))

    def draw(early: Any) -> list[Any]:
        numbers: list[Any] = []

        def keep(equation: Any, values: list[Any]) -> list[Any]:
            found = _apply(closed.jaxpr, equation, values)
            numbers.extend(found)
            return found

        _evaluate(closed, [*_early(early), *unknown], keep, complete=False)
        return numbers

    def use(numbers: Sequence[Any], early: Any, late: Any) -> Any:
        left = iter(numbers)

        def put(equation: Any, values: list[Any]) -> list[Any]:
            return _like([next(left) for _ in equation.outvars], [x.aval for x in equation.outvars])

        late_values = [_Value(x, False) for x in jax.tree.leaves(late)]
        found = _evaluate(closed, [*_early(early), *late_values], put, complete=True)
        _like(list(left), [])
        leaves, structure = jax.tree.flatten(out)
        return jax.tree.unflatten(structure, _like([x.value for x in found], leaves))

    return Cut(draw, use)


def _like(arrays: list[Any], shapes: Sequence[Any]) -> list[Any]:
    """Return the arrays, which are to have these shapes: a jaxpr misread gives others, or too many of them."""
    found, wanted = ([(jnp.shape(x), jnp.result_type(x)) for x in each] for each in (arrays, shapes))
    if found != wanted:
        raise AssertionError(f"a jaxpr was misread: {found} in place of {wanted}")
    return arrays


def _early(tree: Any) -> list[_Value]:
    """Return the leaves of the early argument as values."""
    return [_Value(x, True) for x in jax.tree.leaves(tree)]


def _evaluate(closed: Any, arguments: list[_Value], of_draw: Callable[..., Any], complete: bool) -> list[_Value]:
    """Evaluate a jaxpr, early draws by `of_draw(equation, values)`; only early values unless `complete`."""
    known = dict(zip(closed.jaxpr.constvars, (_Value(x, True) for x in closed.consts), strict=True))
    known.update(zip(closed.jaxpr.invars, arguments, strict=True))

    def read(atom: Any) -> _Value:
        return _Value(atom.val, True) if isinstance(atom, core.Literal) else known[atom]

    for equation in _needed(closed.jaxpr):
        values = [read(atom) for atom in equation.invars]
        early = all(x.early for x in values) and not equation.effects
        arguments = [x.value for x in values]
        if early and _draws(equation):
            outs = [_Value(x, True) for x in of_draw(equation, arguments)]
        elif equation.primitive.name == "jit" and _draws(equation):
            outs = _evaluate(equation.params["jaxpr"], values, of_draw, complete)
        elif early or complete:
            outs = [_Value(x, early) for x in _apply(closed.jaxpr, equation, arguments)]
        else:
            outs = [_Value(None, False)] * len(equation.outvars)
        known.update(zip(equation.outvars, outs, strict=True))
    return [read(atom) for atom in closed.jaxpr.outvars]


def _needed(jaxpr: Any) -> list[Any]:
    """Return the equations that the results depend on: what is traced and lowered in vain costs time, too."""
    wanted = {atom for atom in jaxpr.outvars if not isinstance(atom, core.Literal)}
    found = []
    for equation in reversed(jaxpr.eqns):
        if equation.effects or not wanted.isdisjoint(equation.outvars):
            found.append(equation)
            wanted.update(atom for atom in equation.invars if not isinstance(atom, core.Literal))
    return found[::-1]


def _apply(jaxpr: Any, equation: Any, values: list[Any]) -> list[Any]:
    """Evaluate one equation of a jaxpr."""
    variables = {a: x for a, x in zip(equation.invars, values, strict=True) if not isinstance(a, core.Literal)}
    one = jaxpr.replace(
        constvars=[],
        invars=list(variables),
        outvars=equation.outvars,
        eqns=[equation],
        effects=equation.effects,
        debug_info=jaxpr.debug_info.with_unknown_names(),
    )
    return core.jaxpr_as_fun(core.ClosedJaxpr(one, []))(*variables.values())


def _draws(equation: Any) -> bool:
    """Return whether an equation draws: itself, or in a function that it calls."""
    if equation.primitive.name == DRAW:
        return True
    return equation.primitive.name == "jit" and any(_draws(e) for e in equation.params["jaxpr"].jaxpr.eqns)
