"""Atomic writes: a file is the old one or the whole new one, whatever happens during the write."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from pathlib import Path
from typing import TypeGuard

from weit_rl.common.errors import CannotWrite

DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
TEMPORARY = (".weit_rl-", ".tmp")  # prefix and suffix of an unfinished file's name


def write_atomically(path: str | Path, data: bytes, keep: Path | None = None) -> None:
    """Write ``data`` to ``path`` so that a reader, a crash or a full disk never leaves half a file.

    Args:
        path: the file; its folder must exist.
        data: its new content.
        keep: new name of an older file (default: it is replaced). For a moment the file may exist under this name only.

    Raises:
        CannotWrite: if the folder cannot be written or the disk is full; an older file is then unchanged.
    """
    path = Path(path)
    # In the same folder, because os.replace is atomic only within a file system; random, because runs may race.
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
        raise cannot_write_error(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def check_space(folder: Path, need: int) -> None:
    """Check the free space of a folder's disk.

    Args:
        folder: need not exist.
        need: bytes.

    Raises:
        CannotWrite: if fewer than ``need`` bytes are free.
    """
    existing = next(parent for parent in [folder, *folder.absolute().parents] if parent.exists())
    free = shutil.disk_usage(existing).free
    if free < need:
        space = f"needs {need / 1e6:.0f} MB of disk space and {free / 1e6:.0f} MB are free"
        raise CannotWrite(f"{folder}: {space}; free some or choose another folder")


def is_unfinished(path: Path) -> bool:
    """Return True for a temporary file of :func:`write_atomically`, in use or left by a killed process."""
    return path.name.startswith(TEMPORARY[0]) and path.name.endswith(TEMPORARY[1])


def remove_unfinished(folder: Path) -> None:
    """Delete the temporary files that killed processes left in a folder; no other process may be writing there."""
    for path in filter(is_unfinished, folder.iterdir()):
        path.unlink(missing_ok=True)


def unused_path(path: Path) -> Path:
    """Return the path, or if it exists the path with the first free number appended to its stem."""
    number, candidate = 1, path
    while candidate.exists():
        number += 1
        candidate = path.with_stem(f"{path.stem}-{number}")
    return candidate


def _sync_folder(folder: Path) -> None:
    """Make a new name survive a power cut; do nothing if the file system cannot open or sync folders."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def cannot_write_error(path: str | Path, error: OSError) -> CannotWrite:
    """Return the one-line error for a file or folder that could not be written."""
    reason = error.strerror or " ".join(str(error).split())
    return CannotWrite(f"{path}: cannot write ({reason}); free some space there or choose another folder")


def is_disk_error(error: BaseException | None) -> TypeGuard[OSError]:
    """Return True if an error comes from a disk that cannot be written, not from a bug."""
    return isinstance(error, OSError) and error.errno in DISK_ERRORS
