"""The picture of a run: loss and return against the training step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

Series = Mapping[str, list[tuple[int, float]]]


def draw_learning_curve(metrics: Series, stages: Mapping[str, int], behaviour_return: float | None) -> bytes:
    """A PNG with the loss curves above and the return curves below (a panel without data is left out).

    Args:
        metrics: ``{name: [(step, value), ...]}``; ``*/loss``, ``*/return`` and ``*/return_mean`` are drawn.
        stages: the step at which each stage starts, marked by a vertical line.
        behaviour_return: a dashed horizontal line in the return panel, if given.
    """
    from matplotlib.figure import Figure  # without pyplot: no window system, no global state

    panels = {"loss": _ending(metrics, "loss"), "return": _ending(metrics, "return", "return_mean")}
    shown = {label: series for label, series in panels.items() if series}
    figure = Figure(figsize=(8, 1 + 3 * max(len(shown), 1)), layout="constrained")
    axes = figure.subplots(max(len(shown), 1), 1, sharex=True, squeeze=False)[:, 0]
    for panel, (label, series) in zip(axes, shown.items(), strict=False):
        draw = _draw_loss if label == "loss" else _draw_return
        draw(panel, series)
    if "return" in shown and behaviour_return is not None:
        axes[-1].axhline(behaviour_return, color="black", linestyle="--", linewidth=1, label="behaviour data")
    for panel in axes:
        _mark(panel, stages)
    _name_stages(axes[0], stages)
    axes[-1].set_xlabel("training step")
    picture = BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    return picture.getvalue()


def _ending(metrics: Series, *endings: str) -> Series:
    return {name: points for name, points in metrics.items() if name.rpartition("/")[2] in endings}


def _draw_loss(panel: Any, series: Series) -> None:
    for name, points in series.items():
        steps, values = zip(*points, strict=True)
        (line,) = panel.plot(steps, values, linewidth=1, alpha=0.3 if len(points) > 50 else 1, label=name)
        if len(points) > 50:  # single batches are noisy: the eye needs their running mean
            line.set_label("_")
            smooth = _running_mean(values, len(values) // 50)
            panel.plot(steps, smooth, color=line.get_color(), linewidth=1.8, label=f"{name}, running mean")
    if all(value > 0 for points in series.values() for _, value in points):
        _use_log_scale(panel)
    panel.set_ylabel("loss")


def _draw_return(panel: Any, series: Series) -> None:
    for name, points in series.items():
        panel.plot(*zip(*points, strict=True), marker="o", markersize=4, label=name)
    panel.set_ylabel("episode return (sum of rewards)")


def _running_mean(values: Sequence[float], half: int) -> list[float]:
    """The mean of every value with its ``half`` neighbours on either side (fewer at the ends)."""
    parts = (values[max(0, i - half) : i + half + 1] for i in range(len(values)))
    return [sum(part) / len(part) for part in parts]


def _use_log_scale(panel: Any) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    panel.set_yscale("log")
    panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.yaxis.set_major_formatter("{x:g}")  # 0.05, not 5 x 10^-2
    panel.yaxis.set_minor_formatter(NullFormatter())


def _mark(panel: Any, stages: Mapping[str, int]) -> None:
    for step in stages.values():
        panel.axvline(step, color="gray", linestyle=":", linewidth=1)
    panel.grid(alpha=0.3)
    if panel.get_legend_handles_labels()[0]:
        panel.legend(fontsize=8)


def _name_stages(panel: Any, stages: Mapping[str, int]) -> None:
    """The stages' names, above the topmost panel at the line where each begins."""
    for name, step in stages.items():
        where: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
        panel.annotate(name, (step, 1), (0, 3), fontsize=8, color="dimgray", **where)
