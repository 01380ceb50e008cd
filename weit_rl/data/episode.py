"""The arrays of one recorded episode, as data formats return it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Episode(NamedTuple):
    """The arrays of one episode, all of the same length.

    Attributes:
        observations: before each action, ``(steps, obs)``, or pictures, ``(steps, colours, height, width)`` bytes.
        actions: ``(steps, act)``.
        rewards: ``(steps,)``.
        states: states that belong to pictures, ``(steps, obs)``; None if there are none (default).
    """

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    states: np.ndarray | None = None

    @property
    def by_name(self) -> dict[str, np.ndarray]:
        """Return observations, actions and rewards by name."""
        return {"observations": self.observations, "actions": self.actions, "rewards": self.rewards}
