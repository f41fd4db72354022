"""Output that nobody may be reading: a dead reader, a full disk or a closed terminal never ends a run."""

import contextlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast


class Forgiving:
    """A text stream that passes everything on to another, and drops what that cannot take."""

    def __init__(self, stream: Any):
        """Stand before a stream; None where there is none."""
        self._stream = stream
        self.error: Exception | None = None
        """What the last loss came of, None where nothing was lost."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write what can be written."""
        try:
            self._try(text)
        except (OSError, ValueError) as error:  # ValueError: it is closed
            self.error = error
        return len(text)

    def flush(self) -> None:
        """Flush what can be flushed."""
        try:
            if self._stream is not None:
                self._stream.flush()
        except (OSError, ValueError) as error:
            self.error = error

    def _try(self, text: str) -> None:
        try:
            if self._stream is not None:
                self._stream.write(text)
        except UnicodeEncodeError as error:
            self._stream.write(text.encode(error.encoding, "replace").decode(error.encoding))


@contextmanager
def forgiving() -> Iterator[None]:
    """Have standard output and standard error drop what cannot be written, also when the interpreter ends."""
    before = sys.stdout, sys.stderr
    streams = [Forgiving(stream) for stream in before]
    sys.stdout, sys.stderr = cast("Any", streams)
    try:
        yield
    finally:
        for each in streams:
            each.flush()
        sys.stdout, sys.stderr = before
        out, errors = (each.error for each in streams)
        if out is not None and not isinstance(out, BrokenPipeError):
            tell(f"warning: standard output was lost: {out}")
        for stream, error in zip(before, (out, errors), strict=True):
            if error is not None:
                _forget(stream)


def tell(message: str) -> None:
    """Print a line on standard error; where nobody can read it, nothing happens."""
    print(message, file=cast("Any", Forgiving(sys.stderr)), flush=True)


def _forget(stream: Any) -> None:
    """Let what a stream still holds go nowhere: the interpreter's end writes it, and would fail."""
    with contextlib.suppress(OSError, ValueError):  # a stream without a descriptor
        handle = os.open(os.devnull, os.O_WRONLY)
        os.dup2(handle, stream.fileno())
        os.close(handle)
        stream.flush()
