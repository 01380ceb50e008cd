"""The tables of a comparison, as Markdown and as HTML."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from weit_rl.comparison.cell import Row
from weit_rl.comparison.results import defined_rows
from weit_rl.comparison.statistics import Estimate, by_size, difference, interquartile_mean, mean_steps_to, values_of
from weit_rl.tasks import Measure

OURS = "weit"
LOSS_UNIT = 1e-5
SHARES = (0.5, 0.75, 0.9)  # shares of the reference


class ReferenceScore(NamedTuple):
    """The result that others are compared with, and its name in tables."""

    value: float
    name: str


@dataclass(frozen=True)
class Table:
    """A title, a header, rows of texts, and a note below."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def markdown(self) -> str:
        """Format the table for README files."""
        lines = [self.header, ["---"] * len(self.header), *self.rows]
        grid = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return f"## {self.title}\n\n{grid}\n" + (f"\n{self.note}\n" if self.note else "")

    def html(self) -> str:
        """Format the table for a web page."""
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in self.header)
        body = "".join("<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in row) + "</tr>" for row in self.rows)
        note = f"<p>{html.escape(self.note)}</p>" if self.note else ""
        return f"<h2>{html.escape(self.title)}</h2><table><tr>{head}</tr>{body}</table>{note}"


def all_tables(rows: Sequence[Row], reference: ReferenceScore, measure: Measure, judge: str = "") -> list[Table]:
    """Return all tables that have rows.

    Args:
        rows: of finished cells.
        reference: the result that others are compared with.
        measure: by which methods are compared.
        judge: a sentence on what judges the results, or nothing; it goes below their tables.
    """
    done = defined_rows(rows)
    budgets = sorted({row["budget"] for row in done})
    tables = [results_table(done, budget, measure, judge) for budget in budgets]
    for other in measure.beside:
        tables += [results_table(_of(other, done), budget, other, judge) for budget in budgets]
    tables += [verdicts(done, budgets, measure), against_scratch(done, budgets, measure), losses(done, budgets)]
    tables += [steps_table(done, reference, measure)] if reference.value > 0 else []  # shares need a positive reference
    tables += [costs(done), failed(done), undefined(rows)]
    return [table for table in tables if table.rows]


def methods_of(rows: Sequence[Row]) -> list[str]:
    """Return the methods, ours first."""
    return sorted({row["method"] for row in rows}, key=lambda name: (name != OURS, name))


def sizes_of(rows: Sequence[Row]) -> list[str]:
    """Return the sizes, narrow ones first."""
    return [size for _, _, size in sorted({(row["width"], row["depth"], row["size"]) for row in rows})]


def results_table(rows: Sequence[Row], budget: int, measure: Measure, judge: str = "") -> Table:
    """Return means at a budget by size, and the interquartile mean over all sizes, best first."""
    sizes, found = sizes_of(rows), []
    for method in methods_of(rows):
        values = values_of(rows, method, budget)
        if values:
            cells = [[v for (size, _), v in values.items() if size == wanted] for wanted in sizes]
            middle = interquartile_mean(by_size(values))
            whole, digits = all(cells), measure.digits
            shown = [_mean(cell, digits) for cell in cells]
            found.append((whole, measure.sign * middle.value, [method, *shown, middle.text(digits) if whole else ""]))
    ordered = [row for _, _, row in sorted(found, key=lambda entry: entry[:2], reverse=True)]
    note = f"Mean {measure.word} over the seeds; iqm: interquartile mean over sizes and seeds (95 % interval)."
    note += " Lower is better." * measure.less + f" {judge}" * bool(judge)
    return Table(f"{measure.title} after {budget} steps", ["method", *sizes, "iqm"], ordered, note)


def verdicts(rows: Sequence[Row], budgets: Sequence[int], measure: Measure) -> Table:
    """Return the differences of ours minus each other method at every budget."""
    pairs = [(method, OURS, method) for method in methods_of(rows) if method != OURS]
    return _differences(f"{OURS} minus the other method", pairs, rows, budgets, measure.digits, measure.sign)


def against_scratch(rows: Sequence[Row], budgets: Sequence[int], measure: Measure) -> Table:
    """Return the differences of each method minus scratch at every budget, over the sizes it is defined for."""
    pairs = [(method, method, "scratch") for method in methods_of(rows) if method != "scratch"]
    return _differences("The method minus scratch", pairs, rows, budgets, measure.digits, measure.sign)


def losses(rows: Sequence[Row], budgets: Sequence[int]) -> Table:
    """Return differences of the loss on held-out data, which is less noisy than returns."""
    pairs = [(method, method, OURS) for method in methods_of(rows) if method != OURS]
    title = f"Loss on held-out data, in units of {LOSS_UNIT:g}: the other method minus {OURS} (ahead: {OURS} is lower)"
    return _differences(title, pairs, rows, budgets, 0, 1, "validation_loss", LOSS_UNIT)


def _differences(
    title: str,
    pairs: Sequence[tuple[str, str, str]],
    rows: Sequence[Row],
    budgets: Sequence[int],
    digits: int,
    sign: int,
    *measure: Any,
) -> Table:
    """Return paired differences: a label, and the two methods; ``sign`` is -1 if less is better."""
    lines = []
    for label, method, other in pairs:
        found = [difference(rows, method, other, budget, *measure) for budget in budgets]
        if any(found):
            lines.append([label, *(_verdict(one, digits, sign) for one in found)])
    note = "Mean of the paired differences over size and seed, 95 % interval, number of pairs. "
    note += "Ahead or behind: the interval excludes zero. A single pair has no interval."
    return Table(title, ["method", *(f"{budget} steps" for budget in budgets)], lines, note)


def steps_table(rows: Sequence[Row], reference: ReferenceScore, measure: Measure) -> Table:
    """Return the budgets at which mean curves reach shares of the reference (its inverse if less is better)."""
    lines, shares = [], [share**measure.sign for share in SHARES]
    for size in sizes_of(rows):
        for method in (OURS, "scratch"):
            wanted = [share * reference.value for share in shares]
            estimates = [mean_steps_to(rows, method, size, value, measure.sign) for value in wanted]
            if not any(math.isnan(estimate.value) for estimate in estimates):
                longest = max(row["budget"] for row in rows if row["method"] == method and row["size"] == size)
                lines.append([size, method, *(_steps(estimate, longest) for estimate in estimates)])
    header = ["size", "method", *(f"to {share:.0%} of {reference.name}" for share in shares)]
    note = "Interpolated over the logarithm of the budget; 95 % interval over seeds. "
    note += f"{reference.name[0].upper()}{reference.name[1:]} is {reference.value:,.{measure.digits}f}."
    return Table(f"Steps to {_a(measure.word)}", header, lines, note)


def costs(rows: Sequence[Row]) -> Table:
    """Return the mean FLOPs and seconds of a cell."""
    budget = max((row["budget"] for row in rows if row["method"] == OURS), default=0)
    lines = []
    for method in methods_of(rows):
        cells = [row for row in rows if row["method"] == method and row["budget"] == budget]
        if cells:
            flops, seconds = (sum(row[key] for row in cells) / len(cells) for key in ("flops", "seconds"))
            lines.append([method, f"{flops:.3g}", f"{seconds:.0f}"])
    note = (
        "Means over sizes and seeds, for the target only. Seconds include the evaluation, with processes in parallel."
    )
    return Table(f"Cost of {budget} steps", ["method", "FLOPs", "seconds"], lines, note)


def failed(rows: Sequence[Row]) -> Table:
    """Return the cells with failed test episodes."""
    lines = [
        [row["method"], row["size"], str(row["seed"]), str(row["budget"]), f"{row['failed_episodes']:.0f}"]
        for row in rows
        if row.get("failed_episodes")
    ]
    note = "Such an episode ends when its simulation fails, and counts with its return until then."
    return Table("Failed episodes", ["method", "size", "seed", "budget", "episodes"], lines, note)


def undefined(rows: Sequence[Row]) -> Table:
    """Return the methods and sizes that are not defined, with the reason."""
    notes = {(row["method"], row["size"]): row["note"] for row in rows if row["value"] == ""}
    return Table("Not applicable", ["method", "size", "reason"], [[*key, note] for key, note in sorted(notes.items())])


def _of(measure: Measure, rows: Sequence[Row]) -> list[Row]:
    """Return the rows with another measure as ``value``."""
    return [{**row, "value": measure.unit * row[measure.columns[0]]} for row in rows]


def _a(word: str) -> str:
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"


def _mean(values: Sequence[float], digits: int) -> str:
    return f"{sum(values) / len(values):,.{digits}f}" if values else "n/a"


def _verdict(found: tuple[Estimate, int] | None, digits: int, sign: int) -> str:
    if found is None:
        return ""
    estimate, pairs = found
    if pairs == 1:
        return f"{estimate.value:,.{digits}f}, 1"
    low, high = sorted((sign * estimate.low, sign * estimate.high))
    word = "ahead" if low > 0 else "behind" if high < 0 else "tie"
    return f"{word}: {estimate.text(digits)}, {pairs}"


def _steps(estimate: Estimate, longest: int) -> str:
    value, low, high = (f"> {longest}" if math.isinf(x) else f"{x:.0f}" for x in estimate)
    return value if math.isnan(estimate.low) else f"{value} ({low} to {high})"
