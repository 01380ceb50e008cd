"""Import of the DeepMind control suite, which chooses its renderer when it is imported."""

from __future__ import annotations

import importlib
import os
import sys

from weit_rl.common.errors import UserError
from weit_rl.envs.mujoco_warnings import watch_mujoco
from weit_rl.envs.rendering import load_triton_first


def load_suite(gym_id: str) -> None:
    """Import ``dm_control.suite`` and receive MuJoCo's warnings; raise UserError if it does not import."""
    load_triton_first()
    try:
        _import_suite()
    except Exception as error:  # ImportError, and anything that its choice of a renderer raises
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        hint = "pip install 'weit_rl[dmc]' 'mujoco<4' (Python 3.12 or older)"
        raise UserError(f"env {gym_id}: dm_control is missing or does not import ({reason}); {hint}") from error
    watch_mujoco()  # after the import, which sets its own handler


def _import_suite() -> None:
    """Import ``dm_control.suite``, which then chooses the renderer that MUJOCO_GL names.

    Without MUJOCO_GL and without a screen, it would choose a renderer that needs a screen, and print a warning.
    """
    if "dm_control.suite" not in sys.modules and not {"MUJOCO_GL", "DISPLAY"} & os.environ.keys():
        try:
            os.environ["MUJOCO_GL"] = "egl"
            importlib.import_module("dm_control.suite")
        except ModuleNotFoundError:
            raise
        except Exception:  # no such driver
            forget_opengl()
            os.environ["MUJOCO_GL"] = "off"
            importlib.import_module("dm_control.suite")
        finally:
            del os.environ["MUJOCO_GL"]
    importlib.import_module("dm_control.suite")


def forget_opengl() -> None:
    """Remove what a failed driver left in memory, since no other driver could be loaded after it."""
    os.environ.pop("PYOPENGL_PLATFORM", None)
    for name in [name for name in sys.modules if name.partition(".")[0] == "OpenGL"]:
        del sys.modules[name]
