"""One readable script per experiment: `python -m experiments.NAME --help`.

Started so, this is the first line of ours that runs, seconds before JAX is there: from here on Ctrl-C ends the
command with one line.
"""

import atexit
import os
import signal
import sys
from typing import Any


def _end(number: int, frame: Any) -> None:
    """End at once; an exception might meet code that swallows it, or compiled code that aborts on it."""
    os.write(2, b"\ninterrupted\n")
    os._exit(128 + number)


def _start() -> None:
    for handle in range(3):
        try:
            os.fstat(handle)
        except OSError:  # closed: else the next file opened gets its number, and what libraries print goes there
            os.open(os.devnull, os.O_RDWR)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _end)
        # Registered first it is called last: what then comes while the interpreter ends finds the work done.
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)


if sys.argv[:1] == ["-m"]:  # while Python looks for the module that was named, and never after
    _start()
