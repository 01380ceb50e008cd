"""No constraint: the dense supernet, the control that tells templates from slimmable training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from weit_rl.core.constraints.registry import CONSTRAINTS
from weit_rl.core.plan import Slot


class Identity:
    """A network's own factors are its weights; the bank holds nothing for the role."""

    factored = False
    whole = False

    def shared(self, rank: int, tile: tuple[int, ...], std: float, generator: torch.Generator) -> Tensor:
        """An empty tensor that keeps the tile's shape for the bank's checks."""
        return torch.empty(0, *tile)

    def own(self, slot: Slot, shared: Tensor, weights: Tensor, generator: torch.Generator) -> Tensor:
        """The dense weights themselves."""
        return weights.clone()

    def compose(self, own: Tensor, shared: Tensor, slot: Slot) -> Tensor:
        """Nothing to do."""
        return own

    def stacked(self, own: Sequence[Tensor], shared: Sequence[Tensor], slots: Sequence[Slot]) -> list[Tensor]:
        """Nothing to do."""
        return list(own)

    def by_layer(self, own: Sequence[Tensor], shared: Sequence[Tensor], slots: Sequence[Slot]) -> list[list[Tensor]]:
        """The layers taken apart."""
        return [list(x.reshape(-1, *slot.shape).unbind()) for x, slot in zip(own, slots, strict=True)]


CONSTRAINTS.add("identity", Identity())
