"""Environment variables by which torchrun, or another launcher, describes a group of processes."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from typing import NoReturn

STARTED_BY_COMMAND = "WEIT_RL_STARTED"  # set if a weit_rl command started the processes; it then reports how they ended


def process_count() -> int:
    """Return the number of processes in this group; 1 if this process was started alone."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


def local_rank_and_count() -> tuple[int, int]:
    """Return this process's index on its machine, and the number of its group's processes there."""
    if process_count() == 1:
        return 0, 1
    return int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def started_by_command() -> bool:
    """Return True if a weit_rl command started this process as part of a group."""
    return STARTED_BY_COMMAND in os.environ


def exit_process(code: int) -> NoReturn:
    """End this process without waiting for threads and without Python's teardown.

    A thread of the group may still hold tensors of the last exchange. Freeing them during teardown ends the process
    with SIGABRT (pytorch#190489). Leaving the group first is not enough, since sharded tensors keep it alive.

    Args:
        code: the exit code.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, full or None
            stream.flush()
    os._exit(code)
