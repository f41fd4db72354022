"""Searches: survivors are what they would have been alone, decisions are the tables', and the best is found."""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
import small

import qjax
from qjax import searches
from qjax.searches.decisions import best, merits, normalised
from qjax.searches.prepared import prepare
from qjax.searches.scores import Score
from qjax.sweeps import phases, saving

WITHOUT = ("chunk_seconds", "checkpoint_every", "fresh_seeds", "settings", "tuning_seeds", "default")
SWEEP = {name: value for name, value in small.WORK.items() if name not in WITHOUT}


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch):
    monkeypatch.setattr(saving, "CHECKPOINT_SHARE", 0)
    monkeypatch.setattr(phases, "INNER_ITERATIONS", 50)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A search that nothing disturbed, of one environment, in its folder."""
    folder = tmp_path_factory.mktemp("search") / "whole"
    told = []

    def tell(name, rung):
        told.append((name, rung))
        so_far = json.loads((folder / "search.json").read_text())
        assert so_far["winner"] is None and len(so_far["brackets"][-1]["rungs"]) == len(told)
        assert so_far["env_steps"]["tuning"] == [2700, 4500, 6300][len(told) - 1]

    found = qjax.search(small.build, small.SPACE, folder=folder, on_rung=tell, **small.WORK)
    return folder, found, told


@pytest.fixture(scope="module")
def full(whole):
    """The full grid of the same settings."""
    return qjax.sweep(small.build, seeds=3, hypers=whole[1].brackets[0].hypers, **SWEEP)


def last(values):
    """Return the mean of the last tenth of nine log points, which is the last that has a value."""
    known = ~np.isnan(values)
    at = values.shape[-1] - 1 - known[..., ::-1].argmax(-1)
    return np.where(known.any(-1), np.take_along_axis(values, at[..., None], -1)[..., 0], np.nan)


# ---- halving


def test_survivors_are_bit_for_bit_those_of_the_full_grid(whole, full):
    """Each lane, as far as it goes: agents, rows and what is logged."""
    from qjax.runs.results import load

    with pytest.warns(UserWarning, match="were dropped before their end"):
        table = load(whole[0] / "bracket_0")
    grid = full.table()
    rungs = whole[1].brackets[0].rungs
    agents = qjax.load_agents(whole[0] / "bracket_0")
    for setting in range(9):
        stays = sum(bool(rung.survivors[setting]) for rung in rungs[:-1])
        points = (1, 3, 9)[stays]
        for name in ("mean_return", "loss", "mean_q"):
            one, other = (np.asarray(x[name][setting][:, :points], np.float32) for x in (table, grid))
            assert one.tobytes() == other.tobytes()
            assert points == 9 or np.isnan(table[name][setting][:, points:]).all()
        if stays == 2:
            one, other = (
                jax.tree.leaves(jax.tree.map(lambda x: x.reshape(9, 3, -1), x)) for x in (agents, full.agents)
            )
            assert all((a[setting] == b[setting]).all() for a, b in zip(one, other, strict=True))
    assert [int(rung.survivors.sum()) for rung in rungs] == [3, 1, 1]


def test_decisions_are_those_of_the_full_grids_tables(whole, full):
    returns, alive = full.table()["mean_return"], np.ones(9, bool)
    for rung, points, kept in zip(whole[1].brackets[0].rungs, (1, 3, 9), (3, 1, 1), strict=True):
        assert rung.steps == 100 * points
        merit = np.where(alive, merits(last(returns[..., :points])), -np.inf)
        alive = best(merit, kept, alive)
        assert (rung.survivors == alive).all() and np.allclose(rung.merit, merit)
    assert [(name, rung.steps) for name, rung in whole[2]] == [("bracket_0", x) for x in (100, 300, 900)]


def test_one_rung_is_the_plain_sweep_bit_for_bit(tmp_path, whole, full):
    work = {**small.WORK, "rungs": 1}
    found = qjax.search(small.build, small.SPACE, folder=tmp_path / "run", **work)
    agents = qjax.load_agents(tmp_path / "run" / "bracket_0")
    assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), agents, full.agents))
    one, other = qjax.results.load(tmp_path / "run" / "bracket_0"), full.table()
    assert all(one[n].astype(np.float32).tobytes() == other[n].tobytes() for n in ("mean_return", "loss"))
    steps = found.env_steps
    assert steps["tuning"] == steps["grid"] == 9 * 3 * 900 and steps["fresh"] == 2 * 4 * 900


def test_steps_are_those_that_were_made_and_the_plans(whole):
    steps = whole[1].env_steps
    assert steps == {"tuning": 3 * (9 * 100 + 3 * 200 + 600), "grid": 9 * 3 * 900, "fresh": 2 * 4 * 900}
    assert "6,300 env-steps of tuning, 24,300 for the whole grid" in repr(whole[1])
    assert len(repr(whole[1]).splitlines()) <= 5


def test_the_winner_and_the_default_run_on_fresh_seeds(whole):
    found = whole[1]
    assert found.brackets[0].setting(0) == small.WORK["default"]  # it takes part
    for name, alone in (("winner", found.winner), ("default", found.default)):
        again = qjax.sweep(lambda _, s=alone.setting: small.build(s), seeds=range(3, 7), **SWEEP)
        assert alone.scores[""].tolist() == Score().of(again.table())[0].tolist(), name
    expected = qjax.stats.paired(found.winner.scores[""], found.default.scores[""])
    assert found.comparison[""].improvement == expected.improvement
    number = int(found.brackets[0].rungs[-1].survivors.argmax())
    assert found.winner.setting == found.brackets[0].setting(number)


def test_what_is_written_is_what_is_returned(whole):
    written = json.loads((whole[0] / "search.json").read_text())
    assert written == json.loads(json.dumps(whole[1].plain()))
    assert sorted(path.name for path in whole[0].iterdir() if path.is_dir()) == [
        "bracket_0", "fresh_default", "fresh_winner"
    ]  # fmt: skip


# ---- others


def test_hyperband_runs_its_brackets_and_takes_the_best_of_all(tmp_path):
    found = qjax.search(small.build, small.SPACE, method="hyperband", **small.WORK)
    assert [len(each.hypers["alpha"]) for each in found.brackets] == [9, 5, 3]
    assert [[rung.steps for rung in each.rungs] for each in found.brackets] == [[100, 300, 900], [300, 900], [900]]
    tops = [each.rungs[-1].merit.max() for each in found.brackets]
    winner = found.brackets[int(np.argmax(tops))]
    assert found.winner.setting == winner.setting(int(winner.rungs[-1].merit.argmax()))
    assert found.brackets[-1].setting(0) == small.WORK["default"]
    assert len({each.hypers["alpha"][1] for each in found.brackets}) == 3


def test_a_sampler_is_told_what_earlier_brackets_came_to():
    seen = []

    def sampler(space, number, seed, known):
        seen.append(list(known))
        return searches.random(space, number, seed)

    found = qjax.search(small.build, small.SPACE, method="hyperband", sampler=sampler, **small.WORK)
    first = found.brackets[0]
    assert [len(each) for each in seen] == [0, 1, 2]
    assert seen[1][0].score == first.rungs[-1].merit.max() == seen[2][0].score
    assert seen[1][0].values == first.setting(int(first.rungs[-1].merit.argmax()))


def test_static_settings_are_searched_one_by_one():
    work = {**small.WORK, "default": {**small.WORK["default"], "n": 1}, "settings": 3, "fresh_seeds": 2}
    found = qjax.search(small.build, small.SPACE, static={"n": [1, 3]}, **work)
    assert [each.name for each in found.brackets] == ["n=1/bracket_0", "n=3/bracket_0"]
    assert [each.setting(0) == work["default"] for each in found.brackets] == [True, False]
    tops = [each.rungs[-1].merit.max() for each in found.brackets]
    assert found.winner.setting["n"] == (1, 3)[int(np.argmax(tops))]


def test_environments_in_lockstep_decide_as_their_full_grids_would():
    builds = {"walk": small.build, "lake": small.other}
    found = qjax.search(builds, small.SPACE, **{**small.WORK, "fresh_seeds": 2})
    hypers, alive = found.brackets[0].hypers, np.ones(9, bool)
    tables = {env: qjax.sweep(own, seeds=3, hypers=hypers, **SWEEP).table() for env, own in builds.items()}
    for rung, points, kept in zip(found.brackets[0].rungs, (1, 3, 9), (3, 1, 1), strict=True):
        each = np.stack([merits(last(table["mean_return"][..., :points])) for table in tables.values()], 1)
        merit = np.where(alive, normalised(each, alive), -np.inf)
        alive = best(merit, kept, alive)
        assert (rung.survivors == alive).all() and np.allclose(rung.merit, merit)
    assert set(found.comparison) == set(builds) == set(found.winner.scores)
    assert found.env_steps["tuning"] == 2 * 6300


def test_the_best_step_size_of_a_noisy_bandit_is_found():
    """Its squared error is known: (1-a)^2n + a / (2-a) (1 - (1-a)^2n) after n rewards of mean and variance 1."""
    ends = np.ones((1, 2, 1), bool)
    mdp = qjax.mdp.from_outcomes(np.zeros((1, 2, 1), int), np.ones((1, 2, 1)), np.ones((1, 2, 1)), ends, [1.0])
    env = qjax.make(mdp, max_steps_in_episode=1, reward_noise=1.0)

    def build(hyper):
        agent = qjax.tabular(env.num_states, env.num_actions, hyper["alpha"])
        return qjax.make_loop(env, agent, first, qjax.online(), gamma=0.9)

    def first(q, time=None):
        return jax.numpy.array([1.0, 0.0])

    def error(alpha, n=200):
        left = (1 - alpha) ** (2 * n)
        return left + alpha / (2 - alpha) * (1 - left)

    report = lambda hyper, lane, clock, key: {"error": (jax.tree.leaves(lane.agent)[0].reshape(-1)[0] - 1) ** 2}
    space = {"alpha": searches.log_uniform(1e-3, 1.0)}
    found = qjax.search(
        build, space, steps=200, settings=27, tuning_seeds=64, fresh_seeds=256, rungs=2, log_points=20,
        score="error", lower=True, report=report, default={"alpha": 0.5},
    )  # fmt: skip
    errors = [error(alpha) for alpha in found.brackets[0].hypers["alpha"]]
    assert error(found.winner.setting["alpha"]) < 1.5 * min(errors) < error(0.5) / 3
    fresh = found.winner.scores[""].mean()
    assert abs(fresh - error(found.winner.setting["alpha"])) < 0.3 * fresh
    assert found.comparison[""].improvement.low > 0.5 and found.comparison[""].difference.value > 0


def test_the_winner_is_varied_one_hyper_parameter_after_another(tmp_path):
    work = {**small.WORK, "settings": 3, "rungs": 1, "fresh_seeds": 2, "sensitivity": 3}
    found = qjax.search(small.build, small.SPACE, folder=tmp_path / "run", **work)
    setting = found.winner.setting
    for name, line in found.sensitivity.items():
        assert set(small.SPACE[name].spread(3)) | {setting[name]} == set(line.values.tolist())
        for value, scores in zip(line.values.tolist(), line.scores[""], strict=True):
            hypers = {key: np.array([own]) for key, own in {**setting, name: value}.items()}
            alone = qjax.sweep(small.build, seeds=3, hypers=hypers, **SWEEP)
            assert scores.tolist() == Score().of(alone.table())[0].tolist()
    assert list(found.sensitivity) == ["alpha", "epsilon"]
    assert found.env_steps["sensitivity"] == 3 * 900 * sum(len(line.values) for line in found.sensitivity.values())


# ---- stopped, killed and resumed


class Crash(Exception):
    pass


def test_a_search_that_breaks_anywhere_goes_on_byte_for_byte(tmp_path, whole):
    """At every fifth chunk: between two rungs, before the first, in whatever stage that is."""
    folder, count = tmp_path / "run", 0

    def crashing(progress):
        nonlocal count
        count += 1
        if count % 5 == 0:
            raise Crash

    for _ in range(60):
        try:
            qjax.search(
                small.build, small.SPACE, folder=folder, resume=True, **{**small.WORK, "on_progress": crashing}
            )
        except Crash:
            continue
        break
    else:
        pytest.fail("it did not come to its end")
    same_folders(folder, whole[0])


def same_folders(one, other):
    """Check that two searches left the same, byte for byte, but for when and where they were run."""
    tables = sorted(path.relative_to(other) for path in other.rglob("metrics.csv"))
    assert tables == sorted(path.relative_to(one) for path in one.rglob("metrics.csv")) and len(tables) > 2
    for name in (Path("search.json"), *tables):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    for table in tables:
        a, b = (qjax.load_agents(folder / table.parent) for folder in (one, other))
        assert all(x.tobytes() == y.tobytes() for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def started(folder, kind):
    here = Path(__file__).parent
    paths = os.pathsep.join(map(str, (here, here.parent, here.parents[1])))
    return subprocess.Popen(
        [sys.executable, here / "small.py", folder, kind], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": paths}, text=True,
    )  # fmt: skip


@pytest.mark.parametrize("kills", [3, 20])
@pytest.mark.parametrize("kind", ["one", "two"])
def test_a_search_that_is_killed_at_random_goes_on_byte_for_byte(tmp_path, kind, kills):
    whole = started(tmp_path / "whole", kind)
    began = time.monotonic()
    assert "done" in whole.communicate(timeout=600)[0]
    took, draw, ended = time.monotonic() - began, random.Random(kills), False
    for number in range(kills):
        process = started(tmp_path / "run", kind)
        try:
            process.communicate(timeout=draw.uniform(0.3, 0.9) * took)
            ended = True  # what is left to do gets less: begin anew with what is left of the kills
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        if ended and number < kills - 1:
            same_folders(tmp_path / "run", tmp_path / "whole")
            shutil.rmtree(tmp_path / "run")
            ended = False
    assert "done" in started(tmp_path / "run", kind).communicate(timeout=600)[0]
    same_folders(tmp_path / "run", tmp_path / "whole")


def test_another_search_is_refused_and_replaced_where_that_is_asked_for(tmp_path, whole):
    shutil.copytree(whole[0], tmp_path / "run")
    with pytest.raises(FileExistsError, match="not empty"):
        qjax.search(small.build, small.SPACE, folder=tmp_path / "run", **small.WORK)
    other = {**small.SPACE, "alpha": searches.log_uniform(1e-2, 1.0)}
    with pytest.raises(ValueError, match="was written by another run"):
        qjax.search(small.build, other, folder=tmp_path / "run", resume=True, **small.WORK)
    with pytest.raises(ValueError, match="was written by another run"):  # with more steps the rungs are others
        qjax.search(small.build, small.SPACE, folder=tmp_path / "run", resume=True, **{**small.WORK, "steps": 1800})
    assert not list((tmp_path / "run").rglob("checkpoints"))
    work = {**small.WORK, "settings": 3, "rungs": 1, "default": None, "fresh_seeds": 2}
    qjax.search(small.build, other, folder=tmp_path / "run", overwrite=True, **work)
    assert not (tmp_path / "run" / "fresh_default").exists()
    assert len(json.loads((tmp_path / "run" / "search.json").read_text())["brackets"]) == 1


# ---- statistics


def test_the_score_by_which_it_was_chosen_is_biased_and_the_fresh_one_is_not():
    """Fifty searches of one sweep: each has seeds of its own for tuning, and further ones that it has not seen."""
    space = {"alpha": searches.log_uniform(0.1, 0.4), "epsilon": searches.uniform(0.1, 0.3)}
    tuning, fresh, times, settings = 3, 8, 50, 16
    hypers = searches.sobol(space, settings, 0)
    build = lambda hyper: small.other(hyper, slippery=True)
    result = qjax.sweep(build, hypers=hypers, seeds=times * (tuning + fresh), steps=2000, log_points=10)
    scores = Score().of(result.table())
    own = scores.reshape(settings, times, tuning + fresh)
    truth = scores.mean(1)  # of 550 seeds
    tuned, again = [], []
    for number in range(times):
        chosen = int(best(merits(own[:, number, :tuning]), 1, np.ones(settings, bool)).argmax())
        tuned.append(own[chosen, number, :tuning].mean() - truth[chosen])
        again.append(own[chosen, number, tuning:].mean() - truth[chosen])
    errors = [np.std(each) / np.sqrt(times) for each in (tuned, again)]
    assert np.mean(tuned) > 5 * errors[0] and abs(np.mean(again)) < 3 * errors[1]


# ---- what is wrong


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"space": {}}, "space is empty"),
        ({"space": {**small.SPACE, "beta": 3}}, r"space\['beta'\] must be a"),
        ({"settings": 0}, "settings must be at least 1, got 0"),
        ({"eta": 1}, "eta must be at least 2, got 1"),
        ({"tuning_seeds": 1}, "tuning_seeds must be at least 2, got 1"),
        ({"fresh_seeds": 1}, "fresh_seeds must be at least 2, got 1"),
        ({"steps": 4, "rungs": 3}, "4 steps do not make 3 rungs with eta 3"),
        ({"log_points": 2, "rungs": 3}, "rungs at 100 and 300 steps fall on one log point, at 450"),
        ({"score": "eval_return"}, "no score 'eval_return' is logged: it needs evaluate_every"),
        (
            {"score": "eval_return", "evaluate_every": 4, "rungs": 3},
            r"eval_return has its first value at log point 4 .*first rung, at 100 steps, is at log point 1",
        ),
        ({"score": "mean_retrun"}, "no score 'mean_retrun' is logged; did you mean mean_return"),
        ({"score_kind": "best"}, "no score_kind 'best'"),
        ({"score_kind": "area", "rungs": 3}, "needs 2 log points, and the first rung, at 100 steps, has 1"),
        ({"default": {"alpha": 0.1}}, r"default must have the names \['alpha', 'epsilon'\], got \['alpha'\]"),
        ({"static": {"alpha": [1]}}, "alpha: either in space, or static"),
        ({"static": {"n": []}}, r"static\['n'\] must have at least one value"),
        ({"reference": {"x": (0, 1)}}, r"reference must have \[''\], got \['x'\]"),
        ({"method": "random"}, "no method 'random'"),
        ({"resume": True, "overwrite": True}, "not both"),
    ],
)
def test_what_is_wrong_is_refused_with_its_values(changes, told, tmp_path):
    work = {"space": small.SPACE, **small.WORK, **changes}
    with pytest.raises((ValueError, TypeError), match=told):
        qjax.search(small.build, work.pop("space"), folder=tmp_path / "run", **work)
    assert not (tmp_path / "run").exists()


def test_rungs_that_nobody_asks_for_leave_room_for_the_warm_up_and_have_log_points():
    def planned(log_points=9, warmup=0, rungs=None):
        def build(hyper):
            loop = small.build(hyper)
            policy = qjax.epsilon_greedy(hyper["epsilon"])
            return qjax.make_loop(loop.env, loop.agent, policy, qjax.online(), gamma=0.9, warmup=warmup)

        given = {name: small.WORK[name] for name in ("steps", "settings", "tuning_seeds", "fresh_seeds")}
        return prepare(
            build, small.SPACE, **given, eta=3, rungs=rungs, method="halving", score=Score(), default=None,
            static=None, sampler=searches.sobol, reference=None, sensitivity=0,
            work={"seed": 0, "log_points": log_points},
        ).brackets[0].rungs  # fmt: skip

    assert planned() == (100, 300, 900) == planned(warmup=50)
    assert planned(warmup=60) == (300, 900) == planned(warmup=60, rungs=2)
    assert planned(log_points=3) == (300, 900)
    with pytest.raises(ValueError, match="first rung, at 100 of 900 steps, lies in the warm-up of 100"):
        planned(warmup=100, rungs=3)


def test_a_static_field_in_the_space_is_refused():
    space = {**small.SPACE, "n": searches.integers(1, 3)}
    build = lambda hyper: small.build(hyper, n=hyper["n"])
    with pytest.raises(TypeError, match="'n'"):
        qjax.search(build, space, **{**small.WORK, "default": None})


def test_an_argument_of_no_use_is_refused():
    with pytest.raises(TypeError, match="search has no argument drop; of qjax"):
        qjax.search(small.build, small.SPACE, **small.WORK, drop=print)


def test_a_plan_says_what_it_takes_against_the_grid():
    score = Score()
    given = {name: value for name, value in small.WORK.items() if name not in SWEEP and name in WITHOUT[2:]}
    made = prepare(
        small.build, small.SPACE, steps=900, eta=3, rungs=None, method="hyperband", score=score, static=None,
        sampler=searches.sobol, reference=None, sensitivity=0, work={"seed": 0, "log_points": 9}, **given,
    )  # fmt: skip
    assert made.steps == {
        "tuning": 3 * (2100 + 2100 + 2700),
        "grid": 3 * 17 * 900,
        "fresh": 2 * 4 * 900,
        "sensitivity": 0,
    }
    assert "bracket 1: 5 until 300, 1 until 900 env-steps, 3 seeds each" in str(made)
    assert "20,700 env-steps where the grid of these settings takes 45,900 (2.2 times as many)" in str(made)
