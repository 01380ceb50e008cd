"""Lines on a data set that can be used, though something about it should be known."""

from __future__ import annotations

import warnings
from pathlib import Path

from weit_rl.common.errors import UserError


def notice(path: Path, what: str) -> None:
    """Warn of a data set, in one line that moves no cursor whatever names its files hold."""
    warnings.warn(str(UserError(f"data {path}{what}")), stacklevel=5)
