"""The picture of a run: loss and return against the step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from itertools import groupby, pairwise
from typing import Any, NamedTuple

Points = list[tuple[int, float]]
Series = Mapping[str, Points]
MEASURES = {  # y axis -> how the metrics that it shows are called behind the slash
    "loss": ("loss",),
    "episode return (sum of rewards)": ("return", "return_mean"),
    "accuracy (%)": ("accuracy",),
}
WIDE = 10  # how many times the least the largest loss is where a logarithmic axis has numbers enough
UNITS = {"online": "environment step"}  # what a stage's steps count; those of all others are gradient steps


class Part(NamedTuple):
    """Stages beside each other whose steps count the same thing: one column of the picture."""

    unit: str
    first: int
    last: int
    stages: dict[str, int]

    @property
    def offset(self) -> int:
        """The step that its axis begins to count at."""
        return self.first if self.unit in UNITS.values() else 0

    def of(self, points: Points) -> Points:
        """The points inside, environment steps counted from where they begin; none of what ends where it begins."""
        if self.first and points and points[-1][0] == self.first:
            return []
        return [(step - self.offset, value) for step, value in points if self.first <= step <= self.last]


def draw_learning_curve(metrics: Series, stages: Mapping[str, int], behaviour_return: float | None) -> bytes:
    """A PNG with the loss above and the return below (a panel without data is left out).

    Args:
        metrics: ``{name: [(step, value), ...]}``; ``*/loss``, ``*/return`` and ``*/return_mean`` are drawn.
        stages: the step at which each stage starts, marked by a vertical line; one that takes environment steps has a
            column and a count of its own.
        behaviour_return: a dashed horizontal line in the return panel, if given.
    """
    from matplotlib.figure import Figure  # without pyplot: no window system, no global state

    rows = {label: shown for label in MEASURES if (shown := _ending(metrics, MEASURES[label]))} or {"loss": {}}
    parts = _parts(metrics, stages)
    sources = dict.fromkeys(name.partition("/")[0] for shown in rows.values() for name in shown)
    colours = {source: f"C{number}" for number, source in enumerate(sources)}  # of a source the same in every panel
    figure = Figure(figsize=(8 + 4 * (len(parts) - 1), 1 + 3 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), len(parts), sharex="col", sharey="row", squeeze=False)
    for (label, shown), panels in zip(rows.items(), grid, strict=True):
        for part, panel in zip(parts, panels, strict=True):
            _fill(panel, label, {name: part.of(points) for name, points in shown.items()}, colours)
            if label != "loss" and behaviour_return is not None:
                panel.axhline(behaviour_return, color="black", linestyle="--", linewidth=1, label="behaviour data")
            _finish(panel, part)
        panels[0].set_ylabel(label)
    for part, top, bottom in zip(parts, grid[0], grid[-1], strict=True):
        _name_stages(top, part)
        bottom.set_xlabel(part.unit)
    return png(figure)


def png(figure: Any) -> bytes:
    """A figure as a file's bytes."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def running_mean(values: Sequence[float], half: int) -> list[float]:
    """The mean of every value with its ``half`` neighbours on either side (fewer at the ends)."""
    parts = (values[max(0, i - half) : i + half + 1] for i in range(len(values)))
    return [sum(part) / len(part) for part in parts]


def use_log_scale(panel: Any) -> None:
    """A logarithmic y axis whose numbers read 0.05, not 5 x 10^-2."""
    from matplotlib.ticker import LogLocator, NullFormatter

    panel.set_yscale("log")
    panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.yaxis.set_major_formatter("{x:g}")
    panel.yaxis.set_minor_formatter(NullFormatter())


def _parts(metrics: Series, stages: Mapping[str, int]) -> list[Part]:
    """The columns; a stage without a step is in none."""
    last = max((points[-1][0] for points in metrics.values() if points), default=0)
    ends = [*stages.items(), ("", last)]
    begun = {name: step for (name, step), (_, end) in pairwise(ends) if step < end} or {"": 0}
    units = [(unit, dict(some)) for unit, some in groupby(begun.items(), lambda stage: UNITS.get(stage[0], ""))]
    firsts = [min(some.values()) for _, some in units]
    return [
        Part(unit or "gradient step", first, end, some)
        for (unit, some), first, end in zip(units, firsts, [*firsts[1:], last], strict=True)
    ]


def _ending(metrics: Series, endings: Sequence[str]) -> Series:
    return {name: points for name, points in metrics.items() if name.rpartition("/")[2] in endings}


def _fill(panel: Any, label: str, series: Series, colours: Mapping[str, str]) -> None:
    for name, points in series.items():
        source = name.partition("/")[0]
        steps, values = [step for step, _ in points], [value for _, value in points]
        style = {"color": colours[source], "marker": "o", "markersize": 3.5, "linewidth": 1.6, "label": source}
        if label == "loss" and len(points) > 50:  # single batches are noisy: the eye needs their running mean
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


def _finish(panel: Any, part: Part) -> None:
    from matplotlib.ticker import MaxNLocator

    for step in part.stages.values():
        panel.axvline(step - part.offset, color="gray", linestyle=":", linewidth=1)
    panel.grid(alpha=0.25)
    panel.spines[["top", "right"]].set_visible(False)
    panel.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    panel.xaxis.set_major_formatter("{x:,.0f}")
    if panel.get_legend_handles_labels()[0]:
        panel.legend(fontsize=8, frameon=False)


def _name_stages(panel: Any, part: Part) -> None:
    """The stages' names, above the line where each begins; every other one higher, since short stages stand close."""
    where: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
    for number, (name, first) in enumerate(part.stages.items()):
        panel.annotate(
            name and f"{name} stage", (first - part.offset, 1), (0, 3 + 10 * (number % 2)), fontsize=8, **where
        )
