"""Named compositions of the family, with their constants.

Read `parts`, `members`, `tabular`. Imports `training` and what is below.
"""

from qjax.algorithms.members import (
    DEEP,
    MEMBERS,
    Protocol,
    assumed,
    c51,
    epsilon,
    make,
    member,
    network,
    optimizer,
    pqn_parts,
    protocol_of,
    rainbow,
    reads,
    support_of,
    traced,
    valued,
)
from qjax.algorithms.parts import Member, Parts
from qjax.algorithms.tabular import TABULAR, TabularProtocol

__all__ = [
    "DEEP",
    "MEMBERS",
    "TABULAR",
    "Member",
    "Parts",
    "Protocol",
    "TabularProtocol",
    "assumed",
    "c51",
    "epsilon",
    "make",
    "member",
    "network",
    "optimizer",
    "pqn_parts",
    "protocol_of",
    "rainbow",
    "reads",
    "support_of",
    "traced",
    "valued",
]
