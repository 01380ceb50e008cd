"""The plots of a comparison."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from weit_rl.comparison.cell import Row
from weit_rl.comparison.methods import METHODS
from weit_rl.comparison.results import defined_rows
from weit_rl.comparison.statistics import Estimate, by_size, interquartile_mean, mean, profile, values_of
from weit_rl.comparison.tables import OURS, ReferenceScore, methods_of, sizes_of
from weit_rl.tasks import Measure
from weit_rl.training.learning_curve import png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = "osv^Dx*<>Ph+"


def all_figures(
    rows: Sequence[Row], reference: ReferenceScore, source_flops: float, measure: Measure
) -> dict[str, bytes]:
    """Return PNG pictures by name.

    Args:
        rows: of finished cells.
        reference: the result that others are compared with.
        source_flops: FLOPs of the source of every method that has one.
        measure: by which methods are compared.
    """
    rows = defined_rows(rows)
    shares = (
        {"profiles": profiles(rows, reference, measure)} if reference.value > 0 else {}
    )  # shares need a positive reference
    return {
        "curves": curves(rows, reference, measure),
        "interquartile_means": over_sizes(rows, measure),
        **shares,
        "cost": cost(rows, source_flops, measure),
    }


def curves(rows: Sequence[Row], reference: ReferenceScore, measure: Measure) -> bytes:
    """Plot the measure against the budget, one panel per size, with 95 % intervals over the seeds."""
    sizes = sizes_of(rows)
    figure, axes = _panels(len(sizes))
    for axis, size in zip(axes, sizes, strict=True):
        own = [row for row in rows if row["size"] == size]
        _lines(axis, own, mean, measure)
        axis.axhline(reference.value, color="grey", linestyle="--", linewidth=1)
        axis.set_title(size)
    return png_with_legend(figure, axes)


def over_sizes(rows: Sequence[Row], measure: Measure) -> bytes:
    """Plot interquartile means over sizes and seeds, for methods that are defined for all sizes."""
    count = len(sizes_of(rows))
    whole = [m for m in methods_of(rows) if len({r["size"] for r in rows if r["method"] == m}) == count]
    figure, axes = _panels(1)
    _lines(axes[0], [row for row in rows if row["method"] in whole], interquartile_mean, measure)
    axes[0].set_title("interquartile mean over sizes and seeds")
    return png_with_legend(figure, axes)


def profiles(rows: Sequence[Row], reference: ReferenceScore, measure: Measure) -> bytes:
    """Plot the share of cells above each share of the reference, or of its inverse if less is better."""
    budgets = sorted({row["budget"] for row in rows if row["method"] == OURS}) or [0]
    levels = np.linspace(0, 1.05, 106)
    figure, axes = _panels(len(budgets))
    for axis, budget in zip(axes, budgets, strict=True):
        for method in methods_of(rows):
            found = values_of(rows, method, budget).values()
            values = [(value / reference.value) ** measure.sign for value in found]
            if values:
                axis.plot(levels, profile(values, levels.tolist()), label=method, **_style(method, marker=False))
        label = f"{reference.name} / {measure.word}" if measure.less else f"share of {reference.name}"
        axis.set(title=f"{budget} steps", xlabel=label, ylabel="cells above it", ylim=(0, 1.03))
    return png_with_legend(figure, axes)


def cost(rows: Sequence[Row], source_flops: float, measure: Measure) -> bytes:
    """Plot the mean over all sizes against their total FLOPs, including the pre-training of the source."""
    figure, axes = _panels(1)
    for method in methods_of(rows):
        points = []
        for budget in sorted({row["budget"] for row in rows if row["method"] == method}):
            cells = [row for row in rows if row["method"] == method and row["budget"] == budget]
            seeds = len({row["seed"] for row in cells})
            pretraining = source_flops if any(row["source"] for row in cells) else 0.0
            total = pretraining + sum(row["flops"] for row in cells) / seeds
            if total:  # a logarithmic axis has no zero
                points.append((total, sum(row["value"] for row in cells) / len(cells)))
        if points:
            axes[0].plot(*zip(*points, strict=True), label=method, **_style(method))
            axes[0].set_xscale("log")
    axes[0].set(xlabel="FLOPs of all sizes together, with pre-training", ylabel=f"mean {measure.word}")
    _scale(axes[0], measure)
    axes[0].xaxis.set_minor_formatter("")  # labels between powers of ten would overlap
    return png_with_legend(figure, axes)


def _lines(
    axis: Axes, rows: Sequence[Row], estimate: Callable[[list[list[float]]], Estimate], measure: Measure
) -> None:
    for method in methods_of(rows):
        budgets = sorted({row["budget"] for row in rows if row["method"] == method})
        values = [estimate(by_size(values_of(rows, method, budget))) for budget in budgets]
        centre, low, high = np.array(values).T
        style = _style(method)
        axis.plot(budgets, centre, label=method, **style)
        axis.fill_between(budgets, low, high, color=style["color"], alpha=0.12)
    axis.set_xscale("symlog", linthresh=100)
    axis.set_xticks(budgets := sorted({row["budget"] for row in rows}), labels=[str(budget) for budget in budgets])
    axis.minorticks_off()
    axis.set(xlabel="gradient steps on the target", ylabel=measure.word)
    _scale(axis, measure)


def _scale(axis: Axes, measure: Measure) -> None:
    """Use a logarithmic scale for a measure that is to be small."""
    if measure.less:
        axis.set_yscale("log")


def _style(method: str, marker: bool = True) -> dict[str, Any]:
    """Return the style of a method, the same in every picture."""
    import matplotlib

    number = METHODS.names().index(method)
    colour = "black" if method == OURS else matplotlib.colormaps["tab20"](number % 20)
    shape = {"marker": MARKERS[number % len(MARKERS)], "markersize": 4} if marker else {}
    return {"color": colour, "linewidth": 2.4 if method == OURS else 1.1, "zorder": 3 if method == OURS else 2, **shape}


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    columns = min(count, 2)
    rows = -(-count // columns)
    figure = Figure(figsize=(5.2 * columns + 2, 3.6 * rows), layout="constrained")
    axes = [figure.add_subplot(rows, columns, number + 1) for number in range(count)]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25)
    return figure, axes


def png_with_legend(figure: Figure, axes: Sequence[Axes]) -> bytes:
    """Return a figure as PNG bytes, with one legend for all its panels."""
    found = {label: line for axis in axes for line, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(found.values(), found.keys(), loc="outside right upper", frameon=False, fontsize="small")
    return png(figure)
