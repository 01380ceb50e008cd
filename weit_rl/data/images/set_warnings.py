"""Lines about a set that a user should read: what is left out of it, and why."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

SHOWN = 5  # names in a line


def warn_line(text: str) -> None:
    """Warn in a line; what cannot be printed of names that files have is replaced, as in a UserError."""
    warnings.warn("".join(letter if letter.isprintable() else " " for letter in text), stacklevel=3)


def listed(names: Iterable[str]) -> str:
    """A few names, and how many there are besides."""
    names = list(names)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
