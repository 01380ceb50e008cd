"""WeiT (arXiv 2604.14769): ``W = sum_n kron(S[n], T[n])``, templates T shared, scalers S of one network."""

from __future__ import annotations

import torch
from torch import Tensor

from weit_rl.constraints import CONSTRAINTS
from weit_rl.kernels.reference import compose
from weit_rl.plan import Slot


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
        rank, spread = shared.shape[0], self.templates(shared, slot.rule.tile).std().clamp_min(1e-12)
        shape = (len(slot.names), slot.rule.split, rank, *slot.grid)
        return torch.randn(shape, generator=generator).to(weights) * (weights.std() / spread / rank**0.5)

    def compose(self, own: Tensor, shared: Tensor, slot: Slot) -> Tensor:
        """All layers of the slot in one product, cropped to the weights' true shape."""
        full = self.uncropped(own.flatten(0, 1), shared, slot.rule.tile)
        for axis, length in enumerate(slot.part, start=1):
            if full.shape[axis] > length:  # a slice that cuts nothing off would still cost its backward a copy
                full = full.narrow(axis, 0, length)
        return full.reshape(slot.full_shape)

    def uncropped(self, own: Tensor, shared: Tensor, tile: tuple[int, ...] | None) -> Tensor:
        """The weights of ``(batch, N, *grid)`` scalers, before cropping."""
        return compose(own, self.templates(shared, tile))


CONSTRAINTS.add("kronecker", Kronecker())
