"""The table of ``sizes.py``: returns by budget, and how many steps from scratch WeiT's scaler stage is worth."""

from __future__ import annotations

import math
import platform
from collections.abc import Iterable
from pathlib import Path
from statistics import mean

Row = dict[str, str]
WEIT = [(0, 0), (300, 0), (300, 1000), (300, 10000)]
SCRATCH = [300, 1000, 3000, 10000]


def write_table(rows: list[Row], out: Path) -> None:
    """Write ``out/README.md`` and print it."""
    sizes = sorted({row["size"] for row in rows}, key=lambda size: [int(n) for n in size.split("x")])
    weit = [budget for budget in WEIT if any(returns(rows, "weit", size, *budget) for size in sizes)]
    scratch = [n for n in SCRATCH if any(returns(rows, "scratch", size, 0, n) for size in sizes)]
    heads = ["size", *(f"WeiT {s}" + (f" + {t}" if t else "") for s, t in weit), *(f"scratch {n}" for n in scratch)]
    heads.append("worth")
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(line(rows, size, weit, scratch)) + " |" for size in sizes]
    note = (
        f"\nReturn over test episodes: mean over seeds (lowest to highest seed). {platform.machine()}, "
        f"{platform.system()}. `worth`: steps from scratch to WeiT's return after its stage of 300 steps, "
        "interpolated over the logarithm of the budget; `>` where the longest budget did not reach it.\n"
    )
    text = "\n".join(lines) + "\n" + note
    (out / "README.md").write_text(f"# {out.name}\n\n{text}")
    print(text)


def line(rows: list[Row], size: str, weit: list[tuple[int, int]], budgets: list[int]) -> list[str]:
    """One size's cells."""
    scratch = {n: returns(rows, "scratch", size, 0, n) for n in budgets}
    cells = [*(returns(rows, "weit", size, *budget) for budget in weit), *scratch.values()]
    return [size, *map(shown, cells), worth(returns(rows, "weit", size, *WEIT[1]), scratch)]


def returns(rows: Iterable[Row], method: str, size: str, scaler_steps: int, train_steps: int) -> list[float]:
    """The mean return of every seed of a cell."""
    key = (method, size, str(scaler_steps), str(train_steps))
    wanted = [r for r in rows if (r["method"], r["size"], r["scaler_steps"], r["train_steps"]) == key]
    return [float(r["return_mean"]) for r in wanted]


def shown(values: list[float]) -> str:
    if not values:
        return ""
    spread = f" ({min(values):.0f} to {max(values):.0f})" if len(values) > 1 else ""
    return f"{mean(values):.0f}{spread}"


def worth(weit: list[float], scratch: dict[int, list[float]]) -> str:
    """The budget from scratch at which the mean first reaches WeiT's, between measured budgets."""
    budgets = [(n, mean(values)) for n, values in scratch.items() if values]
    if not weit or not budgets:
        return ""
    goal, before = mean(weit), (1, -math.inf)
    for n, value in budgets:
        if value >= goal:
            if math.isinf(before[1]):
                return f"< {n}"
            part = (goal - before[1]) / (value - before[1])
            return f"{math.exp(math.log(before[0]) + part * math.log(n / before[0])):.0f}"
        before = (n, value)
    return f"> {budgets[-1][0]}"
