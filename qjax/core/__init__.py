"""What every folder uses: checked arguments and messages, keys, the clock, sums that do not drift.

Read `checks`, `clock`, `random`. Imports `qjax.types` alone.
"""
