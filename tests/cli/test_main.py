"""The command `qjax`: its subcommands, and what it says of words that name none."""

import subprocess
import sys

import pytest

from qjax import algorithms
from qjax.cli import main


def command(monkeypatch, *words):
    """Run a command line in this process; return its exit status, None where it just returned."""
    monkeypatch.setattr(sys, "argv", ["qjax", *words])
    monkeypatch.setattr(sys, "path", [*sys.path])
    try:
        main.main()
    except SystemExit as ended:
        return ended.code
    return None


def test_the_list_has_every_algorithm():
    done = subprocess.run([sys.executable, "-m", "qjax", "list"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in algorithms.ALGORITHMS) and "Hessel et al. 2018" in done.stdout


def test_words_that_name_no_command(monkeypatch, capsys):
    assert command(monkeypatch) == 2
    told = capsys.readouterr().err
    assert all(name in told for name in main.COMMANDS)
    assert command(monkeypatch, "trian") == 2
    assert capsys.readouterr().err == "error: no command 'trian'; did you mean train?\n"
    assert command(monkeypatch, "--help") is None
    assert capsys.readouterr().out == main.USAGE + "\n"


@pytest.mark.parametrize("name", ["train", "plot", "watch", "results", "report"])
def test_every_command_has_help_under_its_own_name(monkeypatch, capsys, name):
    assert command(monkeypatch, name, "--help") == 0
    assert f"usage: qjax {name}" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("library", main.LIBRARIES)
def test_a_bare_install_says_which_extra_is_missing(library):
    """Importing the package needs none of them."""
    code = f"import sys; sys.modules[{library!r}] = None; import qjax; from qjax.cli.main import main; main()"
    words = [sys.executable, "-c", code, "report", "nowhere"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    told = f"error: the command qjax needs {library}: pip install 'qjax-rl[cli]'\n"
    assert (done.returncode, done.stderr) == (2, told)


def test_errors_end_with_status_2(monkeypatch, capsys):
    for words, said in (
        (("train", "dqnn", "--out", "x"), "no algorithm 'dqnn'"),
        (("plot", "nowhere"), "nowhere"),
        (("results", "nowhere"), "nowhere"),
        (("results",), "RUN"),
        (("watch", "nowhere"), "there is no folder nowhere"),
    ):
        assert command(monkeypatch, *words) == 2
        told = capsys.readouterr().err
        assert told.startswith("error: ") and said in told and told.count("\n") == 1
