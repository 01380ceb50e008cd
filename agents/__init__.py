"""Agents: acting and evaluation, Stable-Baselines3 policies from banks, behaviour policies and their recordings.

Importing this package makes ``"WeiTPolicy"`` known to Stable-Baselines3's algorithms.
"""

from weit_rl.envs.rendering import load_triton_first

load_triton_first()  # an environment made before this may have brought a software renderer; torch looks for triton next

import weit_rl.agents.contrib_policies  # noqa: E402  (both register the name)
import weit_rl.agents.sb3_policies  # noqa: E402, F401
