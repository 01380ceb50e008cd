"""The tables of the benchmark: success, paired differences, cost, and what is not defined."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

from benchmarks._shared.rows import Row
from benchmarks.ml45.cells import Cell, cells, why_not
from benchmarks.ml45.part import Part
from weit_rl.comparison.statistics import difference
from weit_rl.comparison.tables import Table

Chosen = Callable[[Any], bool]
UNDEFINED, MISSING, TITLE = "-", "missing", "Meta-World ML45: tasks that no source saw"
NOTE = (
    "Tables of success: means over tasks, sizes and seeds; in brackets the finished cells of all, if some are missing. "
    "Methods that do not have the same cells (some missing, or not defined: -) are compared by paired differences only."
)


def all_tables(part: Part, rows: Sequence[Row], costs: Sequence[Mapping[str, Any]]) -> str:
    """Return the page of a part; numbers of demonstrations without a finished cell have no table.

    Args:
        part: tuning or reported.
        rows: of the finished cells.
        costs: of the sources, see ``sources.json``.
    """
    wanted = cells(part)
    usual = part.first["demonstrations"][0]
    begun = {row["demonstrations"] for row in rows} or {str(usual)}
    counts = [n for n in sorted(part.demonstrations, key=part.first["demonstrations"].index) if str(n) in begun]
    found = [_means(part, wanted, rows, f"Success in percent, {_of(n)}", demonstrations=n) for n in counts]
    found += [
        _means(part, wanted, rows, f"Success in percent at {size}, {_of(usual)}", size=size, demonstrations=usual)
        for size in part.sizes
    ]
    found += [_differences(part, rows, n) for n in counts]
    found += [_source_costs(costs, part), _flops(part, wanted, rows, usual), _undefined(part)]
    done = {tuple(row[name] for name in Cell.__annotations__) for row in rows}
    finished = sum(cell.key() in done for cell in wanted)
    facts = f"{finished} of {len(wanted)} cells are finished; {part.episodes} test episodes each. {_conditions(part)}"
    return f"# {TITLE}\n\n{facts}\n\n{NOTE}\n\n" + "\n".join(table.markdown() for table in found)


def _conditions(part: Part) -> str:
    pretraining = part.options["pretraining"]
    return (
        f"Sources: {len(part.pretrain)} tasks, {pretraining['data_episodes']} demonstrations of each, equal FLOPs. "
        f"Targets: {', '.join(part.tasks)}. A budget is every gradient step on the target, a method's own stage in it."
    )


def _of(demonstrations: int) -> str:
    return f"{demonstrations} demonstration{'s' * (demonstrations > 1)}"


def _means(part: Part, wanted: Sequence[Cell], rows: Sequence[Row], title: str, note: str = "", unit: float = 1.0,
           measure: str = "success", **where: Any) -> Table:  # fmt: skip
    """Return the means of a measure by method and budget, over the cells with the values in ``where``."""
    budgets = sorted(part.budgets)
    values: dict[tuple[str, int], list[float]] = {}
    for row in rows:
        if all(row[name] == str(value) for name, value in where.items()):
            values.setdefault((row["method"], int(row["budget"])), []).append(float(row[measure]) / unit)
    counts: dict[tuple[str, int], int] = {}
    for cell in wanted:
        if all(getattr(cell, name) == value for name, value in where.items()):
            counts[cell.method, cell.budget] = counts.get((cell.method, cell.budget), 0) + 1
    lines = [[m, *(_mean(values.get((m, b), []), counts.get((m, b), 0)) for b in budgets)] for m in part.methods]
    return Table(title, ["method", *(f"{budget} steps" for budget in budgets)], lines, note)


def _mean(values: Sequence[float], count: int) -> str:
    if count == 0:
        return UNDEFINED
    if not values:
        return MISSING
    mean = f"{sum(values) / len(values):,.1f}"
    return mean if len(values) == count else f"{mean} ({len(values)} of {count})"


def _differences(part: Part, rows: Sequence[Row], demonstrations: int) -> Table:
    """Return the paired differences of ours to every other method by budget."""
    chosen = [_pairable(row) for row in rows if row["demonstrations"] == str(demonstrations)]
    ours, *others = part.methods
    budgets = sorted(part.budgets)
    lines = [[method, *(_difference(chosen, ours, method, budget) for budget in budgets)] for method in others]
    note = "Points of success (95 % bootstrap interval), number of pairs. A pair has the same task, size and seed."
    title = f"{ours} minus the other method, {_of(demonstrations)}"
    return Table(title, ["method", *(f"{budget} steps" for budget in budgets)], lines, note)


def _pairable(row: Row) -> dict[str, Any]:
    """Return a row as the comparison's statistics read it; task and size together name what is paired."""
    where = {"size": f"{row['task']} {row['size']}", "seed": int(row["seed"]), "budget": int(row["budget"])}
    return {"method": row["method"], **where, "value": float(row["success"])}


def _difference(rows: Sequence[dict[str, Any]], ours: str, method: str, budget: int) -> str:
    found = difference(rows, ours, method, budget)
    if found is None:
        return ""
    estimate, pairs = found
    word = "ahead: " if estimate.low > 0 else "behind: " if estimate.high < 0 else "tie: " if pairs > 1 else ""
    return f"{word}{estimate.text(1)}, {pairs}"


def _source_costs(costs: Sequence[Mapping[str, Any]], part: Part) -> Table:
    own = [cost for cost in costs if cost["part"] == part.name]
    lines = [
        [c["source"], str(c["seed"]), f"{c['steps']:,}", f"{c['flops'] / 1e12:.2f}", f"{c['seconds']:,.0f}"]
        for c in sorted(own, key=lambda c: (c["seed"], c["source"]))
    ]
    note = (
        "kronecker: the bank of weit. identity: that of supernet. largest, smallest: plain networks of the largest and "
        "smallest sampled size, for all others; of two possible ones, a cell takes the one of lower first loss. "
        "Seconds are those of one busy core."
    )
    return Table("Cost of the sources", ["source", "seed", "steps", "TFLOPs", "seconds"], lines, note)


def _flops(part: Part, wanted: Sequence[Cell], rows: Sequence[Row], demonstrations: int) -> Table:
    title, note = f"GFLOPs of a cell, {_of(demonstrations)}", "What a method fits, trains or tries on the target."
    return _means(part, wanted, rows, title, note, 1e9, "flops", demonstrations=demonstrations)


def _undefined(part: Part) -> Table:
    """Return the sizes and budgets at which a method is not defined, with the reason."""
    lines: dict[tuple[str, str, str], list[str]] = {}
    for method, size, budget in product(part.methods, part.sizes, sorted(part.budgets)):
        if reason := why_not(part, method, size, budget):
            steps = reason.startswith("its own stage")
            where, one = ("steps", str(budget)) if steps else ("size", size)
            known = lines.setdefault((method, where, reason), [])
            known += [] if one in known else [one]
    rows = [[method, f"{where} {', '.join(ones)}", reason] for (method, where, reason), ones in lines.items()]
    return Table("Not defined", ["method", "where", "reason"], rows)
