"""Networks: any `init` and `apply`, and a few ready ones.

Read `networks`, then `layers`. Imports `objectives` and what is below.
"""
