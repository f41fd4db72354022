"""A power cut at any instant leaves a run that resumes, or has ended, or the one before it; never a mixture."""

import errno
import os

import disk
import numpy as np
import pytest
from folders import LANES, SWEEP, describe, groups, point

import qjax
from qjax.core import files


def lived(folder, rate, done, ends=True, **options):
    """Write a run from its start to its end; `done` is told what stands for good."""
    with qjax.Run(folder, "walk", {"rate": rate}, **options) as run:
        run.lifecycle.open(SWEEP)
        for tick in (1, 2):
            run.log(point(tick - 1), {"seed": np.arange(LANES)})
            run.checkpoints.save(groups(tick), {}, "program", describe(tick))
            done(tick)
        if ends:
            last = {**describe(2), "env_steps": 20 * LANES, "compile_s": 0.0}
            run.save_agents({"q": np.full(LANES, float(rate))})
            run.checkpoints.end(groups(2), {}, "program", last)
            done("ended")
            run.finish({"final": rate})
            done("finished")


def longer(folder, done):
    """Have a finished run go on to more steps, and end there."""
    with qjax.Run(folder, "walk", {"rate": 2}, resume=True) as run:
        found = run.lifecycle.open({**SWEEP, "steps": 30, "log_points": 2})
        run.lifecycle.grow({**SWEEP, "steps": 30, "log_points": 3})
        run.lifecycle.go_on(found, extended=[{"steps": 20, "log_points": 2, "ended": True}])
        done("longer")
        found.forget()
        run.log(point(2), {"seed": np.arange(LANES)})
        run.checkpoints.save(groups(3), {}, "program", describe(3))
        done(3)


@pytest.mark.parametrize("kept", [True, False])
def test_power_cuts_while_a_finished_run_goes_on(tmp_path, monkeypatch, kept):
    """It is the finished one, or goes on from its last checkpoint or a later one."""
    run, asked = tmp_path / "disk" / "run", {**SWEEP, "steps": 30, "log_points": 2}
    (tmp_path / "disk").mkdir()
    monkeypatch.setitem(SWEEP, "steps", 20)
    monkeypatch.setitem(SWEEP, "log_points", 2)
    lived(run, 2, lambda stage: None, keep_checkpoint=kept)
    if not kept:
        with pytest.raises(ValueError, match="its last checkpoint was not kept"):
            longer(run, lambda stage: None)
        return
    known = disk.Disk(tmp_path / "disk")
    with known.watching(monkeypatch):
        longer(run, known.reach)
    stages, finished = [stage for stage, _ in known.cuts], 0
    assert {*stages} == {None, "longer", 3} and len(stages) > 20
    for stage, left in known.cuts:
        again = qjax.Run(disk.lay(left, tmp_path / "left") / "run", "walk", {"rate": 2}, resume=True)
        config = qjax.load_config(again.folder)
        finished += again.finished
        found = again.lifecycle.open(asked)
        assert not found.ended and found.manifest["tick"] >= (3 if stage == 3 else 2)
        assert found.rows(np.arange(LANES))[0].tolist() == [found.manifest["tick"]] * LANES
        assert (config["sweep"]["steps"] == 30) == ("extended" in config) >= (stage is not None)
        again.close()
        found.forget()
    assert finished > 0


def check(folder, least, rate, before):
    """Check what a power cut left, where `least` was there for good."""
    written = folder / "config.json"
    if not written.is_file():
        assert least is None and before is None
        return
    own = qjax.load_config(folder)["arguments"]["rate"]
    assert own in (rate, before)
    if own == before:  # one that is being replaced: as much of it as there is is its own
        assert least is None
    run = qjax.Run(folder, "walk", {"rate": own}, resume=True)
    if run.finished:
        assert f'"final": {own}' in (folder / "summary.json").read_text()
    found = run.lifecycle.open(SWEEP)  # its files and the tables are those of its manifest
    run.close()
    if found is None:
        assert least is None and not run.finished
        return
    assert found.ended or not run.finished
    assert found.ended >= (least in ("ended", "finished")) and found.manifest["tick"] >= {1: 1, 2: 2}.get(least, 0)
    assert len(qjax.load_points(folder)) >= found.manifest["tick"]
    if not found.ended:
        assert found.rows(np.arange(LANES))[0].tolist() == [found.manifest["tick"]] * LANES
    found.forget()


@pytest.mark.parametrize(("before", "parquet"), [(None, False), ("ended", True), ("stopped", False)])
def test_power_cuts(tmp_path, monkeypatch, before, parquet):
    """Of a run in a new folder, and of one in the place of another."""
    root = tmp_path / "disk"
    run = root / "above" / "run"
    root.mkdir()
    if before:
        lived(run, 1, lambda tick: None, ends=before == "ended")
    known = disk.Disk(root)
    with known.watching(monkeypatch):
        lived(run, 2, known.reach, overwrite=bool(before), parquet=parquet)
    assert {stage for stage, _ in known.cuts} == {None, 1, 2, "ended", "finished"} and len(known.cuts) > 60
    for stage, left in known.cuts:
        check(disk.lay(left, tmp_path / "left") / "above" / "run", stage, 2, 1 if before else None)


def test_folders_that_cannot_be_synced(tmp_path, monkeypatch):
    """Windows and some mounts refuse it; a disk that breaks is told of."""
    real = os.fsync

    def fsync(code, file):
        if os.path.isdir(f"/proc/self/fd/{file}"):
            raise OSError(code, "no")
        real(file)

    monkeypatch.setattr(os, "fsync", lambda file: fsync(errno.EINVAL, file))
    lived(tmp_path / "run", 2, lambda tick: None)
    assert len(qjax.load_points(tmp_path / "run")) == 2
    monkeypatch.setattr(os, "fsync", lambda file: fsync(errno.EIO, file))
    with pytest.raises(OSError, match="no"):
        files.write(tmp_path / "file", "text")
