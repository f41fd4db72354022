"""Which lanes leave a sweep, and when: at log points alone, so that neither chunks nor a resume change anything."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from qjax.core.checks import check_callable, check_flag
from qjax.core.text import shown
from qjax.runs.points import DROPPED, Point, Tally
from qjax.sweeps.groups import Groups


@runtime_checkable
class Drop(Protocol):
    """A function of yours that says which lanes a sweep drops."""

    def __call__(self, point: Point, number: int, /) -> Any:
        """Return which of the point's lanes leave, bool `[lanes]`, or None for none of them.

        Args:
            point: the log point, on several hosts of this process's lanes. One that has left has no means or values
                any more, and its answer does not count, nor that of one whose work is done.
            number: of the log point, from 0.

        """


class Drops(NamedTuple):
    """What takes lanes away before their work is done."""

    own: Drop | None
    """The function that is asked, where there is one."""
    diverged: bool
    """Whether lanes that diverged leave."""

    def checked(self) -> "Drops | None":
        """Return itself, checked; None where it takes none.

        Raises:
            TypeError: the function cannot be called so, or the flag is none.

        """
        if self.own is not None:
            check_callable("drop", self.own, "(point, number) -> lanes")
        diverged = check_flag("drop_diverged", self.diverged)
        return None if self.own is None and not diverged else self._replace(diverged=diverged)

    def asked(self, point: Point, number: int) -> np.ndarray:
        """Return which lanes are to leave, `[lanes]`."""
        found = np.zeros(len(point.env_steps), bool)
        said = None if self.own is None else self.own(point, number)
        if said is not None:
            flags = np.asarray(said)
            if flags.dtype != bool or flags.shape != found.shape:
                raise ValueError(
                    f"drop must return None or a bool for each of {len(found)} lanes, got {shown(said)}"
                )
            found |= flags
        return found | (point.diverged_at >= 0) if self.diverged else found


class Leaving:
    """Lets lanes leave: those that have nothing left to do, and those that are dropped."""

    def __init__(self, drops: Drops | None, episodes: int | None, tally: Tally, groups: Groups):
        """Take lanes from `groups`, and note it in `tally`; `episodes` are those that end a lane's work."""
        self._drops, self._episodes, self._tally, self._groups = drops, episodes, tally, groups

    def at(self, point: Point, number: int, evaluated: bool) -> Point:
        """Let the lanes leave whose time it is, and return the log point with what that makes of it.

        A lane that has its episodes leaves where it was `evaluated`, so that its last agent is. Whose work is done
        is not dropped.
        """
        totals = self._tally.totals
        ended = np.zeros(len(point.env_steps), bool)
        if self._episodes is not None:
            ended = totals.episodes >= self._episodes
        gone = ended & evaluated & ~totals.left
        if self._drops is None:
            dropped = np.zeros_like(gone)
        else:
            dropped = self._drops.asked(point, number) & ~totals.left & (self._tally.shares(0) < 1)
            column = np.where(totals.left, np.nan, dropped).astype(np.float32)
            point = point._replace(values={**point.values, DROPPED: column})
        if (gone | dropped).any():
            self._groups.leave(gone | dropped)
            self._tally.leave(gone | dropped, dropped)
        if self._drops is not None or self._episodes is not None:
            self._groups.compact()
        return point._replace(done=self._tally.done(0))
