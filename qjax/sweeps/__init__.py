"""Sweeps: settings and seeds as lanes, compiled, and run by the host in chunks.

Read `sweep`, and its three stages: `described` (with `hyperparameters`, `asked`, `phases`, `traced`), `compiled`
(with `placement`, `programs`, `compiler`, `plan`) and `running` (with `groups`, `compaction`, `leaving`, `log`,
`options`, `progress`, `saving`, `resume`), which ends in a `result`. Imports `runs`, `stats` and what is below.
"""

from qjax.sweeps.hyperparameters import Build
from qjax.sweeps.leaving import Drop
from qjax.sweeps.plan import Plan
from qjax.sweeps.programs import Report
from qjax.sweeps.progress import Progress

__all__ = ["Build", "Drop", "Plan", "Progress", "Report"]
