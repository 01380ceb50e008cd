"""Floors that are drawn wherever the body is, as they are in the simulation."""

from __future__ import annotations

from typing import Any

import numpy as np

PLANE = 0  # MuJoCo's mjGEOM_PLANE


def endless_floor(env: Any) -> None:
    """Draw MuJoCo's floors without an end, as the simulation has them: a fast body soon runs off what is drawn."""
    model: Any = getattr(env.unwrapped, "model", None)
    for floor in np.flatnonzero(model.geom_type == PLANE) if hasattr(model, "geom_type") else []:
        size = model.geom_size[floor, :2]
        if (size > 0).all() and model.geom_matid[floor] >= 0:
            model.mat_texrepeat[model.geom_matid[floor]] /= 2 * size  # of a floor without an end, it is for a metre
        size[:] = 0


def place(scene: Any) -> np.ndarray:
    """``(3,)``: where a scene is looked at from."""
    return np.mean([camera.pos for camera in scene.camera], axis=0)


def follow(scene: Any, model: Any, home: np.ndarray) -> None:
    """Move the floors of a scene along with the camera, by whole periods of their pattern.

    A fast body soon runs off what is drawn of a floor, and then its height is not to be seen. A floor that MuJoCo draws
    without an end would do as well, but takes the software renderer ten times as long.

    Args:
        scene: that is going to be drawn.
        model: of the simulation.
        home: where the camera was when the floors were where they belong.
    """
    moved = place(scene) - home
    for shown in scene.geoms[: scene.ngeom]:
        if shown.type == PLANE and (shown.size[:2] > 0).all():
            periods, axes = pattern(model, shown.objid), shown.mat[:, :2].T
            shown.pos += (np.round(axes @ moved / periods) * periods) @ axes


def pattern(model: Any, floor: int) -> np.ndarray:
    """``(2,)``: after how many metres the pattern of a floor comes again along its axes; 1 where it has none."""
    material = model.geom_matid[floor]
    if material < 0:
        return np.ones(2)
    whole = 1.0 if model.mat_texuniform[material] else 2 * model.geom_size[floor, :2]
    return whole / np.maximum(model.mat_texrepeat[material], 1e-6)
