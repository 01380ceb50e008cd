"""Simulations that fail inside an episode: the episode ends there, with what it earned, and one line says so."""

from __future__ import annotations

import functools
import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from weit_rl.envs import mujoco_warnings

if TYPE_CHECKING:
    import gymnasium

Step = tuple[Any, float, bool, bool, dict[str, Any]]


def ends_at_crash(env: gymnasium.Env, name: str) -> gymnasium.Env:
    """The environment, whose episodes end, as failed (``terminated``), in a step that its simulator does not survive.

    That is one that raises an error, gives an observation or a reward that is no number, or in which MuJoCo finds the
    simulation unstable: left alone it would put the body back to where it began and go on. The last observation comes
    once more, with a reward of 0 and the reason as ``info["crashed"]``.

    Args:
        env: acts and is seen as policies here want it.
        name: of the environment, for the warning.
    """
    return _wrapper()(env, name)


@functools.cache
def _wrapper() -> Any:
    import gymnasium

    class EndsAtCrash(Crashes, gymnasium.Wrapper):  # type: ignore[misc]
        pass

    return EndsAtCrash


class Crashes:
    """The methods of a Gymnasium wrapper that looks for crashes; see :func:`ends_at_crash`."""

    env: Any
    _last: Any

    def __init__(self, env: Any, name: str):
        super().__init__(env)  # type: ignore[call-arg]
        self._name, self._steps, self._last = name, 0, None

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """As the environment's own."""
        self._steps = 0
        self._last, info = self.env.reset(**kwargs)
        return self._last, info

    def step(self, action: Any) -> Step:
        """As the environment's own, but for a crash."""
        self._steps += 1
        unstable = mujoco_warnings.unstable
        try:
            observation, reward, terminated, truncated, info = self.env.step(action)
        except Exception as error:  # whatever a simulator raises
            return self._crashed(" ".join(f"{type(error).__name__}: {error}".split())[:200])
        if mujoco_warnings.unstable != unstable:
            return self._crashed("MuJoCo: the simulation is unstable")
        if not (math.isfinite(reward) and np.isfinite(observation).all()):
            return self._crashed("an observation or a reward that is no number")
        self._last = observation
        return observation, reward, terminated, truncated, info

    def _crashed(self, reason: str) -> Step:
        where = f"{self._name}: the simulation failed in step {self._steps} of an episode ({reason})"
        warnings.warn(f"{where}; it ends there, with what it earned", RuntimeWarning, stacklevel=3)
        return self._last, 0.0, True, False, {"crashed": reason}
