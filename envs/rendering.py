"""Preparation of rendering: libraries that must be loaded first, and a renderer that works on this machine."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import subprocess
import sys

from weit_rl.common.errors import UserError

LIBRARIES = (
    "on a machine without a screen set MUJOCO_GL=egl (GPU; needs: apt-get install libegl1) or MUJOCO_GL=osmesa (CPU; "
    "needs: apt-get install libosmesa6)"
)
HELP = "{what}: nothing here can render ({error}); " + LIBRARIES


def load_triton_first() -> None:
    """Import triton if it is installed (torch's CUDA builds bring it, and load it when an optimiser is made).

    Mesa's software renderer and triton each bring their own LLVM. If triton is loaded after the renderer, the process
    ends with a segmentation fault; the other order works. If the renderer is in memory already, triton is hidden from
    now on. torch and the compose operator work without it.
    """
    if "mujoco.osmesa" in sys.modules:
        sys.modules.setdefault("triton", None)  # type: ignore[arg-type]
    with contextlib.suppress(ImportError):
        importlib.import_module("triton")


def check_draws(what: str, probe: str, *words: str) -> None:
    """Raise UserError, with the environment's own message, if a script that draws in it fails.

    This is for environments that draw without MuJoCo, by a library such as pygame.

    Args:
        what: the option that asks for drawing, for the error message.
        probe: the script.
        words: its arguments.
    """
    done = subprocess.run([sys.executable, "-c", probe, *words], capture_output=True, text=True)
    if done.returncode:
        reason = _last_error_line(done)
        advice = "" if "install" in reason else "; install what its render() needs, or leave video out"
        raise UserError(f"{what}: {words[0]} draws no pictures ({reason}){advice}")


def _last_error_line(done: subprocess.CompletedProcess[str]) -> str:
    """Return the last line that a failed script printed, without the class of its error."""
    line = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    return re.sub(r"^[\w.]+: ", "", line)


def working_renderer(what: str, probe: str, *words: str) -> str:
    """Return the first value of MUJOCO_GL with which a script succeeds; only the user's value, if there is one.

    The script runs in a separate process: a renderer may fail in C, or leave tracebacks behind when Python ends.

    Args:
        what: the option that asks for drawing, for the error message.
        probe: the script, which draws something.
        words: its arguments.

    Raises:
        UserError: if no renderer works; it says what to install or set.
    """
    choices = ["glfw", "egl", "osmesa"] if os.environ.get("DISPLAY") else ["egl", "osmesa"]
    if asked := os.environ.get("MUJOCO_GL"):
        choices = [asked]
    reason = ""
    for choice in choices:
        command = [sys.executable, "-c", probe, *words]
        done = subprocess.run(command, env={**os.environ, "MUJOCO_GL": choice}, capture_output=True, text=True)
        if done.returncode == 0:
            return choice
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        reason = f"{choice}: {lines[-1]}"
    raise UserError(HELP.format(what=what, error=reason))
