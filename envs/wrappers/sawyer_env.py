"""A Meta-World task as a Gymnasium environment whose episodes end at success."""

from __future__ import annotations

import functools
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.utils import EzPickle

WELD = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 5.0]  # Meta-World's weld of the hand to its target
FRAME = slice(0, 18), slice(18, 36)  # the newest frame of an observation, and the one before it
CAMERA = "corner2"  # it hangs upside down


class SawyerEnv(gymnasium.Env, EzPickle):
    """A task with its goal in the observation; unpickling makes it again.

    An episode ends (``terminated``) in the first step whose ``info["success"]`` is true. A seed decides where the
    object and the goal are, and a reset without a seed draws the next placement.

    Args:
        task: of Meta-World, such as ``"drawer-open-v3"``.
        render_mode: ``"rgb_array"`` or None (default).
    """

    def __init__(self, task: str, render_mode: str | None = None):
        EzPickle.__init__(self, task, render_mode)
        self.sawyer: Any = _task_class(task)(render_mode=render_mode, camera_name=CAMERA)
        self.sawyer._partially_observable = False
        self.sawyer.__dict__.pop("sawyer_observation_space", None)  # cached, with a goal of zeros
        self.sawyer._set_task_called = self.sawyer.seeded_rand_vec = True
        self.observation_space: Any = spaces.Box(-np.inf, np.inf, (39,), np.float64)  # its own has goals of one point
        self.action_space: Any = spaces.Box(-1, 1, (4,), np.float32)
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": self.sawyer.metadata["render_fps"]}
        self.render_mode, self.ended = render_mode, True  # until the first reset

    @property
    def model(self) -> Any:
        """Return MuJoCo's model, as Gymnasium's environments do."""
        return self.sawyer.model

    @property
    def data(self) -> Any:
        """Return MuJoCo's data, as Gymnasium's environments do."""
        return self.sawyer.data

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict]:
        """Begin an episode at a placement drawn by the seed, or by the generator where no seed is given."""
        super().reset(seed=seed)
        self.ended = False
        self.sawyer.np_random = self.np_random
        self.sawyer.draw_placement()
        observation = self.sawyer.reset_once()
        bounds = self.sawyer.sawyer_observation_space
        return np.clip(observation, bounds.low, bounds.high), {}  # as Meta-World's step does

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Act once.

        Raises:
            ResetNeeded: after the end of an episode.
        """
        if self.ended:
            raise ResetNeeded("the episode has ended; call reset() before step()")
        observation, reward, _, truncated, info = self.sawyer.step(action)
        self.ended = bool(info["success"])
        return observation, float(reward), self.ended, bool(truncated), info

    def render(self) -> Any:
        """Draw the scene from one corner of the table, ``(480, 480, 3)`` uint8."""
        return np.ascontiguousarray(self.sawyer.render()[::-1, ::-1])

    def close(self) -> None:
        """Free the renderer."""
        self.sawyer.close()


@functools.cache
def _task_class(task: str) -> Any:
    """Return a task's class with welds that fit any MuJoCo and a placement that can be drawn by itself."""
    import mujoco
    from gymnasium.envs.mujoco import MujocoEnv
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    original: Any = ALL_V3_ENVIRONMENTS[task]

    class SawyerTask(original):  # type: ignore[misc, valid-type]
        _is_drawing = False

        def reset_mocap_welds(self) -> None:
            # Meta-World assigns whole rows of 11 numbers; newer MuJoCo has 12.
            for row, kind in zip(self.model.eq_data, self.model.eq_type, strict=True):
                if kind == mujoco.mjtEq.mjEQ_WELD:
                    row[: len(WELD)] = WELD

        def draw_placement(self) -> None:
            """Draw where the object and the goal are, and keep it for the resets that follow.

            A task draws until the object is far enough from the goal, so the last draw is the one that counts.
            """
            self._freeze_rand_vec, self._is_drawing = False, True
            try:
                self.reset_model()
            finally:
                self._freeze_rand_vec, self._is_drawing = True, False

        def reset_once(self) -> np.ndarray:
            """Reset as Meta-World does, which first repeats the work of :meth:`draw_placement`."""
            observation, _ = MujocoEnv.reset(self)
            self.curr_path_length = 0
            now, before = FRAME
            observation[before] = self._prev_obs = observation[now].copy()
            return observation

        def _reset_hand(self, steps: int = 50) -> None:
            super()._reset_hand(0 if self._is_drawing else steps)

    return SawyerTask
