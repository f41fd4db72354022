"""The experiment on replay ratios: its runs, which are those of `qjax train`, and its picture."""

import json

import numpy as np
import pytest

import qjax
from experiments import plasticity
from qjax.cli import train


def test_resets_come_after_as_many_steps_at_every_ratio(tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(train, "run", given.append)
    for ratio in (1, 16):
        folders = plasticity.trained(plasticity.Arguments(seeds=3, out=tmp_path), ratio)
        runs = given[-len(folders) :]
        assert [each.out for each in runs] == list(folders.values()) and len({*folders.values()}) == 3
        for each in runs:
            loop = train.build(train.resolve(each))
            assert loop.updates == ratio and loop.rollout * loop.num_envs == 1
        assert [each.reset_period for each in runs[1:]] == [2_500 * ratio, 500 * ratio]


def test_the_picture_has_the_means_of_seeds():
    found = {"1": {"a": [1.0, 3.0], "b": [3.0, 1.0]}, "16": {"a": [4.0, 4.0], "b": [0.0, 1.0]}}
    (axes,) = plasticity.draw(found).axes
    heights = [np.asarray(line.lines[0].get_ydata()) for line in axes.containers]
    np.testing.assert_allclose(heights, [[2.0, 4.0], [2.0, 0.5]])
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "16"]


def test_what_is_drawn_is_written(monkeypatch, tmp_path):
    monkeypatch.setattr(plasticity, "trained", lambda args, ratio: {"no resets": tmp_path})
    monkeypatch.setattr(plasticity, "greedy_returns", lambda folder: [1.0, 2.0])
    monkeypatch.setattr(plasticity, "command", lambda arguments, out: "qjax train")
    monkeypatch.setattr(qjax, "load_config", lambda folder: {"arguments": {}})
    plasticity.run(plasticity.Arguments(ratios=(1, 2), out=tmp_path))
    kept = json.loads((tmp_path / "plasticity.json").read_text())
    assert list(kept["seeds"]) == ["1", "2"] and len(kept["commands"]) == 2
    assert (tmp_path / "plasticity.png").exists()
    with pytest.raises(ValueError, match="ratios must be at least 1, got 0"):
        plasticity.run(plasticity.Arguments(ratios=(0,), out=tmp_path))
