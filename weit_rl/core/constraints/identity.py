"""No constraint: the dense supernet, the control that separates the effect of templates from slimmable training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from weit_rl.core.constraints.registry import CONSTRAINTS
from weit_rl.core.plan import Slot


class Identity:
    """A constraint without templates: a network's own factors are its weights."""

    factored = False
    whole = False

    def shared(self, rank: int, tile: tuple[int, ...], std: float, generator: torch.Generator) -> Tensor:
        """Return an empty tensor that keeps the tile's shape for the bank's checks."""
        return torch.empty(0, *tile)

    def own(self, slot: Slot, shared: Tensor, weights: Tensor, generator: torch.Generator) -> Tensor:
        """Return a copy of the dense weights."""
        return weights.clone()

    def compose(self, own: Tensor, shared: Tensor, slot: Slot) -> Tensor:
        """Return the weights unchanged."""
        return own

    def stacked(self, own: Sequence[Tensor], shared: Sequence[Tensor], slots: Sequence[Slot]) -> list[Tensor]:
        """Return the weights unchanged."""
        return list(own)

    def by_layer(self, own: Sequence[Tensor], shared: Sequence[Tensor], slots: Sequence[Slot]) -> list[list[Tensor]]:
        """Split stacked weights into layers."""
        return [list(x.reshape(-1, *slot.shape).unbind()) for x, slot in zip(own, slots, strict=True)]


CONSTRAINTS.add("identity", Identity())
