"""Warnings about a data set that can be used but has something a user should know."""

from __future__ import annotations

import warnings
from pathlib import Path

from weit_rl.common.errors import UserError


def notice(path: Path, what: str) -> None:
    """Warn about a data set in one line without control characters, whatever names its files hold."""
    warnings.warn(str(UserError(f"data {path}{what}")), stacklevel=5)
