"""A lock that lets one process at a time work in a folder; it is released if the process dies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from weit_rl.common.errors import UserError
from weit_rl.storage.atomic_write import cannot_write_error, is_unfinished

if TYPE_CHECKING:
    from filelock import BaseFileLock

LOCK = ".lock"


class FolderLocked(UserError):
    """A folder whose lock another process holds."""


def holds_only_leftovers(folder: Path, *leftovers: str) -> bool:
    """Return True if a folder holds only the leftovers of a process that was killed at its start.

    Args:
        folder: exists.
        leftovers: names of files such a process may have made, besides its lock and unfinished files.
    """
    return all(path.name in (LOCK, *leftovers) or is_unfinished(path) for path in folder.iterdir())


def lock_folder(folder: Path) -> BaseFileLock:
    """Lock an existing folder; ``release()`` or the end of the process unlocks it.

    Raises:
        Occupied: if another process, or another run in this process, holds the lock.
        UserError: if the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise FolderLocked(
            f"{folder}: another process is at work there; wait for it or choose another folder"
        ) from error
    except OSError as error:
        raise cannot_write_error(folder, error) from error
    return lock
