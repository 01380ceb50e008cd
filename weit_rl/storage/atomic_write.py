"""Files that are either the old one or the whole new one, whatever happens while they are written."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from pathlib import Path

from weit_rl.common.errors import CannotWrite

DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
TEMPORARY = (".weit_rl-", ".tmp")  # how the name of a file that is being written begins and ends


def write_atomically(path: str | Path, data: bytes, keep: Path | None = None) -> None:
    """Write ``data`` to ``path`` so that a reader, a crash or a full disk never meets half a file.

    Args:
        path: the file; its folder must exist.
        data: its new content.
        keep: what an older file is called from now on (default: it is gone). Between two renames there may be a file
            of this name alone.

    Raises:
        CannotWrite: if the folder cannot be written or the disk is full; an older file is untouched then.
    """
    path = Path(path)
    # In the same folder, since os.replace is atomic within one file system only; a random name, since runs may race.
    temporary = path.with_name(f"{TEMPORARY[0]}{secrets.token_hex(4)}{TEMPORARY[1]}")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if keep and path.exists():
            os.replace(path, keep)
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def check_space(folder: Path, need: int) -> None:
    """CannotWrite if the disk of a folder, which need not exist, has less than so many bytes free."""
    existing = next(parent for parent in [folder, *folder.absolute().parents] if parent.exists())
    free = shutil.disk_usage(existing).free
    if free < need:
        space = f"needs {need / 1e6:.0f} MB of disk space and {free / 1e6:.0f} MB are free"
        raise CannotWrite(f"{folder}: {space}; free some or choose another folder")


def is_unfinished(path: Path) -> bool:
    """Whether a file is one that :func:`write_atomically` is writing, or was killed at."""
    return path.name.startswith(TEMPORARY[0]) and path.name.endswith(TEMPORARY[1])


def remove_unfinished(folder: Path) -> None:
    """Remove what writes that were killed left in a folder; nobody else may be writing there."""
    for path in filter(is_unfinished, folder.iterdir()):
        path.unlink(missing_ok=True)


def unused(path: Path) -> Path:
    """The path itself, or with the first number behind its name that is not taken: nothing is overwritten."""
    number, candidate = 1, path
    while candidate.exists():
        number += 1
        candidate = path.with_stem(f"{path.stem}-{number}")
    return candidate


def _sync_folder(folder: Path) -> None:
    """Make a new name outlast a power cut; where folders cannot be opened or synced it is the file system's matter."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def cannot_write(path: str | Path, error: OSError) -> CannotWrite:
    """The one-line error for a file or folder that could not be written."""
    reason = error.strerror or " ".join(str(error).split())
    return CannotWrite(f"{path}: cannot write ({reason}); free some space there or choose another folder")


def is_of_disk(error: BaseException | None) -> bool:
    """Whether an error tells of a disk that takes no more, not of a bug."""
    return isinstance(error, OSError) and error.errno in DISK
