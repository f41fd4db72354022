"""How an agent behaves: policies as action probabilities, and schedules of their constants.

Read `policies`, then `schedules`. Imports `core`.
"""
