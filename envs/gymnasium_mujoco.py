"""Gymnasium's MuJoCo tasks, version 5."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from weit_rl.common.errors import UserError
from weit_rl.envs.mujoco_warnings import watch_mujoco
from weit_rl.envs.registry import ENVS, EnvEntry
from weit_rl.envs.rendering import LIBRARIES

if TYPE_CHECKING:
    import gymnasium

EPISODE_STEPS = {
    "HalfCheetah": 1000,
    "Hopper": 1000,
    "Walker2d": 1000,
    "Ant": 1000,
    "Swimmer": 1000,
    "Humanoid": 1000,
    "HumanoidStandup": 1000,
    "Reacher": 50,
    "Pusher": 100,
    "InvertedPendulum": 1000,
    "InvertedDoublePendulum": 1000,
}


def make(gym_id: str, **kwargs: Any) -> gymnasium.Env:
    """Make one environment by its Gymnasium id; pictures follow the body if the model has such a camera.

    Raises:
        UserError: if the simulator is missing.
    """
    load_simulator(gym_id)
    import gymnasium
    import mujoco

    env = gymnasium.make(gym_id, **kwargs)
    if "render_mode" in kwargs:
        body: Any = env.unwrapped
        if not kwargs.keys() & {"camera_id", "camera_name"}:  # by default, Gymnasium's camera stands still
            track = mujoco.mj_name2id(body.model, mujoco.mjtObj.mjOBJ_CAMERA, "track")
            body.mujoco_renderer.camera_id = track  # -1, the free camera, if there is none
        quality = body.model.vis.quality
        quality.shadowsize = quality.offsamples = 0  # software rendering spends most of its time on these
    return env


def load_simulator(gym_id: str) -> None:
    """Import the simulator and receive its warnings; raise UserError if it or the requested renderer is missing."""
    try:
        importlib.import_module("gymnasium")
        importlib.import_module("mujoco")
    except ImportError as error:
        raise UserError(f"env {gym_id}: {error.name} is missing; pip install 'gymnasium[mujoco]' 'mujoco<4'") from error
    except (AttributeError, RuntimeError) as error:  # raised by PyOpenGL and MuJoCo for a missing renderer
        asked = f"MUJOCO_GL={os.environ.get('MUJOCO_GL')}"
        raise UserError(f"env {gym_id}: {asked} does not work here; unset it, or {LIBRARIES}") from error
    watch_mujoco()


for _name, _steps in EPISODE_STEPS.items():
    ENVS.add(_name, EnvEntry.of(_name, f"{_name}-v5", f"{__name__}:make", _steps))
