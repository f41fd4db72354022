"""The host's side of a sweep: chunks, log points, checkpoints and signals, in one loop."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np

from qjax.core.checks import check_range
from qjax.core.text import failure
from qjax.machine import hosts
from qjax.machine.interrupt import Again, Interrupt
from qjax.machine.streams import tell
from qjax.runs import tables
from qjax.runs.checkpoint import Checkpoint
from qjax.runs.points import NEVER, Point, Tally, Totals, of_lanes
from qjax.runs.run import Run
from qjax.runs.sinks import Feed, Sink, Start
from qjax.stats import estimates
from qjax.sweeps.groups import Groups
from qjax.sweeps.plan import Part
from qjax.sweeps.progress import Progress

CHECKPOINT_SHARE = 20
"""Two checkpoints are at least this many times as far apart as the last one took to write."""


class Options(NamedTuple):
    """How a sweep is watched and stopped; nothing here changes its numbers."""

    on_log: Callable[[Point], None] | None
    on_progress: Callable[[Progress], None] | None
    chunk_seconds: float
    checkpoint_every: float
    stop_on_nan: bool
    sinks: Sequence[Sink] = ()


def check_pace(chunk_seconds: float, checkpoint_every: float) -> None:
    """Check the seconds of a chunk, and those between two checkpoints; infinity is no checkpoint before the last.

    Raises:
        TypeError: one is no number.
        ValueError: one is negative or NaN, or a chunk's are 0 or infinite.

    """
    check_range("chunk_seconds", chunk_seconds, 0, float("inf"), open_low=True)
    check_range("checkpoint_every", checkpoint_every, 0, float("inf"), infinite=True)


class Drive:
    """A sweep under way."""

    def __init__(self, work: Any, groups: Groups, tally: Tally, run: Run | None, options: Options, program: str):
        """Stand at the start; `work` is a `qjax.sweep.Work`, and the groups are compiled."""
        self.work, self.groups, self.tally, self.run, self.options = work, groups, tally, run, options
        self.program = program
        self.points: list[Point] = []
        self.seconds = 0.0
        self._tick = 0
        self._notes: list[tuple[float, ...]] = []
        self._speed: dict[bool, float] = {}
        self._diverged = 0
        self.signal: str | None = None
        """The signal that came, on any host."""
        self._saved, self._save_s, self._saved_tick = time.monotonic(), 0.0, -1
        self._columns = work.columns(groups.local)
        folder, arguments = (None, {}) if run is None else (run.folder, run.arguments)
        self._feed = Feed(options.sinks, Start(folder, self._columns, arguments))
        self._returns = np.full(len(groups.local), np.nan)

    def go(self) -> str | None:
        """Run to the end, or until something stops it; return what."""
        with Again() as self._again, nullcontext(None) if self.run is None else Interrupt() as interrupt:
            stopped = self._go(interrupt)
        if interrupt is not None:
            self.signal = self.signal or interrupt.received
        return stopped

    def _go(self, interrupt: Interrupt | None) -> str | None:
        loop = self.work.loop
        passed, start = self._tick // loop.rollout, self._look(interrupt)
        self._diverged = sum(message["diverged"] for message in start)
        if self._tick and min(message["done"] for message in start) >= 1:
            return None
        for part in self.work.parts:
            begun = min(passed // part.iterations, part.repeat)
            passed -= begun * part.iterations
            for _ in range(begun, part.repeat):
                left, passed = part.iterations - passed, 0
                while left:
                    left -= self._chunk(part, left)
                    if not left:
                        self._fetch(part)
                    stopped, done = self._between(part, interrupt)
                    if stopped or done:
                        return stopped
        return None

    def _chunk(self, part: Part, left: int) -> int:
        """Run about `chunk_seconds` of a part's iterations; return how many."""
        turn = self.work.turns[part.learning]
        wanted = self.options.chunk_seconds * self._speed.get(part.learning, 0.0)
        count = int(np.clip(wanted // turn, 1, left // turn))
        began = time.perf_counter()
        self.groups.run(self._tick, count, part.learning)
        took = time.perf_counter() - began
        self.seconds += took
        self._tick += count * turn * self.work.loop.rollout
        slowest = max(message["took"] for message in hosts.gather({"took": took}))
        self._speed[part.learning] = count * turn / max(slowest, 1e-9)
        return count * turn

    def _fetch(self, part: Part) -> None:
        """Take the lanes' sums at the end of a part, and make a log point of them where one is due."""
        began = time.perf_counter()
        self.tally.add(self.groups.take())
        self.seconds += time.perf_counter() - began
        if not part.log:
            return
        point = self.tally.point(self.seconds)
        point = point._replace(values={**point.values, **self.groups.report()})
        self.points.append(point)
        self._remember(point)
        own = {"steps": int(point.env_steps.sum()), "updates": point.updates, "done": point.done}
        messages = hosts.gather(own)
        steps, updates = (sum(message[name] for message in messages) for name in ("steps", "updates"))
        self._notes.append((updates, min(message["done"] for message in messages), point.seconds, steps))
        if self.run is not None:
            self.run.log(point, self._columns, len(self._notes) - 1, self.groups.local, (steps, updates))
        if self._feed:
            self._feed.write(tables.rows(point, self._columns), self.seconds)
        self._show("on_log", point)

    def _show(self, name: str, news: Point | Progress) -> None:
        """Call what watches the sweep; one that cannot write is left out, other errors come after a checkpoint."""
        watch = getattr(self.options, name)
        if watch is None:
            return
        try:
            watch(news)
        except OSError as error:  # a dead reader, a full disk
            without: dict[str, Any] = {name: None}
            self.options = self.options._replace(**without)
            tell(f"\nwarning: {name} failed and is called no more: {failure(error)}; training goes on")
        except Exception:
            if self.run is not None and hosts.alone():
                self._save(must=False)
            raise

    def _remember(self, point: Point) -> None:
        """Keep each lane's last mean return, for the progress."""
        self._returns = np.where(np.isnan(point.mean_return), self._returns, point.mean_return)

    def _between(self, part: Part, interrupt: Interrupt | None) -> tuple[str | None, bool]:
        """Look around at the end of a chunk: return what stops the sweep, and whether it is done."""
        self._again.check()
        messages = self._look(interrupt)
        progress = Progress(
            done=min(message["share"] for message in messages),
            seconds=self.seconds,
            env_steps=sum(message["steps"] for message in messages),
            updates=sum(message["updates"] for message in messages),
            iqm_return=self._iqm_return(),
            diverged=sum(message["diverged"] for message in messages),
        )
        self._show("on_progress", progress)
        done = min(message["done"] for message in messages) >= 1
        self.signal = stopped = next((message["stop"] for message in messages if message["stop"]), None)
        if stopped is None and self.options.stop_on_nan and progress.diverged > self._diverged:
            stopped = "nan"
        if self.run is not None and (stopped or done or messages[0]["due"]):
            self._save(must=bool(stopped or done))
        if stopped == "nan":
            self._flag(part)
        return (None if done else stopped), done

    def _look(self, interrupt: Interrupt | None) -> list[dict[str, Any]]:
        """Return where every host stands."""
        peek, totals = self.groups.peek(), self.tally.totals
        diverged = (totals.diverged_at != NEVER) | (peek["diverged_at"] > 0)
        every = max(self.options.checkpoint_every, CHECKPOINT_SHARE * self._save_s)
        return hosts.gather(
            {
                "stop": interrupt.received if interrupt is not None else None,
                "done": self.tally.done(0),
                "share": self.tally.done(peek["steps"]),
                "steps": int(totals.env_steps.sum() + peek["steps"].astype(np.int64).sum()),
                "updates": int(totals.updates.sum() + peek["updates"].astype(np.int64).sum()),
                "diverged": int(diverged.sum()),
                "due": time.monotonic() - self._saved >= every,
            }
        )

    def _iqm_return(self) -> float:
        """Return the interquartile mean of the last returns that lanes reported."""
        known = self._returns[~np.isnan(self._returns)]
        return float(estimates.iqm(known)) if known.size else float("nan")

    def _flag(self, part: Part) -> None:
        """Log the lanes as they are where one has diverged: after the checkpoint, so a resumed run drops it."""
        if any(message["some"] for message in hosts.gather({"some": bool(self.groups.peek()["steps"].any())})):
            self._fetch(part._replace(log=True))
            if self.run is not None:
                self.run.join()

    def _save(self, must: bool) -> None:
        """Write a checkpoint; one that is not the last may fail, for instance on a full disk."""
        assert self.run is not None
        if self._tick == self._saved_tick:
            return
        began = time.monotonic()
        try:
            self.run.save(self.groups, self._totals(), self.program, self._manifest())
            self._saved_tick = self._tick
        except OSError as error:
            if must:
                raise
            tell(f"\nwarning: {error}; training goes on, the last checkpoint stands")
        self._saved = time.monotonic()
        self._save_s = self._saved - began

    def _totals(self) -> dict[str, np.ndarray]:
        return {**self.tally.totals._asdict(), **self.tally.pending()}

    def _manifest(self) -> dict[str, Any]:
        leaves = self.groups.describe()
        return {"tick": self._tick, "seconds": self.seconds, "points": self._notes, "leaves": leaves}

    def end(self, agents: Any, compile_s: float) -> None:
        """Write what the sweep ends with into its run."""
        assert self.run is not None
        ended = {"env_steps": int(self.env_steps().sum()), "compile_s": compile_s}
        self.run.end(agents, self.groups, self._totals(), self.program, {**self._manifest(), **ended})

    def env_steps(self) -> np.ndarray:
        """Return the environment steps of every lane, on every host."""
        return self.everywhere(self.tally.totals.env_steps + self.groups.peek()["steps"])

    def restore(self, found: Checkpoint, elsewhere: Mapping[str, Any] | None = None) -> None:
        """Go on from a checkpoint of the same work; `elsewhere` is what the config is to say of it."""
        assert self.run is not None
        self.groups.restore(found.rows)
        counts = found.totals(self.groups.local)
        self.tally.restore(Totals(*(counts.pop(name) for name in Totals._fields)), counts)
        self._tick = self._saved_tick = found.manifest["tick"]
        self.seconds = found.manifest["seconds"]
        self._notes = [tuple(note) for note in found.manifest["points"]]
        self.run.go_on(found, elsewhere)
        lanes = self.groups.local
        self.points = [of_lanes(point, lanes) for point in self.run.points(self._notes)]
        for point in self.points:
            self._remember(point)
            if self._feed:
                self._feed.write(tables.rows(point, self._columns))
        found.forget()

    def close(self) -> None:
        """End the sinks."""
        self._feed.close()

    def everywhere(self, column: np.ndarray) -> np.ndarray:
        """Return a column `[local lanes]` of all lanes, on every host."""
        return self.groups.everywhere(column)
