"""A wrapper that ends episodes when the simulator fails, and refuses invalid actions."""

from __future__ import annotations

import math
import warnings
from typing import Any

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils import RecordConstructorArgs

from weit_rl.common.errors import UserError
from weit_rl.envs import mujoco_warnings
from weit_rl.envs.crashes import ADVICE, BadAction, is_program_error, one_line, one_number

StepResult = tuple[Any, float, bool, bool, dict[str, Any]]


class EndsAtCrash(gymnasium.Wrapper, RecordConstructorArgs):
    """A wrapper that ends an episode when the simulation fails; see :func:`weit_rl.envs.wrapping.ends_at_crash`.

    Args:
        env: an environment with the observations and actions of policies here.
        name: of the environment, for messages.
    """

    def __init__(self, env: gymnasium.Env, name: str):
        RecordConstructorArgs.__init__(self, name=name)
        gymnasium.Wrapper.__init__(self, env)
        self._name, self._steps, self._running = name, 0, False
        self._seed: int | None = None
        self._last: Any = None
        mujoco_warnings.watch_loaded()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode as the environment does; raise UserError if its simulator fails."""
        self._running = False
        try:
            self._last, info = self.env.reset(seed=seed, options=options)
        except Exception as error:
            if is_program_error(error):
                raise
            raise UserError(
                f"env {self._name}: the simulation failed in reset ({one_line(error)}); {ADVICE}"
            ) from error
        if not np.isfinite(self._last).all():
            raise UserError(f"env {self._name}: the observation of reset holds NaN or infinity; {ADVICE}")
        self._seed, self._steps, self._running = seed, 0, True
        return self._last, info

    def step(self, action: Any) -> StepResult:
        """Act once; end the episode if the simulator fails.

        Raises:
            ResetNeeded: before a reset, and after a failure; after any other end, the environment decides.
            BadAction: for an action of another shape, or one with NaN or infinite numbers.
            UserError: for a failure in the first step of an episode, or a reward that is not one number.
        """
        action = self._checked(action)
        self._steps += 1
        unstable = mujoco_warnings.unstable
        try:
            step = self.env.step(action)
        except Exception as error:
            if is_program_error(error):
                raise
            return self._crashed(one_line(error), error)
        observation, given, terminated, truncated, info = step
        reward = one_number(given, self._name)
        if mujoco_warnings.unstable != unstable:
            return self._crashed("MuJoCo: the simulation is unstable")
        if not (math.isfinite(reward) and np.isfinite(observation).all()):
            return self._crashed("an observation or a reward that is no number")
        self._last = observation
        return observation, reward, bool(terminated), bool(truncated), info

    def _checked(self, action: Any) -> np.ndarray:
        if not self._running:
            raise ResetNeeded(f"env {self._name}: no episode has begun since the last one failed; call reset() first")
        given, shape = np.asarray(action), self.action_space.shape
        if given.shape != shape:
            raise BadAction(f"env {self._name}: an action of shape {given.shape}; give one of shape {shape}")
        if not np.isfinite(given).all():
            raise BadAction(
                f"env {self._name}: the action in step {self._steps + 1} of an episode holds NaN or infinity; look "
                "whether the policy's weights are finite, and lower its learning rate"
            )
        return given

    def _crashed(self, reason: str, error: Exception | None = None) -> StepResult:
        self._running = False
        if self._steps == 1:
            of_seed = "" if self._seed is None else f" of seed {self._seed}"
            raise UserError(
                f"env {self._name}: the episode{of_seed} failed in its first step ({reason}); {ADVICE}"
            ) from error
        where = f"{self._name}: the simulation failed in step {self._steps} of an episode ({reason})"
        warnings.warn(f"{where}; it ends there, with what it earned", RuntimeWarning, stacklevel=3)
        return self._last.copy(), 0.0, True, False, {"crashed": reason}
