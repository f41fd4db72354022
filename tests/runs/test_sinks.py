"""Sinks that fail, are slow, or have nowhere to write; and Weights & Biases offline."""

import struct
import sys

import numpy as np
import pytest

import qjax
from qjax.runs import sinks

START = sinks.Start(
    None, {"seed": np.array([3, 7]), "setting": np.array([0, 0]), "rate": np.ones(2)}, {"gamma": 0.9}
)


def rows(step, loss=0.5):
    return {
        "seed": np.array([3, 7]), "setting": np.array([0, 0]), "env_steps": np.array([step, step]),
        "loss": np.array([loss, np.nan], np.float32), "diverged_at": np.array([-1, 8]),
    }  # fmt: skip


def test_a_sink_that_fails_is_told_of_once_and_left_out(capsys):
    heard = []

    def fails(table):
        heard.append(("fails", table["env_steps"][0]))
        raise OSError("disk full")

    def cannot_start(start):
        raise RuntimeError("no network")

    closed = []
    feed = sinks.Feed(
        [
            sinks.Sink("broken", fails, close=lambda: closed.append("broken")),
            sinks.Sink("lost", lambda table: heard.append("never"), cannot_start),
            sinks.Sink("good", lambda table: heard.append(("good", table["env_steps"][0]))),
        ],
        START,
    )
    feed.write(rows(10), 1.0)
    feed.write(rows(20), 2.0)
    feed.close()
    assert heard == [("fails", 10), ("good", 10), ("good", 20)] and closed == ["broken"]
    said = capsys.readouterr().err
    assert said.count("warning") == 2
    assert (
        "the sink broken failed and gets no more of this run: OSError: disk full; tables and training go on" in said
    )
    assert "the sink lost failed and gets no more of this run: RuntimeError: no network" in said


def test_slow_sinks_are_told_of_once(monkeypatch, capsys):
    now = iter(range(0, 1000, 4))
    monkeypatch.setattr(sinks.time, "perf_counter", lambda: next(now))  # every write takes four seconds
    feed = sinks.Feed([sinks.Sink("slow", lambda table: None)], START)
    for i in range(2):
        feed.write(rows(i), run_s=1.0)
    assert capsys.readouterr().err == ""
    for i in range(2):
        feed.write(rows(i), run_s=119.0)
    assert "the sinks ['slow'] took 12 s beside a run of 119 s" in capsys.readouterr().err
    feed.write(rows(9), run_s=119.0)
    assert capsys.readouterr().err == ""


def test_a_sink_without_a_folder_needs_a_run(tmp_path):
    with pytest.raises(ValueError, match=r"sinks \['tensorboard'\] write into a run's folder: give a run"):
        qjax.sweep(lambda _: None, seeds=1, steps=1, sinks=[sinks.tensorboard()])
    sinks.check_sinks([sinks.tensorboard(tmp_path)], has_run=False)
    with pytest.raises(ValueError, match="mode must be 'offline' or 'online', got 'of'"):
        sinks.wandb(mode="of")


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_sink_needs_its_extra(monkeypatch, name):
    for module in [module for module in sys.modules if module.split(".")[0] == name]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf"pip install 'qjax-rl\[{name}\]'"):
        getattr(sinks, name)()


def test_tensorboard_begins_clean(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for _ in range(2):
        feed = sinks.Feed([sinks.tensorboard(tmp_path)], START)
        feed.write(rows(10))
        feed.write(rows(20, np.inf))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["setting0_seed3", "setting0_seed7"]
    events = EventAccumulator(str(tmp_path / "setting0_seed3"))
    events.Reload()
    assert events.Tags()["scalars"] == ["loss"]  # what is empty is left out
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(10, 0.5), (20, np.inf)]
    events = EventAccumulator(str(tmp_path / "setting0_seed7"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("diverged_at")] == [(10, 8), (20, 8)]


def leveldb(content, block=2**15):
    """Yield the records of a LevelDB log: blocks of pieces with checksum, length, and kind (1 whole, 4 last)."""
    place, record = 7, b""  # behind W&B's own header
    while place < len(content):
        if block - place % block < 7:
            place += block - place % block
            continue
        length, kind = struct.unpack("<HB", content[place + 4 : place + 7])
        record += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            yield record
            record = b""


@pytest.mark.slow
def test_wandb_offline(tmp_path):
    """One run for each lane; a sweep that is resumed replaces what was not sent, under the same id."""
    pytest.importorskip("wandb")
    from wandb.proto import wandb_internal_pb2

    ids = []
    for _ in range(2):
        feed = sinks.Feed([sinks.wandb(folder=tmp_path)], START)
        feed.write(rows(10))
        feed.write(rows(20, 0.25))
        assert feed
        feed.close()
        assert feed
        ids.append((tmp_path / "setting0_seed3" / "id").read_text())
    assert ids[0] == ids[1]
    (path,) = (tmp_path / "setting0_seed3").rglob("*.wandb")
    assert path.name == f"run-{ids[0]}.wandb"
    sent, config = [], {}
    for data in leveldb(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.HasField("run"):
            config |= {item.key: item.value_json for item in record.run.config.update}
        if record.HasField("history"):
            items = {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
            sent.append((items["_step"], items.get("loss")))
    assert sent == [("10", "0.5"), ("20", "0.25")]
    assert float(config["rate"]) == 1
    assert config["gamma"] == "0.9" and config["seed"] == "3"
