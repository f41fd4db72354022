"""Recorded data: transitions in files and arrays, a memory over them, and what they say a policy is worth.

Read `dataset` first, then `arrays`, `recording`, `files`. Imports what lies below `algorithms`.
"""

from qjax.datasets.arrays import concatenate, from_arrays
from qjax.datasets.dataset import Dataset
from qjax.datasets.files import load, save
from qjax.datasets.recording import collect, from_ring

__all__ = ["Dataset", "collect", "concatenate", "from_arrays", "from_ring", "load", "save"]
