"""Small pictures of a MuJoCo simulation, drawn as fast as a software renderer can.

Such a renderer spends most of its time on shadows, multisampling and the faces of round bodies. It draws HalfCheetah in
64 x 64 pixels 17 times per second with MuJoCo's settings, and over a thousand times with the settings here. The
pictures differ only in shadow and sky.
"""

from __future__ import annotations

import atexit
import contextlib
import copy
import functools
import importlib
import os
from typing import Any

import numpy as np

from weit_rl.common.errors import UserError
from weit_rl.envs.floor import move_floors, viewpoint
from weit_rl.envs.rendering import load_triton_first, working_renderer

PROBE = """
import importlib, os
import mujoco
context = importlib.import_module("mujoco." + os.environ["MUJOCO_GL"]).GLContext(8, 8)
context.make_current()
mujoco.MjrContext(mujoco.MjModel.from_xml_string("<mujoco/>"), 50)
"""
FACES = {"numslices": 8, "numstacks": 4, "numquads": 1}  # of round bodies and planes; MuJoCo's defaults: 28, 16, 4
LEFT_OUT = ("SHADOW", "REFLECTION", "SKYBOX", "HAZE", "FOG")
TRACK = "track"  # name of the camera that follows the body in Gymnasium's models
MAX_GEOMS = 2000


@functools.cache
def renderer() -> str:
    """Find the value of MUJOCO_GL that works here, and set it; raise UserError if there is none."""
    os.environ["MUJOCO_GL"] = working_renderer("pixels", PROBE)
    return os.environ["MUJOCO_GL"]


class Camera:
    """A camera for all simulations of one model; all environments of a kind share it.

    Args:
        env: an environment with a MuJoCo ``model`` and ``data``.
        edge: of the pictures, pixels.
    """

    def __init__(self, env: Any, edge: int):
        import mujoco

        load_triton_first()
        model = copy.deepcopy(env.model)  # the environment's own model stays as it is
        model.vis.quality.shadowsize = model.vis.quality.offsamples = 0
        model.vis.global_.offwidth = model.vis.global_.offheight = edge
        for name, number in FACES.items():
            setattr(model.vis.quality, name, number)
        self.screen = importlib.import_module(f"mujoco.{renderer()}").GLContext(edge, edge)
        self.screen.make_current()
        atexit.register(_free, self.screen)
        self.context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_50.value)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self.context)
        self.scene, self.option = mujoco.MjvScene(model, MAX_GEOMS), mujoco.MjvOption()
        for name in LEFT_OUT:
            self.scene.flags[getattr(mujoco.mjtRndFlag, f"mjRND_{name}")] = 0
        self.view, self.frame = _view(env), mujoco.MjrRect(0, 0, edge, edge)
        self.home = self._home(model)
        self.pixels = np.empty((edge, edge, 3), np.uint8)

    def picture(self, env: Any) -> np.ndarray:
        """Draw an environment as it is now, ``(3, edge, edge)`` uint8."""
        import mujoco

        self.screen.make_current()  # recording a video may have made another context current
        everything = mujoco.mjtCatBit.mjCAT_ALL.value
        mujoco.mjv_updateScene(env.model, env.data, self.option, None, self.view, everything, self.scene)
        move_floors(self.scene, env.model, self.home)
        mujoco.mjr_render(self.frame, self.scene, self.context)
        mujoco.mjr_readPixels(self.pixels, None, self.frame, self.context)
        return np.ascontiguousarray(self.pixels[::-1].transpose(2, 0, 1))

    def _home(self, model: Any) -> np.ndarray:
        """Return the position of the camera while the body is at its initial place, ``(3,)``."""
        import mujoco

        data = mujoco.MjData(model)
        mujoco.mj_forward(model, data)
        everything = mujoco.mjtCatBit.mjCAT_ALL.value
        mujoco.mjv_updateScene(model, data, self.option, None, self.view, everything, self.scene)
        return viewpoint(self.scene)


_CAMERAS: dict[tuple[int, str, int], Camera] = {}


def camera_of(name: str, env: Any, edge: int) -> Camera:
    """Return this process's camera for all environments of a name; a forked process cannot draw with its parent's.

    Raises:
        UserError: if no renderer works, or the simulator is not MuJoCo.
    """
    key = (os.getpid(), name, edge)
    if key not in _CAMERAS:
        check_drawable(name, env)
        _check_process(name)
        _CAMERAS[key] = Camera(env, edge)
    return _CAMERAS[key]


def is_mujoco(env: Any) -> bool:
    """Return True if MuJoCo simulates an unwrapped environment."""
    import mujoco

    return isinstance(getattr(env, "model", None), mujoco.MjModel)


def check_drawable(name: str, env: Any) -> None:
    """Raise UserError if the simulator of an environment is not MuJoCo."""
    if not is_mujoco(env):
        raise UserError(f"env {name}: pictures are drawn by MuJoCo, which does not simulate this; leave pixels out")


def _check_process(name: str) -> None:
    """Raise UserError in a forked process whose parent has drawn: without the driver's threads it would hang."""
    if renderer() != "osmesa" and any(process != os.getpid() for process, *_ in _CAMERAS):
        raise UserError(
            f"env {name}: a process that is forked from one that has drawn pictures cannot draw with {renderer()}; "
            "start it with context='spawn' or 'forkserver', or set MUJOCO_GL=osmesa"
        )


def _free(screen: Any) -> None:
    """Free a context at the end of Python, and ignore errors, since the display may be closed already."""
    with contextlib.suppress(Exception):
        screen.free()
    screen._context = None


def _view(env: Any) -> Any:
    """Return the camera that follows the body, else the model's first, else a free one set as the environment does."""
    import mujoco

    view, model = mujoco.MjvCamera(), env.model
    if model.ncam:
        track = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, TRACK)
        view.type, view.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, max(track, 0)
        return view
    mujoco.mjv_defaultFreeCamera(model, view)
    for name, value in (getattr(env.mujoco_renderer, "default_cam_config", None) or {}).items():
        if isinstance(value, np.ndarray):
            getattr(view, name)[:] = value
        else:
            setattr(view, name, value)
    return view
