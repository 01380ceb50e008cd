"""The home directory, which not every process has: in a container, a user may have neither ``HOME`` nor an entry."""

from __future__ import annotations

import os
from pathlib import Path

from weit_rl.common.errors import UserError


def home() -> Path:
    """Find the home directory; the working directory if nobody says which it is."""
    try:
        return Path.home()
    except RuntimeError:
        return Path()


def expanded(path: str | os.PathLike[str]) -> Path:
    """Replace ``~`` or ``~USER`` at the beginning of a path.

    Raises:
        UserError: if nobody says which directory that is.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        where = Path(path).parts[0]
        raise UserError(f"{path}: nobody says where {where} is (HOME is not set); write the path in full") from error
