"""An environment in one file: a point that an agent moves along a line."""

import gymnasium
import numpy as np

from weit_rl.envs.registry import EnvEntry

NAME = __name__.rpartition(".")[2]


class Line(gymnasium.Env):
    """A point on a line; the reward is the distance covered."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float64)
    action_space = gymnasium.spaces.Box(-2, 2, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = np.zeros(1)
        return self.place, {}

    def step(self, action):
        self.place = self.place + action
        return self.place, float(action[0]), False, False, {}


def make(gym_id, **kwargs):
    """Make the environment."""
    return Line(**kwargs)


MEMBER = EnvEntry(NAME, f"{NAME}-v0", f"{__name__}:make", episode_steps=5)
