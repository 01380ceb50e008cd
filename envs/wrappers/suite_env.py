"""A task of the DeepMind control suite as a Gymnasium environment."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.utils import EzPickle

from weit_rl.envs.dm_control_loading import load_suite

NO_BOUND = 1e10  # dm_control's bound of an actuator without bounds
PICTURE = {"height": 480, "width": 480, "camera_id": 0}
MOST_SEED = 2**32  # seeds of dm_control's generator are smaller


class SuiteEnv(gymnasium.Env, EzPickle):
    """A task of the suite; unpickling makes it again, as for Gymnasium's own MuJoCo environments.

    Args:
        domain: of the suite.
        task: of the domain.
        render_mode: ``"rgb_array"`` or None (default).
    """

    def __init__(self, domain: str, task: str, render_mode: str | None = None):
        EzPickle.__init__(self, domain, task, render_mode)
        load_suite(f"dmc/{domain}-{task}")
        from dm_control import suite

        self.control = suite.load(domain, task, environment_kwargs={"flat_observation": True})
        actions, size = self.control.action_spec(), self.control.observation_spec()["observations"].shape
        low, high = (np.where(abs(b) < NO_BOUND, b, np.sign(b) * np.inf) for b in (actions.minimum, actions.maximum))
        self.action_space: Any = spaces.Box(low.astype(np.float32), high.astype(np.float32), dtype=np.float32)
        self.observation_space: Any = spaces.Box(-np.inf, np.inf, size, dtype=np.float64)
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": round(1 / self.control.control_timestep())}
        self.render_mode, self.ended = render_mode, True  # until the first reset

    @property
    def model(self) -> Any:
        """Return MuJoCo's model, as Gymnasium's environments do."""
        return self.control.physics.model.ptr

    @property
    def data(self) -> Any:
        """Return MuJoCo's data, as Gymnasium's environments do."""
        return self.control.physics.data.ptr

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict]:
        """Begin an episode; a seed restarts the task's generator, and without a seed it continues."""
        super().reset(seed=seed)
        if seed is not None:
            self.control.task.random.seed(seed % MOST_SEED)
        self.ended = False
        return self.control.reset().observation["observations"], {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Act once; an episode that ends by its time limit keeps the discount 1.

        Raises:
            ResetNeeded: after the end of an episode; dm_control would begin the next one.
        """
        if self.ended:
            raise ResetNeeded("the episode has ended; call reset() before step()")
        now = self.control.step(action)
        terminated = bool(now.last() and now.discount == 0)
        self.ended = bool(now.last())
        return now.observation["observations"], float(now.reward), terminated, self.ended and not terminated, {}

    def render(self) -> np.ndarray:
        """Draw the view of the task's first camera, ``(480, 480, 3)`` uint8."""
        return self.control.physics.render(**PICTURE)

    def close(self) -> None:
        """Free the renderer."""
        self.control.close()
