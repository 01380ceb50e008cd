"""One recorded episode, as formats read it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Episode(NamedTuple):
    """Arrays of equal length.

    Attributes:
        observations: before each action, ``(steps, obs)``, or pictures, ``(steps, colours, height, width)`` bytes.
        actions: ``(steps, act)``.
        rewards: ``(steps,)``.
        states: beside pictures, ``(steps, obs)``; None where there are none (default).
    """

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    states: np.ndarray | None = None

    @property
    def by_name(self) -> dict[str, np.ndarray]:
        """Observations, actions and rewards."""
        return {"observations": self.observations, "actions": self.actions, "rewards": self.rewards}
