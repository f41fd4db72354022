"""Agents, made of the pieces below them: they know no loop and no environment.

Read `tabular`, `dqn`, then `traces` and `pqn`. Imports `replay` and what is below.
"""
