"""Memories: the latest transitions, a ring, n-step windows, priorities, sequences, a learned model.

Read `memory`, `prioritized` with `sum_tree`, `sequences`, `delayed`, `dyna`; `packing`, `frames` and `slices` say
how rows lie in memory.
Imports `objectives` and what is below.
"""

from qjax.replay.delayed import DelayedState
from qjax.replay.dyna import DynaState
from qjax.replay.prioritized import PrioritizedState

__all__ = ["DelayedState", "DynaState", "PrioritizedState"]
