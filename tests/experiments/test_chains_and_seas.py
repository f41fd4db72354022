"""The experiment on memory: its sizes, what it counts, and its pictures; its runs are those of `qjax train`."""

import json

import numpy as np
import pytest

import qjax
from experiments import memory
from qjax.cli import train
from qjax.runs.points import Point

NOTHING = {name: None for name in Point._fields}


@pytest.mark.parametrize("length", [1, 5, 10, 50])
def test_sequences_are_of_whole_blocks_and_longer_than_an_episode(length):
    assert memory.rows(length) % 10 == 0 and 1.5 <= memory.rows(length) / (length + 2) < 1.5 + 10 / (length + 2)


@pytest.mark.parametrize("part", memory.PARTS)
def test_every_run_can_be_made(part, tmp_path, monkeypatch):
    """Those of each line are one environment, as many steps, and constants that the algorithm takes."""
    given = []
    monkeypatch.setattr(train, "run", given.append)
    folders = memory.trained(memory.Arguments(shorten=2, seeds=3, out=tmp_path), part, 10)
    assert [args.out for args in given] == list(folders.values())
    assert len({*folders.values()}) == len(folders) == (5 if part == "sea" else 4)
    for args in given:
        train.build(train.resolve(args))
    assert len({(args.env, args.env_kwargs, args.wrap, args.steps) for args in given}) == 1


def test_a_seed_has_solved_the_sea_when_most_episodes_end_at_the_treasure(monkeypatch):
    episodes = np.array([[10, 20, 30], [10, 21, 30], [10, 20, 30]])
    returns = np.array([[0.0, 0.6, 0.1], [np.nan, 0.4, 0.99], [0.4, 0.4, 0.4]])
    points = [Point(**{**NOTHING, "episodes": episodes[:, i], "mean_return": returns[:, i]}) for i in range(3)]
    monkeypatch.setattr(qjax, "load_points", lambda folder: points)
    assert memory.episodes_until_solved("somewhere") == [20, 30, None]


def shown(drawn, panel=0):
    """Return the points of each line of a picture."""
    return [np.array(line.lines[0].get_xydata()).tolist() for line in drawn.axes[panel].containers]


def test_the_chains_picture_has_the_shares_of_seeds():
    found = {"5": {"a": [1.0, 1.0, 0.9, 0.1], "b": [0.0] * 4}, "20": {"a": [1.0, 0.0, 0.0, 0.0], "b": [0.0] * 4}}
    assert shown(memory.draw_chain(found, "4 seeds")) == [[[5, 0.75], [20, 0.25]], [[5, 0], [20, 0]]]


def test_the_seas_picture_ends_a_line_where_half_of_the_seeds_fail():
    found = {"8": {"a": [10.0, 20.0, 30.0, 40.0, 50.0, None, None]}, "10": {"a": [10.0, 20.0, *[None] * 5]}}
    found["40"] = {"a": [None, None]}  # of fewer seeds
    drawn = memory.draw_sea(found, "7 seeds")
    np.testing.assert_allclose(shown(drawn), [[[8, 5 / 7], [10, 2 / 7], [40, 0]]])
    assert shown(drawn, panel=1) == [[[8, 40.0]]]


def test_a_title_tells_which_size_has_fewer_seeds():
    assert memory.seeds_of({"8": {"a": [1.0] * 3}, "10": {"a": [0.0] * 3}}) == "3 seeds"
    assert memory.seeds_of({"8": {"a": [1.0] * 3}, "10": {"a": [0.0] * 3}, "40": {"a": [1.0]}}) == (
        "3 seeds (1 of size 40)"
    )


def test_a_part_is_drawn_and_written_after_each_size(monkeypatch, tmp_path):
    kept = []

    def trained(args, part, size):
        kept.append(json.loads((tmp_path / "memory-chain.json").read_text()) if kept else None)
        return {"R2D2": tmp_path, "DQN": tmp_path}

    monkeypatch.setattr(memory, "trained", trained)
    monkeypatch.setattr(memory, "greedy_returns", lambda folder: [1.0, 0.0])
    monkeypatch.setattr(memory, "command", lambda arguments, out: "qjax train")
    monkeypatch.setattr(qjax, "load_config", lambda folder: {"arguments": {}})
    memory.run(memory.Arguments(parts=("chain",), lengths=(5, 10), out=tmp_path))
    assert {"jax", "processor", "cores"} <= set(kept[1].pop("versions"))
    assert kept[1] == {"commands": ["qjax train"] * 2, "seeds": {"5": {"R2D2": [1, 0], "DQN": [1, 0]}}}
    assert {"memory-chain.png", "memory-chain.svg", "memory-chain.json"} == {x.name for x in tmp_path.iterdir()}
    with pytest.raises(ValueError, match="'chains' is none of chain, sea"):
        memory.run(memory.Arguments(parts=("chains",), out=tmp_path))
