"""A wrapper that lets policies act in [-1, 1]."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs

from weit_rl.envs.action_box import ActionBox


class UnitActions(gymnasium.ActionWrapper, RecordConstructorArgs):
    """A wrapper that scales actions from [-1, 1] to the environment's own bounds.

    Gymnasium's RescaleAction neither clips rounding errors to the bounds nor makes the space float32.

    Args:
        env: an environment whose actions are a flat, bounded Box.
    """

    def __init__(self, env: gymnasium.Env):
        RecordConstructorArgs.__init__(self)
        gymnasium.ActionWrapper.__init__(self, env)
        own: Any = env.action_space
        self.box = ActionBox.of(own)
        self.action_space = spaces.Box(-np.ones_like(self.box.low), np.ones_like(self.box.high), dtype=np.float32)

    def action(self, action: np.ndarray) -> np.ndarray:
        """Scale one action."""
        return self.box.own(action)
