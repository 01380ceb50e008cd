"""Bounds of an environment's actions, and the conversion between these bounds and [-1, 1], where policies act."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from gymnasium import spaces


@dataclass(frozen=True)
class ActionBox:
    """Bounds of an environment's own actions.

    Data on disk are in these units; everything inside the program is in [-1, 1]. Three places convert between the two:
    ``load_trajectories``, ``write_minari`` and the environment that ``EnvEntry.make`` makes. If the bounds are -1 and
    1, actions pass unchanged.

    Attributes:
        low: ``(act,)`` float32.
        high: ``(act,)`` float32.
    """

    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, space: spaces.Box) -> ActionBox:
        """Return the bounds of a flat Gymnasium box."""
        return cls(space.low.astype(np.float32), space.high.astype(np.float32))

    @property
    def is_unit(self) -> bool:
        """Return True if the bounds are -1 and 1."""
        return bool((self.low == -1).all() and (self.high == 1).all())

    @property
    def is_bounded(self) -> bool:
        """Return True if every action has a finite range that is larger than 0 and that float32 can represent."""
        with np.errstate(over="ignore", invalid="ignore"):  # the limits of float32 do not count as bounds
            return bool(np.isfinite(self.high - self.low).all() and (self.low < self.high).all())

    def own(self, actions: np.ndarray) -> np.ndarray:
        """Convert actions from [-1, 1] to the bounds, and clip rounding errors."""
        if self.is_unit:
            return actions
        middle, half = self._middle_and_half()
        return np.clip(middle + half * actions, self.low, self.high)

    def unit(self, actions: np.ndarray) -> np.ndarray:
        """Convert actions from the bounds to [-1, 1]; actions outside the bounds stay outside."""
        if self.is_unit:
            return actions
        middle, half = self._middle_and_half()
        return (actions - middle) / half

    def __str__(self) -> str:
        pairs = sorted({f"[{low:g}, {high:g}]" for low, high in zip(self.low, self.high, strict=True)})
        return " and ".join(pairs)

    def _middle_and_half(self) -> tuple[np.ndarray, np.ndarray]:
        return (self.high + self.low) / 2, (self.high - self.low) / 2
