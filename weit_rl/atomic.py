"""Files that are either the old one or the whole new one, whatever happens while they are written."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from weit_rl.errors import UserError


def write_atomically(path: str | Path, data: bytes) -> None:
    """Write ``data`` to ``path`` so that a reader, a crash or a full disk never meets half a file.

    Raises:
        UserError: if the folder cannot be written or the disk is full; an older file is untouched then.
    """
    path = Path(path)
    # In the same folder, since os.replace is atomic within one file system only; a random name, since runs may race.
    temporary = path.with_name(f".weit_rl-{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def unused(path: Path) -> Path:
    """The path itself, or with the first number behind its name that is not taken: nothing is overwritten."""
    number, candidate = 1, path
    while candidate.exists():
        number += 1
        candidate = path.with_stem(f"{path.stem}-{number}")
    return candidate


def cannot_write(path: str | Path, error: OSError) -> UserError:
    """The one-line error for a file or folder that could not be written."""
    return UserError(f"{path}: cannot write ({error.strerror}); free some space there or choose another folder")
