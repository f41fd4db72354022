"""A run's folder: tables, checkpoints, what else is written, and how it is read back.

Read `run`, `tables`, `checkpoint`, `results`. Imports `training`, `machine` and what is below.
"""
