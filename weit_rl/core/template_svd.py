"""The best templates of given weights, in closed form (Van Loan and Pitsianis 1993).

With its tiles as rows, ``W = sum_n kron(S[n], T[n])`` is a matrix of rank N: scalers times templates. So the best N
templates of any stack of weights are the first N right singular vectors of all their tiles. The best scalers are the
projections on them, and the squared error is the sum of the squared singular values left out. Weights that do not
divide into tiles are padded with zeros, which composing crops again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def tile_rows(weights: Tensor, tile: tuple[int, ...]) -> Tensor:
    """Rearrange a stack of weights so that every tile is a row.

    Args:
        weights: ``(*leading, *part)``, such as a slot's ``(layers, split, *part)``.
        tile: one to four lengths, one per axis of ``part``.

    Returns:
        ``(batch, tiles of a weight, prod(tile))``, where ``batch`` is the product of the leading axes.
    """
    axes = len(tile)
    x = weights.flatten(0, -axes - 1) if weights.ndim > axes else weights.unsqueeze(0)
    part = x.shape[1:]
    ends = [-length % edge for length, edge in zip(part, tile, strict=True)]
    x = F.pad(x, [side for end in reversed(ends) for side in (0, end)])
    cut = [n for length, edge in zip(x.shape[1:], tile, strict=True) for n in (length // edge, edge)]
    grid, inside = range(1, 2 * axes, 2), range(2, 2 * axes + 1, 2)
    return x.reshape(-1, *cut).permute(0, *grid, *inside).reshape(len(x), -1, math.prod(tile))


def spectrum(weights: Sequence[Tensor], tile: tuple[int, ...]) -> Tensor:
    """Return the singular values, largest first, of all tiles of a role's weights (one stack per slot)."""
    return torch.linalg.svdvals(_rows(weights, tile))


def best_templates(weights: Sequence[Tensor], tile: tuple[int, ...], rank: int) -> Tensor:
    """Return the templates that leave the least squared error in a role's weights.

    Args:
        weights: the role's stacks, one per slot.
        tile: shape of a template.
        rank: number of templates; at most the entries of a tile, and the tiles of the role.

    Returns:
        ``(N, *tile)`` in double precision, orthonormal.
    """
    return torch.linalg.svd(_rows(weights, tile), full_matrices=False).Vh[:rank].reshape(-1, *tile)


def project(weights: Tensor, templates: Tensor) -> Tensor:
    """Return the best scalers ``(*leading, N, *grid)`` of a stack ``(*leading, *part)`` for orthonormal templates."""
    tile = tuple(templates.shape[1:])
    leading, part = weights.shape[: -len(tile)], weights.shape[weights.ndim - len(tile) :]
    grid = [math.ceil(length / edge) for length, edge in zip(part, tile, strict=True)]
    scalers = tile_rows(weights.to(templates), tile) @ templates.flatten(1).T  # (batch, tiles, N)
    return scalers.transpose(1, 2).reshape(*leading, len(templates), *grid)


def rank_for(values: Tensor, energy: float) -> int:
    """Return the smallest number of templates that keeps a share of the energy, the sum of squares.

    Args:
        values: singular values, largest first.
        energy: the share to keep, above 0 and up to 1.
    """
    kept = values.double().square().cumsum(0)
    return min(int((kept < energy * kept[-1] * (1 - 1e-12)).sum()) + 1, len(values))


def _rows(weights: Sequence[Tensor], tile: tuple[int, ...]) -> Tensor:
    return torch.cat([tile_rows(stack.double(), tile).flatten(0, 1) for stack in weights])
