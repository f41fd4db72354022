"""Named compositions of the family, with their constants.

Read `parts`, `members`, `tabular`. Imports `training` and what is below.
"""

from qjax.algorithms.members import DEEP, MEMBERS, Protocol, make, member, protocol_of, reads, traced
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
    "make",
    "member",
    "protocol_of",
    "reads",
    "traced",
]
