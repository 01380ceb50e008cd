"""FINE (arXiv 2409.19289): ``W[l] = U diag(s[l]) V^T``, U and V shared by all layers of a role, s[l] one layer's own.

It is the Kronecker form with templates of rank one, ``T[n] = U[:, n] V[:, n]^T``, on a grid of a single tile: the
whole weight. So a narrower size takes the first rows of U and V, and one that is wider by a whole multiple repeats
them; a width in between would need scalers for part of a tile, which the form does not have, and is refused.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from weit_rl.core.constraints.kronecker import Kronecker
from weit_rl.core.constraints.registry import CONSTRAINTS
from weit_rl.core.plan import Slot


class SVD(Kronecker):
    """Weights in a basis of rank-one matrices that all layers share; the rank is the length of s."""

    whole = True

    def shared(self, rank: int, tile: tuple[int, ...], std: float, generator: torch.Generator) -> Tensor:
        """``(rank, p + q)``: the columns of U beside those of V; their products have the dense init's spread."""
        return torch.randn(rank, sum(sides(tile)), generator=generator) * std**0.5

    def templates(self, shared: Tensor, tile: tuple[int, ...] | None) -> Tensor:
        """Column by column the products of U and V."""
        assert tile is not None
        u, v = shared.split(sides(tile), dim=1)
        return (u.unsqueeze(2) * v.unsqueeze(1)).reshape(-1, *tile)

    def scalers(self, own: Tensor, shared: Tensor, slot: Slot) -> Tensor:
        """Scalers times U, since ``kron(s, u v^T) = kron(kron(s, u), v^T)``; a row of the weight is a row of the grid.

        At rank 128 it takes an eighth of the time of templates ``u v^T``.
        """
        assert slot.rule.tile is not None
        u = shared.split(sides(slot.rule.tile), dim=1)[0]
        own, u = own.flatten(0, 1), u.view(-1, 1, slot.rule.tile[0], *[1] * (len(slot.grid) - 1))
        return (own.unsqueeze(3) * u).flatten(2, 3)

    def summed(self, shared: Tensor, tile: tuple[int, ...] | None) -> Tensor:
        """V alone, ``(rank, 1, q, ...)``."""
        assert tile is not None
        return shared.split(sides(tile), dim=1)[1].reshape(-1, 1, *tile[1:])


def sides(tile: tuple[int, ...]) -> list[int]:
    """A tile as a matrix: its first axis against all others."""
    return [tile[0], math.prod(tile[1:])]


CONSTRAINTS.add("svd", SVD())
