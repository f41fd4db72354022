"""A compiled sweep running: chunks, log points, checkpoints and signals, in one loop of the host."""

import re
import signal
import time
from contextlib import nullcontext
from typing import Any

import jax
import numpy as np

from qjax.core.text import short
from qjax.machine import hosts
from qjax.machine.interrupt import Again, Interrupt
from qjax.runs.points import NEVER, Point, Tally
from qjax.sweeps.compiled import Compiled
from qjax.sweeps.evaluating import nothing, steps_of_best
from qjax.sweeps.groups import Groups
from qjax.sweeps.leaving import Leaving
from qjax.sweeps.log import Log
from qjax.sweeps.options import Options
from qjax.sweeps.phases import Phase, remaining
from qjax.sweeps.progress import Progress
from qjax.sweeps.result import Best, Result
from qjax.sweeps.resume import Opened
from qjax.sweeps.saving import Saving
from qjax.sweeps.snapshots import Snapshots


class Running:
    """A sweep that runs: where its lanes stand, on this host."""

    def __init__(self, compiled: Compiled, options: Options, opened: Opened | None):
        """Begin with the lanes not made, at tick 0; `opened` is the run that it goes into, where there is one."""
        self.options, self.opened, self.plan = options, opened, compiled.plan
        self.described = described = compiled.described
        self.groups = groups = Groups(compiled.programs)
        hypers = described.hypers_of(groups.local)
        self.tally = Tally(described.loop, len(groups.local), described.steps, described.schedules, hypers)
        self.log = Log(described, groups.local, opened and opened.run, options.sinks)
        self.leaving = Leaving(described.drops, described.loop.episodes, self.tally, groups)
        self.snapshots = Snapshots(options.snapshots, *(opened.stands if opened else (None, 0)))
        self.saving = opened and Saving(opened, groups, self.tally, self.log, options.checkpoint_every)
        self.tick, self.seconds = 0, 0.0
        self.signal: str | None = None
        """The signal that came, on any host."""
        self._speed: dict[bool, float] = {}
        self._diverged = 0

    def run(self) -> str | None:
        """Run to the end, or until something stops it, and return what that was: None, a signal's name, or "nan".

        It goes on from the run's checkpoint where there is one.

        Raises:
            MemoryError: the devices do not hold what they promised.

        """
        try:
            self._begin()
            return self._watched()
        except jax.errors.JaxRuntimeError as error:
            if not re.search("RESOURCE_EXHAUSTED|out of memory", str(error), re.IGNORECASE):
                raise
            raise MemoryError(f"{self.plan.exhausted()}: {short(str(error).splitlines()[0], 200)}") from error
        finally:
            self.log.close()

    def _begin(self) -> None:
        if self.saving is None or self.opened is None or self.opened.found is None:
            self.groups.start()
        else:
            self.tick, self.seconds = self.saving.restore()

    def _watched(self) -> str | None:
        """Run, signals being looked for between chunks where there is a run to go on from."""
        with Again() as again, nullcontext(None) if self.saving is None else Interrupt() as interrupt:
            stopped = self._run(interrupt, again)
        if interrupt is not None:
            self.signal = self.signal or interrupt.received
        return stopped

    def _run(self, interrupt: Interrupt | None, again: Again) -> str | None:
        start = self._look(interrupt)
        self._diverged = sum(message["diverged"] for message in start)
        if self.tick and min(message["done"] for message in start) >= 1:
            return None
        for phase, left in remaining(self.described.phases, self.tick // self.described.loop.rollout):
            to_go = left
            while to_go:
                to_go -= self._chunk(phase, to_go)
                if not to_go:
                    self._fetch(phase)
                again.check()
                stopped, done = self._between(phase, interrupt)
                if stopped or done:
                    return stopped
        return None

    def _chunk(self, phase: Phase, left: int) -> int:
        """Run about `chunk_seconds` of a phase's iterations; return how many."""
        inner = self.described.inner_iterations[phase.learning]
        wanted = self.options.chunk_seconds * self._speed.get(phase.learning, 0.0)
        outer = int(np.clip(wanted // inner, 1, left // inner))
        began = time.perf_counter()
        self.groups.run(self.tick, outer, phase.learning)
        took = time.perf_counter() - began
        self.seconds += took
        self.tick += outer * inner * self.described.loop.rollout
        slowest = max(message["took"] for message in hosts.gather({"took": took}))
        self._speed[phase.learning] = outer * inner / max(slowest, 1e-9)
        return outer * inner

    def _fetch(self, phase: Phase, leave: bool = True) -> None:
        """Take the lanes' sums at the end of a phase, and make a log point of them where one is due.

        There lanes may `leave`.
        """
        began = time.perf_counter()
        self.tally.add(self.groups.pop_metrics())
        if not phase.log:
            self.seconds += time.perf_counter() - began
            return
        point, number = self.tally.point(self.seconds + time.perf_counter() - began), len(self.log.notes)
        point, evaluated = self._told(point, number)
        if leave:
            point = self.leaving.at(point, number, evaluated)
        self.seconds += time.perf_counter() - began
        point = point._replace(seconds=self.seconds)
        self.log.add(point)
        if leave:
            done = self.log.notes[-1][1] >= 1
            self.snapshots.keep(self.tick * self.described.loop.num_envs, done, self.groups.agents)
        self._show("on_log", point)

    def _told(self, point: Point, number: int) -> tuple[Point, bool]:
        """Return a log point with what the report says, and with an evaluation where one is due.

        And whether all that is to be evaluated there is.
        """
        values, due = dict(point.values), True
        if self.described.report is not None:
            values |= self.groups.report(self.tick, number)
        if (evaluation := self.described.evaluation) is not None:
            done = min(message["done"] for message in hosts.gather({"done": point.done}))
            due = evaluation.due(number, done >= 1)
            values |= self.groups.evaluate(self.tick, number) if due else nothing(len(point.env_steps))
        return point._replace(values=values), due

    def _show(self, name: str, news: Point | Progress) -> None:
        """Call what watches the sweep; an error of its own comes after a checkpoint."""
        try:
            self.options = self.options.show(name, news)
        except Exception:
            if self.saving is not None and hosts.alone():
                self.saving.save(self.tick, self.seconds, must=False)
            raise

    def _between(self, phase: Phase, interrupt: Interrupt | None) -> tuple[str | None, bool]:
        """Look around at the end of a chunk: return what stops the sweep, and whether it is done."""
        messages = self._look(interrupt)
        progress = self._progress(messages)
        self._show("on_progress", progress)
        done = min(message["done"] for message in messages) >= 1
        self.signal = stopped = next((message["stop"] for message in messages if message["stop"]), None)
        if stopped is None and self.options.stop_on_nan and progress.diverged > self._diverged:
            stopped = "nan"
        if self.saving is not None and (stopped or done or messages[0]["due"]):
            self.saving.save(self.tick, self.seconds, must=bool(stopped or done))
        if stopped == "nan":
            self._flag(phase)
        return (None if done else stopped), done

    def _look(self, interrupt: Interrupt | None) -> list[dict[str, Any]]:
        """Return where every host stands."""
        metrics, totals = self.groups.read_metrics(), self.tally.totals
        diverged = (totals.diverged_at != NEVER) | (metrics["diverged_at"] > 0)
        return hosts.gather(
            {
                "stop": interrupt.received if interrupt is not None else None,
                "done": self.tally.done(0),
                "share": self.tally.done(metrics["steps"]),
                "steps": int(totals.env_steps.sum() + metrics["steps"].astype(np.int64).sum()),
                "updates": int(totals.updates.sum() + metrics["updates"].astype(np.int64).sum()),
                "diverged": int(diverged.sum()),
                "due": self.saving is not None and self.saving.due(),
            }
        )

    def _progress(self, messages: list[dict[str, Any]]) -> Progress:
        """Return where the whole sweep stands."""
        return Progress(
            done=min(message["share"] for message in messages),
            seconds=self.seconds,
            env_steps=sum(message["steps"] for message in messages),
            updates=sum(message["updates"] for message in messages),
            iqm_return=self.log.iqm_return(),
            diverged=sum(message["diverged"] for message in messages),
            iqm_evaluation=self.log.iqm_evaluation(),
        )

    def _flag(self, phase: Phase) -> None:
        """Log the lanes as they are where one has diverged: after the checkpoint, so a resumed run drops it."""
        some = {"some": bool(self.groups.read_metrics()["steps"].any())}
        if any(message["some"] for message in hosts.gather(some)):
            self._fetch(phase._replace(log=True), leave=False)
            if self.opened is not None:
                self.opened.run.recorder.join()

    def end(self, stopped: str | None) -> Result:
        """Write what the sweep ends with into its run where nothing `stopped` it, and return it."""
        groups, programs, totals = self.groups, self.groups.programs, self.tally.totals
        agents, everywhere, best = groups.agents(), groups.placement.everywhere, None
        if self.described.evaluation is not None:
            steps = steps_of_best(self.log.points) if self.log.points else np.zeros(len(groups.local), np.int64)
            best = Best(groups.best(), everywhere(steps))
        env_steps = int(everywhere(totals.env_steps + groups.read_metrics()["steps"]).sum())
        if self.saving is not None and stopped is None:
            ended = {"env_steps": env_steps, "compile_s": programs.compile_s}
            self.saving.end(self.tick, self.seconds, agents, best and best.agents, ended)
            if self.signal is not None:  # it came too late to stop the sweep, and is not to be lost
                signal.raise_signal(signal.Signals[self.signal])
        return Result(
            agents=agents,
            points=self.log.points,
            seeds=self.described.seeds,
            settings=self.described.settings,
            hypers=self.described.swept,
            diverged_at=everywhere(totals.diverged_at),
            width=groups.placement.width,
            env_steps=env_steps,
            compile_s=programs.compile_s,
            run_s=self.seconds,
            stopped=stopped,
            dropped_at=everywhere(totals.dropped_at),
            best=best,
            snapshots=self.snapshots.kept(agents),
        )
