"""The documentation as a reader finds it: its Python runs, its commands are understood, its site builds.

Each page's blocks run in order, in a folder of their own. Commands run under a shell in which every program is one
that writes down how it was called; what an experiment was called with is then parsed, as the experiment would.
"""

import importlib
import os
import pkgutil
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import qjax
from qjax.cli import search, space
from qjax.cli.arguments import resolve
from qjax.cli.main import COMMANDS
from qjax.cli.reading import read
from qjax.cli.words import parse

TOP = Path(__file__).parents[1]
README = TOP / "README.md"
PAGES = [README, *sorted((TOP / "docs").rglob("*.md"))]
PROGRAMS = (
    "python",
    "python3",
    ".venv/bin/python",
    ".venv/bin/pip",
    ".venv/bin/qjax",
    "pip",
    "qjax",
    "pytest",
    "srun",
    "scontrol",
    "sphinx-build",
)
RECORD = '#!/bin/bash\nprintf "%q " "${0##*/}" "$@" >> "$RECORD"\necho >> "$RECORD"\n'


def blocks(page, language):
    """Return a page's blocks of a language, each after as many empty lines as there are lines before it."""
    text = page.read_text()
    found = re.finditer(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return ["\n" * text[: block.start(1)].count("\n") + block[1] for block in found]


def of_pages(language):
    """Return pytest's parameters: the pages that have a block of a language."""
    with_one = [page for page in PAGES if blocks(page, language)]
    return pytest.mark.parametrize("page", with_one, ids=lambda page: str(page.relative_to(TOP)))


@of_pages("python")
def test_python_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(qjax, "use_cores", lambda: None)  # JAX has started
    names = {"__name__": "page"}
    for block in blocks(page, "python"):
        exec(compile(block, page, "exec"), names)


@of_pages("bash")
def test_commands_are_understood(page, tmp_path):
    for program in PROGRAMS:
        stub = tmp_path / program
        stub.parent.mkdir(parents=True, exist_ok=True)
        stub.write_text(RECORD)
        stub.chmod(0o755)
    record = tmp_path / "record"
    for block in blocks(page, "bash"):
        environment = {"PATH": str(tmp_path), "RECORD": str(record), "SCRATCH": "scratch", "SLURM_JOB_ID": "1"}
        done = subprocess.run(
            ["/bin/bash", "-uc", block], check=False, cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert not done.stderr
    for line in record.read_text().splitlines():
        understand(shlex.split(line))


def understand(words):
    """Check that a program takes these arguments."""
    program, *arguments = words
    if program == "srun":
        understand(arguments)
    elif program == "pip":
        extras = re.findall(r"\[(.*)\]", arguments[-1])
        known = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        assert set(",".join(extras).split(",")) - {""} <= set(known)
    elif program.startswith("python") and arguments[0].endswith(".py"):
        assert (TOP / arguments[0]).is_file()
    elif program.startswith("python"):
        module, *arguments = arguments[arguments.index("-m") + 1 :]
        assert importlib.util.find_spec(module)
        if module.startswith("experiments."):
            parsed(module, arguments)
    elif program == "qjax":
        name, *arguments = arguments
        if COMMANDS[name].module != "listing":
            parsed(f"qjax.cli.{COMMANDS[name].module}", arguments)


def parsed(module, arguments):
    """Check an experiment's command line, and of an algorithm its flags and their values."""
    made = importlib.import_module(module).Arguments
    if "--config" in arguments:  # a run of another command, which nobody has run here
        at = arguments.index("--config")
        arguments = ["dqn", *arguments[:at], *arguments[at + 2 :]]
    if module == "qjax.cli.train":
        resolve(read(arguments))
    elif module == "qjax.cli.search":
        search.prepared(*space.read(arguments))
    elif hasattr(made, "parse"):
        made.parse(arguments)
    else:
        parse(made, arguments, module)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TOP)))
def test_what_is_named_is_there(page):
    """Names of qjax, modules and files, wherever they stand between backquotes."""
    code = " ".join(re.findall(r"`([^`\n]+)`", page.read_text()))
    for name in re.findall(r"\bqjax\.([a-zA-Z_][\w.]*\w)", code):
        pkgutil.resolve_name(f"qjax.{name.removesuffix('.py')}")
    for module in re.findall(r"\b(?:experiments|benchmarks)\.\w+", code):
        assert importlib.util.find_spec(module.replace("benchmarks.NAME", "benchmarks.all")), module
    for file in re.findall(r"\b(?:tests|docs|qjax|experiments|benchmarks)/[\w/]+\.\w+", code):
        assert (TOP / file).is_file(), file


@pytest.mark.parametrize("path", sorted((TOP / "qjax").rglob("*.py")), ids=lambda path: path.stem)
def test_what_messages_and_docstrings_name_is_there(path):
    for name in re.findall(r"(?<![\w./-])qjax\.(?!exe\b)([a-zA-Z_][\w.]*\w)", path.read_text()):
        pkgutil.resolve_name(f"qjax.{name.removesuffix('.py')}")


def test_readme_links_lead_somewhere():
    text = README.read_text()
    targets = [target for target in re.findall(r"\]\(([^)#]+)", text) if "://" not in target]
    assert len(targets) > 10
    assert [target for target in targets if not (TOP / target).exists()] == []
    assert text.count("\n") <= 200


def test_the_notebook_is_the_tutorial():
    notebook = runpy.run_path(str(TOP / "docs" / "notebook.py"))["notebook"]
    assert (TOP / "docs" / "start.ipynb").read_text() == notebook((TOP / "docs" / "start.md").read_text())


@pytest.mark.slow
def test_the_site_builds(tmp_path):
    """Strictly: a link without a target, a page that no other names, a bad docstring is an error."""
    pytest.importorskip("sphinx")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", TOP / "docs", tmp_path],
        env={**os.environ, "JAX_PLATFORMS": "cpu"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "qjax.stats" in (tmp_path / "reference" / "index.html").read_text()
