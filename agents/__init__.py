"""Agents: acting and evaluation, Stable-Baselines3 policies from banks, behaviour policies and their recordings.

Importing this package makes ``"WeiTPolicy"`` known to Stable-Baselines3's algorithms.
"""

import weit_rl.agents.sb3_policies  # noqa: F401  (registers the name)
