"""Folders of the package import only what lies below them, and no module is hidden by a name of its package."""

import ast
import importlib
import pkgutil
from pathlib import Path

import pytest

import qjax

FLOORS = (
    "types", "core", "machine", "stats", "exploration", "objectives", "networks", "replay", "agents", "mdp", "envs",
    "training", "datasets", "algorithms", "runs", "sweeps", "plot", "searches", "cli",
)  # fmt: skip
"""From the ground up: each imports itself and those before it."""

ROOT = Path(qjax.__file__).parent
FILES = sorted(path for path in ROOT.rglob("*.py") if path not in (ROOT / "__init__.py", ROOT / "__main__.py"))


def module(path):
    return ".".join(("qjax", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")


def imported(path):
    """Return the modules of the package that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports relatively"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in names}
    return {name for name in found if name.partition(".")[0] == "qjax"}


MODULES = {module(path) for path in FILES}


def test_every_folder_has_its_floor():
    assert {module(path).split(".")[1] for path in FILES} == set(FLOORS)


@pytest.mark.parametrize("path", FILES, ids=module)
def test_imports_go_down(path):
    floor = FLOORS.index(module(path).split(".")[1])
    for name in imported(path):
        if name == "qjax" and floor == len(FLOORS) - 1:
            continue  # the top floor uses the package as users do
        assert name != "qjax", f"{path} imports the whole package"
        assert FLOORS.index(name.split(".")[1]) <= floor, f"{path} imports {name}, which lies above it"


def test_no_circle():
    """Modules of one folder do not import one another in a circle either."""
    imports, left = {module(path): imported(path) & MODULES for path in FILES}, MODULES
    while left:
        done = {name for name in left if not imports[name] & left - {name}}
        assert done, f"these import one another: {sorted(left)}"
        left = left - done


def test_no_module_is_hidden():
    for package in [qjax, *(importlib.import_module(f"qjax.{name}") for name in FLOORS if name != "types")]:
        for info in pkgutil.iter_modules(package.__path__):
            name = f"{package.__name__}.{info.name}"
            assert importlib.import_module(name) is getattr(package, info.name), f"{name} is hidden"


def test_what_is_public_is_listed():
    """`dir(qjax)` shows what `__all__` lists, and the folders."""
    shown = {name for name in dir(qjax) if not name.startswith("_")}
    assert shown | set(FLOORS) == {*qjax.__all__, *FLOORS}
