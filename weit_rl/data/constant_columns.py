"""Entries of observations, the columns of a table of steps: which never move, and what each is divided by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

STD_FLOOR = 1e-3  # of how far an entry goes from its mean: what moves in very few steps has hardly a deviation
ROUNDING = 4 * float(np.finfo(np.float32).eps)  # of its size: what an entry may differ by and be constant all the same
LEAST = 1e-30  # where float32 has no numbers left to tell steps apart
CONSTANT = np.float32(1)


def constant(columns: np.ndarray) -> np.ndarray:
    """``(obs,)`` booleans: which of the columns ``(steps, obs)`` never move, but for float32's rounding."""
    low, high = (edge.astype(np.float64) for edge in (columns.min(axis=0), columns.max(axis=0)))
    size = np.maximum(np.abs(low), np.abs(high))
    unmoved: np.ndarray = high - low <= np.maximum(ROUNDING * size, LEAST)
    return unmoved


def scales(columns: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """``(obs,)`` float32: what the columns ``(steps, obs)`` are divided by once their mean is taken away.

    It is their deviation, at least a thousandth of how far they go from the mean. It is exactly 1 for those that never
    move (more where rounding alone goes further), and for no other.
    """
    reach = np.maximum(columns.max(axis=0) - mean, mean - columns.min(axis=0))
    still = constant(columns)
    scale = np.maximum(std, STD_FLOOR * reach).astype(np.float32)
    scale[scale == CONSTANT] = np.nextafter(CONSTANT, np.float32(2))
    return np.where(still, np.maximum(CONSTANT, reach.astype(np.float32)), scale)


def spans(indices: Sequence[int]) -> str:
    """Increasing numbers as text, ``"0, 4-7"``."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
