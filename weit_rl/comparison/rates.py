"""One learning rate for each method, from the same grid, on a tuning size and validation episodes."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

from weit_rl.atomic import write_atomically
from weit_rl.comparison.cell import Row, run_cell
from weit_rl.comparison.grid import Cell
from weit_rl.comparison.methods import METHODS
from weit_rl.comparison.pool import Job
from weit_rl.comparison.sources import Sources
from weit_rl.comparison.tables import Table
from weit_rl.training.run_folder import RunFolder

GRID = (3e-4, 1e-3, 3e-3, 1e-2)
SIZES = ("64x5", "192x3", "128x5", "128x2")  # the first that a method is defined for; none of them is reported
STEPS = 300  # of training, after the method's own stage
SEED, EPISODES = 100, 10  # of the targets: a seed that no comparison uses, and validation episodes
FIELDS = ("method", "size", "rate", "return_mean", "note")
FILE = "rates.csv"


def trials(sources: Sources, folder: Path) -> dict[str, Job]:
    """A trial of every method with every rate, but for those that are trained for long by themselves."""
    methods = [name for name in sources.grid.methods if METHODS.get(name).initializer.stage_steps <= 10 * STEPS]
    return {
        f"{method}-{rate:g}": (trial, (method, rate, sources, folder / f"{method}-{rate:g}"))
        for method in methods
        for rate in GRID
    }


def trial(method: str, rate: float, sources: Sources, folder: Path) -> Row:
    """The return of a method with a learning rate, on validation episodes."""
    budget = METHODS.get(method).initializer.stage_steps + STEPS
    extra = [f"seed={SEED}", f"validation_episodes={EPISODES}", f"evaluate_every={budget}", "episodes=1"]
    row: Row = {}
    for size in SIZES:
        row = run_cell(Cell(method, size, sources.grid.seeds[0], budget), sources, folder / size, rate, extra)
        if not row["note"]:
            break
    found = {"method": method, "size": row["size"], "rate": rate, "return_mean": "", "note": row["note"]}
    if not row["note"]:
        found["return_mean"] = RunFolder.open(folder / row["size"]).metrics()["validation/return"][-1][1]
    return found


def write_rates(folder: Path, rows: Sequence[Row]) -> None:
    """Keep the trials."""
    text = StringIO()
    writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(sorted(rows, key=lambda row: (row["method"], row["rate"])))
    write_atomically(folder / FILE, text.getvalue().encode())


def read_rates(folder: Path) -> list[Row]:
    """The trials so far."""
    if not (folder / FILE).exists():
        return []
    with (folder / FILE).open(newline="", encoding="utf-8") as file:
        return [{**row, "rate": float(row["rate"])} for row in csv.DictReader(file)]


def best_rates(rows: Sequence[Row]) -> dict[str, float]:
    """Of every method the rate of the best trial."""
    done = [row for row in rows if row["return_mean"] != ""]
    best = {m: max((r for r in done if r["method"] == m), key=lambda r: float(r["return_mean"])) for m in methods(done)}
    return {method: row["rate"] for method, row in best.items()}


def methods(rows: Sequence[Row]) -> list[str]:
    """The methods of some trials."""
    return sorted({row["method"] for row in rows})


def rates_table(rows: Sequence[Row]) -> Table:
    """Returns by method and rate."""
    lines = []
    for method in methods(rows):
        own = {row["rate"]: row for row in rows if row["method"] == method}
        cells = [f"{float(own[r]['return_mean']):,.0f}" if r in own and own[r]["return_mean"] else "" for r in GRID]
        lines.append([method, next(iter(own.values()))["size"], *cells])
    note = f"Return over {EPISODES} validation episodes after the method's own stage and {STEPS} steps, one seed."
    return Table("Learning rates", ["method", "size", *(f"{rate:g}" for rate in GRID)], lines, note)
