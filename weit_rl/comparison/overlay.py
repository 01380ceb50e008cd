"""The learning curves of several runs in one picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from weit_rl.comparison.figures import png_with_legend
from weit_rl.comparison.run_records import RecordedRun, seed_means
from weit_rl.comparison.statistics import mean
from weit_rl.training.learning_curve import Points, running_mean, use_log_scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POINTS = 50  # per curve; a longer curve is smoothed by a running mean over the points in between
Curve = Callable[[RecordedRun], Points]
Axis = Callable[[RecordedRun, Sequence[float]], Any]  # positions of steps
LOSSES: dict[str, Curve] = {
    "training loss": RecordedRun.training_loss,
    "loss on held-out episodes": lambda run: run.metrics.get("validation/loss", []),
}
RESULTS: dict[bool, dict[str, Curve]] = {  # True if all runs share an environment, and no success counts
    True: {"validation return (sum of rewards)": lambda run: run.metrics.get("validation/return", [])},
    False: {"validation score (0 random, 100 expert)": lambda run: run.metrics.get("validation/score", [])},
}


def overlaid(groups: Mapping[str, Sequence[RecordedRun]], one_env: bool) -> bytes:
    """Draw a PNG of losses and returns (scores, if environments differ) against steps and against FLOPs.

    If the FLOPs of a run are not known at every step (it is unfinished, or has an online stage), seconds take their
    place.

    Args:
        groups: runs by the name of their curve. For several runs, which differ by their seed, the mean is drawn with
            its 95 % bootstrap interval over the seeds; one seed has none.
        one_env: whether all runs share an environment.
    """
    from matplotlib.figure import Figure

    everything = [run for runs in groups.values() for run in runs]
    measures = {
        label: of for label, of in (LOSSES | RESULTS[one_env]).items() if any(of(run) for run in everything)
    } or RESULTS[one_env]
    axes = _axes(everything)
    figure = Figure(figsize=(12, 0.6 + 2.8 * len(measures)), layout="constrained")
    grid = figure.subplots(len(measures), len(axes), sharex="col", sharey="row", squeeze=False)
    for panels, (label, of) in zip(grid, measures.items(), strict=True):
        for number, (name, runs) in enumerate(groups.items()):
            _draw(panels, list(axes.values()), name, [run for run in runs if of(run)], of, f"C{number}")
        panels[0].set_ylabel(label)
        if label in LOSSES:
            use_log_scale(panels[0])
        else:
            panels[0].yaxis.set_major_formatter("{x:,.6g}")
    for panel, label in zip(grid[-1], axes, strict=True):
        panel.set_xlabel(label)
    for panel in grid.flat:
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(alpha=0.25)
    return png_with_legend(figure, list(grid.flat))


def _axes(runs: Sequence[RecordedRun]) -> dict[str, Axis]:
    """Return the x axes: their labels, and functions from steps to positions."""
    steps = "step (online: environment steps behind them)" if any(run.online for run in runs) else "gradient step"
    if all(run.counts_flops for run in runs):
        return {steps: lambda _, at: at, "FLOPs": RecordedRun.flops_at}
    return {steps: lambda _, at: at, "seconds": RecordedRun.seconds_at}


def _draw(
    panels: Sequence[Axes], axes: Sequence[Axis], name: str, runs: Sequence[RecordedRun], of: Curve, colour: str
) -> None:
    """Draw one curve in every panel of a row."""
    curves = [_smoothed(of(run)) for run in runs]
    steps = sorted(set.intersection(*(set(curve) for curve in curves))) if curves else []
    if not steps:
        return
    steps = steps[:: -(-len(steps) // POINTS)]
    seeds = [run.config["seed"] for run in runs]
    centre, low, high = np.array([mean([seed_means([c[step] for c in curves], seeds)]) for step in steps]).T
    for panel, axis in zip(panels, axes, strict=True):
        x = np.mean([axis(run, steps) for run in runs], axis=0)
        panel.plot(x, centre, color=colour, linewidth=1.5, marker="o", markersize=3, label=name)
        panel.fill_between(x, low, high, color=colour, alpha=0.15)


def _smoothed(points: Points) -> dict[int, float]:
    steps, values = zip(*points, strict=True)
    return dict(zip(steps, running_mean(values, len(values) // POINTS), strict=True))
