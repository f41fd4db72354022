"""How a baseline's own process measures itself: steps per second between its warm-up and its last second."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """Counts steps until the time is over; the first tenth of the time is warm-up and does not count."""

    def __init__(self, seconds: float):
        self.steps = 0
        self._began = time.perf_counter()
        self._seconds = seconds
        self._warm: tuple[float, int] | None = None

    def running(self) -> bool:
        """Return whether there is time left."""
        now = time.perf_counter()
        if self._warm is None and now - self._began >= self._seconds / 10:
            self._warm = (now, self.steps)
        return now - self._began < self._seconds

    def speed(self) -> float:
        """Return steps per second."""
        assert self._warm is not None
        since, steps = self._warm
        return (self.steps - steps) / (time.perf_counter() - since)


@contextmanager
def report(seconds: float) -> Iterator[Clock]:
    """Yield a clock, and print what it counted as one line of JSON."""
    clock = Clock(seconds)
    yield clock
    print(json.dumps({"env_steps_per_s": clock.speed()}), flush=True)
