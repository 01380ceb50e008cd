"""Agents: roll-outs and evaluation, Stable-Baselines3 policies from banks, behaviour policies and their recordings.

Importing this package registers ``"WeiTPolicy"`` with Stable-Baselines3's algorithms.
"""

from weit_rl.envs.rendering import load_triton_first

load_triton_first()  # before torch, which looks for triton: an environment may have loaded a software renderer

import weit_rl.agents.contrib_policies  # noqa: E402  (both modules register the name)
import weit_rl.agents.sb3_policies  # noqa: E402, F401
