"""Modules that other libraries import and hardly ever use, loaded at their first use."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any


class _Later(ModuleType):
    """A module in whose place another one stands: loaded when something in it is first looked up."""

    def __getattr__(self, name: str) -> Any:
        module = import_module(self.__name__)
        if module is self:  # what imports it is not done
            raise AttributeError(f"module {self.__name__!r} is not loaded yet, and has no {name!r}")
        return getattr(module, name)


@contextmanager
def deferred(*names: str) -> Iterator[None]:
    """Have modules that are first imported in here loaded by those who imported them, and not before they use them.

    Who imports them afterwards gets the modules themselves. A module inside a package is to be named as well.
    """
    later = {name: _Later(name) for name in names if name not in sys.modules}
    for name, module in later.items():
        parent, _, child = name.rpartition(".")
        if parent in later:
            setattr(later[parent], child, module)
    sys.modules.update(later)
    try:
        yield
    finally:
        for name, module in later.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]
