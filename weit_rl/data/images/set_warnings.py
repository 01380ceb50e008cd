"""Warnings about a set of images: what is left out, and why."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

SHOWN = 5  # names per line


def warn_line(text: str) -> None:
    """Warn in one line; characters of file names that cannot be printed are replaced."""
    warnings.warn("".join(letter if letter.isprintable() else " " for letter in text), stacklevel=3)


def listed(names: Iterable[str]) -> str:
    """Join the first few names, and say how many more there are."""
    names = list(names)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
