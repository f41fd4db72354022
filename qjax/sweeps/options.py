"""How a sweep is watched and stopped; nothing here changes its numbers."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from qjax.core.checks import check_flag, check_range
from qjax.core.text import failure
from qjax.machine import hosts
from qjax.machine.streams import tell
from qjax.runs.points import Point
from qjax.runs.sinks import Sink
from qjax.sweeps.progress import Progress, show_progress
from qjax.sweeps.snapshots import check_snapshots


def check_pace(chunk_seconds: float, checkpoint_every: float) -> None:
    """Check the seconds of a chunk, and those between two checkpoints; infinity is no checkpoint before the last.

    Raises:
        TypeError: one is no number.
        ValueError: one is negative or NaN, or a chunk's are 0 or infinite.

    """
    check_range("chunk_seconds", chunk_seconds, 0, float("inf"), open_low=True)
    check_range("checkpoint_every", checkpoint_every, 0, float("inf"), infinite=True)


class Options(NamedTuple):
    """The arguments of `qjax.sweep` of the same names."""

    on_log: Callable[[Point], None] | None
    """Called with every log point."""
    on_progress: Callable[[Progress], None] | None
    """Called after every chunk."""
    progress: bool | str
    """Whether a bar is shown, or its name."""
    sinks: Sequence[Sink]
    """What log points are fed to."""
    chunk_seconds: float
    """About how long a chunk takes."""
    checkpoint_every: float
    """About how many seconds pass between two checkpoints."""
    stop_on_nan: bool
    """Whether a lane that diverges stops the sweep."""
    snapshots: Sequence[int] = ()
    """The steps at which agents are kept."""

    def checked(self, steps: int | None) -> "Options":
        """Check the numbers and flags; what is called is checked with the sweep's other hooks.

        The sweep's `steps` bound those at which agents are kept.

        Raises:
            TypeError: one is of another type.
            ValueError: one lies outside its range.

        """
        check_pace(self.chunk_seconds, self.checkpoint_every)
        progress = self.progress if isinstance(self.progress, str) else check_flag("progress", self.progress)
        stop_on_nan, snapshots = check_flag("stop_on_nan", self.stop_on_nan), check_snapshots(self.snapshots, steps)
        return self._replace(stop_on_nan=stop_on_nan, progress=progress, snapshots=snapshots)

    @contextmanager
    def shown(self, title: str) -> Iterator["Options"]:
        """Yield the options, with a bar beside `on_progress` where one is wanted; `title` is what it is called."""
        if self.progress is False:
            yield self
            return
        with show_progress(title if self.progress is True else self.progress, hosts.is_first()) as show:
            given = self.on_progress

            def both(now: Progress) -> None:
                show(now)
                if given is not None:
                    given(now)

            yield self._replace(on_progress=both)

    def show(self, name: str, news: Point | Progress) -> "Options":
        """Call what watches the sweep, `on_log` or `on_progress`; one that cannot write is left out from now on."""
        watch = getattr(self, name)
        if watch is None:
            return self
        try:
            watch(news)
        except OSError as error:  # a dead reader, a full disk
            tell(f"\nwarning: {name} failed and is called no more: {failure(error)}; training goes on")
            without: dict[str, Any] = {name: None}
            return self._replace(**without)
        return self
