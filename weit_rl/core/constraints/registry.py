"""The registry of constraints, and what each has to offer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from weit_rl.common.registry import Registry
from weit_rl.core.plan import Slot


class Constraint(Protocol):
    """What tells one constraint from another."""

    factored: bool
    """Whether a network's own factors count tiles (True) or are whole weights (False): what ``resize`` asks."""

    whole: bool
    """Whether it is defined for tiles that are whole weights (True): pre-training takes them instead of the plan's, and
    the bank's tiles are of its own width. Such a bank can be cut to any narrower size and widened by whole multiples.
    """

    def shared(self, rank: int, tile: tuple[int, ...], std: float, generator: torch.Generator) -> Tensor:
        """Fresh factors of one role, kept in the bank."""
        ...

    def own(self, slot: Slot, shared: Tensor, weights: Tensor, generator: torch.Generator) -> Tensor:
        """Fresh factors of one network for a slot, so that its weights start at the std of ``weights``."""
        ...

    def compose(self, own: Tensor, shared: Tensor, slot: Slot) -> Tensor:
        """The slot's stacked weights ``(layers, split, *part)``."""
        ...

    def stacked(self, own: Sequence[Tensor], shared: Sequence[Tensor], slots: Sequence[Slot]) -> list[Tensor]:
        """What :meth:`compose` makes, for many slots at once."""
        ...

    def by_layer(self, own: Sequence[Tensor], shared: Sequence[Tensor], slots: Sequence[Slot]) -> list[list[Tensor]]:
        """The same as parameters: for each slot one tensor of ``slot.shape`` a layer.

        Their gradients come layer by layer, and need no stacking.
        """
        ...


CONSTRAINTS: Registry[Constraint] = Registry("constraint", "weit_rl.core.constraints", "weit_rl.constraints")
