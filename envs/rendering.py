"""What pictures of an environment need: what must be in memory before a renderer is, and a floor everywhere."""

from __future__ import annotations

import contextlib
import importlib
from typing import Any

import numpy as np

PLANE = 0  # MuJoCo's mjGEOM_PLANE


def load_triton_first() -> None:
    """Import triton, where it is installed (torch's CUDA builds bring it, and load it when an optimiser is made).

    A software renderer (Mesa's) and triton each bring an LLVM of their own: triton's, loaded after the renderer's, ends
    the process with a segmentation fault. The other order works.
    """
    with contextlib.suppress(ImportError):
        importlib.import_module("triton")


def endless_floor(env: Any) -> None:
    """Draw MuJoCo's floors without an end, as the simulation has them: a fast body soon runs off what is drawn."""
    model: Any = getattr(env.unwrapped, "model", None)
    for floor in np.flatnonzero(model.geom_type == PLANE) if hasattr(model, "geom_type") else []:
        size = model.geom_size[floor, :2]
        if (size > 0).all() and model.geom_matid[floor] >= 0:
            model.mat_texrepeat[model.geom_matid[floor]] /= 2 * size  # of a floor without an end, it is for a metre
        size[:] = 0
