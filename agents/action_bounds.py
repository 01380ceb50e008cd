"""Bounds of a Box of actions, for policies whose mean actions lie inside them."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from weit_rl.common.errors import UserError


class Squash(nn.Module):
    """A layer that maps all numbers into the bounds of a Box.

    An action whose bounds do not show its scale (the limits of float32, or twice the same number) passes unchanged.
    Stable-Baselines3 clips it.

    Args:
        box: of actions.

    Attributes:
        middle: ``(act,)``, of the bounds.
        reach: ``(act,)``, half the distance between the bounds; 1 for an action that passes unchanged.
    """

    middle: Tensor
    reach: Tensor
    inside: Tensor

    def __init__(self, box: spaces.Box):
        super().__init__()
        middle, reach = (torch.from_numpy(part).flatten() for part in _middle_and_reach(box))
        says = usable(box)
        self.register_buffer("middle", torch.where(says, middle, 0.0).float())
        self.register_buffer("reach", torch.where(says, reach, 1.0).float())
        self.register_buffer("inside", says, persistent=False)
        self.is_unit = bool(says.all() and (self.middle == 0).all() and (self.reach == 1).all())

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, act)`` to ``(B, act)`` inside the bounds."""
        squashed = torch.tanh(x)
        return squashed if self.is_unit else torch.where(self.inside, self.middle + self.reach * squashed, x)


def usable(box: spaces.Box) -> Tensor:
    """Return ``(act,)`` booleans: True if the bounds differ, and float32 can square their distance."""
    reach = torch.from_numpy(_middle_and_reach(box)[1]).flatten()
    return (reach > 0) & reach.float().square().isfinite()


def check_scaled(space: spaces.Space, name: str) -> None:
    """Raise UserError for a Box that an algorithm cannot scale to [-1, 1]; it would act with NaN."""
    if isinstance(space, spaces.Box) and not bool(usable(space).all()):
        number = int(torch.nonzero(~usable(space))[0])
        low, high = (cast(np.ndarray, bound).flatten()[number] for bound in (space.low, space.high))
        raise UserError(
            f"action space: number {number} has the bounds {low:g} and {high:g}, which {name} cannot scale to [-1, 1]; "
            "give it bounds of its own size (gymnasium.wrappers.RescaleAction, TransformAction), or use PPO"
        )


def _middle_and_reach(box: spaces.Box) -> tuple[np.ndarray, np.ndarray]:
    low, high = (bound.astype(np.float64) / 2 for bound in (box.low, box.high))  # halved to keep sums finite
    return low + high, high - low
