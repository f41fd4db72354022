"""One lane's training: the loop, evaluation, recording.

Read `lane`, `iteration`, `loop`; `start` makes a lane, `ahead` (with `cut`) draws random numbers before the
iterations that use them. Then `evaluation`, `recording`, `measures`.
Imports `envs` and what is below.
"""

from qjax.training.evaluation import Episodes
from qjax.training.lane import Lane, pop_metrics

__all__ = ["Episodes", "Lane", "pop_metrics"]
