"""Signals that end a process: as a flag that a sweep reads between chunks, or at once."""

import os
import signal
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, NoReturn, TypeVar

from qjax.machine.streams import tell

FAREWELL = 0
"""The byte that ends the watching thread; no signal has this number."""

ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Ctrl-C, `kill`, and a terminal that is closed."""

SHOW_CURSOR = b"\x1b[?25h"
"""A bar of progress hides it."""

W = TypeVar("W", bound="Watch")


class Watch:
    """While it is entered, `act` is called with the number of each signal of `ENDING`, at once, in a thread.

    Python runs its signal handlers between two bytecodes of the main thread, which may wait in compiled code for
    minutes. So the numbers of arriving signals go through a pipe (`signal.set_wakeup_fd`) to a thread that acts at
    once. A signal that the process was started to ignore, as `nohup` does, stays ignored. Outside the main thread,
    where no handler may be set, nothing is caught.
    """

    def __init__(self, act: Callable[[int], None]):
        """Watch nothing yet."""
        self._act = act

    def __enter__(self: W) -> W:
        self._active = threading.current_thread() is threading.main_thread()
        if self._active:
            self._read, self._write = os.pipe()
            os.set_blocking(self._write, False)
            watched = [s for s in ENDING if signal.getsignal(s) is not signal.SIG_IGN]
            self._before: dict[int, Any] = {s: signal.signal(s, lambda *_: None) for s in watched}
            self._fd = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._active:
            signal.set_wakeup_fd(self._fd)
            for number, handler in self._before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)
            os.write(self._write, bytes([FAREWELL]))
            self._thread.join()
            os.close(self._read)
            os.close(self._write)

    def _watch(self) -> None:
        while number := os.read(self._read, 1)[0]:
            if number in self._before:
                self._act(number)


class Again:
    """While it is entered, `check` raises a Ctrl-C that something swallowed: JAX does where it collects garbage.

    Only where Ctrl-C raises as Python's own does, in the main thread.
    """

    def __init__(self) -> None:
        """Have heard of nothing yet."""
        self._came = self._active = False

    def __enter__(self) -> "Again":
        main = threading.current_thread() is threading.main_thread()
        self._active = main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._active:
            signal.signal(signal.SIGINT, self._raise)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._active:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if kind is None:
            self.check()

    def _raise(self, number: int, frame: Any) -> None:
        self._came = True
        raise KeyboardInterrupt

    def check(self) -> None:
        """Raise what came and was not raised."""
        if self._came:
            self._came = False
            raise KeyboardInterrupt


class Interrupt(Watch):
    """While it is entered, the first signal only sets `received`; a second Ctrl-C ends the process."""

    def __init__(self) -> None:
        """Have received nothing yet."""
        super().__init__(self._receive)
        self.received: str | None = None

    def _receive(self, number: int) -> None:
        if self.received is None:
            self.received = signal.Signals(number).name
            tell(f"\n{self.received}: stopping at the end of this chunk; Ctrl-C ends at once")
        elif number == signal.SIGINT:
            end(number, "interrupted twice: ending at once")


def end(number: int, message: str | None = None) -> NoReturn:
    """End the process as a signal does, with one line: a run's folder is whole at every instant.

    Nothing waits for a lock that another thread may hold, of a stream for instance.
    """
    name = signal.Signals(number).name
    said = message or {"SIGINT": "interrupted", "SIGTERM": "terminated", "SIGHUP": "hung up"}.get(name, name)
    for handle, words in ((1, SHOW_CURSOR), (2, f"\n{said}\n".encode())):
        try:
            if handle == 2 or os.isatty(handle):
                os.write(handle, words)
        except OSError:
            pass
    os._exit(128 + number)
