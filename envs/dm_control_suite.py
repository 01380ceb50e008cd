"""The tasks of the DeepMind control suite, as ``dmc/DOMAIN-TASK``; observations in the order dm_control gives them."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

from weit_rl.envs.entry import ENVS, EnvEntry
from weit_rl.envs.mujoco_warnings import watch_mujoco
from weit_rl.envs.rendering import load_triton_first
from weit_rl.errors import UserError

if TYPE_CHECKING:
    import gymnasium

TASKS = {  # dm_control.suite.ALL_TASKS, which to ask would import the simulator
    "acrobot": "swingup swingup_sparse",
    "ball_in_cup": "catch",
    "cartpole": "balance balance_sparse swingup swingup_sparse two_poles three_poles",
    "cheetah": "run",
    "dog": "stand walk trot run fetch",
    "finger": "spin turn_easy turn_hard",
    "fish": "upright swim",
    "hopper": "stand hop",
    "humanoid": "stand walk run run_pure_state",
    "humanoid_CMU": "stand walk run",
    "lqr": "lqr_2_1 lqr_6_2",
    "manipulator": "bring_ball bring_peg insert_ball insert_peg",
    "pendulum": "swingup",
    "point_mass": "easy hard",
    "quadruped": "walk run escape fetch",
    "reacher": "easy hard",
    "stacker": "stack_2 stack_4",
    "swimmer": "swimmer6 swimmer15",
    "walker": "stand walk run",
}
EPISODE_STEPS = 1000
PACKAGES = ("gymnasium", "mujoco", "dm-control")


def make(gym_id: str, **kwargs: Any) -> gymnasium.Env:
    """Make the task ``dmc/DOMAIN-TASK``.

    Raises:
        UserError: when dm_control is missing or does not import.
    """
    load_suite(gym_id)
    import gymnasium

    if gym_id not in gymnasium.registry:
        domain, _, task = gym_id.removeprefix("dmc/").partition("-")
        words = {"domain": domain, "task": task}
        gymnasium.register(gym_id, f"{__name__}:suite_env", max_episode_steps=EPISODE_STEPS, kwargs=words)
    return gymnasium.make(gym_id, **kwargs)


def load_suite(gym_id: str) -> None:
    """Import ``dm_control.suite`` and hear MuJoCo's warnings; UserError where it is missing or does not import."""
    load_triton_first()
    try:
        _import_suite()
    except Exception as error:  # ImportError, and whatever its choice of a renderer raises
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        hint = "pip install 'weit_rl[dmc]' 'mujoco<4' (Python 3.12 or older)"
        raise UserError(f"env {gym_id}: dm_control is missing or does not import ({reason}); {hint}") from error
    watch_mujoco()  # after the import, which sets a handler of its own


def _import_suite() -> None:
    """Import ``dm_control.suite``, which chooses its renderer then: the one that MUJOCO_GL names.

    Where that says nothing and there is no screen, it would take one that needs a screen, and print a warning.
    """
    if "dm_control.suite" not in sys.modules and not {"MUJOCO_GL", "DISPLAY"} & os.environ.keys():
        try:
            os.environ["MUJOCO_GL"] = "egl"
            importlib.import_module("dm_control.suite")
        except ModuleNotFoundError:
            raise
        except Exception:  # no such driver
            _forget_opengl()
            os.environ["MUJOCO_GL"] = "off"
            importlib.import_module("dm_control.suite")
        finally:
            del os.environ["MUJOCO_GL"]
    importlib.import_module("dm_control.suite")


def _forget_opengl() -> None:
    """Take away what the driver that failed left behind, with which no other one could be loaded later."""
    os.environ.pop("PYOPENGL_PLATFORM", None)
    for name in [name for name in sys.modules if name.partition(".")[0] == "OpenGL"]:
        del sys.modules[name]


def suite_env(**kwargs: Any) -> gymnasium.Env:
    """A task as a ``gymnasium.Env``, which is imported only here."""
    from weit_rl.envs.wrappers.suite_env import SuiteEnv

    return SuiteEnv(**kwargs)


for _domain, _tasks in TASKS.items():
    for _task in _tasks.split():
        _name = f"dmc/{_domain}-{_task}"
        ENVS.add(_name, EnvEntry.of(_name, _name, f"{__name__}:make", EPISODE_STEPS, packages=PACKAGES))
