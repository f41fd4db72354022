"""The name under which the package is installed, its version, and how to ask for an extra that is missing."""

from importlib.metadata import version

DISTRIBUTION = "qjax-rl"
"""The name `qjax` is another project's on the Python package index; what is imported is `qjax`."""

VERSION = version(DISTRIBUTION)


def needs(what: str, module: str, extra: str) -> str:
    """Return what to say where a module is not installed that something needs."""
    return f"{what} needs {module}: pip install '{DISTRIBUTION}[{extra}]'"
