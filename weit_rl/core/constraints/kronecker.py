"""WeiT (arXiv 2604.14769): ``W = sum_n kron(S[n], T[n])``, templates T shared, scalers S of one network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from weit_rl.core.constraints.registry import CONSTRAINTS
from weit_rl.core.plan import Slot
from weit_rl.kernels.operator import compose


class Kronecker:
    """Weights as weighted sums of template tiles on a grid."""

    factored = True
    whole = False

    def shared(self, rank: int, tile: tuple[int, ...], std: float, generator: torch.Generator) -> Tensor:
        """Templates ``(rank, *tile)`` drawn at the dense init's standard deviation."""
        return torch.randn(rank, *tile, generator=generator) * std

    def templates(self, shared: Tensor, tile: tuple[int, ...] | None) -> Tensor:
        """The templates ``(rank, *tile)`` that the shared factors make: here they are the shared factors."""
        return shared

    def own(self, slot: Slot, shared: Tensor, weights: Tensor, generator: torch.Generator) -> Tensor:
        """Scalers ``(layers, split, N, *grid)``: Var(W) = N Var(T) Var(S); zero weights give zero scalers."""
        rank, spread = shared.shape[0], _spread(self.templates(shared, slot.rule.tile)).clamp_min(1e-12)
        shape = (len(slot.names), slot.rule.split, rank, *slot.grid)
        return torch.randn(shape, generator=generator).to(weights) * (_spread(weights) / spread / rank**0.5)

    def compose(self, own: Tensor, shared: Tensor, slot: Slot) -> Tensor:
        """All layers of the slot, cropped to the weights' true shape."""
        return self.stacked([own], [shared], [slot])[0]

    def stacked(self, own: Sequence[Tensor], shared: Sequence[Tensor], slots: Sequence[Slot]) -> list[Tensor]:
        """All layers of all slots in one call of the operator."""
        scalers, templates, roles = self._factors(own, shared, slots)
        made = compose(scalers, templates, roles)
        return [_cropped([full], slot, slot.full_shape)[0] for full, slot in zip(made, slots, strict=True)]

    def by_layer(self, own: Sequence[Tensor], shared: Sequence[Tensor], slots: Sequence[Slot]) -> list[list[Tensor]]:
        """The same call with an entry for every layer."""
        scalers, templates, roles = self._factors(own, shared, slots)
        layers = [s.split(slot.rule.split) for s, slot in zip(scalers, slots, strict=True)]
        by_layer = [role for role, parts in zip(roles, layers, strict=True) for _ in parts]
        made = iter(compose([s for parts in layers for s in parts], templates, by_layer))
        return [_cropped([next(made) for _ in slot.names], slot, slot.shape) for slot in slots]

    def _factors(
        self, own: Sequence[Tensor], shared: Sequence[Tensor], slots: Sequence[Slot]
    ) -> tuple[list[Tensor], list[Tensor], list[int]]:
        """Scalers by slot, templates by role, and the role of each slot."""
        places: dict[int, int] = {}
        roles = [places.setdefault(id(factors), len(places)) for factors in shared]
        firsts = [roles.index(role) for role in range(len(places))]
        scalers = [self.scalers(*trio) for trio in zip(own, shared, slots, strict=True)]
        return scalers, [self.summed(shared[k], slots[k].rule.tile) for k in firsts], roles

    def scalers(self, own: Tensor, shared: Tensor, slot: Slot) -> Tensor:
        """What the operator takes as scalers: ``(layers * split, N, *grid)``."""
        return own.flatten(0, 1)

    def summed(self, shared: Tensor, tile: tuple[int, ...] | None) -> Tensor:
        """What the operator takes as templates; they are :meth:`templates` unless the scalers hold a part of them."""
        return self.templates(shared, tile)


def _spread(values: Tensor) -> Tensor:
    """The standard deviation; of a single number its size."""
    return values.std() if values.numel() > 1 else values.abs().mean()


def _cropped(made: list[Tensor], slot: Slot, shape: tuple[int, ...]) -> list[Tensor]:
    """Composed weights in the given shape, without what whole tiles add at the ends."""
    lengths = [n * t for n, t in zip(slot.grid, slot.rule.tile or (), strict=True)]
    if tuple(lengths) == slot.part:  # a slice that cuts nothing off would still cost its backward a copy
        return [full if full.shape == shape else full.view(shape) for full in made]
    made = [full.view(-1, *lengths) for full in made]
    for axis, length in enumerate(slot.part, start=1):
        made = [full.narrow(axis, 0, length) for full in made]
    return [full.reshape(shape) for full in made]


CONSTRAINTS.add("kronecker", Kronecker())
