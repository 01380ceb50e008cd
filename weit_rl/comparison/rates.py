"""The choice of one learning rate per method, from the same grid, on tuning sizes and validation data.

Every rate is tried on a narrow size, and the three best ones also on a wide size: the best rate of a narrow network may
be too large for a wide one. The rate with the best mean over both is chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean

from weit_rl.comparison.cell import Row, run_cell
from weit_rl.comparison.csv_file import read_csv, write_csv
from weit_rl.comparison.grid import Cell
from weit_rl.comparison.launchers import Job
from weit_rl.comparison.methods import METHODS
from weit_rl.comparison.sources import Sources
from weit_rl.comparison.tables import Table
from weit_rl.tasks import Measure
from weit_rl.training.run_folder import RunFolder

GRID = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
# A round uses the first size that a method is defined for. No comparison reports these sizes.
ROUNDS = (("64x5", "128x2"), ("192x3", "128x5", "256x2"))
KEPT = 3  # number of rates per method that reach the next round
STEPS = 300  # training steps after the method's own stage
SEED, EPISODES = 100, 10  # a seed of targets that no comparison uses, and the number of validation episodes
FIELDS = ("method", "size", "rate", "value", "note")
FILE = "rates.csv"


def trials(sources: Sources, folder: Path, found: Sequence[Row], sizes: Sequence[str]) -> dict[str, Job]:
    """Return the missing trials of a round, except for methods with a long stage of their own."""
    own = [name for name in sources.grid.methods if METHODS.get(name).initializer.stage_steps <= 10 * STEPS]
    done = {(row["method"], row["rate"]) for row in found if row["size"] in sizes}
    pairs = [(method, rate) for method in own for rate in rates_of(method, found, sizes) if (method, rate) not in done]
    names = [f"{method}-{rate:g}-{sizes[0]}" for method, rate in pairs]
    return {
        name: (trial, (*pair, sources, folder / name, tuple(sizes))) for name, pair in zip(names, pairs, strict=True)
    }


def rates_of(method: str, found: Sequence[Row], sizes: Sequence[str]) -> Sequence[float]:
    """Return the rates of a round: all in the first round, then the best."""
    if sizes == ROUNDS[0]:
        return GRID
    done = [row for row in found if row["method"] == method and row["size"] in ROUNDS[0] and row["value"] != ""]
    return [row["rate"] for row in sorted(done, key=lambda row: -float(row["value"]))[:KEPT]]


def trial(method: str, rate: float, sources: Sources, folder: Path, sizes: Sequence[str]) -> Row:
    """Return the validation result of a method with a learning rate, at the first size that it is defined for."""
    row: Row = {}
    for size in sizes:
        row = validated(method, size, rate, sources, folder / size)
        if not row["note"]:
            break
    return row


def validated(method: str, size: str, rate: float | None, sources: Sources, folder: Path) -> Row:
    """Return the validation result of a method at a size, or a note if it is not defined.

    There is no value if an episode failed.
    """
    budget = METHODS.get(method).initializer.stage_steps + STEPS
    grid = replace(sources.grid, episodes=sources.grid.episodes and 1)
    changes = {"seed": SEED, "evaluate_every": budget, **grid.scoring(EPISODES)}
    row = run_cell(Cell(method, size, sources.grid.seeds[0], budget), sources, folder, rate, changes)
    found = {"method": method, "size": row["size"], "rate": rate, "value": "", "note": row["note"]}
    if not row["note"]:
        metrics = RunFolder.open(folder).metrics()
        step, value = metrics[f"validation/{logged(grid.kind.measure)}"][-1]
        if step not in dict(
            metrics.get("validation/failed_episodes", [])
        ):  # a failed episode may earn more than a complete one
            found["value"] = value
    return found


def write_rates(folder: Path, rows: Sequence[Row]) -> None:
    """Write the trials to the folder."""
    write_csv(folder / FILE, FIELDS, sorted(rows, key=lambda row: (row["method"], row["rate"])))


def read_rates(folder: Path) -> list[Row]:
    """Read the trials so far."""
    return read_csv(folder / FILE, _typed)


def _typed(row: Row) -> Row:
    """Convert the rate to a number; raise ValueError or KeyError for an incomplete row."""
    if row["value"] != "":
        float(row["value"])
    return {**{name: str(row[name]) for name in FIELDS}, "rate": float(row["rate"])}


def best_rates(rows: Sequence[Row]) -> dict[str, float]:
    """Return the rate of every method with the best mean, among those tried on the most sizes."""
    tried = {pair: values for pair, values in _values(rows).items() if values}
    best: dict[str, float] = {}
    for method in methods(rows):
        own = {rate: (len(values), mean(values.values())) for (m, rate), values in tried.items() if m == method}
        if own:
            best[method] = max(own, key=own.__getitem__)
    return best


def methods(rows: Sequence[Row]) -> list[str]:
    """Return the methods of some trials."""
    return sorted({row["method"] for row in rows})


def rates_table(rows: Sequence[Row], measure: Measure) -> Table:
    """Return a table of results by method, size and rate."""
    lines, best, found = [], best_rates(rows), _values(rows)
    for method, size in sorted({(row["method"], row["size"]) for row in rows}):
        values = [found.get((method, rate), {}).get(size) for rate in GRID]
        cells = ["" if value is None else f"{value:,.{measure.digits}f}" for value in values]
        lines.append([method, size, *cells, f"{best[method]:g}" if method in best else ""])
    by = f"{EPISODES} validation episodes" if measure.word == "return" else "the validation split"
    word = logged(measure)
    note = f"{word[0].upper()}{word[1:]} over {by} after the method's own stage and {STEPS} steps, one seed. "
    note += f"The best {KEPT} rates of the first size were tried on the second; the best mean of both was chosen."
    return Table("Learning rates", ["method", "size", *(f"{rate:g}" for rate in GRID), "chosen"], lines, note)


def logged(measure: Measure) -> str:
    """Return the validation metric by which rates are chosen."""
    return measure.logged or measure.word


def _values(rows: Sequence[Row]) -> dict[tuple[str, float], dict[str, float]]:
    """Return the results by method and rate, on each size that was tried and is defined."""
    found: dict[tuple[str, float], dict[str, float]] = {}
    for row in rows:
        values = found.setdefault((row["method"], row["rate"]), {})
        if row["value"] != "":
            values[row["size"]] = float(row["value"])
    return found
