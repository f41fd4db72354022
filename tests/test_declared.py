"""What the package imports it declares, as dependencies; what the command line or an option imports, as extras."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

import qjax
from qjax.cli.main import LIBRARIES
from qjax.envs.suites.names import SUITES

ROOT = Path(qjax.__file__).parent
CALLED = {"PIL": "pillow", "orbax": "orbax-checkpoint"}
"""Distributions that are not called as what is imported."""
UNDECLARED = {"six"}
"""What dependencies import and do not declare."""
OPTIONAL = (
    {name: name for name in ("pandas", "minari", "optuna", "tensorboard", "wandb")}
    | {"pyarrow": "parquet"}
    | {prefix: prefix for prefix in SUITES}
)
"""What a function imports that says which extra has it, and that extra."""
WATCH = {"gymnasium", "pygame"}
"""Of the extra `watch`, the second one by the first."""


def imported(paths):
    """Return the libraries that files import, wherever in them."""
    found = set()
    for node in (node for path in paths for node in ast.walk(ast.parse(path.read_text()))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module.partition(".")[0])
    return {CALLED.get(name, name) for name in found - {*sys.stdlib_module_names, "qjax"}}


@pytest.fixture(scope="module")
def project():
    path = Path(__file__).parents[1] / "pyproject.toml"
    return tomllib.loads(path.read_text())["project"]


def named(requirements):
    return {re.match(r"[\w-]+", each)[0] for each in requirements}


def test_the_package_imports_its_dependencies(project):
    library = imported(path for path in ROOT.rglob("*.py") if "cli" not in path.relative_to(ROOT).parts)
    assert library - OPTIONAL.keys() == named(project["dependencies"]) - UNDECLARED
    assert all(named(project["optional-dependencies"][extra]) == {name} for name, extra in OPTIONAL.items())


def test_the_command_line_imports_its_extra(project):
    needed = imported((ROOT / "cli").rglob("*.py")) - named(project["dependencies"]) - WATCH
    assert needed == named(project["optional-dependencies"]["cli"]) == {CALLED.get(x, x) for x in LIBRARIES}
    assert "gymnasium" in named(project["optional-dependencies"]["watch"])
