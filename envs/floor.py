"""Floors that are drawn wherever the body is, as they are in the simulation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

PLANE = 0  # MuJoCo's mjGEOM_PLANE


@contextmanager
def endless_floor(env: Any) -> Iterator[None]:
    """Inside, MuJoCo's floors are drawn without an end, as the simulation has them: a fast body soon runs off others.

    Outside they are what they were: a policy that sees pictures was trained with them.
    """
    model: Any = getattr(env.unwrapped, "model", None)
    if not hasattr(model, "geom_type"):
        yield
        return
    size, repeats = model.geom_size.copy(), model.mat_texrepeat.copy()
    for floor in np.flatnonzero(model.geom_type == PLANE):
        material, half = model.geom_matid[floor], model.geom_size[floor, :2]
        if (half > 0).all() and material >= 0 and not model.mat_texuniform[material]:
            model.mat_texrepeat[material] /= 2 * half  # of a floor without an end, it is for a metre
        half[:] = 0
    try:
        yield
    finally:
        model.geom_size[:], model.mat_texrepeat[:] = size, repeats


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
