"""No constraint: the dense supernet, the control that tells templates from slimmable training."""

from __future__ import annotations

import torch
from torch import Tensor

from weit_rl.constraints import CONSTRAINTS
from weit_rl.plan import Slot


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


CONSTRAINTS.add("identity", Identity())
