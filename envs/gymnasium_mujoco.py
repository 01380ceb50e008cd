"""Gymnasium's MuJoCo locomotion, version 5; the reference returns are D4RL's."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING, Any

from weit_rl.envs.entry import ENVS, EnvEntry
from weit_rl.errors import UserError

if TYPE_CHECKING:
    import gymnasium


def make(gym_id: str, **kwargs: Any) -> gymnasium.Env:
    """Make one environment by its Gymnasium id; pictures follow the body.

    Raises:
        UserError: when the simulator is missing.
    """
    try:
        import gymnasium
        import mujoco
    except ImportError as error:
        raise UserError(f"env {gym_id}: {error.name} is missing; pip install 'gymnasium[mujoco]' 'mujoco<4'") from error
    mujoco.set_mju_user_warning(_on_mujoco_warning)
    if "render_mode" not in kwargs:
        return gymnasium.make(gym_id, **kwargs)
    env = gymnasium.make(gym_id, **{"camera_name": "track", **kwargs})
    quality = env.unwrapped.model.vis.quality  # type: ignore[attr-defined]
    quality.shadowsize = quality.offsamples = 0  # software rendering spends most of its time on these
    return env


def _on_mujoco_warning(message: str) -> None:
    # Gymnasium's HalfCheetah says this each time; without a handler it also leaves MUJOCO_LOG.TXT behind.
    if "'settotalmass' is deprecated" in message:
        return
    try:
        warnings.warn(f"MuJoCo: {message}", RuntimeWarning, stacklevel=2)
    except RuntimeWarning as warning:  # warnings are errors here, but an exception inside C ends the process
        print(warning, file=sys.stderr)


for _name, _random, _expert in (
    ("HalfCheetah", -280.178953, 12135.0),
    ("Hopper", -20.272305, 3234.3),
    ("Walker2d", 1.629008, 4592.3),
    ("Ant", -325.6, 3879.7),
):
    ENVS.add(_name, EnvEntry(_name, f"{_name}-v5", "weit_rl.envs.gymnasium_mujoco:make", _random, _expert))
