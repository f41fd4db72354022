"""`help` and `repr` of what is public: arguments and fields with their meaning, and a few lines without arrays."""

import dataclasses
import functools
import inspect
import pydoc
import tempfile
import types

import beartype
import jax
import jax.numpy as jnp
import optax
import pytest

import qjax


def public():
    """Return the public classes by name: those of qjax and of its modules and folders."""
    found = {}
    for name in [name for name in dir(qjax) if name[0] != "_"]:
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
    def taken(policy: qjax.Policy, build: qjax.sweeps.Build) -> None:
        assert callable(policy) and callable(build)

    taken(lambda values, when: values, functools.partial(lambda extra, hyper: hyper, 1))
    with pytest.raises(beartype.roar.BeartypeCallHintParamViolation):
        taken(jnp.zeros(2), lambda hyper: hyper)


def test_a_record_of_functions_says_what_made_it():
    assert repr(qjax.quantile()) == "Head(made by quantile, report=None, unrestricted=None)"
    assert repr(qjax.tabular(4, 2, 0.1)).startswith("Agent(made by tabular and memoryless, ")


@functools.cache
def trained():
    """Return what a small sweep leaves in a reader's hands, by name."""
    env = qjax.make("FrozenLake-v1")
    mdp = qjax.mdp.from_env(env)
    network = qjax.encoded(qjax.MLP(env.num_actions, (50,)), env.encode)
    agent = qjax.dqn(network, optax.adam(1e-3))

    def build(hyper):
        table = qjax.tabular(env.num_states, env.num_actions, hyper["alpha"])
        return qjax.make_loop(env, table, qjax.epsilon_greedy(0.1), qjax.online(), gamma=0.9)

    work = {"hypers": qjax.grid(alpha=[i / 50 for i in range(1, 31)]), "seeds": 2, "steps": 20, "log_points": 20}
    news: list[qjax.sweeps.Progress] = []
    with tempfile.TemporaryDirectory() as folder, qjax.Run(f"{folder}/run", "walk", {"steps": [*range(99)]}) as run:
        result = qjax.sweep(build, run=run, on_progress=news.append, **work)
        loaded = qjax.results.load(f"{folder}/run")
    loop = build({"alpha": 0.1})
    return {
        "Result": result,
        "Run": run,
        "Plan": qjax.sweep.plan(build, **work),
        "Progress": news[-1],
        "Point": result.points[-1],
        "Table": result.table(),
        "Results": loaded,
        "Loop": loop,
        "Lane": loop.init(jax.random.key(0)),
        "Episodes": qjax.evaluate(env, loop.agent, jnp.asarray(result.agents[0]), jax.random.key(0), 500),
        "TabularMDP": mdp,
        "MDPEnvironment": qjax.MDPEnvironment(mdp),
        "Env": env,
        "Agent": agent,
        "DQNState": agent.init(jax.random.key(0), jnp.zeros(1, jnp.int32)),
    }


@pytest.mark.parametrize(
    "name",
    [
        "Result", "Run", "Plan", "Progress", "Point", "Table", "Results", "Loop", "Lane", "Episodes", "TabularMDP",
        "MDPEnvironment", "Env", "Agent", "DQNState",
    ],
)  # fmt: skip
def test_a_repr_is_a_few_lines(name):
    text = repr(trained()[name])
    assert text.startswith(f"{name}(") and len(text.splitlines()) <= 8 and len(text) <= 800
    assert not any(word in text for word in ("array(", "Array(", "[[", " at 0x")), text
