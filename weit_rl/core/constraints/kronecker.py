"""WeiT (arXiv 2604.14769): ``W = sum_n kron(S[n], T[n])`` with shared templates T and scalers S of one network."""

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
        """Return templates ``(rank, *tile)`` with standard deviation ``std``."""
        return torch.randn(rank, *tile, generator=generator) * std

    def templates(self, shared: Tensor, tile: tuple[int, ...] | None) -> Tensor:
        """Return the templates ``(rank, *tile)`` that the shared factors make; here the factors are the templates."""
        return shared

    def own(self, slot: Slot, shared: Tensor, weights: Tensor, generator: torch.Generator) -> Tensor:
        """Return scalers ``(layers, split, N, *grid)``, by Var(W) = N Var(T) Var(S); zero weights give zero scalers."""
        rank, spread = shared.shape[0], _spread(self.templates(shared, slot.rule.tile)).clamp_min(1e-12)
        shape = (len(slot.names), slot.rule.split, rank, *slot.grid)
        return torch.randn(shape, generator=generator).to(weights) * (_spread(weights) / spread / rank**0.5)

    def compose(self, own: Tensor, shared: Tensor, slot: Slot) -> Tensor:
        """Compose all layers of the slot, cropped to the weights' true shape."""
        return self.stacked([own], [shared], [slot])[0]

    def stacked(self, own: Sequence[Tensor], shared: Sequence[Tensor], slots: Sequence[Slot]) -> list[Tensor]:
        """Compose all layers of all slots in one call of the operator."""
        scalers, templates, roles = self._factors(own, shared, slots)
        made = compose(scalers, templates, roles)
        return [_crop([full], slot, slot.full_shape)[0] for full, slot in zip(made, slots, strict=True)]

    def by_layer(self, own: Sequence[Tensor], shared: Sequence[Tensor], slots: Sequence[Slot]) -> list[list[Tensor]]:
        """Compose all slots in one call of the operator, with an entry for every layer."""
        scalers, templates, roles = self._factors(own, shared, slots)
        layers = [s.split(slot.rule.split) for s, slot in zip(scalers, slots, strict=True)]
        by_layer = [role for role, parts in zip(roles, layers, strict=True) for _ in parts]
        made = iter(compose([s for parts in layers for s in parts], templates, by_layer))
        return [_crop([next(made) for _ in slot.names], slot, slot.shape) for slot in slots]

    def _factors(
        self, own: Sequence[Tensor], shared: Sequence[Tensor], slots: Sequence[Slot]
    ) -> tuple[list[Tensor], list[Tensor], list[int]]:
        """Return scalers by slot, templates by role, and the role of each slot."""
        places: dict[int, int] = {}
        roles = [places.setdefault(id(factors), len(places)) for factors in shared]
        firsts = [roles.index(role) for role in range(len(places))]
        scalers = [self.scalers(*trio) for trio in zip(own, shared, slots, strict=True)]
        return scalers, [self.summed(shared[k], slots[k].rule.tile) for k in firsts], roles

    def scalers(self, own: Tensor, shared: Tensor, slot: Slot) -> Tensor:
        """Return the operator's scalers, ``(layers * split, N, *grid)``."""
        return own.flatten(0, 1)

    def summed(self, shared: Tensor, tile: tuple[int, ...] | None) -> Tensor:
        """Return the operator's templates; they equal :meth:`templates` unless the scalers contain a part of them."""
        return self.templates(shared, tile)


def _spread(values: Tensor) -> Tensor:
    """Return the standard deviation; for a single number its absolute value."""
    return values.std() if values.numel() > 1 else values.abs().mean()


def _crop(made: list[Tensor], slot: Slot, shape: tuple[int, ...]) -> list[Tensor]:
    """Crop composed weights to the given shape: whole tiles may exceed it."""
    lengths = [n * t for n, t in zip(slot.grid, slot.rule.tile or (), strict=True)]
    if tuple(lengths) == slot.part:  # slicing the whole axis would still cost a copy in the backward pass
        return [full if full.shape == shape else full.view(shape) for full in made]
    made = [full.view(-1, *lengths) for full in made]
    for axis, length in enumerate(slot.part, start=1):
        made = [full.narrow(axis, 0, length) for full in made]
    return [full.reshape(shape) for full in made]


CONSTRAINTS.add("kronecker", Kronecker())
