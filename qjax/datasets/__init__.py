"""Recorded data: transitions in files and arrays, a memory over them, and what they say a policy is worth.

Read `dataset` first, then `memory`. Imports what lies below `algorithms`.
"""

from qjax.datasets.dataset import Dataset

__all__ = ["Dataset"]
