"""Tables of the benchmarks of sizes: results by budget, and the steps from scratch that WeiT's stage is worth."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

Row = dict[str, str]
WEIT = [(0, 0), (300, 0), (300, 1000), (300, 10000)]
SCRATCH = [300, 1000, 3000, 10000]


@dataclass(frozen=True)
class Column:
    """A measure that has a table of its own.

    Attributes:
        name: the column of rows.
        title: what the measure is.
        write: formats a value.
        sign: 1 if more is better, -1 if less is better.
    """

    name: str
    title: str
    write: Callable[[float], str]
    sign: int = 1


COLUMNS = (
    Column("return_mean", "Return over test episodes", lambda value: f"{value:.0f}"),
    Column("validation_loss", "Squared error of the actions of held-out episodes", lambda value: f"{value:.4f}", -1),
)


def write_table(rows: list[Row], out: Path, command: str, title: str = "") -> None:
    """Write ``out/README.md`` and print it: one table for every measure that the rows have.

    Args:
        rows: of finished cells.
        out: the folder.
        command: the command that makes the result; stands below the title.
        title: the first heading (default: the folder's name).
    """
    columns = [column for column in COLUMNS if rows and column.name in rows[0]]
    text = "\n".join(table(rows, column) for column in columns)
    (out / "README.md").write_text(f"# {title or out.name}\n\n    {command}\n\n{text}")
    print(text)


def table(rows: list[Row], column: Column) -> str:
    """Format the table of one measure, with a note below."""
    sizes = sorted({row["size"] for row in rows}, key=lambda size: [int(n) for n in size.split("x")])
    weit = [budget for budget in WEIT if any(values(rows, column, "weit", size, *budget) for size in sizes)]
    scratch = [n for n in SCRATCH if any(values(rows, column, "scratch", size, 0, n) for size in sizes)]
    heads = ["size", *(f"WeiT {s}" + (f" + {t}" if t else "") for s, t in weit), *(f"scratch {n}" for n in scratch)]
    heads.append("worth")
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(line(rows, column, size, weit, scratch)) + " |" for size in sizes]
    note = (
        f"\n{column.title}: mean over seeds (lowest to highest seed). {platform.machine()}, "
        f"{platform.system()}. `worth`: steps from scratch to WeiT's result after its stage of 300 steps, "
        "interpolated over the logarithm of the budget; `>`: the longest budget did not reach it.\n"
    )
    return "\n".join(lines) + "\n" + note


def line(rows: list[Row], column: Column, size: str, weit: list[tuple[int, int]], budgets: list[int]) -> list[str]:
    """Format the row of a size."""
    scratch = {n: values(rows, column, "scratch", size, 0, n) for n in budgets}
    cells = [*(values(rows, column, "weit", size, *budget) for budget in weit), *scratch.values()]
    after = values(rows, column, "weit", size, *WEIT[1])
    return [size, *(shown(cell, column) for cell in cells), worth(after, scratch, column.sign)]


def values(
    rows: Iterable[Row], column: Column, method: str, size: str, scaler_steps: int, train_steps: int
) -> list[float]:
    """Return a measure of every seed of a cell."""
    key = (method, size, str(scaler_steps), str(train_steps))
    wanted = [r for r in rows if (r["method"], r["size"], r["scaler_steps"], r["train_steps"]) == key]
    return [float(r[column.name]) for r in wanted]


def shown(found: list[float], column: Column) -> str:
    """Format a cell: the mean, and the lowest and highest seed."""
    if not found:
        return ""
    spread = f" ({column.write(min(found))} to {column.write(max(found))})" if len(found) > 1 else ""
    return f"{column.write(mean(found))}{spread}"


def worth(weit: list[float], scratch: dict[int, list[float]], sign: int = 1) -> str:
    """Interpolate the budget from scratch whose mean first reaches WeiT's."""
    budgets = [(n, sign * mean(found)) for n, found in scratch.items() if found]
    if not weit or not budgets:
        return ""
    goal, before = sign * mean(weit), (1, -math.inf)
    for n, value in budgets:
        if value >= goal:
            if math.isinf(before[1]):
                return f"< {n}"
            part = (goal - before[1]) / (value - before[1])
            return f"{math.exp(math.log(before[0]) + part * math.log(n / before[0])):.0f}"
        before = (n, value)
    return f"> {budgets[-1][0]}"
