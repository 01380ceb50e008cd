"""One process at a time in a folder; the lock of a process that dies is free."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from weit_rl.common.errors import UserError
from weit_rl.storage.atomic_write import cannot_write, is_unfinished

if TYPE_CHECKING:
    from filelock import BaseFileLock

LOCK = ".lock"


class Occupied(UserError):
    """The lock of a folder that another process holds."""


def holds_nothing(folder: Path, *begun: str) -> bool:
    """Whether there is nothing in a folder but what a process left that was killed before it got anywhere.

    Args:
        folder: exists.
        begun: names of what such a process may have made, besides a lock and unfinished files.
    """
    return all(path.name in (LOCK, *begun) or is_unfinished(path) for path in folder.iterdir())


def locked(folder: Path) -> BaseFileLock:
    """Take the lock of an existing folder; ``release()`` gives it back, and so does the end of the process.

    Raises:
        Occupied: if another process, or another run in this one, holds it.
        UserError: if the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise Occupied(f"{folder}: another process is at work there; wait for it or choose another folder") from error
    except OSError as error:
        raise cannot_write(folder, error) from error
    return lock
