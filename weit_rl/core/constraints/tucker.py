"""SWEET (arXiv 2601.19694): the slices of a role as one tensor, a core times a map for each of its three axes.

``W[l] = A (sum_n c[l, n] G[n]) B^T``: the core G and the width maps A and B are shared, and c[l] belongs to one layer.
It is the Kronecker form with templates ``T[n] = A G[n] B^T`` on a grid of a single tile, the whole weight.

The paper learns the width maps anew for each size. Here a narrower size takes their first rows, and a size wider by a
whole multiple repeats them; a width in between is refused. So every constraint trains the same kind of factors in the
same stage. One rank serves all three axes, because the paper's choice is not known here.
"""

from __future__ import annotations

import torch
from torch import Tensor

from weit_rl.core.constraints.kronecker import Kronecker
from weit_rl.core.constraints.registry import CONSTRAINTS
from weit_rl.core.constraints.svd import sides


class Tucker(Kronecker):
    """Weights as width maps around a mixture of small core matrices."""

    whole = True

    def shared(self, rank: int, tile: tuple[int, ...], std: float, generator: torch.Generator) -> Tensor:
        """Return ``(rank, rank^2 + p + q)``: the core's slices, the columns of A, those of B.

        The maps keep the scale of what they map, so the core has standard deviation ``std``.
        """
        core = torch.randn(rank, rank * rank, generator=generator) * std
        maps = torch.randn(rank, sum(sides(tile)), generator=generator) / rank**0.5
        return torch.cat([core, maps], dim=1)

    def templates(self, shared: Tensor, tile: tuple[int, ...] | None) -> Tensor:
        """Return every slice of the core between the two maps, ``(rank, *tile)``."""
        assert tile is not None
        rank = len(shared)
        core, a, b = shared.split([rank * rank, *sides(tile)], dim=1)
        return (a.T @ core.view(rank, rank, rank) @ b).reshape(rank, *tile)


CONSTRAINTS.add("tucker", Tucker())
