"""What every folder uses: checked arguments and messages, keys, the clock, sums, files that stay whole.

Read `checks`, `clock`, `random`. Imports `qjax.types` alone.
"""
