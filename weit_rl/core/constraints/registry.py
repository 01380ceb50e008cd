"""The registry of constraints, and the interface of a constraint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from weit_rl.common.registry import Registry
from weit_rl.core.plan import Slot


class Constraint(Protocol):
    """The interface of a constraint."""

    factored: bool
    """True if a network's own factors have axes that count tiles, False if they are whole weights; for ``resize``."""

    whole: bool
    """True if the constraint needs tiles that are whole weights. Pre-training then replaces the plan's tiles, and the
    bank's tiles have the width of its network. Such a bank can be cut to any narrower size, and widened by multiples.
    """

    def shared(self, rank: int, tile: tuple[int, ...], std: float, generator: torch.Generator) -> Tensor:
        """Return fresh factors of one role, which the bank keeps.

        Args:
            rank: number of templates.
            tile: shape of a tile.
            std: standard deviation of the weights at initialisation.
            generator: draws the factors.
        """
        ...

    def own(self, slot: Slot, shared: Tensor, weights: Tensor, generator: torch.Generator) -> Tensor:
        """Return fresh factors of one network for a slot; they compose weights with the spread of ``weights``.

        Args:
            slot: the slot.
            shared: factors of the slot's role.
            weights: the slot's dense weights, ``(layers, split, *part)``.
            generator: draws the factors.
        """
        ...

    def compose(self, own: Tensor, shared: Tensor, slot: Slot) -> Tensor:
        """Compose the slot's stacked weights ``(layers, split, *part)``."""
        ...

    def stacked(self, own: Sequence[Tensor], shared: Sequence[Tensor], slots: Sequence[Slot]) -> list[Tensor]:
        """Compose many slots at once, each as :meth:`compose` does."""
        ...

    def by_layer(self, own: Sequence[Tensor], shared: Sequence[Tensor], slots: Sequence[Slot]) -> list[list[Tensor]]:
        """Compose many slots at once, as one tensor of ``slot.shape`` for each layer of each slot.

        Their gradients arrive layer by layer and need no stacking.
        """
        ...


CONSTRAINTS: Registry[Constraint] = Registry("constraint", "weit_rl.core.constraints", "weit_rl.constraints")
