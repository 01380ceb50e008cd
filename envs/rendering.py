"""What pictures need: libraries that must be in memory first, and a renderer that works here."""

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
    """Import triton, where it is installed (torch's CUDA builds bring it, and load it when an optimiser is made).

    A software renderer (Mesa's) and triton each bring an LLVM of their own: triton's, loaded after the renderer's, ends
    the process with a segmentation fault. The other order works. Where the renderer's is in memory already, triton is
    from now on not to be found, which torch and the compose operator are ready for.
    """
    if "mujoco.osmesa" in sys.modules:
        sys.modules.setdefault("triton", None)  # type: ignore[arg-type]
    with contextlib.suppress(ImportError):
        importlib.import_module("triton")


def check_draws(what: str, probe: str, *words: str) -> None:
    """UserError, with what the environment itself says, where a script that draws in it fails.

    For environments that draw without MuJoCo: they know what they need, such as pygame.

    Args:
        what: that was asked for, for the error message.
        probe: the script.
        words: its arguments.
    """
    done = subprocess.run([sys.executable, "-c", probe, *words], capture_output=True, text=True)
    if done.returncode:
        reason = _last_line(done)
        advice = "" if "install" in reason else "; install what its render() needs, or leave video out"
        raise UserError(f"{what}: {words[0]} draws no pictures ({reason}){advice}")


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    """What a script that failed said last, without the class of its error."""
    line = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    return re.sub(r"^[\w.]+: ", "", line)


def working_renderer(what: str, probe: str, *words: str) -> str:
    """The first value of MUJOCO_GL with which a script ends well here; the user's own, if there is one.

    Tried in a process of its own: a renderer may fail in C, or leave tracebacks behind when Python ends.

    Args:
        what: that was asked for, for the error message.
        probe: the script, which draws something.
        words: its arguments.

    Raises:
        UserError: saying what to install or set where nothing works.
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
