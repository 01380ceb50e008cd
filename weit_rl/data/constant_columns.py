"""Constant entries of observations, and the scale that each entry is divided by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

STD_FLOOR = 1e-3  # smallest deviation, as a share of the largest distance from the mean: rare moves hardly count
ROUNDING = 4 * float(np.finfo(np.float32).eps)  # relative range below which an entry counts as constant
LEAST = 1e-30  # absolute range below which float32 cannot separate values
CONSTANT = np.float32(1)


def constant(columns: np.ndarray) -> np.ndarray:
    """Return ``(obs,)`` booleans: True for columns of ``(steps, obs)`` that vary by no more than float32 rounding."""
    low, high = (edge.astype(np.float64) for edge in (columns.min(axis=0), columns.max(axis=0)))
    size = np.maximum(np.abs(low), np.abs(high))
    unmoved: np.ndarray = high - low <= np.maximum(ROUNDING * size, LEAST)
    return unmoved


def scales(columns: np.ndarray, mean: np.ndarray, std: np.ndarray, least: float = 0.0) -> np.ndarray:
    """Return the ``(obs,)`` float32 divisors of the columns ``(steps, obs)`` after their mean is subtracted.

    A divisor is the standard deviation, but at least a thousandth of the largest distance from the mean. It is exactly
    1 for constant columns only, or more if rounding alone exceeds 1.

    Args:
        columns: the values.
        mean: of each column.
        std: of each column.
        least: smallest divisor, as a share of the median deviation of the columns that vary (default 0). It keeps a
            column that only trembles small, and suits columns of alike units.
    """
    reach = np.maximum(columns.max(axis=0) - mean, mean - columns.min(axis=0))
    still = constant(columns)
    floor = 0.0 if still.all() else least * float(np.median(std[~still]))
    scale = np.maximum(np.maximum(std, STD_FLOOR * reach), floor).astype(np.float32)
    scale[scale == CONSTANT] = np.nextafter(CONSTANT, np.float32(2))
    return np.where(still, np.maximum(CONSTANT, reach.astype(np.float32)), scale)


def spans(indices: Sequence[int]) -> str:
    """Format increasing numbers as text, such as ``"0, 4-7"``."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
