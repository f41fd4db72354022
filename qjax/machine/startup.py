"""Ctrl-C from a command's first instant: run before JAX is imported, and so without an import from this package."""

import atexit
import os
import signal
import sys
from typing import Any


def end(number: int, frame: Any) -> None:
    """End at once; an exception might meet code that swallows it, or compiled code that aborts on it."""
    os.write(2, b"\ninterrupted\n")
    os._exit(128 + number)


def begin() -> None:
    """Have Ctrl-C end the process with one line from here on."""
    for handle in range(3):
        try:
            os.fstat(handle)
        except OSError:  # closed: else the next file opened gets its number, and what libraries print goes there
            os.open(os.devnull, os.O_RDWR)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, end)
        # Registered first it is called last: what then comes while the interpreter ends finds the work done.
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)


def is_command() -> bool:
    """Return whether this process is `qjax` or `python -m qjax`, which has got no further than to import qjax."""
    if sys.argv[:1] == ["-m"]:  # while Python looks for the module that was named, and never after
        return any(pair == ("-m", "qjax") for pair in zip(sys.orig_argv, sys.orig_argv[1:], strict=False))
    return os.path.basename(sys.argv[0] if sys.argv else "") in ("qjax", "qjax.exe")
