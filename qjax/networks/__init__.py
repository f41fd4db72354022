"""Networks: any `init` and `apply`, and a few ready ones.

Read `networks`, then `layers`, `recurrent` and `optimizers`. Imports `objectives` and what is below.
"""

from qjax.networks.networks import WithPrior
from qjax.networks.recurrent import RecurrentParams

__all__ = ["RecurrentParams", "WithPrior"]
