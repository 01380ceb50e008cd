"""Heights of the parts of a body above the floor."""

from __future__ import annotations

from typing import Any

import numpy as np

ROOT = "torso"  # name of the first part in all bodies


def stance(model: Any) -> tuple[float, float]:
    """Return the heights of the root and of the lowest point, m, in the first pose with all joints within limits."""
    data = _posed(model)
    return float(data.body(ROOT).xpos[2]), lowest(model, data)


def lifts_torso(model: Any) -> bool:
    """Return True if limbs reach below the torso in the first pose, or with all joints at one of their limits."""
    torso = model.body_weldid[model.geom_bodyid] == model.body(ROOT).id
    limbs = (model.geom_bodyid > 0) & ~torso
    heights = [_bottoms(model, _posed(model, end)) for end in (None, 0, 1)]
    return any(bottom[limbs].min() <= bottom[torso].min() + 1e-9 for bottom in heights)


def lowest(model: Any, data: Any) -> float:
    """Return the height of the lowest point of a body of spheres and capsules, m."""
    return float(_bottoms(model, data)[model.geom_bodyid > 0].min())


def _bottoms(model: Any, data: Any) -> np.ndarray:
    lengths = np.where(model.geom_type == 3, model.geom_size[:, 1], 0)  # mjGEOM_CAPSULE; a sphere has none
    return data.geom_xpos[:, 2] - lengths * abs(data.geom_xmat[:, 8]) - model.geom_size[:, 0]


def _posed(model: Any, end: int | None = None) -> Any:
    import mujoco

    data = mujoco.MjData(model)
    for joint in np.flatnonzero(model.jnt_limited):
        address, limits = model.jnt_qposadr[joint], model.jnt_range[joint]
        data.qpos[address] = np.clip(data.qpos[address], *limits) if end is None else limits[end]
    mujoco.mj_kinematics(model, data)
    return data
