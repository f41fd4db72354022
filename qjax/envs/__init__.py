"""Environments as one record of functions: gymnax's, gymnasium's names, MDPs, your own.

Read `environments`, `interface`, `names`. Imports `mdp` and what is below.
"""
