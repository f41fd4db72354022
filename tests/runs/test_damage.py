"""Whatever is done to a file of a run: one line that names it, or a note, from every reader; nothing is touched."""

import json
import math
import shutil
import warnings

import jax
import numpy as np
import pytest
from folders import LANES, SWEEP, describe, groups, point, written

import qjax
from experiments import records, results
from qjax.cli import studies, train, watch
from qjax.cli.arguments import arguments_of, resolve
from qjax.cli.reading import read_back
from qjax.core import jsonfile
from qjax.runs import reading
from qjax.runs.ended import has_ended

OPENING = "[" * 100_000
VALUES = (None, "text", -1, 10**30, math.nan, [], {}, [[]], True)
"""In the place of any value; in that of some it is one."""


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """A finished run of an algorithm, as `qjax train` leaves it."""
    folder = tmp_path_factory.mktemp("ended") / "run"
    args = resolve(
        arguments_of("q-learning")(name="q-learning", env_kwargs=("is_slippery=false",), seeds=3, out=folder)
    )
    returns = np.arange(12.0).reshape(1, 3, 4)
    agents = {"agents": np.zeros((3, 16, 4), np.float32)}
    cost = {"compile_s": 1.0, "run_s": 1.0, "env_steps_per_s": 5.0}
    return written(
        folder, returns, scores=returns[..., 0], arguments=args.recorded, machine=args.machine,
        agents=agents["agents"], summary=cost,
    )  # fmt: skip


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run with a checkpoint after its second log point."""
    folder = tmp_path_factory.mktemp("stopped") / "run"
    with qjax.Run(folder, "walk", {"rate": 1}) as run:
        run.lifecycle.open(SWEEP)
        for number in range(2):
            run.log(point(number), {"seed": np.arange(LANES)})
        run.checkpoints.save(groups(2), {}, "program", describe(2))
    return folder


@pytest.fixture(scope="module", params=["summary", "no summary"])
def over(request, tmp_path_factory):
    """A run in which a sweep ended, finished with a summary or left before that."""
    folder = tmp_path_factory.mktemp("over") / "run"
    run = qjax.Run(folder, "walk", {"rate": 1})
    run.lifecycle.open({**SWEEP, "log_points": 3, "steps": 30})
    for number in range(3):
        run.log(point(number), {"seed": np.arange(LANES)})
    whole = {**describe(3), "env_steps": 30 * LANES, "compile_s": 1.0}
    run.save_agents({"q": np.zeros((LANES, 3))})
    run.checkpoints.end(groups(3), {}, "program", whole)
    if request.param == "summary":
        run.finish({"mine": 1.0})
    run.close()
    return folder


def resumed(folder):
    """Open a run as a sweep does that goes on."""
    with qjax.Run(folder, "walk", {"rate": 1}, resume=True) as run:
        found = run.lifecycle.open(SWEEP)
        reading.points(run.folder, found.manifest["points"])
        found.forget()


READERS = {
    "load": qjax.results.load,
    "points": qjax.load_points,
    "metrics": qjax.runs.load_metrics,
    "config": qjax.load_config,
    "agents": qjax.load_agents,
    "plot": studies.load,
    "--config": read_back,
    "record": records.record,
}
SLOW = {"watch": lambda folder: watch.load(folder, 0), "train": train.load}
TABLES = ("load", "points", "plot")
"""Those that read the run's table, and know its sweep."""


def told(read, folder, name):
    """Return what a reader says of a damaged file, an error of one line or its notes, or nothing."""
    before = content(folder)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            found = read(folder)
        except (ValueError, OSError) as error:
            message = str(error)
            assert "\n" not in message and len(message) < len(str(folder)) * 2 + 300, message
            assert name in message or str(folder) in message, message
            return message
        finally:
            assert content(folder) == before
    notes = [*getattr(found, "notes", ()), *(str(warning.message) for warning in said)]
    return "; ".join(notes)


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "lock"}


@pytest.fixture
def spoilt(tmp_path):
    """`(folder, name, text) -> folder`: a copy of a run in which a file holds something else, or is missing."""

    def spoil(folder, name, text):
        copy = tmp_path / "run"
        if not copy.is_dir():
            shutil.copytree(folder, copy)
        for path in folder.rglob(name):
            own = copy / path.relative_to(folder)
            if text is None:
                own.unlink()
            else:
                own.write_bytes(text if isinstance(text, bytes) else text.encode())
        return copy

    return spoil


def places(value, above=()):
    """Yield where the values of a record stand, those inside others too; of a list the first and the last."""
    if isinstance(value, dict):
        keys = list(value)
    else:
        keys = sorted({0, len(value) - 1}) if isinstance(value, list) and value else []
    for key in keys:
        yield (*above, key)
        yield from places(value[key], (*above, key))


def altered(record, place, value=None, drop=False):
    """Return a record's text with another value in a place, or without it."""
    whole = json.loads(json.dumps(record))
    inner = whole
    for key in place[:-1]:
        inner = inner[key]
    if drop:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    return json.dumps(whole)


NO_RECORD = [
    "null",
    "[]",
    '"text"',
    "1",
    "",
    "{",
    OPENING,
    '{"a":' * 5000 + "1" + "}" * 5000,
    b"\xff\xfe{}",
    "\0",
    "9" * 5000,
]


@pytest.mark.parametrize("name", ["config.json", "summary.json"])
@pytest.mark.parametrize("text", NO_RECORD, ids=range(len(NO_RECORD)))
def test_what_is_no_record(ended, spoilt, name, text):
    folder = spoilt(ended, name, text)
    readers = {**READERS, **SLOW} if name == "config.json" else {k: READERS[k] for k in ("load", "plot", "record")}
    for kind in readers.keys() - ({"metrics", "agents"} if name == "config.json" else set()):
        assert f"{name} is damaged: " in told(readers[kind], folder, name), kind


def test_every_key_of_a_config(ended, spoilt):
    """A value that is none is named with its key; no other is taken in silence."""
    config = qjax.load_config(ended)
    for place in places(config):
        if place[0] == "arguments" and len(place) > 1:
            continue
        dropped = altered(config, place, drop=True)
        for text in (dropped, *(altered(config, place, value) for value in VALUES)):
            folder = spoilt(ended, "config.json", text)
            for kind in (*TABLES, "record"):
                said = told(READERS[kind], folder, "config.json")
                assert kind == "points" or "config.json" in said, (place, text)


def test_every_argument_of_a_config(ended, spoilt):
    """One that no flag takes is named by what would train with it; or it is no other than the flag's own."""
    config = qjax.load_config(ended)
    arguments = config["arguments"]
    config["arguments"]["grid"] = {"alpha": [0.1, 0.5]}
    own = [("arguments", name) for name in arguments if name != "config"]
    own += [("arguments", "config", name) for name in arguments["config"]]
    own += [("arguments", "grid", "alpha"), ("arguments", "grid", "alpha", 1)]
    refused = 0
    for place, value in [(place, value) for place in own for value in ([[]], {}, "text", 10**30)]:
        folder = spoilt(ended, "config.json", altered(config, place, value))
        said = told(lambda folder: resolve(read_back(folder)), folder, "config.json")
        refused += f"config.json is damaged: '{'.'.join(place[:3])}' is " in said
    assert refused > 3 * len(own)


def test_keys_that_shape_what_is_read(ended, spoilt):
    """Nothing is made of the size that a config tells: a number of seeds that the table has not is refused."""
    config = qjax.load_config(ended)
    for seeds, lanes in ((10**9, 10**9), (10**9, 3), (3, 3 * 10**9), (1, 1), (6, 6), ([0, 1, 1], 3), ([0, 1], 2)):
        whole = json.loads(json.dumps(config))
        whole["sweep"] |= {"seeds": seeds, "lanes": lanes}
        whole["arguments"]["seeds"] = seeds
        folder = spoilt(ended, "config.json", json.dumps(whole))
        for kind in TABLES:
            assert "note" not in told(READERS[kind], folder, "config.json")
            with pytest.raises(ValueError, match=r"lanes|damaged"):
                READERS[kind](folder)
        if seeds not in (1, 3):
            for read in SLOW.values():
                assert told(read, folder, "config.json")


def test_every_key_of_a_manifest(stopped, spoilt):
    """Whatever is altered, the checkpoint is refused: also by one point, and where another checksum is made."""
    manifest = json.loads(next(stopped.rglob("manifest.json")).read_text())
    assert not jsonfile.broken(manifest)
    texts = [
        *NO_RECORD,
        altered(manifest, ("points",), manifest["points"][:-1]),
        json.dumps({**manifest, "tick": 1}),
    ]
    places_ = [place for place in places(manifest) if place[0] not in ("files", "config")]
    texts += [altered(manifest, place, value) for place in places_ for value in (None, 10**30)]
    texts += [altered(manifest, place, drop=True) for place in places_]
    del manifest["checksum"]
    texts += [json.dumps(manifest)]
    for change in ({"points": manifest["points"][:-1]}, {"tick": 1}, {"leaves": [1]}, {"points": [[1, 1, 1]]}):
        texts += [json.dumps(jsonfile.sealed({**manifest, **change}))]
    for text in texts:
        folder = spoilt(stopped, "manifest.json", text)
        assert "manifest.json" in told(resumed, folder, "manifest.json") or "log points" in told(
            resumed, folder, ""
        ), text
        told(qjax.results.load, folder, "manifest.json")


# ---- tables


def without(lines, row):
    return [*lines[:row], *lines[row + 1 :]]


def cell(lines, row, name, value):
    column = lines[0].strip().split(",").index(name)
    cells = lines[row].strip().split(",")
    return [*lines[:row], ",".join([*cells[:column], value, *cells[column + 1 :]]) + "\n", *lines[row + 1 :]]


def swapped(lines, one, two):
    order = list(range(len(lines)))
    order[one], order[two] = two, one
    return [lines[i] for i in order]


def mutations(lines, lanes):
    """Yield what may be wrong with the lines of a table, and whether that is seen without a checksum."""
    rows = range(1, len(lines))
    for row in rows:
        yield without(lines, row), row < len(lines) - lanes
        yield [*lines[: row + 1], *lines[row:]], True
        if row not in (1, len(lines) // 2, len(lines) - 1):
            continue
        for value in ("inf", "nan", "-1", "1.5", "", "0", "1e30", "x", "\0", '"', "a" * 200_000):
            yield cell(lines, row, "env_steps", value), True
        for value in ("inf", "-1", "1.5", "", "x"):
            yield cell(lines, row, "episodes", value), True
            yield cell(lines, row, "seed", value), True
        yield cell(lines, row, "diverged_at", "1.5"), True
    for row in rows[:-1]:
        yield swapped(lines, row, row + 1), True
    yield lines[1:], True
    yield [lines[0].replace("loss", "episodes"), *lines[1:]], True
    yield [lines[0].replace("mean_return", "return"), *lines[1:]], True
    yield [*lines, lines[0]], True


@pytest.mark.parametrize("run", ["ended", "stopped"])
def test_every_row_of_a_table(request, spoilt, run):
    """A row that is missing, there twice, elsewhere, or with what is no number of steps is told."""
    whole = request.getfixturevalue(run)
    lines = (whole / "metrics.csv").read_text().splitlines(True)
    for number, (text, seen) in enumerate(mutations(lines, {"ended": 3, "stopped": LANES}[run])):
        folder = spoilt(whole, "metrics.csv", "".join(text))
        for kind in TABLES:
            if seen or run == "ended":
                assert told(READERS[kind], folder, "metrics.csv"), (number, kind)
        if seen:
            with pytest.raises(ValueError, match=r"damaged|no columns"):
                qjax.load_points(folder)
        told(qjax.runs.load_metrics, folder, "metrics.csv")
    folder = spoilt(whole, "metrics.csv", "".join(lines).encode() + b"\xff\n")
    assert "metrics.csv is damaged: 'utf-8'" in told(qjax.runs.load_metrics, folder, "metrics.csv")


def test_a_table_of_a_finished_run_is_the_one_that_was_written(ended, spoilt):
    """What no look at the numbers would find."""
    text = (ended / "metrics.csv").read_text()
    folder = spoilt(ended, "metrics.csv", text.replace("11.0", "12.0"))
    with pytest.warns(UserWarning, match=r"metrics.csv is not what the run wrote when it ended"):
        found = qjax.results.load(folder)
    assert found.complete and found["mean_return"][0, 2, 3] == 12
    assert "metrics.csv is not what" in told(studies.load, folder, "")
    with pytest.raises(ValueError, match=r"metrics.csv is not what the run wrote when it ended: no record"):
        records.record(folder)
    folder = spoilt(ended, "metrics.csv", text)
    assert told(qjax.results.load, folder, "") == ""
    summary = json.loads((ended / "summary.json").read_text())
    folder = spoilt(ended, "summary.json", json.dumps({**summary, "final_return_per_seed": [9.0] * 3}))
    assert "summary.json is not what the run wrote" in told(qjax.results.load, folder, "")


LOADERS = {name: READERS[name] for name in ("load", "points", "metrics")}


def entered(folder):
    qjax.Run(folder, "walk", {"rate": 1}, resume=True).close()


@pytest.mark.parametrize(
    ("name", "change"),
    {
        "rows cut": ("metrics.csv", lambda lines: lines[:-1]),
        "a log point cut": ("metrics.csv", lambda lines: lines[:-LANES]),
        "all but one cut": ("metrics.csv", lambda lines: lines[: 1 + LANES]),
        "a value changed": ("metrics.csv", lambda lines: cell(lines, 2, "mean_return", "0.5")),
        "an infinite loss": ("metrics.csv", lambda lines: cell(lines, 2, "loss", "inf")),
        "a log point more": ("metrics.csv", lambda lines: [*lines, "0,40,40,,,,1,-1\n", "1,40,40,,,,1,-1\n"]),
        "times cut": ("timing.csv", lambda lines: lines[:-1]),
        "another argument": (
            "config.json",
            lambda lines: [line.replace('"rate": 1', '"rate": 2') for line in lines],
        ),
        "another version": ("config.json", lambda lines: [line.replace('"jax": "', '"jax": "9') for line in lines]),
    }.values(),
    ids=lambda value: "" if callable(value) else value,
)
def test_an_ended_run_is_what_it_wrote(over, spoilt, name, change):
    """Whether it has a summary or not, and also where that, or what the sweep ended with, vouches for nothing."""
    lines = (over / name).read_text().splitlines(True)
    assert not any(told(read, over, "") for read in LOADERS.values())
    folder = spoilt(over, name, "".join(change(lines)))
    for voucher in (None, "summary.json", "manifest.json"):
        if voucher == "summary.json" and not (over / voucher).is_file():
            continue
        if voucher is not None:
            spoilt(over, voucher, "{}")
        for kind, read in LOADERS.items():
            said = told(read, folder, name)
            known = name if voucher != "manifest.json" or (over / "summary.json").is_file() else voucher
            assert known in said or "damaged" in said, (kind, voucher, said)
        with pytest.raises(ValueError, match=r"is not what the run wrote when it ended|by another run"):
            entered(folder)
        if voucher is not None:
            spoilt(over, voucher, next(over.rglob(voucher)).read_text())


def test_what_vouches_for_an_ended_run_is_told_where_it_is_altered(over, spoilt):
    """A key that is missing is as a key that is wrong: nothing vouches for anything by being left out."""
    assert entered(over) is None and qjax.results.load(over).complete
    for path in [path for name in ("summary.json", "manifest.json") for path in over.rglob(name)]:
        record = json.loads(path.read_text())
        texts = ["{}", json.dumps({**record, "mine": 2.0}), *(altered(record, (key,), drop=True) for key in record)]
        for text in texts + [None] * (path.name == "manifest.json"):
            folder = spoilt(over, path.name, text)
            for kind, read in {**LOADERS, "agents": qjax.load_agents}.items():
                assert f"{path.name} is not what the run wrote when it ended" in told(read, folder, ""), (
                    kind,
                    text,
                )
            with pytest.raises(ValueError, match=rf"{path.name} is not what the run wrote when it ended"):
                entered(folder)
            (folder / path.relative_to(over)).write_text(path.read_text())


def test_a_run_has_ended_where_it_says_so(over, tmp_path):
    """Its config may promise no steps, and its summary may be missing: what the sweep ended with is enough."""
    assert has_ended(over)
    folder = tmp_path / "run"
    shutil.copytree(over, folder)
    (folder / "summary.json").unlink(missing_ok=True)
    assert has_ended(folder) and qjax.results.load(folder).complete
    shutil.rmtree(folder / "ended")
    assert not has_ended(folder)


def test_a_file_more_in_an_ended_table(tmp_path):
    for name, points in (("run", 3), ("longer", 4)):
        with qjax.Run(tmp_path / name, "walk", {}, parquet=True) as run:
            run.lifecycle.open(SWEEP)
            for number in range(points):
                run.log(point(number), {"seed": np.arange(LANES)})
            run.finish({})
    more = "metrics.parquet/000003-00000.parquet"
    assert qjax.results.load(tmp_path / "run").notes == ()
    shutil.copy(tmp_path / "longer" / more, tmp_path / "run" / more)
    for kind, read in LOADERS.items():
        assert f"{more} is not what the run wrote when it ended" in told(read, tmp_path / "run", ""), kind


def test_every_column_of_the_times(ended, spoilt):
    lines = (ended / "timing.csv").read_text().splitlines(True)
    for value in ("x", "inf", "-1", "", "a" * 200_000):
        folder = spoilt(ended, "timing.csv", "".join(cell(lines, 2, "seconds", value)))
        assert "timing.csv is damaged: " in told(qjax.load_points, folder, "timing.csv")
    folder = spoilt(ended, "timing.csv", "".join(lines).replace("seconds", "minutes"))
    assert "timing.csv is damaged: it has no column 'seconds'" in told(qjax.load_points, folder, "timing.csv")


def test_parts_of_a_table(tmp_path, spoilt):
    import pyarrow.parquet as pq

    folder = tmp_path / "whole"
    with qjax.Run(folder, "walk", {}, parquet=True) as run:
        run.lifecycle.open(SWEEP)
        for number in range(3):
            run.log(point(number), {"seed": np.arange(LANES)})
    second, third = (folder / "metrics.parquet" / f"{i:06d}-00000.parquet" for i in (1, 2))
    table = pq.read_table(second)

    def refused(message):
        for read in (qjax.load_points, qjax.runs.load_metrics, qjax.results.load):
            assert message in told(read, folder, "metrics.parquet")

    shutil.copy(second, second.with_name("000001-00001.parquet"))
    refused("damaged: at row 5 a row of its lane is missing, there twice")
    second.with_name("000001-00001.parquet").unlink()
    for name in ("999999999999-00000.parquet", "000003.parquet", "0x.parquet"):
        shutil.copy(third, third.with_name(name))
        refused("log point 3 has no file" if name[1] == "9" else f"{name} is none of the table's files")
        third.with_name(name).unlink()
    for column in (["a", "b"], [[1], [2]], [1.5, 2.5], [None, 1]):
        pq.write_table(table.set_column(1, "env_steps", [column]), second)
        refused("damaged: ")
    pq.write_table(table.add_column(0, "loss", table["loss"]), second)
    refused("000001-00000.parquet")
    second.write_bytes(b"PAR1" + bytes(100))
    refused("000001-00000.parquet is damaged: ")
    second.unlink()
    refused("metrics.parquet is damaged: log point 1 has no file")


# ---- agents


def test_agents(ended, spoilt):
    like = jax.ShapeDtypeStruct((3, 16, 4), np.float32)
    assert qjax.load_agents(ended, like).shape == (3, 16, 4)
    for path in sorted(path for path in (ended / "agents").rglob("*") if path.is_file() and path.stat().st_size):
        for data in (path.read_bytes()[:-1] + b"\xff\xff", None):
            folder = spoilt(ended, path.name, data)
            for read in (qjax.load_agents, train.load):
                assert "agents" in told(read, folder, "agents")
            shutil.rmtree(folder)
    folder = spoilt(ended, "summary.json", json.dumps({"final_return_per_seed": [1.0] * 3}))  # of an older version
    for path in sorted(path for path in (folder / "agents").rglob("*") if path.is_file() and path.stat().st_size):
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
        told(qjax.load_agents, folder, "agents")
        path.write_bytes(data)
    for other in (jax.ShapeDtypeStruct((4, 16, 4), np.float32), {"q": like}, (like, like)):
        with pytest.raises(ValueError, match=r"agents (is damaged, or )?holds other agents"):
            qjax.load_agents(ended, other)


# ---- command lines


@pytest.mark.parametrize("text", ["null", OPENING, '{"sweep": {"seeds": "x"}}', '{"experiment": []}'], ids=range(4))
def test_command_lines_say_so_in_one_line(ended, spoilt, text, capsys, monkeypatch):
    from qjax.cli import plot

    folder = spoilt(ended, "config.json", text)
    commands = (
        (plot.main, [folder]),
        (watch.main, [folder]),
        (train.main, ["--config", folder, "--out", folder / "out"]),
        (train.main, ["q-learning", "--resume", "--out", folder]),
        (lambda: results.script(results.main, "results"), [folder]),
    )
    for command, words in commands:
        monkeypatch.setattr("sys.argv", ["x", *map(str, words)])
        with pytest.raises(SystemExit) as ended_with:
            command()
        said = capsys.readouterr().err
        assert ended_with.value.code == 2 and said.count("\n") == 1 and said.startswith("error: "), said
        assert "config.json" in said
