"""Two real processes on this machine: all look before one writes, and one that ends is told of in one line."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import qjax
from qjax.machine import hosts

HERE = Path(__file__).parents[1]


def together(mode, out, *flags, count=2):
    """Run two hosts of `host.py` to their end; return exit status, output and errors of each."""
    return run_both([sys.executable, HERE / "host.py", mode, out, "--distributed", "--cores", "1", *flags], count)


def run_both(words, count=2):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    job = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2", "PYTHONPATH": f"{HERE.parent}"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [
        subprocess.Popen(words, env={**os.environ, **job, "JAX_PROCESS_ID": str(number)}, **pipes)
        for number in range(count)
    ]
    said = [process.communicate(timeout=240) for process in processes]
    return [
        (process.returncode, [line for line in out.splitlines() if "Gloo" not in line], errors.splitlines())
        for process, (out, errors) in zip(processes, said, strict=True)
    ]


def test_all_look_before_one_writes(tmp_path):
    assert together("late", tmp_path / "out") == [(0, ["done"], [])] * 2
    assert qjax.load_config(tmp_path / "out")["experiment"] == "hosts"

    # What one refuses ends both in one line: the second has other arguments than what is written.
    before = (tmp_path / "out" / "config.json").read_bytes()
    (first, *_), (second, *_) = found = together("differ", tmp_path / "out", "--resume")
    assert (first, second) == (2, 2) and all(len(errors) == 1 for _, _, errors in found), found
    assert "was written by another run: arguments.host: 0 before, 1 now" in found[0][2][0]
    assert (tmp_path / "out" / "config.json").read_bytes() == before


def test_a_folder_that_is_not_empty_is_refused_on_both(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    refused = f"error: {tmp_path / 'full'} is not empty: choose another --out, or give --overwrite"
    assert together("late", tmp_path / "full") == [(2, [], [refused])] * 2


@pytest.mark.parametrize(("mode", "ended"), [("fails", 1), pytest.param("first-fails", 0, marks=pytest.mark.slow)])
def test_a_host_that_fails_ends_the_others(tmp_path, mode, ended):
    found = together(mode, tmp_path / "out")
    assert found[ended] == (2, [], ["error: no more"])
    assert found[1 - ended] == (2, [], [f"error: host {ended} ended: no more"])


def test_a_host_that_is_killed_ends_the_others(tmp_path):
    (status, _, errors), killed = together("killed", tmp_path / "out")
    assert (status, killed[0], len(errors)) == (2, 9, 1) and errors[0].startswith("error: another host has gone: ")


@pytest.mark.slow
def test_hosts_that_stop_together_have_their_own_status(tmp_path):
    assert together("stopped", tmp_path / "out") == [(143, [], [])] * 2


def test_a_host_that_never_comes_ends_the_others(tmp_path):
    line = "error: not all 2 processes of this job were there after 1 s"
    assert together("alone", tmp_path / "out", count=1) == [(2, [], [line])]
    assert not (tmp_path / "out").exists()


def test_one_host_agrees_with_itself():
    assert hosts.agreed(lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        hosts.agreed(lambda: 1 / 0)


LATE = """
import time, jax, qjax
start = qjax.Run.__init__
def late(self, *arguments, **options):
    time.sleep(2 * jax.process_index())
    start(self, *arguments, **options)
qjax.Run.__init__ = late
from qjax.cli import train
train.main()
"""
"""The command line, on one host some seconds late."""


@pytest.mark.slow
def test_a_grid_of_sizes_on_two_hosts(tmp_path):
    words = ("q-learning", "--num-envs", "1", "2", "--seeds", "4", "--width", "2", "--steps", "400")
    given = (*words, "--eval-episodes", "2", "--out", tmp_path / "out", "--distributed", "--cores", "1")
    first, second = run_both([sys.executable, "-c", LATE, *given])
    assert (first[0], first[2], second[0], second[2]) == (0, [], 0, [])
    assert {"summary.json", "num_envs=1", "num_envs=2"} <= {path.name for path in (tmp_path / "out").iterdir()}
    (_, said, _), _ = run_both([sys.executable, "-c", LATE, *given, "--resume"])
    assert said[-1] == f"the runs in {tmp_path / 'out'} have ended; their results stand"
