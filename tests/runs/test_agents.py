"""Agents come back as the records that they were, with no code run that their file names."""

import json
import sys
import types
import warnings
from typing import Any, NamedTuple

import flax.struct
import jax
import numpy as np
import pytest

import qjax
from qjax import algorithms
from qjax.core.structure import Unknown, described, rebuilt


class State(NamedTuple):
    table: Any
    rest: Any


@flax.struct.dataclass
class Carry:
    values: Any
    kind: str = flax.struct.field(pytree_node=False, default="a")


def shapes(tree):
    return [(x.shape, np.dtype(x.dtype)) for x in jax.tree.leaves(tree)]


@pytest.mark.parametrize("name", algorithms.ALGORITHMS)
def test_every_algorithm(name):
    env = qjax.make("FrozenLake-v1" if name in algorithms.TABULAR else "CartPole-v1")
    loop = algorithms.make(name, env, algorithms.config(name, steps=100_000))
    agent = jax.eval_shape(loop.init, jax.random.key(0)).agent
    again = rebuilt(json.loads(json.dumps(described(agent))))
    assert type(again) is type(agent) and jax.tree.structure(again) == jax.tree.structure(agent)
    assert shapes(again) == shapes(agent)


AGENTS = (
    np.ones((2, 3), np.float32),
    {"a": State(np.ones(2), [np.zeros((2, 0)), (np.arange(2), None)]), "b": {}},
    State(Carry(np.ones(2), "b"), np.ones(2, np.int8)),
)


@pytest.mark.parametrize("agents", AGENTS, ids=range(len(AGENTS)))
def test_one_call_and_they_are_back(agents, tmp_path):
    qjax.Run(tmp_path / "run", "walk", {}).save_agents(agents)
    with warnings.catch_warnings(action="error"):
        found = qjax.load_agents(tmp_path / "run")
    assert jax.tree.structure(found) == jax.tree.structure(agents) and shapes(found) == shapes(agents)
    jax.tree.map(np.testing.assert_array_equal, found, agents)


@pytest.fixture
def saved(tmp_path):
    """A run whose agent is a record of one's own module, and that module's file, which must not run."""
    mine = types.ModuleType("mine_alone")
    mine.State = NamedTuple("State", [("table", Any)])
    mine.State.__module__ = mine.State.__qualname__ and "mine_alone"
    (tmp_path / "mine_alone.py").write_text("raise SystemExit('it was run')")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        patch.setitem(sys.modules, "mine_alone", mine)
        qjax.Run(tmp_path / "run", "walk", {}).save_agents(mine.State(np.ones(2)))
        yield tmp_path / "run", mine


def test_a_record_of_ones_own_is_not_imported(saved, monkeypatch):
    folder, mine = saved
    assert type(qjax.load_agents(folder)) is mine.State
    monkeypatch.delitem(sys.modules, "mine_alone")
    with pytest.warns(UserWarning, match="run: records come back as dicts, for mine_alone is not imported"):
        assert qjax.load_agents(folder)["table"].tolist() == [1, 1]
    assert type(qjax.load_agents(folder, mine.State(np.ones(2)))) is mine.State


def test_a_record_that_has_changed(saved):
    folder, mine = saved
    for other, said in (
        (NamedTuple("State", [("tables", Any)]), r"mine_alone:State has the fields \['tables'\], not \['table'\]"),
        (dict, r"mine_alone:State is no record"),
        (print, r"mine_alone:State is no record"),
    ):
        mine.State = other
        with pytest.warns(UserWarning, match=said):
            assert list(qjax.load_agents(folder)) == ["table"]
    del mine.State
    with pytest.warns(UserWarning, match="mine_alone has no State"):
        qjax.load_agents(folder)


def test_what_has_no_name(tmp_path):
    class Local(NamedTuple):
        table: Any

    deep = np.ones(2)
    for _ in range(60):
        deep = [deep]
    for agents, said in ((Local(np.ones(2)), "<locals>"), (deep, "more than 48 records within records")):
        with pytest.raises(Unknown, match=said):
            described(agents)
    qjax.Run(tmp_path / "run", "walk", {}).save_agents(Local(np.ones(2)))
    with pytest.warns(UserWarning, match="records come back as dicts, for .*<locals>"):
        assert qjax.load_agents(tmp_path / "run")["table"].tolist() == [1, 1]


@pytest.mark.parametrize(
    "node",
    [
        3, "x", [], {}, {"array": 3, "dtype": "float32"}, {"array": [2], "dtype": "x"},
        {"array": [-1], "dtype": "i4"},
        {"array": [2]}, {"dict": []}, {"list": {}}, {"tuple": None}, {"record": "optax:EmptyState"}, {"value": []},
        {"record": 3, "fields": {}}, {"record": "x", "fields": []}, {"strange": 1}, {"list": [{"dict": 3}]},
    ],
    ids=str,
)  # fmt: skip
def test_a_damaged_structure(saved, node):
    folder, _ = saved
    (folder / "agents" / "structure.json").write_text(json.dumps({"agents": node}))
    with pytest.raises(ValueError, match=r"structure.json is damaged: .* is no (structure|dtype)"):
        qjax.load_agents(folder)


@pytest.mark.parametrize("name", ["os:system", "os.path:join", "qjax", ":", "json:decoder.JSONDecoder", "../x:y"])
def test_names_that_are_no_record(saved, name):
    folder, _ = saved
    (folder / "agents" / "structure.json").write_text(json.dumps({"agents": {"record": name, "fields": {}}}))
    with pytest.warns(UserWarning, match="records come back as dicts"):
        qjax.load_agents(folder)
