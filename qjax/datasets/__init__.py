"""Recorded data: transitions in files and arrays, a memory over them, and what they say a policy is worth.

Read `dataset` first, then `arrays`, `recording`, `files`, `minari`, `memory`, `estimates`. Imports only
what lies below `algorithms`.
"""

from qjax.datasets.arrays import concatenate, from_arrays
from qjax.datasets.dataset import Dataset
from qjax.datasets.estimates import ImportanceSampling, ValueEstimate, fitted_q, importance_sampling, model
from qjax.datasets.files import load, save
from qjax.datasets.minari import from_minari
from qjax.datasets.recording import collect, from_ring

__all__ = [
    "Dataset",
    "ImportanceSampling",
    "ValueEstimate",
    "collect",
    "concatenate",
    "fitted_q",
    "from_arrays",
    "from_minari",
    "from_ring",
    "importance_sampling",
    "load",
    "model",
    "save",
]
