"""CSV files of a comparison: written as a whole, and read row by row with typed values."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from weit_rl.common.errors import UserError
from weit_rl.storage.atomic_write import write_atomically


def write_csv(path: Path, fields: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows to a file, complete or not at all; values of other fields are left out."""
    text = StringIO()
    writer = csv.DictWriter(text, fields, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue().encode())


def read_csv(path: Path, typed: Callable[[dict[str, Any]], dict[str, Any]]) -> list[dict[str, Any]]:
    """Read the rows of a file; return none if there is no such file.

    Args:
        path: of the file.
        typed: converts the texts of a row; raises ValueError, KeyError or TypeError for a wrong row.

    Raises:
        UserError: if the file is damaged.
    """
    if not path.exists():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [typed(row) for row in csv.DictReader(file)]
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise damaged(path, error) from error


def damaged(path: Path, error: Exception) -> UserError:
    """Return the error for a file of a comparison that holds something else."""
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:100]
    return UserError(f"{path}: was damaged ({reason}); restore it, or remove it to make its rows again")
