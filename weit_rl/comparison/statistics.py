"""Means, intervals and differences of a comparison, by bootstrap over seeds (after Agarwal et al. 2021, rliable)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.stats import bootstrap, trim_mean

from weit_rl.comparison.cell import Row

RESAMPLES = 2000
CONFIDENCE = 0.95
BEYOND = 1e12  # steps that stand for "never", since percentiles between infinite numbers are undefined


class Estimate(NamedTuple):
    """A number with its 95 % bootstrap interval, NaN if nothing can be resampled (one seed)."""

    value: float
    low: float
    high: float

    def text(self, digits: int = 0) -> str:
        """Format the estimate for tables, with so many decimals."""
        value, low, high = (f"{x:,.{digits}f}" for x in self)
        return value if math.isnan(self.low) else f"{value} ({low} to {high})"


def mean(groups: Sequence[Sequence[float]]) -> Estimate:
    """Return the mean of all values; each group (the seeds of a size) is resampled separately."""
    return _estimate(groups, lambda x: float(np.mean(x)))


def interquartile_mean(groups: Sequence[Sequence[float]]) -> Estimate:
    """Return the mean of the middle half of all values, which outliers affect less than the mean."""
    return _estimate(groups, lambda x: float(trim_mean(x, 0.25)))


def values_of(rows: Sequence[Row], method: str, budget: int, measure: str = "value") -> dict[tuple[str, int], float]:
    """Return the values of a method's cells of one budget, by size and seed."""
    cells = [row for row in rows if row["method"] == method and row["budget"] == budget and row[measure] != ""]
    return {(row["size"], row["seed"]): row[measure] for row in cells}


def by_size(values: dict[tuple[str, int], float]) -> list[list[float]]:
    """Return the values grouped by size."""
    sizes = list(dict.fromkeys(size for size, _ in values))
    return [[value for (size, _), value in values.items() if size == wanted] for wanted in sizes]


def difference(
    rows: Sequence[Row], method: str, other: str, budget: int, measure: str = "value", unit: float = 1.0
) -> tuple[Estimate, int] | None:
    """Return the mean paired difference over common sizes and seeds, and the number of pairs; None without any.

    All pairs are resampled together, so the interval also covers how much sizes differ, and exists for one seed.
    """
    ours, theirs = (values_of(rows, name, budget, measure) for name in (method, other))
    both = [(ours[key] - theirs[key]) / unit for key in ours if key in theirs]
    return (mean([both]), len(both)) if both else None


def steps_to(curve: Sequence[tuple[int, float]], wanted: float, sign: int = 1) -> float:
    """Return the budget at which a curve first reaches a value, interpolated over ``log(1 + budget)``, or inf.

    Args:
        curve: budgets and values.
        wanted: the value.
        sign: -1 if less is better (default 1).
    """
    points, wanted = sorted((budget, sign * value) for budget, value in curve), sign * wanted
    if points and points[0][1] >= wanted:
        return float(points[0][0])
    for (b0, r0), (b1, r1) in pairwise(points):
        if r0 < wanted <= r1:
            share = (wanted - r0) / (r1 - r0)
            return math.expm1(math.log1p(b0) + share * (math.log1p(b1) - math.log1p(b0)))
    return math.inf


def mean_steps_to(rows: Sequence[Row], method: str, size: str, wanted: float, sign: int = 1) -> Estimate:
    """Return the steps to a value on a size's mean curve over the seeds; ``sign`` is -1 if less is better."""
    chosen = [row for row in rows if row["method"] == method and row["size"] == size]
    curves = [[(r["budget"], r["value"]) for r in chosen if r["seed"] == s] for s in {r["seed"] for r in chosen}]
    common = set.intersection(*({b for b, _ in curve} for curve in curves)) if curves else set()
    table = np.array([[value for b, value in sorted(curve) if b in common] for curve in curves])
    budgets = sorted(common)

    def of(indices: np.ndarray) -> float:
        means = table[np.asarray(indices, dtype=int)].mean(axis=0)
        return min(steps_to(list(zip(budgets, means.tolist(), strict=True)), wanted, sign), BEYOND)

    if not budgets:
        return Estimate(math.nan, math.nan, math.nan)
    return Estimate(*(math.inf if x >= BEYOND else x for x in _estimate([list(range(len(curves)))], of)))


def profile(values: Sequence[float], levels: Sequence[float]) -> list[float]:
    """The share of runs that reach each level."""
    return [float(np.mean(np.asarray(values) >= level)) for level in levels]


def _estimate(groups: Sequence[Sequence[float]], statistic: Callable[[np.ndarray], float]) -> Estimate:
    """Return a statistic of all values with its interval; groups of one value each have no interval."""
    samples = tuple(np.asarray(group, dtype=float) for group in groups)
    value = statistic(np.concatenate(samples))
    if max(len(sample) for sample in samples) < 2:
        return Estimate(value, math.nan, math.nan)
    # scipy refuses to resample samples of one value, so these stay as they are
    varying, fixed = [s for s in samples if len(s) > 1], [s for s in samples if len(s) < 2]
    interval = bootstrap(
        varying,
        lambda *drawn: statistic(np.concatenate([*drawn, *fixed])),
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        vectorized=False,
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Estimate(value, float(interval.low), float(interval.high))
