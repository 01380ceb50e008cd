"""Rows of finished cells in CSV files, one file per process, so that several processes share a folder."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from weit_rl.common.errors import UserError

Row = dict[str, str]


def finished(out: Path, pattern: str, cell: Sequence[str]) -> list[Row]:
    """Read the rows of every matching file in a folder.

    Args:
        out: the folder.
        pattern: a glob of file names, for example ``"cells*.csv"``.
        cell: the columns that name a cell.

    Raises:
        UserError: if two rows, of one file or of two, belong to the same cell: a repeat is no second seed.
    """
    rows: list[Row] = []
    places: dict[tuple[str, ...], Path] = {}
    for path in sorted(out.glob(pattern)):
        for row in _read(path):
            key = tuple(row[column] for column in cell)
            if key in places:
                files = dict.fromkeys((places[key].name, path.name))
                raise UserError(f"{out}: {' and '.join(files)}: two rows of one cell ({_name(row, cell)}); remove one")
            places[key] = path
            rows.append(row)
    return rows


def append(path: Path, fields: Sequence[str], row: dict) -> None:
    """Add a row to a file, and a header before it if the file is new."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, fields)
        if new:
            writer.writeheader()
        writer.writerow(row)


def _read(path: Path) -> list[Row]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _name(row: Row, cell: Sequence[str]) -> str:
    return ", ".join(f"{column} {row[column]}" for column in cell)
