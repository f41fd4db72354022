"""Modules that are imported and not used stay unloaded, and are what they are where they are used."""

import sys
from importlib.util import find_spec

import pytest

from qjax.core.deferred import deferred

FILES = {
    "a_drawer/__init__.py": "LOADED = True\nfrom a_drawer import colors\ndef draw(): return colors.BLACK\n",
    "a_drawer/colors.py": "BLACK = 'black'\n",
    "an_env.py": """
import a_drawer as drawer
from a_drawer import colors

def render():
    return drawer.draw(), colors.BLACK
""",
    "a_package/__init__.py": "",
    "a_package/colors.py": "BLACK = 'black'\n",
    "a_user.py": "import a_package.colors\ndef black(): return a_package.colors.BLACK\n",
    "another_env.py": "import a_drawer.colors as colors\nimport never_installed\n",
    "a_hasty_env.py": "import a_drawer\nDRAW = a_drawer.draw\n",
}
DRAWER = ("a_drawer", "a_drawer.colors")


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_loaded_at_first_use():
    with deferred(*DRAWER):
        import an_env
    assert not set(DRAWER) & set(sys.modules)
    assert an_env.render() == ("black", "black")
    assert set(DRAWER) <= set(sys.modules)


def test_who_comes_afterwards_has_the_module_itself():
    with deferred(*DRAWER):
        import an_env
    import a_drawer

    assert "LOADED" in vars(a_drawer) and a_drawer.colors is sys.modules["a_drawer.colors"]
    assert an_env.drawer is not a_drawer and an_env.drawer.draw is a_drawer.draw


def test_what_is_loaded_already_is_left_alone():
    import a_drawer

    with deferred(*DRAWER):
        import an_env
    assert an_env.drawer is a_drawer and sys.modules["a_drawer"] is a_drawer


def test_of_a_package_that_is_loaded():
    import a_package

    with deferred("a_package", "a_package.colors"):
        import a_user
    assert "a_package.colors" not in sys.modules
    assert a_user.black() == "black" and a_package.colors is sys.modules["a_package.colors"]


def test_a_module_that_is_deferred_is_there_for_who_asks():
    with deferred(*DRAWER):
        assert all(find_spec(name) for name in DRAWER)


def test_what_is_not_installed_is_missed_where_it_is_used():
    with deferred(*DRAWER, "never_installed"):
        import another_env
    assert another_env.colors.BLACK == "black"
    with pytest.raises(ModuleNotFoundError, match="No module named 'never_installed'"):
        another_env.never_installed.draw  # noqa: B018


def test_what_is_used_at_once_is_named():
    with deferred(*DRAWER), pytest.raises(AttributeError, match="'a_drawer' is not loaded yet, and has no 'draw'"):
        import a_hasty_env  # noqa: F401
    assert not set(DRAWER) & set(sys.modules)
