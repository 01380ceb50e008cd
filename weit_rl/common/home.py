"""The home directory, which may be unknown: a container's user may have neither ``HOME`` nor a password entry."""

from __future__ import annotations

import os
from pathlib import Path

from weit_rl.common.errors import UserError


def home() -> Path:
    """Return the home directory, or the working directory if the home directory is unknown."""
    try:
        return Path.home()
    except RuntimeError:
        return Path()


def expand_home(path: str | os.PathLike[str]) -> Path:
    """Replace ``~`` or ``~USER`` at the beginning of a path.

    Raises:
        UserError: if that directory is unknown.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        where = Path(path).parts[0]
        raise UserError(
            f"{path}: the directory {where} is unknown (HOME is not set); write the path in full"
        ) from error
