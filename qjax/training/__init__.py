"""One lane's training: the loop, evaluation, recording.

Read `loop`, `evaluation`, `recording`; `ahead` draws random numbers before the loop that uses them.
Imports `envs` and what is below.
"""
