"""What an agent learns: returns and TD errors, heads and their losses, target policies, rewards, target networks.

Read `returns`, `off_policy`, `target_policies`, `heads`, `classification`, `offline`, `rewards`, `target_networks`,
`members`. Imports `exploration` and what is below.
"""

from qjax.objectives.heads import Rescaling
from qjax.objectives.off_policy import Trace
from qjax.objectives.rewards import environment_reward

__all__ = ["Rescaling", "Trace", "environment_reward"]
