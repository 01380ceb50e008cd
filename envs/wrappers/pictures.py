"""Wrappers that show environments in small pictures, drawn by this process's camera for their kind."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs

from weit_rl.envs.camera import camera_of, check_drawable
from weit_rl.envs.pixels import frames


class Pictures(gymnasium.ObservationWrapper, RecordConstructorArgs):
    """A wrapper that shows one frame, ``(3, edge, edge)`` uint8, instead of the observation.

    The camera is made when it is first needed, since AsyncVectorEnv makes an environment before it forks.

    Args:
        env: an environment simulated by MuJoCo.
        name: of the environment.
        edge: of the pictures, pixels.

    Raises:
        UserError: if the simulator is not MuJoCo.
    """

    def __init__(self, env: gymnasium.Env, name: str, edge: int):
        RecordConstructorArgs.__init__(self, name=name, edge=edge)
        gymnasium.ObservationWrapper.__init__(self, env)
        self.kind, self.edge = name, edge
        check_drawable(name, env.unwrapped)
        self.observation_space = frames(edge)

    def observation(self, observation: Any) -> Any:
        """Draw the simulation as it is now."""
        return camera_of(self.kind, self.unwrapped, self.edge).picture(self.unwrapped)


class PicturesBeside(Pictures):
    """A wrapper that shows one frame and the observation, as ``{"state": ..., "pixels": ...}``."""

    def __init__(self, env: gymnasium.Env, name: str, edge: int):
        super().__init__(env, name, edge)
        self.observation_space = spaces.Dict({"state": env.observation_space, "pixels": frames(edge)})

    def observation(self, observation: Any) -> Any:
        """Draw the simulation as it is now, and add its state."""
        return {"state": observation, "pixels": super().observation(observation)}


class JoinedFrames(gymnasium.ObservationWrapper, RecordConstructorArgs):
    """A wrapper that joins stacked frames ``(n, 3, edge, edge)`` to one picture of ``3 * n`` channels.

    Args:
        env: an environment that shows stacked frames.
    """

    def __init__(self, env: gymnasium.Env):
        RecordConstructorArgs.__init__(self)
        gymnasium.ObservationWrapper.__init__(self, env)
        stacked: Any = env.observation_space
        self.observation_space = spaces.Box(_joined(stacked.low), _joined(stacked.high), dtype=np.uint8)

    def observation(self, observation: np.ndarray) -> np.ndarray:
        """Join the frames of one observation."""
        return _joined(observation)


class JoinedState(gymnasium.ObservationWrapper, RecordConstructorArgs):
    """A wrapper that joins the newest state and the bytes of all stacked frames to a flat float32 vector, state first.

    Args:
        env: an environment that shows stacked states and frames.
    """

    def __init__(self, env: gymnasium.Env):
        RecordConstructorArgs.__init__(self)
        gymnasium.ObservationWrapper.__init__(self, env)
        parts: Any = env.observation_space
        low, high = (_flat({"state": getattr(parts["state"], bound), "pixels": getattr(parts["pixels"], bound)})
                     for bound in ("low", "high"))  # fmt: skip
        self.observation_space = spaces.Box(low, high, dtype=np.float32)

    def observation(self, observation: dict[str, np.ndarray]) -> np.ndarray:
        """Join the parts of one observation."""
        return _flat(observation)


def _joined(frames: np.ndarray) -> np.ndarray:
    return frames.reshape(-1, *frames.shape[2:])


def _flat(stacked: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([stacked["state"][-1], stacked["pixels"].reshape(-1)], dtype=np.float32)
