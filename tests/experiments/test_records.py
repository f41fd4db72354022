"""Records of runs and the page that is made of them."""

import dataclasses
import json
import shlex

import numpy as np
import pytest
from PIL import Image

import qjax
from experiments import records, results
from qjax.cli import train
from qjax.cli.arguments import arguments_of, resolve
from qjax.cli.command import describe_interval
from qjax.cli.grid import Several
from qjax.cli.reading import from_config, read
from qjax.core import jsonfile


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "lake"
    train.run(
        arguments_of("q-learning")(
            name="q-learning", env="FrozenLake-v1", env_kwargs=("is_slippery=false",), seeds=3, steps=3000, out=out
        )
    )
    return out


def test_training_returns_are_of_the_last_episodes(folder):
    found = qjax.results.load(folder)
    for least in (1, 100, 10**9):
        for seed in range(3):
            episodes, total = 0.0, 0.0
            reached = [0, *found["episodes"][0, seed]]
            for point in reversed(range(len(reached) - 1)):
                fresh = reached[point + 1] - reached[point]
                if fresh:
                    total += fresh * found["mean_return"][0, seed, point]
                episodes += fresh
                if episodes >= least:
                    break
            got = records.training_returns(found, least)[0, seed, -1]
            assert got == pytest.approx(total / episodes, abs=1e-9), (least, seed)
    nothing = dataclasses.replace(found, metrics={k: np.zeros_like(v) for k, v in found.metrics.items()})
    assert np.isnan(records.training_returns(nothing)).all()


def test_a_seed_is_solved_where_its_last_episodes_reach_the_threshold(folder):
    found = qjax.results.load(folder)
    episodes = np.array([[[50, 100, 150, 250], [10, 20, 30, 40], [200, 300, 400, 500]]])
    returns = np.array([[[9.0, 9, 1, 9], [9, 9, 9, 9], [1, 5, 7, 1]]])  # of the episodes since the last log point
    steps = np.array([[[1, 2, 3, 4]] * 3])
    made = dataclasses.replace(found, env_steps=steps, metrics={"episodes": episodes, "mean_return": returns})
    assert records.solved_after(made, 9.0) == [2, None, None]
    assert records.solved_after(made, 7.0) == [2, None, 3]
    assert records.training_returns(made)[0, 0].tolist() == [9, 9, 5, 9]


def test_the_page_says_when_seeds_are_solved_and_what_an_interquartile_mean_hides():
    assert results.until_solved([300, 100, 200]) == "200"
    assert results.until_solved([1000, None, 2000]) == "2,000 (2 of 3)"
    assert results.until_solved([1000, None, None]) == "1 of 3"
    assert results.until_solved([]) == results.until_solved(None) == ""
    scores = np.full(64, 500.0)
    assert results.solved(scores, 475.0) == "64" and results.solved(scores, None) == ""
    scores[:6] = 0
    assert results.solved(scores, 475.0) == "58"
    scores[:7] = 0
    assert results.solved(scores, 475.0) == "57 (**11% fail**)"
    assert results.solved(np.zeros(64), 475.0) == "0"  # which the interquartile mean shows
    assert describe_interval(np.full(3, np.float32(-1e-3)), 2)[1] == "[0.00, 0.00]"  # no minus in front of nothing


def test_the_page_has_every_record_once(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(results, "RECORDS", tmp_path / "records")
    monkeypatch.setattr(results, "PICTURES", tmp_path / "pictures")
    monkeypatch.setattr(results, "PAGE", tmp_path / "RESULTS.md")
    results.main((folder,), remark="tried nothing else")
    results.main((folder,), remark="tried 0.5")
    results.main(())
    page = (tmp_path / "RESULTS.md").read_text()
    summary = json.loads((folder / "summary.json").read_text())
    assert page.count("| `q-learning` | 3 | 3,000 |") == 1 and "tried nothing" not in page
    found = records.record(folder)
    config = found["arguments"]["config"] | {"steps": 10_000}
    longer = found | {"arguments": found["arguments"] | {"config": config}}
    known = found | {"arguments": found["arguments"] | {"preset": "tutorial-lake"}}
    assert len({records.name_of(each["arguments"]) for each in (found, longer, known)}) == 3
    several = results.page(results.by_task([known, longer, found]))
    lines = ("` | 3 | 3,000 |", "` | 3 | 10,000 |", "`, `tutorial-lake` | 3 | 3,000 |")
    places = [several.index(f"| `q-learning{line}") for line in lines]
    assert places == sorted(places) and places[-1] < several.index("--steps 3000 ")
    assert "`q-learning`: tried 0.5" in page and "## FrozenLake-v1 is_slippery=false" in page
    assert f"{summary['final_return_iqm']:.2f} [" in page
    assert found["diverged"] == 0 and len(found["solved_after"]) == 3
    (picture,) = (tmp_path / "pictures").iterdir()
    assert picture.stat().st_size > 5_000 and f"/{picture.name})" in page
    assert f"--env FrozenLake-v1 --env-kwargs is_slippery=false --seeds 3 --steps 3000 --out {folder}" in page


def test_the_page_says_what_is_the_most_that_a_lake_allows():
    def known(name, **given):
        args = resolve(arguments_of(name)(name=name, seeds=3, out="x", **given))
        return jsonfile.plain(args.recorded)

    # 0.74 is what gymnasium's own registration calls the optimum of the 4x4 lake.
    lake = results.optimum(known("q-learning", env_kwargs=("is_slippery=true",)))
    assert "limit of 100 steps" in lake and lake.strip().endswith("one of 0.744.")
    for other in (known("q-learning", env="CliffWalking-v1"), known("dqn", env="FrozenLake-v1")):
        assert results.optimum(other) == ""


def test_the_page_is_that_of_the_records():
    """So a command on it has no flag that an argument without effect would add."""
    tasks = results.by_task(map(records.read, sorted(records.RECORDS.glob("*.json"))))
    assert results.page(tasks) == results.PAGE.read_text()
    assert {path.name for path in results.PICTURES.iterdir()} == {results.picture_of(task) for task in tasks}
    for task, here in tasks.items():
        with Image.open(results.PICTURES / results.picture_of(task)) as picture:
            assert picture.info["Description"] == results.drawn_from(here), task


def test_a_wrapper_makes_another_environment():
    plain = {"env": "CartPole-v1", "env_kwargs": []}
    assert (records.task_of(plain), records.threshold_of(plain)) == ("CartPole-v1", 475.0)
    scaled = plain | {"wrap": ["reward_scale=0.1"]}
    assert (records.task_of(scaled), records.threshold_of(scaled)) == ("CartPole-v1 reward_scale=0.1", 47.5)
    twice = plain | {"wrap": ["reward_scale=0.1", "reward_scale=2"]}
    assert records.threshold_of(twice) == pytest.approx(95.0)
    assert records.threshold_of(plain | {"wrap": ["reward_scale=0.1", "time_limit=100"]}) is None
    assert records.threshold_of(scaled | {"env": "Breakout-MinAtar"}) is None
    published = {None: True, "cleanrl-pqn": True, "cartpole-pqn": False}
    for preset, is_shown in published.items():
        assert bool(results.published(plain | {"name": "pqn", "preset": preset})) == is_shown
    assert not results.published(scaled | {"name": "pqn", "preset": None})


def test_every_record_has_the_arguments_of_its_algorithm():
    for path in records.RECORDS.glob("*.json"):
        arguments = json.loads(path.read_text())["arguments"]
        assumed, args = arguments.pop("assumed", None), from_config(arguments, path)
        assert train.assumed(args) == assumed and jsonfile.plain(args.recorded) == arguments
        for record in (arguments, arguments["config"]):
            assert record.pop("gamma" if "gamma" in record else "seeds") is not None
            with pytest.raises(ValueError, match=r"(seeds|gamma) of .* is missing"):
                from_config(arguments, path)


def test_every_command_that_is_kept_of_a_part_can_be_given():
    kept = [json.loads(path.read_text()).get("commands", []) for path in records.RECORDS.glob("*/*.json")]
    lines = [line for each in kept for line in each]
    assert len(lines) > 50
    for line in lines:
        assert read(shlex.split(line)[2:]).name == line.split()[2], line


def test_the_command_of_a_preset_runs_the_same(tmp_path):
    args = resolve(
        arguments_of("dqn")(name="dqn", preset="minatar-dqn", steps=1000, num_envs=2, out=tmp_path / "out")
    )
    words = records.command(jsonfile.plain(args.recorded), str(args.out)).split()
    assert words[:2] == ["qjax", "train"] and "--preset" in words and "--gamma" not in words
    assert resolve(read(words[2:])) == args


def test_what_makes_no_record(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        records.record(tmp_path / "nowhere")
    args = resolve(arguments_of("q-learning")(name="q-learning", alpha=Several((0.1, 0.5)), out=tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"arguments": args.recorded}))
    with pytest.raises(FileNotFoundError, match="holds no finished run"):
        records.record(tmp_path)
    (tmp_path / "summary.json").write_text(json.dumps({"settings": []}))
    with pytest.raises(ValueError, match="grid of settings"):
        records.record(tmp_path)
