"""Ctrl-C, closed terminals, dead readers, full disks: a command ends with one line or goes on, losing nothing."""

import contextlib
import errno
import importlib
import os
import pty
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import qjax
from qjax.machine import interrupt, startup, streams
from qjax.sweeps import progress

ROOT = Path(__file__).parents[2]
LAKE = ("experiments.frozenlake", "--seeds", "4", "--cores", "1")
HEARD = f"import os, signal, sys; [signal.signal(s, signal.SIG_DFL) for s in {[*map(int, interrupt.ENDING)]}]"
"""What ran the tests may ignore signals, and children inherit that."""


TERMINAL = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)"
"""Its input is the terminal that it belongs to."""


def started(*words, first=HEARD, how=("-m",), **options):
    """Start a module as a command, or a script."""
    line = [sys.executable, "-c", f"{first}; os.execv(sys.executable, sys.argv[1:])", sys.executable, *how]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "cwd": ROOT, **options}
    return subprocess.Popen([*line, *map(str, words)], **pipes)


def wait_for(process, condition, seconds=240):
    deadline = time.monotonic() + seconds
    while not condition() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def importing(process, out):
    """Return whether a library is being imported, so that a line of ours was run before."""
    with contextlib.suppress(OSError):
        return "numpy" in Path(f"/proc/{process.pid}/maps").read_text()


def compiling(process, out):
    return (out / "lock").is_file()


def evaluating(process, out):
    return any((out / "ended").glob("[0-9]*"))


needs_proc = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="looks into /proc")


@needs_proc
@pytest.mark.parametrize("phase", [importing, compiling, pytest.param(evaluating, marks=pytest.mark.slow)])
def test_ctrl_c_ends_a_command_with_one_line(tmp_path, phase):
    out = tmp_path / "out"
    process = started(*LAKE, "--episodes", 50, "--out", out)
    wait_for(process, lambda: phase(process, out))
    process.send_signal(signal.SIGINT)
    said, errors = process.communicate(timeout=240)
    assert (process.returncode, errors) == (130, b"\ninterrupted\n"), said
    assert not (out / "summary.json").exists() and (phase is evaluating) == (out / "agents").is_dir()


@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize("words", [LAKE, ("qjax", "train", "pqn", "--steps", 2048, "--seeds", 2)], ids=str)
def test_ctrl_c_at_any_instant(tmp_path, words):
    """At twelve instants from the first import to the end; once more, and the run is whole."""
    draw, met = random.Random(0), set()

    def start():
        process = started(*words, "--out", tmp_path / "out", "--resume")
        wait_for(process, lambda: importing(process, None))
        return process

    began = time.monotonic()
    whole = started(*words, "--out", tmp_path / "whole")
    assert whole.wait(600) == 0
    took = time.monotonic() - began
    for number in range(12):
        process = start()
        time.sleep((number + draw.random()) / 12 * took)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=240)
        lines = [line for line in errors.decode().split("\n") if line]
        known = (
            "interrupted",
            "SIGINT: stopping",
            "stopped by SIGINT after",
            f"{tmp_path / 'out'} holds no run yet",
            f"{tmp_path / 'out'} has no checkpoint",
        )
        assert process.returncode in (0, 130) and all(line.startswith(known) for line in lines), errors
        assert process.returncode == 0 or lines
        met.add(process.returncode)
    assert 130 in met and started(*words, "--out", tmp_path / "out", "--resume").wait(600) == 0
    assert (tmp_path / "out" / "metrics.csv").read_bytes() == (tmp_path / "whole" / "metrics.csv").read_bytes()


def test_imports_leave_signals_alone():
    importlib.import_module("experiments")
    assert signal.getsignal(signal.SIGINT) is not startup.end


@needs_proc
@pytest.mark.parametrize("way", ["script", "module"])
def test_ctrl_c_ends_the_installed_command_while_it_starts(tmp_path, way):
    script = tmp_path / "qjax"
    script.write_text("from qjax.cli.main import main\nmain()\n")  # as installers write it
    process = started(script, "list", how=()) if way == "script" else started("qjax", "list")
    wait_for(process, lambda: importing(process, None))
    process.send_signal(signal.SIGINT)
    said, errors = process.communicate(timeout=240)
    assert (process.returncode, errors) == (130, b"\ninterrupted\n"), said


def test_nobody_need_read_what_a_command_says(tmp_path):
    """A dead reader of its output and a full disk for its errors: it has its results, and status 0."""
    read, write = os.pipe()
    os.close(read)
    with open("/dev/full", "w") as full:
        process = started(*LAKE, "--episodes", 50, "--out", tmp_path / "out", stdout=write, stderr=full)
        os.close(write)
        assert process.wait(240) == 0
    assert {"summary.json", "agents", "learning_curve.png"} <= {path.name for path in (tmp_path / "out").iterdir()}


def test_a_closed_terminal_stops_a_run_after_a_checkpoint(tmp_path):
    out, (master, slave) = tmp_path / "out", pty.openpty()
    words = (*LAKE, "--episodes", 10**6, "--chunk-seconds", 0.05, "--out", out)
    terminal = {"stdin": slave, "stdout": slave, "stderr": slave, "start_new_session": True}
    process = started(*words, first=f"{HEARD}; {TERMINAL}", env={**os.environ, "TERM": "xterm"}, **terminal)
    os.close(slave)
    wait_for(process, lambda: drained(master) and (out / "metrics.csv").is_file())
    os.close(master)
    assert process.wait(240) == 129
    assert any((out / "checkpoints").glob("[0-9]*"))


def drained(master):
    """Read what a terminal was sent, as its window does."""
    os.set_blocking(master, False)
    with contextlib.suppress(BlockingIOError):
        os.read(master, 2**16)
    return True


# ---- streams


class Broken:
    """A stream that cannot take anything, without a descriptor, as in a notebook."""

    encoding = "utf-8"

    def __init__(self, error):
        self.error = error

    def isatty(self):
        return False

    def write(self, text):
        raise self.error

    flush = fileno = lambda self: self.write("")


LOST = [
    BrokenPipeError(errno.EPIPE, "Broken pipe"),
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EIO, "Input/output error"),
    ValueError("I/O operation on closed file"),
]


@pytest.mark.parametrize("error", LOST, ids=str)
def test_progress_that_nobody_can_see_ends_nothing(monkeypatch, error):
    monkeypatch.setattr(sys, "stdout", Broken(error))
    monkeypatch.setattr(sys, "stderr", Broken(error))
    with streams.forgiving():
        print("results")
        print("error", file=sys.stderr, flush=True)
    with progress.show_progress("training") as show:
        show(progress.Progress(1.0, 1.0, 10, 1, 2.0, 0))
    streams.tell("warning")


def test_a_bar_on_a_terminal_that_is_gone_ends_nothing(monkeypatch):
    stream = Broken(LOST[2])
    stream.isatty = lambda: True
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", stream)
    with progress.show_progress("training") as show:
        show(progress.Progress(0.5, 1.0, 10, 1, 2.0, 0))


def test_there_may_be_no_streams(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    with streams.forgiving():
        print("results", flush=True)
    streams.tell("warning")


def test_what_is_lost_is_told_of_where_somebody_reads(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", Broken(LOST[1]))
    with streams.forgiving():
        print("results")
    assert capsys.readouterr().err == "warning: standard output was lost: [Errno 28] No space left on device\n"


def test_letters_that_a_stream_lacks_are_replaced(tmp_path):
    with (tmp_path / "said").open("w", encoding="ascii") as file:
        print("épsilon 0.1", file=streams.Forgiving(file))
    assert (tmp_path / "said").read_text() == "?psilon 0.1\n"


# ---- signals


@pytest.mark.parametrize("number", interrupt.ENDING)
def test_the_first_signal_is_a_flag(number, capsys):
    before = [signal.getsignal(each) for each in interrupt.ENDING]
    with interrupt.Interrupt() as caught:
        signal.raise_signal(number)
    assert caught.received == number.name
    assert [signal.getsignal(each) for each in interrupt.ENDING] == before
    assert capsys.readouterr().err == f"\n{number.name}: stopping at the end of this chunk; Ctrl-C ends at once\n"


def test_what_a_process_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with interrupt.Interrupt() as caught:
            signal.raise_signal(signal.SIGHUP)
        assert caught.received is None and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def raises(progress):
    signal.raise_signal(signal.SIGINT)


def swallows(progress):
    with contextlib.suppress(KeyboardInterrupt):  # as JAX's callback does when garbage is collected
        raises(progress)
    swallowed.append(progress.done)


swallowed = []


@pytest.mark.parametrize("watch", [raises, swallows])
def test_a_sweep_without_a_run_is_interrupted_as_any_code(watch):
    env = qjax.make("FrozenLake-v1")
    loop = qjax.make_loop(env, qjax.tabular(16, 4, 0.1), qjax.uniform, qjax.online(), gamma=0.9)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            qjax.sweep(lambda _: loop, seeds=1, steps=1000, log_points=2, on_progress=watch, chunk_seconds=1e-9)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler and len(swallowed) <= 1
    finally:
        signal.signal(signal.SIGINT, before)
