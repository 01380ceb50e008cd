"""Rows of finished cells, in files of one process each, so that several work into one folder."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

Row = dict[str, str]


def finished(out: Path, pattern: str) -> list[Row]:
    """The rows of every file of that pattern in a folder."""
    rows: list[Row] = []
    for path in sorted(out.glob(pattern)):
        with path.open(newline="") as file:
            rows += list(csv.DictReader(file))
    return rows


def append(path: Path, fields: Sequence[str], row: dict) -> None:
    """Add a row, with a header where the file is new."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, fields)
        if new:
            writer.writeheader()
        writer.writerow(row)
