"""What an agent learns: returns and TD errors, heads and their losses, target policies, rewards, target networks.

Read `returns`, `target_policies`, `heads`, `rewards`, `target_networks`. Imports `exploration` and what is below.
"""
