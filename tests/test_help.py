"""`help()` of what is public: callable types and records tell what their arguments and fields mean."""

import dataclasses
import functools
import inspect
import pydoc
import types

import beartype
import jax.numpy as jnp
import pytest

import qjax


def public():
    """Return the public classes by name: those of qjax and of its public modules."""
    found = {}
    for name in qjax.__all__:
        value = getattr(qjax, name)
        inner = getattr(value, "__all__", None) or [n for n in dir(value) if n[0] != "_"]
        named = {f"{name}.{n}": getattr(value, n) for n in inner} if isinstance(value, types.ModuleType) else {}
        found |= {n: x for n, x in {name: value, **named}.items() if isinstance(x, type)}
    return {name: each for name, each in found.items() if each.__module__.startswith("qjax.")}


PUBLIC = public()
CALLABLE = sorted(name for name, each in PUBLIC.items() if getattr(each, "_is_protocol", False))
RECORDS = sorted(
    name for name, each in PUBLIC.items() if hasattr(each, "_fields") or dataclasses.is_dataclass(each)
)


@pytest.mark.parametrize("name", CALLABLE)
def test_a_callable_type_tells_of_its_arguments(name):
    call = PUBLIC[name].__call__
    shown = pydoc.render_doc(PUBLIC[name], renderer=pydoc.plaintext)
    for argument, each in list(inspect.signature(call).parameters.items())[1:]:
        assert f"{argument}: " in inspect.getdoc(call) and inspect.getdoc(call).splitlines()[0] in shown
        assert each.kind is not each.POSITIONAL_OR_KEYWORD or argument == "axis"


@pytest.mark.parametrize("name", RECORDS)
def test_every_field_of_a_record_has_a_text(name):
    kind = PUBLIC[name]
    if hasattr(kind, "_fields"):
        texts = {field: getattr(kind, field).__doc__ for field in kind._fields}
        assert [field for field, text in texts.items() if not text or "Alias for field" in text] == []
    else:
        listed = inspect.getdoc(kind).partition("Attributes:")[2]
        fields = {field.name for field in dataclasses.fields(kind)} - {"parent", "name"}  # flax's own
        assert [field for field in fields if f"\n    {field}: " not in listed] == []


def test_a_lambda_and_a_partial_are_callable_types():
    """For the run-time type checker, too, which looks at nothing but that they can be called."""

    @beartype.beartype
    def taken(policy: qjax.Policy, build: qjax.Build) -> None:
        assert callable(policy) and callable(build)

    taken(lambda values, when: values, functools.partial(lambda extra, hyper: hyper, 1))
    with pytest.raises(beartype.roar.BeartypeCallHintParamViolation):
        taken(jnp.zeros(2), lambda hyper: hyper)
