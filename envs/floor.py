"""Floors that are drawn wherever the body is, as they are simulated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

PLANE = 0  # MuJoCo's mjGEOM_PLANE


@contextmanager
def endless_floor(env: Any) -> Iterator[None]:
    """Draw MuJoCo's floors without an end inside this context, since a fast body soon leaves a finite one.

    Outside it, floors stay as they are: a policy that sees pictures was trained with them.
    """
    model: Any = getattr(env.unwrapped, "model", None)
    if not hasattr(model, "geom_type"):
        yield
        return
    size, repeats = model.geom_size.copy(), model.mat_texrepeat.copy()
    for floor in np.flatnonzero(model.geom_type == PLANE):
        material, half = model.geom_matid[floor], model.geom_size[floor, :2]
        if (half > 0).all() and material >= 0 and not model.mat_texuniform[material]:
            model.mat_texrepeat[material] /= 2 * half  # an endless floor counts repeats per metre
        half[:] = 0
    try:
        yield
    finally:
        model.geom_size[:], model.mat_texrepeat[:] = size, repeats


def viewpoint(scene: Any) -> np.ndarray:
    """Return the position from which a scene is seen, ``(3,)``."""
    return np.mean([camera.pos for camera in scene.camera], axis=0)


def move_floors(scene: Any, model: Any, home: np.ndarray) -> None:
    """Move the floors of a scene along with the camera, by whole periods of their pattern.

    A fast body soon leaves the drawn part of a floor, and then its height cannot be seen. A floor without an end would
    do as well, but takes the software renderer ten times as long.

    Args:
        scene: the scene to draw.
        model: of the simulation.
        home: position of the camera while the floors are in place.
    """
    moved = viewpoint(scene) - home
    for shown in scene.geoms[: scene.ngeom]:
        if shown.type == PLANE and (shown.size[:2] > 0).all():
            periods, axes = pattern_period(model, shown.objid), shown.mat[:, :2].T
            shown.pos += (np.round(axes @ moved / periods) * periods) @ axes


def pattern_period(model: Any, floor: int) -> np.ndarray:
    """Return the period of a floor's pattern along its two axes, m, ``(2,)``; 1 without a pattern."""
    material = model.geom_matid[floor]
    if material < 0:
        return np.ones(2)
    whole = 1.0 if model.mat_texuniform[material] else 2 * model.geom_size[floor, :2]
    return whole / np.maximum(model.mat_texrepeat[material], 1e-6)
