"""A run's folder: tables, checkpoints, what else is written, and how it is read back.

Read `run` (with `folder`, `lifecycle`, `saving`, `recorder`, `agents`), `tables`, `checkpoint`, `reading`,
`results`, `transitions`. Imports `datasets`, `training`, `machine` and what is below.
"""

from qjax.runs.reading import load_metrics

__all__ = ["load_metrics"]
