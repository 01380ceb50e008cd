"""A wrapper that flattens observations to float32 vectors."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.utils import RecordConstructorArgs

from weit_rl.envs.flat_spaces import flat_box, flattened


class FlatObservations(gymnasium.ObservationWrapper, RecordConstructorArgs):
    """A wrapper that flattens observations to float32.

    Args:
        env: an environment whose observations are a Box of any shape, or a Dict of them.
    """

    def __init__(self, env: gymnasium.Env):
        RecordConstructorArgs.__init__(self)
        gymnasium.ObservationWrapper.__init__(self, env)
        self.observation_space = flat_box(env.observation_space)

    def observation(self, observation: Any) -> np.ndarray:
        """Flatten one observation."""
        return flattened(observation)
