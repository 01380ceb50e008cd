"""Small pictures of a MuJoCo simulation, drawn as fast as a software renderer can.

Shadows, multisampling and the many faces of round bodies are what it spends its time on: 64 x 64 pixels of HalfCheetah
come 17 times a second with MuJoCo's own settings, and some thousand times with these, alike but for shadow and sky.
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
from weit_rl.envs.floor import follow, place
from weit_rl.envs.rendering import load_triton_first, working_renderer

PROBE = """
import importlib, os
import mujoco
context = importlib.import_module("mujoco." + os.environ["MUJOCO_GL"]).GLContext(8, 8)
context.make_current()
mujoco.MjrContext(mujoco.MjModel.from_xml_string("<mujoco/>"), 50)
"""
FACES = {"numslices": 8, "numstacks": 4, "numquads": 1}  # of a round body and of a plane; MuJoCo's own: 28, 16, 4
LEFT_OUT = ("SHADOW", "REFLECTION", "SKYBOX", "HAZE", "FOG")
TRACK = "track"  # the camera that follows the body, in Gymnasium's models
MAX_GEOMS = 2000


@functools.cache
def renderer() -> str:
    """The value of MUJOCO_GL that works here, which is set from now on; UserError if there is none."""
    os.environ["MUJOCO_GL"] = working_renderer("pixels", PROBE)
    return os.environ["MUJOCO_GL"]


class Camera:
    """Draws any simulation of one model; all environments of a kind share one.

    Args:
        env: an environment with a MuJoCo ``model`` and ``data``.
        edge: of the pictures, pixels.
    """

    def __init__(self, env: Any, edge: int):
        import mujoco

        load_triton_first()
        model = copy.deepcopy(env.model)  # what is changed here is not the environment's own
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
        """``(3, edge, edge)`` uint8 of an environment as it is now."""
        import mujoco

        self.screen.make_current()  # a video may be drawn in between
        everything = mujoco.mjtCatBit.mjCAT_ALL.value
        mujoco.mjv_updateScene(env.model, env.data, self.option, None, self.view, everything, self.scene)
        follow(self.scene, env.model, self.home)
        mujoco.mjr_render(self.frame, self.scene, self.context)
        mujoco.mjr_readPixels(self.pixels, None, self.frame, self.context)
        return np.ascontiguousarray(self.pixels[::-1].transpose(2, 0, 1))

    def _home(self, model: Any) -> np.ndarray:
        """``(3,)``: where the camera is while the body is where the model puts it."""
        import mujoco

        data = mujoco.MjData(model)
        mujoco.mj_forward(model, data)
        everything = mujoco.mjtCatBit.mjCAT_ALL.value
        mujoco.mjv_updateScene(model, data, self.option, None, self.view, everything, self.scene)
        return place(self.scene)


_CAMERAS: dict[tuple[int, str, int], Camera] = {}


def camera_of(name: str, env: Any, edge: int) -> Camera:
    """The one camera of this process for all environments of a name; a forked process cannot draw with its parent's.

    Raises:
        UserError: where nothing can render, or something else than MuJoCo simulates.
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
    """UserError where something else than MuJoCo simulates."""
    if not is_mujoco(env):
        raise UserError(f"env {name}: pictures are drawn by MuJoCo, which does not simulate this; leave pixels out")


def _check_process(name: str) -> None:
    """UserError in a forked process whose parent has drawn: without the driver's threads it would wait for ever."""
    if renderer() != "osmesa" and any(process != os.getpid() for process, *_ in _CAMERAS):
        raise UserError(
            f"env {name}: a process that is forked from one that has drawn pictures cannot draw with {renderer()}; "
            "start it with context='spawn' or 'forkserver', or set MUJOCO_GL=osmesa"
        )


def _free(screen: Any) -> None:
    """At the end of Python others may have shut the display already, and a context that outlives it would complain."""
    with contextlib.suppress(Exception):
        screen.free()
    screen._context = None


def _view(env: Any) -> Any:
    """The camera that follows the body, else the model's first, else the free one as the environment sets it."""
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
