"""The machine: its devices, the hosts of a job, signals, and output that nobody may be reading.

Read `devices`, `hosts`, `interrupt`, `streams`. Imports `core`.
"""
