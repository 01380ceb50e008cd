"""What MuJoCo says while it simulates: to Python's warnings instead of a file in the working directory."""

from __future__ import annotations

import sys
import warnings

from weit_rl.common.output import complain

unstable = 0  # how often it has said that a simulation is


def watch_mujoco() -> None:
    """Hear MuJoCo's warnings from now on."""
    import mujoco

    mujoco.set_mju_user_warning(on_warning)


def watch_loaded() -> None:
    """Hear MuJoCo's warnings from now on, if anything here has imported it."""
    if sys.modules.get("mujoco") is not None:
        watch_mujoco()


def on_warning(message: str) -> None:
    """Pass one on, unless it is about how a body that comes with the simulator was written down."""
    # Gymnasium's HalfCheetah says this each time; without a handler it also leaves MUJOCO_LOG.TXT behind.
    global unstable
    if "'settotalmass' is deprecated" in message:
        return
    unstable += "unstable" in message
    try:
        warnings.warn(f"MuJoCo: {message}", RuntimeWarning, stacklevel=2)
    except RuntimeWarning as warning:  # warnings are errors here, but an exception inside C ends the process
        complain(str(warning))
