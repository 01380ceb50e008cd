"""FINE (arXiv 2409.19289): ``W[l] = U diag(s[l]) V^T``, U and V shared by all layers of a role, s[l] one layer's own.

It is the Kronecker form with templates of rank one, ``T[n] = U[:, n] V[:, n]^T``, on a grid of a single tile: the
whole weight. So a narrower size takes the first rows of U and V, and one that is wider by a whole multiple repeats
them; a width in between would need scalers for part of a tile, which the form does not have, and is refused.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from weit_rl.constraints import CONSTRAINTS
from weit_rl.constraints.kronecker import Kronecker
from weit_rl.kernels.reference import compose


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

    def uncropped(self, own: Tensor, shared: Tensor, tile: tuple[int, ...] | None) -> Tensor:
        """Without the products, an eighth of the time at rank 128: ``kron(s, u v^T) = kron(kron(s, u), v^T)``."""
        assert tile is not None
        u, v = shared.split(sides(tile), dim=1)
        u = u.view(-1, 1, tile[0], *[1] * (len(tile) - 1))
        return compose((own.unsqueeze(3) * u).flatten(2, 3), v.reshape(-1, 1, *tile[1:]))


def sides(tile: tuple[int, ...]) -> list[int]:
    """A tile as a matrix: its first axis against all others."""
    return [tile[0], math.prod(tile[1:])]


CONSTRAINTS.add("svd", SVD())
