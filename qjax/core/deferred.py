"""Modules that other libraries import and hardly ever use, loaded at their first use."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class _Later(ModuleType):
    """What stands in the place of a module, which is loaded when something in it is first looked up."""

    def __init__(self, name: str):
        super().__init__(name)
        self.__spec__ = ModuleSpec(name, None)  # who asks whether there is such a module looks here

    def __getattr__(self, name: str) -> Any:
        module = import_module(self.__name__)
        if module is self:  # what imports it is not done
            raise AttributeError(f"module {self.__name__!r} is not loaded yet, and has no {name!r}")
        return getattr(module, name)


@contextmanager
def deferred(*names: str) -> Iterator[None]:
    """Have modules that are first imported in here loaded when those who imported them use them, and not before.

    Who imports them afterwards gets the modules themselves. A module inside a package is to be named as well, and
    nothing but modules can be imported from them: `from package import function` in here fails.
    """
    later = {name: _Later(name) for name in names if name not in sys.modules}
    sys.modules.update(later)
    for name, module in later.items():
        parent, _, child = name.rpartition(".")
        if parent in sys.modules and not hasattr(sys.modules[parent], child):
            setattr(sys.modules[parent], child, module)
    try:
        yield
    finally:
        for name, module in later.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]
