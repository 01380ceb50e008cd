"""What torchrun, or what else started this process, says in environment variables of the processes beside it."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from typing import NoReturn

OWN = "WEIT_RL_STARTED"  # set where a command of ours started the processes, and says itself how they ended


def processes() -> int:
    """How many share the work of this one, with it; 1 where none was started for that."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


def local() -> tuple[int, int]:
    """This one's number among those on its machine, and how many these are."""
    if processes() == 1:
        return 0, 1
    return int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def ours() -> bool:
    """Whether a command of ours started this process to share its work."""
    return OWN in os.environ


def leave(code: int) -> NoReturn:
    """End this process as one of several: as an exit does, but without waiting for threads or taking Python apart.

    A thread of the group may still hold the tensors of the last exchange, and letting go of them meanwhile ends the
    process by SIGABRT (pytorch#190489); to leave the group before is not enough, since sharded tensors keep it.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, full or None: nobody reads it
            stream.flush()
    os._exit(code)
