"""MuJoCo's warnings, passed to Python's warnings instead of a file in the working directory."""

from __future__ import annotations

import sys
import warnings

from weit_rl.common.output import print_error

unstable = 0  # number of warnings of an unstable simulation so far


def watch_mujoco() -> None:
    """Receive MuJoCo's warnings from now on."""
    import mujoco

    mujoco.set_mju_user_warning(on_warning)


def watch_loaded() -> None:
    """Receive MuJoCo's warnings from now on, if it has been imported."""
    if sys.modules.get("mujoco") is not None:
        watch_mujoco()


def on_warning(message: str) -> None:
    """Pass a warning on, unless it is about a deprecated option in the model file of Gymnasium's own body."""
    # Gymnasium's HalfCheetah causes this warning each time, and without a handler a file MUJOCO_LOG.TXT.
    global unstable
    if "'settotalmass' is deprecated" in message:
        return
    unstable += "unstable" in message
    try:
        warnings.warn(f"MuJoCo: {message}", RuntimeWarning, stacklevel=2)
    except RuntimeWarning as warning:  # warnings may be errors, but an exception inside C ends the process
        print_error(str(warning))
