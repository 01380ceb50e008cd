"""Draw the learning curve of a run: loss and return over steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from itertools import groupby, pairwise
from typing import Any, NamedTuple

Points = list[tuple[int, float]]
Series = Mapping[str, Points]
MEASURES = {  # label of the y axis -> names of its metrics after the slash
    "loss": ("loss",),
    "episode return (sum of rewards)": ("return", "return_mean"),
    "accuracy (%)": ("accuracy",),
    "episodes with success (%)": ("success",),
}
WIDE = 10  # largest over smallest loss from which on the axis is logarithmic; below, it would show too few numbers
UNITS = {"online": "environment step"}  # unit of a stage's steps; all other stages count gradient steps


class Column(NamedTuple):
    """A column of the picture: consecutive stages whose steps have the same unit."""

    unit: str
    first: int
    last: int
    stages: dict[str, int]

    @property
    def offset(self) -> int:
        """The global step at which the axis has its zero."""
        return self.first if self.unit in UNITS.values() else 0

    def select(self, points: Points) -> Points:
        """Select the points of this column; environment steps count from the start of their stage.

        A series that ends where the column begins belongs to the column before.
        """
        if self.first and points and points[-1][0] == self.first:
            return []
        return [(step - self.offset, value) for step, value in points if self.first <= step <= self.last]


def draw_learning_curve(metrics: Series, stages: Mapping[str, int], behaviour_return: float | None) -> bytes:
    """Draw a PNG with the loss above and the return below; a panel without data is left out.

    Args:
        metrics: ``{name: [(step, value), ...]}``; ``*/loss``, ``*/return`` and ``*/return_mean`` are drawn.
        stages: the step at which each stage starts, marked by a vertical line. A stage of environment steps has its own
            column, which counts from 0.
        behaviour_return: result of the data, a dashed horizontal line in the last panel (None: no line).
    """
    from matplotlib.figure import Figure  # not pyplot, which needs a window system and has global state

    rows = {label: shown for label in MEASURES if (shown := _ending(metrics, MEASURES[label]))} or {"loss": {}}
    columns = columns_of(metrics, stages)
    sources = dict.fromkeys(name.partition("/")[0] for shown in rows.values() for name in shown)
    colours = {source: f"C{number}" for number, source in enumerate(sources)}  # one colour per source in all panels
    figure = Figure(figsize=(8 + 4 * (len(columns) - 1), 1 + 3 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), len(columns), sharex="col", sharey="row", squeeze=False)
    for (label, shown), panels in zip(rows.items(), grid, strict=True):
        for column, panel in zip(columns, panels, strict=True):
            draw_series(panel, label, {name: column.select(points) for name, points in shown.items()}, colours)
            if label != "loss" and label == list(rows)[-1] and behaviour_return is not None:
                panel.axhline(behaviour_return, color="black", linestyle="--", linewidth=1, label="behaviour data")
            finish_panel(panel, column)
        panels[0].set_ylabel(label)
    for column, top, bottom in zip(columns, grid[0], grid[-1], strict=True):
        _name_stages(top, column)
        bottom.set_xlabel(column.unit)
    return png(figure)


def png(figure: Any) -> bytes:
    """Return a figure as the bytes of a PNG."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def running_mean(values: Sequence[float], half: int) -> list[float]:
    """Average every value with its ``half`` neighbours on either side (fewer at the ends)."""
    parts = (values[max(0, i - half) : i + half + 1] for i in range(len(values)))
    return [sum(part) / len(part) for part in parts]


def use_log_scale(panel: Any) -> None:
    """Make the y axis logarithmic, with numbers like 0.05 instead of 5 x 10^-2."""
    from matplotlib.ticker import LogLocator, NullFormatter

    panel.set_yscale("log")
    panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.yaxis.set_major_formatter("{x:g}")
    panel.yaxis.set_minor_formatter(NullFormatter())


def columns_of(metrics: Series, stages: Mapping[str, int]) -> list[Column]:
    """Divide the stages into columns; a stage without steps is left out."""
    last = max((points[-1][0] for points in metrics.values() if points), default=0)
    ends = [*stages.items(), ("", last)]
    started = {name: step for (name, step), (_, end) in pairwise(ends) if step < end} or {"": 0}
    units = [(unit, dict(some)) for unit, some in groupby(started.items(), lambda stage: UNITS.get(stage[0], ""))]
    firsts = [min(some.values()) for _, some in units]
    return [
        Column(unit or "gradient step", first, end, some)
        for (unit, some), first, end in zip(units, firsts, [*firsts[1:], last], strict=True)
    ]


def _ending(metrics: Series, endings: Sequence[str]) -> Series:
    return {name: points for name, points in metrics.items() if name.rpartition("/")[2] in endings}


def draw_series(panel: Any, label: str, series: Series, colours: Mapping[str, str]) -> None:
    for name, points in series.items():
        source = name.partition("/")[0]
        steps, values = [step for step, _ in points], [value for _, value in points]
        style = {"color": colours[source], "marker": "o", "markersize": 3.5, "linewidth": 1.6, "label": source}
        if label == "loss" and len(points) > 50:  # losses of single batches are noisy
            panel.plot(steps, values, color=style["color"], linewidth=0.8, alpha=0.3)
            values = running_mean(values, len(values) // 50)
            style |= {"marker": "", "label": f"{source}, running mean"}
        if points:
            panel.plot(steps, values, **style)
    shown = [value for points in series.values() for _, value in points]
    if label == "loss" and min(shown, default=0) > 0 and max(shown) > WIDE * min(shown):
        use_log_scale(panel)
    else:
        panel.yaxis.set_major_formatter("{x:,.6g}")


def finish_panel(panel: Any, column: Column) -> None:
    from matplotlib.ticker import MaxNLocator

    for step in column.stages.values():
        panel.axvline(step - column.offset, color="gray", linestyle=":", linewidth=1)
    panel.grid(alpha=0.25)
    panel.spines[["top", "right"]].set_visible(False)
    panel.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    panel.xaxis.set_major_formatter("{x:,.0f}")
    if panel.get_legend_handles_labels()[0]:
        panel.legend(fontsize=8, frameon=False)


def _name_stages(panel: Any, column: Column) -> None:
    """Write each stage's name above the line where it begins; every second name stands higher, so that none overlap."""
    where: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
    for number, (name, first) in enumerate(column.stages.items()):
        panel.annotate(
            name and f"{name} stage", (first - column.offset, 1), (0, 3 + 10 * (number % 2)), fontsize=8, **where
        )
