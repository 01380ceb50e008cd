"""The rows of finished cells: results.csv, and with the conditions of the comparison results.json."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weit_rl.common.errors import UserError
from weit_rl.comparison.cell import Row, fields_of, measured
from weit_rl.comparison.csv_file import read_csv, write_csv
from weit_rl.comparison.grid import Cell, Grid
from weit_rl.storage.atomic_write import cannot_write_error, write_atomically
from weit_rl.storage.folder_lock import holds_only_leftovers, lock_folder
from weit_rl.storage.json_file import read_json
from weit_rl.tasks import TaskEntry
from weit_rl.training.machine import describe_environment

if TYPE_CHECKING:
    from filelock import BaseFileLock

RESULTS, SETTINGS = "results.csv", "grid.json"
COUNTS = ("width", "depth", "seed", "budget")
NEW = {
    "model": "dt",
    "task": "control",
    "model_options": {},
    "options": {},
    "bank_options": {},
}  # options that older folders do not name, and their values there
MAY_DIFFER = ("methods", "sizes", "budgets", "seeds")  # between two calls with one folder, since rows name them


class Results:
    """The table of a comparison, written as a whole after every cell.

    Args:
        folder: of the comparison.
        grid: options of the comparison.

    Raises:
        UserError: if the folder holds other files, or a comparison with other options.
    """

    def __init__(self, folder: Path, grid: Grid):
        self.folder, self._settings = folder, json.loads(json.dumps(asdict(grid)))
        if folder.is_file() or (folder.exists() and not holds_only_leftovers(folder)):
            _check(folder, self._settings)
        self.kind = grid.kind
        self.rows = read(folder / RESULTS, self.kind)

    def begin(self) -> BaseFileLock:
        """Make the folder if it is missing, return its lock, and read the rows again."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write_error(self.folder, error) from error
        lock = lock_folder(self.folder)
        self.rows = read(self.folder / RESULTS, self.kind)
        write_atomically(self.folder / SETTINGS, (json.dumps(self._settings, indent=2) + "\n").encode())
        return lock

    def has(self, cell: Cell) -> bool:
        """Return True if a cell is finished."""
        return any(key_of(row) == (cell.method, cell.size, cell.seed, cell.budget) for row in self.rows)

    def add(self, row: Row) -> None:
        """Add the row of a finished cell, and write the table."""
        self.rows.append(_typed(row, self.kind))
        self.rows.sort(key=lambda row: (row["budget"], row["method"], row["width"], row["depth"], row["seed"]))
        write_csv(self.folder / RESULTS, fields_of(self.kind), self.rows)

    def write_json(self, facts: dict[str, Any]) -> None:
        """Write rows and conditions to one file."""
        environment = describe_environment(self.rows[0]["seed"] if self.rows else 0)
        rows = [{name: row.get(name, "") for name in fields_of(self.kind)} for row in self.rows]
        text = json.dumps({**facts, "environment": environment, "rows": rows}, indent=1)
        write_atomically(self.folder / "results.json", (text + "\n").encode())


def read(path: Path, kind: TaskEntry) -> list[Row]:
    """Read the rows of a results.csv with typed numbers; return none if there is no such file."""
    return _each_once(path, read_csv(path, lambda row: _typed(row, kind)))


def _each_once(path: Path, rows: Sequence[Row]) -> list[Row]:
    """Remove repeated rows, since a cell that appears twice is not a second seed."""
    found: dict[tuple[str, str, int, int], Row] = {}
    for row in rows:
        if found.setdefault(key_of(row), row) != row:
            method, size, seed, budget = key_of(row)
            cell = f"{method} at {size}, seed {seed}, {budget} steps"
            raise UserError(f"{path}: holds two different rows of one cell ({cell}); remove one of them")
    return list(found.values())


def key_of(row: Row) -> tuple[str, str, int, int]:
    """Return the key of a cell's row."""
    return row["method"], row["size"], row["seed"], row["budget"]


def defined_rows(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of cells whose method was defined for them."""
    return [row for row in rows if row["value"] != ""]


def _typed(row: Row, kind: TaskEntry) -> Row:
    """Convert texts to numbers; undefined values, such as a score without references, stay empty."""
    kinds = dict.fromkeys(measured(kind), float) | dict.fromkeys((*COUNTS, "steps"), int)
    given = {key: "" if value is None else value for key, value in row.items()}
    typed = {key: kinds[key](value) if key in kinds and value != "" else value for key, value in given.items()}
    return typed | {"value": typed[kind.measure.columns[0]]}


def _check(folder: Path, settings: dict[str, Any]) -> None:
    if not (folder / SETTINGS).is_file():
        raise UserError(f"run_dir={folder}: holds other files and no {SETTINGS}; choose another run_dir")
    before = read_json(folder / SETTINGS)
    other = [key for key in settings if key not in MAY_DIFFER and settings[key] != before.get(key, NEW.get(key))]
    if other:
        raise UserError(f"run_dir={folder}: was made with another {', '.join(other)}; choose another run_dir")
