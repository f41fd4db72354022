"""Sweeps: settings and seeds as lanes, compiled, and run by the host in chunks.

Read `sweep`, `hyperparameters`, `plan`, `groups`, `drive`. Imports `runs`, `stats` and what is below.
"""
