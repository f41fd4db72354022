"""A run's tables read back as arrays: whole, interrupted, damaged, as CSV and as Parquet."""

import csv
import dataclasses
import io
import json
import math
import sys
import warnings

import numpy as np
import pandas
import pytest
import victim
from victim import Crash

import qjax
from qjax.runs import results, sinks, tables
from qjax.runs.points import Point
from qjax.sweeps import phases, saving

HYPERS = qjax.grid(alpha=[0.1, 0.5])
SEEDS = [4, 0, 9]
ARGUMENTS = {"gamma": 0.9, "hidden": [16, 16], "alpha": [0.1, 0.5], "preset": None}
WORK = {"seeds": SEEDS, "hypers": HYPERS, "steps": 24, "log_points": 3, "width": 3}


def build(hyper):
    env = qjax.make(victim.probes.Walk())
    agent = qjax.tabular(env.num_states, 2, hyper["alpha"])
    return qjax.make_loop(env, agent, qjax.epsilon_greedy(0.3), qjax.online(), gamma=0.9, num_envs=2)


def sweep(folder, crash_after=None, sinks=(), checkpoint_every=0.0, **options):
    """Sweep with a checkpoint after every chunk; `crash_after` chunks raise from outside."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saving, "CHECKPOINT_SHARE", 0)
        patch.setattr(phases, "INNER_ITERATIONS", 2)
        with qjax.Run(folder, "walk", ARGUMENTS, resume=True, **options) as run:
            return qjax.sweep(
                build,
                run=run,
                on_progress=victim.crashing(crash_after),
                sinks=sinks,
                chunk_seconds=1e-9,
                checkpoint_every=checkpoint_every,
                **WORK,
            )


@pytest.fixture(scope="module")
def crashed(tmp_path_factory):
    """A run with a table of Parquet and sinks that crashed after a log point, and then went on to its end.

    Also what `load` warned of and returned in between, and what a sink heard.
    """
    folder, heard = tmp_path_factory.mktemp("crashed") / "run", []
    hears = sinks.Sink(
        "hears",
        lambda rows: heard.append(("rows", rows)),
        lambda start: heard.append(("start", start)),
        lambda: heard.append(("close", None)),
    )
    with pytest.raises(Crash):
        sweep(folder, crash_after=3, parquet=True, sinks=[sinks.tensorboard(), hears])
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = results.load(folder)
    parts = folder / "metrics.parquet"
    (parts / "000009-00000.parquet").write_bytes(b"later")
    (parts / ".000010-00000.parquet.new").write_bytes(b"half")
    sweep(folder, sinks=[sinks.tensorboard(), hears])
    return folder, [str(warning.message) for warning in said], found, heard


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    return folder, sweep(folder, checkpoint_every=1e9)


def table(lanes_at, steps_at, settings=1, seeds=(3, 7)):
    """Log points of lanes that step at some of them: `lanes_at[i]` lanes have a row at the i-th."""
    lanes = settings * len(seeds)
    env_steps = np.zeros(lanes, np.int64)
    for i, (there, steps) in enumerate(zip(lanes_at, steps_at, strict=True)):
        changed = np.isin(np.arange(lanes), there)
        env_steps = np.where(changed, steps, env_steps)
        yield Point(
            env_steps=env_steps,
            episodes=env_steps // 10,
            mean_return=np.where(changed, np.arange(lanes) + env_steps / 7, np.nan).astype(np.float32),
            means={"loss": np.where(changed, 1 / (i + 3), np.nan).astype(np.float32)},
            values={"epsilon": np.where(changed, 0.5, np.nan).astype(np.float32)},
            changed=changed,
            diverged_at=np.where(env_steps >= 20, np.arange(lanes) * 7 - 1, -1),
            updates=1,
            done=math.nan,
            seconds=i + 1.0,
        )


def written(folder, points, parquet=False, finished=False, seeds=(3, 7), log_points=3, experiment="made"):
    """A run's folder with these log points, written without a sweep."""
    described = {
        "seeds": list(seeds), "lanes": len(seeds), "hypers": {}, "columns": [], "logged": ["epsilon"],
        "log_points": log_points, "steps": 1000,
    }  # fmt: skip
    with qjax.Run(folder, experiment, {"rate": 1e-3}, parquet=parquet) as run:
        run.lifecycle.open(described)
        for point in points:
            run.log(point, {"seed": np.array(seeds)})
        if finished:
            run.finish({})
    return folder


BOTH, STEPS = ([0, 1],) * 3, (10, 20, 30)

# ---- what is there


def test_arrays_equal_the_sweeps_points(whole):
    folder, result = whole
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = results.load(folder)
    assert found.complete and found.notes == () and found.experiment == "walk"
    assert found.seeds.tolist() == SEEDS and found.hypers["alpha"].tolist() == [0.1, 0.5]
    assert list(found.metrics) == ["episodes", "mean_return", "loss", "mean_q"]
    for p, point in enumerate(result.points):
        for lane, (setting, seed) in enumerate(zip(result.settings, result.seeds, strict=True)):
            n = SEEDS.index(seed)
            assert found.env_steps[setting, n, p] == point.env_steps[lane]
            for name, column in (
                ("episodes", point.episodes), ("mean_return", point.mean_return), ("loss", point.means["loss"]),
                ("mean_q", point.means["q"]),
            ):  # fmt: skip
                assert found[name].dtype == column.dtype
                assert found[name][setting, n, p].tobytes() == column[lane].tobytes()
        assert found.seconds[p] == pytest.approx(point.seconds, abs=1e-3)
    assert found.lengths.tolist() == [[3] * 3] * 2 and (found.diverged_at == -1).all()


def test_metrics_are_chosen_by_name(whole):
    folder, _ = whole
    found = results.load(folder, metrics=["loss", "env_steps"])
    assert list(found.metrics) == ["loss"] and found["env_steps"] is found.env_steps
    with pytest.raises(ValueError, match=r"run has no metrics \['los'\]; it has \['env_steps', 'episodes', 'mean"):
        results.load(folder, metrics=["los", "loss"])
    with pytest.raises(ValueError, match=r"no metrics \['mean_q'\]; it has \['env_steps', 'loss'\]"):
        found["mean_q"]


@pytest.mark.parametrize("parquet", [False, True])
def test_a_table_ends_with_the_runs_arguments(tmp_path, parquet):
    given = {
        "loss": "huber, or so",
        "seed": 5,
        "seeds": [3, 7],
        "fast": True,
        "rate": 1e-3,
        "none": None,
    }
    with qjax.Run(tmp_path, "made", given, parquet=parquet, machine={"out": "x"}) as run:
        for point in table(BOTH, STEPS):
            run.log(point, {"seed": np.array([3, 7]), "rate": np.array([0.1, 0.2])})
    read = pandas.read_parquet if parquet else pandas.read_csv
    found = read(tmp_path / ("metrics.parquet" if parquet else "metrics.csv"))
    assert list(found)[-6:] == ["rate", "diverged_at", "loss_argument", "seed_argument", "seeds", "fast"]
    assert set(found["rate"]) == {0.1, 0.2}  # of the lanes, not of the run
    assert [set(found[name]) for name in list(found)[-4:]] == [{"huber, or so"}, {5}, {"[3, 7]"}, {1}]
    assert list(qjax.runs.load_metrics(tmp_path))[-1] == "diverged_at"


def test_a_frame_has_every_hyper_parameter(whole, monkeypatch):
    folder, _ = whole
    frame = results.load(folder).frame()
    assert list(frame) == [
        "setting", "seed", "alpha", "point", "env_steps", "episodes", "mean_return", "loss", "mean_q",
        "gamma", "hidden", "preset",
    ]  # fmt: skip
    assert set(frame["gamma"]) == {0.9} and set(frame["hidden"]) == {"[16, 16]"}
    table = pandas.read_csv(folder / "metrics.csv")
    assert list(table)[-3:] == ["diverged_at", "gamma", "hidden"]  # what has no value has no column
    assert set(table["gamma"]) == {0.9} and set(table["hidden"]) == {"[16, 16]"}
    order = frame.sort_values(["point", "setting"], kind="stable")
    for name in ("setting", "seed", "alpha", "env_steps", "episodes"):
        assert order[name].tolist() == table[name].tolist()
    for name in ("mean_return", "loss", "mean_q"):
        np.testing.assert_array_equal(order[name], table[name].astype(np.float32))
    alike = dataclasses.replace(results.load(folder), arguments={"loss": "huber", "seed": 2, "alpha": [0.1, 0.5]})
    assert list(alike.frame())[-2:] == ["loss_argument", "seed_argument"]
    assert set(alike.frame()["loss_argument"]) == {"huber"}
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"pip install 'qjax-rl\[pandas\]'"):
        results.load(folder).frame()


def test_a_lane_that_ended_before_the_others(tmp_path):
    found = results.load(written(tmp_path / "run", table([[0, 1], [0, 1], [0]], STEPS), finished=True))
    assert found.complete and found.notes == ()
    assert found.lengths.tolist() == [[3, 2]]
    assert found.env_steps.tolist() == [[[10, 20, 30], [10, 20, 20]]]
    assert np.isnan(found["mean_return"][0, 1]).tolist() == [False, False, True]
    assert found.diverged_at.tolist() == [[-1, 6]]
    assert found.frame()[["seed", "point"]].to_numpy().tolist() == [[3, 0], [3, 1], [3, 2], [7, 0], [7, 1]]


# ---- interrupted


def test_an_interrupted_run_says_so(crashed):
    folder, said, found, _ = crashed
    assert said == [f"{folder}: interrupted after 1 of 3 log points"] and not found.complete
    assert found.notes == ("interrupted after 1 of 3 log points",) and found["loss"].shape == (2, 3, 1)


@pytest.mark.parametrize("cut", [1, 9, 27])
def test_a_row_that_a_kill_left_half_written(tmp_path, cut):
    """The last point has one row of two, or that and a torn one."""
    folder = written(tmp_path / "run", table(BOTH, STEPS))
    text = (folder / "metrics.csv").read_text()
    (folder / "metrics.csv").write_text(text[:-cut])
    (folder / "timing.csv").write_text("".join((folder / "timing.csv").read_text().splitlines(True)[:3]))
    with pytest.warns(UserWarning, match="after 3 of 3 log points; the last of them has 1 of 2 lanes"):
        found = results.load(folder)
    assert found.lengths.tolist() == [[3, 2]] and np.isnan(found["loss"]).sum() == 1
    assert found.seconds[:2].tolist() == [1, 2] and np.isnan(found.seconds[2])


def test_killed_between_the_tables_and_on_many_hosts(tmp_path):
    """Times of points whose rows have not been joined yet are passed over."""
    folder = written(tmp_path / "run", table(BOTH, STEPS), log_points=4)
    with (folder / "timing.csv").open("a") as file:
        file.write("4.000,80,1,1\n5.0")
    with pytest.warns(UserWarning, match="after 3 of 4 log points"):
        assert results.load(folder).seconds.tolist() == [1, 2, 3]


def test_a_table_that_lost_points_after_its_run_had_ended(tmp_path):
    folder = written(tmp_path / "run", table(BOTH, STEPS), finished=True)
    lines = (folder / "metrics.csv").read_text().splitlines(True)
    (folder / "metrics.csv").write_text("".join(lines[:4]))
    with pytest.warns(UserWarning, match="the run has ended, but its table holds 2 of 3 log points"):
        assert not results.load(folder).complete


# ---- what cannot be read


def spoilt(name, change):
    def spoil(folder):
        text = (folder / name).read_text()
        assert change(text) != text
        (folder / name).write_text(change(text))

    return spoil


def config(change):
    def altered(text):
        whole = json.loads(text)
        change(whole)
        return json.dumps(whole)

    return spoilt("config.json", altered)


def renamed(folder):
    spoilt("metrics.csv", lambda text: text.replace("mean_return", "return"))(folder)
    config(lambda whole: whole["versions"].update(qjax="0.0.7"))(folder)


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (
            lambda folder: (folder / "config.json").unlink(),
            FileNotFoundError,
            "holds no run: it has no config.json",
        ),
        (lambda folder: (folder / "metrics.csv").unlink(), FileNotFoundError, "holds neither metrics.csv nor"),
        (spoilt("metrics.csv", lambda text: text.splitlines(True)[0]), ValueError, "no log point yet"),
        (spoilt("metrics.csv", lambda text: text[:5]), ValueError, "metrics.csv is damaged: it has no header"),
        (
            spoilt("metrics.csv", lambda text: text.replace("\n7,10,1,", "\n7,10,")),
            ValueError,
            "metrics.csv is damaged: line 3 has 8 cells, the header 9",
        ),
        (
            spoilt("metrics.csv", lambda text: text.replace("\n7,10,1,", "\n7,10,x1,")),
            ValueError,
            "metrics.csv is damaged: line 3 has 'x1' for episodes, no number",
        ),
        (
            spoilt("metrics.csv", lambda text: text.replace("\n7,20", "\n8,20")),
            ValueError,
            "damaged: row 4 has seed 8, none of the sweep's",
        ),
        (spoilt("config.json", lambda text: text[:-9]), ValueError, "config.json is damaged"),
        (
            config(lambda whole: whole.pop("sweep")),
            ValueError,
            "config.json does not tell the sweep's .*: no run has begun there",
        ),
        (
            config(lambda whole: whole.pop("arguments")),
            ValueError,
            "is of another version: its config.json has no 'arguments'",
        ),
        (
            renamed,
            ValueError,
            r"has no columns \['mean_return'\].*was written by qjax 0.0.7, and this is qjax 0.1.0",
        ),
    ],
)
def test_a_folder_that_cannot_be_read(tmp_path, spoil, error, message):
    folder = written(tmp_path / "run", table(BOTH, STEPS), finished=True)
    spoil(folder)
    with pytest.raises(error, match=message):
        results.load(folder)


def test_a_folder_that_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere holds no run: there is no such folder"):
        results.load(tmp_path / "nowhere")


# ---- several runs


def made(tmp_path, name, steps, **options):
    return results.load(written(tmp_path / name, table([[0, 1]] * len(steps), steps), finished=True, **options))


def test_runs_with_other_log_points_are_told_apart(tmp_path):
    one, two = made(tmp_path, "one", (10, 20, 30, 40)), made(tmp_path, "two", (5, 20, 35))
    with pytest.raises(
        ValueError, match=r"two and .*one have different log points: 3 and 4 of them, and number 1 at"
    ):
        results.aligned(one, two)
    steps, (a, b) = results.aligned(one, two, interpolate=True)
    assert steps.tolist() == [20, 35]
    np.testing.assert_array_equal(b["mean_return"], two["mean_return"][..., 1:])
    # By hand: seed 7 is lane 1, and its return 1 + steps / 7.
    np.testing.assert_allclose(a["mean_return"], [[[20 / 7, 5.0], [1 + 20 / 7, 6.0]]], rtol=1e-6)
    np.testing.assert_allclose(a["loss"][0, 0], [1 / 4, (1 / 5 + 1 / 6) / 2], rtol=1e-6)
    assert a.env_steps.tolist() == b.env_steps.tolist() == [[[20, 35]] * 2]
    with pytest.raises(ValueError, match=r"no environment steps in common: .*one': \(10, 40\), .*: \(50, 60\)"):
        results.aligned(one, made(tmp_path, "three", (50, 60)), interpolate=True)
    with pytest.raises(ValueError, match="at least one run"):
        results.aligned()


def test_a_run_that_was_interrupted_is_compared_as_far_as_it_goes(tmp_path):
    long, short = made(tmp_path, "long", (10, 20, 30, 40)), made(tmp_path, "short", (10, 20))
    with pytest.warns(UserWarning, match="only the first 2 of 4 log points are in all runs"):
        steps, (a, b) = results.aligned(long, short)
    assert steps.tolist() == [10, 20]
    np.testing.assert_array_equal(a["mean_return"], b["mean_return"])
    assert a.lengths.tolist() == [[2, 2]] and a.seconds.tolist() == [1, 2]


def test_interpolation_knows_no_values_beyond_a_lanes_own(tmp_path):
    lanes = [[0, 1], [0, 1], [0], [0]]
    ended = results.load(written(tmp_path / "a", table(lanes, (10, 20, 30, 40)), finished=True))
    _, (a, _) = results.aligned(ended, made(tmp_path, "b", (15, 25)), interpolate=True)
    assert np.isnan(a["mean_return"]).tolist() == [[[False, False], [False, True]]]
    assert a.lengths.tolist() == [[2, 1]]


# ---- Parquet


def test_parquet_holds_what_csv_does(tmp_path):
    lanes = ([0, 1], [0, 1], [0])
    csv_, parquet = (written(tmp_path / str(kind), table(lanes, STEPS), parquet=kind) for kind in (False, True))
    assert not (parquet / "metrics.csv").exists() and not (csv_ / "metrics.parquet").exists()
    ours, theirs = qjax.runs.load_metrics(parquet), qjax.runs.load_metrics(csv_)
    assert list(ours) == list(theirs)
    for name, column in ours.items():
        np.testing.assert_array_equal(column.astype(np.float32), theirs[name].astype(np.float32))
    # Readers of Parquet take the folder for one table.
    frame = pandas.read_parquet(parquet / "metrics.parquet")
    assert frame["seed"].dtype == np.int64 and frame["mean_return"].dtype == np.float32
    assert frame["diverged_at"].isna().tolist() == [True, True, True, False, True]
    for a, b in zip(qjax.load_points(parquet), qjax.load_points(csv_), strict=True):
        for x, y in zip(a[:7], b[:7], strict=True):
            assert str(x) == str(y)


def test_processes_write_files_of_their_own(tmp_path):
    """Two hosts, each with one of the seeds, and with the later lane first."""
    points = list(table(BOTH, STEPS))
    folder = written(tmp_path / "run", points, parquet=True)
    for number, point in enumerate(points):
        rows = tables.rows(point, {"seed": np.array([3, 7])})
        for process, lane in enumerate((1, 0)):
            tables.write_part(folder, number, process, {name: column[[lane]] for name, column in rows.items()})
    assert len(tables.files(folder)) == 1 + 6
    found = results.load(folder)
    assert found.env_steps.tolist() == [[list(STEPS)] * 2]
    np.testing.assert_array_equal(found["mean_return"][0, 1], [point.mean_return[1] for point in points])


def test_parquet_needs_an_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pip install 'qjax-rl\[parquet\]'"):
        qjax.Run(tmp_path / "run", "walk", {}, parquet=True)
    assert not (tmp_path / "run").exists()


def test_a_damaged_part_is_named(tmp_path):
    folder = written(tmp_path / "run", table(BOTH, STEPS), parquet=True)
    parts = sorted((folder / "metrics.parquet").iterdir())
    assert [path.name for path in parts] == [f"{i:06d}-00000.parquet" for i in range(3)]
    parts[1].write_bytes(parts[1].read_bytes()[:-7])
    with pytest.raises(ValueError, match=r"000001-00000.parquet is damaged"):
        results.load(folder)
    for path in parts:
        path.unlink()
    with pytest.raises(FileNotFoundError, match=r"metrics.parquet is empty"):
        results.load(folder)


def test_parquet_goes_on_bit_for_bit(whole, crashed):
    """Parts that the checkpoint did not know, and one half written, are gone."""
    folder = crashed[0]
    parts = folder / "metrics.parquet"
    assert not (folder / "metrics.csv").exists()  # a resumed run keeps the kind that it has
    assert sorted(path.name for path in parts.iterdir()) == [f"{i:06d}-00000.parquet" for i in range(3)]
    ours, theirs = qjax.runs.load_metrics(folder), qjax.runs.load_metrics(whole[0])
    for name, column in theirs.items():
        np.testing.assert_array_equal(ours[name].astype(np.float32), column.astype(np.float32))
    first = parts / "000000-00000.parquet"
    content = first.read_bytes()
    first.write_bytes(content[:-1] + b"x")
    with pytest.raises(ValueError, match=r"000000-00000.parquet is not what the run wrote when it ended"):
        qjax.Run(folder, "walk", ARGUMENTS, resume=True)
    first.write_bytes(content)


# ---- sinks, fed by a sweep that crashed and went on


def test_sinks_get_every_point_once(whole, crashed):
    heard, read = crashed[3], qjax.runs.load_metrics(whole[0])
    kinds = [kind for kind, _ in heard]
    # The first sweep had one point; the second begins with that, from the table, and goes on.
    assert kinds == ["start", "rows", "close", "start", "rows", "rows", "rows", "close"]
    (_, start), *rows = heard[3:7]
    assert start.folder == crashed[0] and start.columns["seed"].tolist() == SEEDS * 2
    assert start.columns["alpha"].tolist() == [0.1] * 3 + [0.5] * 3 and start.arguments["gamma"] == 0.9
    for name, column in read.items():
        sent = np.concatenate([table[name] for _, table in rows]).astype(np.float32)
        if name == "diverged_at":
            assert (sent == -1).all() and np.isnan(column).all()
        else:
            np.testing.assert_array_equal(sent, column.astype(np.float32))


def test_tensorboard_has_every_point_once(whole, crashed):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = results.load(whole[0])
    assert len(list((crashed[0] / "tensorboard").iterdir())) == 6
    for setting, seed in np.ndindex(2, 3):
        events = EventAccumulator(str(crashed[0] / "tensorboard" / f"setting{setting}_seed{SEEDS[seed]}"))
        events.Reload()
        for name in ("loss", "mean_return", "episodes"):
            read = events.Scalars(name) if name in events.Tags()["scalars"] else []
            there = ~np.isnan(found[name][setting, seed])
            assert [event.step for event in read] == found.env_steps[setting, seed][there].tolist()
            assert [event.value for event in read] == found[name][setting, seed][there].tolist()
        content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
        assert all(word in content for word in (b"alpha", b"gamma", b"seed"))


def test_hypers_that_are_flags_are_numbers_in_the_table(tmp_path):
    with qjax.Run(tmp_path / "run", "made", {}) as run:
        for point in table([[0, 1]], [10]):
            run.log(point, {"seed": np.array([3, 7]), "double": np.array([True, False])})
    assert qjax.runs.load_metrics(tmp_path / "run")["double"].tolist() == [1, 0]
    rows = list(csv.DictReader(io.StringIO((tmp_path / "run" / "metrics.csv").read_text())))
    assert [row["double"] for row in rows] == ["1", "0"]
