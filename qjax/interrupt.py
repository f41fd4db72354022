"""SIGINT and SIGTERM as a flag that a sweep reads between chunks."""

import os
import signal
import sys
import threading
from types import TracebackType

FAREWELL = 0
"""The byte that ends the watching thread; no signal has this number."""


class Interrupt:
    """While it is entered, the first SIGINT or SIGTERM only sets `received`; a second SIGINT ends the process.

    Python runs its signal handlers between two bytecodes of the main thread, which may wait in compiled code for
    minutes. So the numbers of arriving signals go through a pipe (`signal.set_wakeup_fd`) to a thread that acts at
    once. Outside the main thread, where no handler may be set, nothing is caught.
    """

    received: str | None = None

    def __enter__(self) -> "Interrupt":
        self._active = threading.current_thread() is threading.main_thread()
        if self._active:
            self._read, self._write = os.pipe()
            os.set_blocking(self._write, False)
            self._before = {s: signal.signal(s, lambda *_: None) for s in (signal.SIGINT, signal.SIGTERM)}
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
                signal.signal(number, handler)
            os.write(self._write, bytes([FAREWELL]))
            self._thread.join()
            os.close(self._read)
            os.close(self._write)

    def _watch(self) -> None:
        while number := os.read(self._read, 1)[0]:
            if self.received is not None and number == signal.SIGINT:
                print("\ninterrupted twice: ending at once", file=sys.stderr, flush=True)
                os._exit(128 + number)
            if self.received is None and number in (signal.SIGINT, signal.SIGTERM):
                self.received = signal.Signals(number).name
                message = f"\n{self.received}: stopping at the end of this chunk; Ctrl-C ends at once"
                print(message, file=sys.stderr, flush=True)
