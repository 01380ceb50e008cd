"""Composition in plain PyTorch: any device, any dtype, any order of derivative."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from weit_rl.kernels.tiling import accumulator


def compose(scalers: Tensor, templates: Tensor) -> Tensor:
    """Sum of Kronecker products, one sum per leading entry: ``W[b] = sum_n kron(scalers[b, n], templates[n])``.

    Args:
        scalers: ``(batch, N, *grid)``.
        templates: ``(N, *tile)`` with as many tile axes as grid axes (1 to 4).

    Returns:
        ``(batch, grid[0] * tile[0], grid[1] * tile[1], ...)``.
    """
    batch, grid, tile = scalers.shape[0], scalers.shape[2:], templates.shape[1:]
    # (batch, grid, N) x (N, tile): one matrix product makes every tile of every layer.
    tiles = scalers.flatten(2).transpose(1, 2) @ templates.flatten(1)
    axes = len(grid)
    order = [0] + [axis for k in range(axes) for axis in (1 + k, 1 + axes + k)]
    tiles = tiles.view(batch, *grid, *tile).permute(order)
    return tiles.reshape(batch, *[math.prod(pair) for pair in zip(grid, tile, strict=True)])


def by_tile(weights: Tensor, grid: Sequence[int], tile: Sequence[int]) -> Tensor:
    """Weights ``(batch, grid[0] * tile[0], ...)`` with a row for each tile: ``(batch, prod(grid), prod(tile))``."""
    pairs = [length for pair in zip(grid, tile, strict=True) for length in pair]
    order = [0, *range(1, len(pairs), 2), *range(2, len(pairs) + 1, 2)]
    tiles = weights.reshape(len(weights), *pairs).permute(order)
    return tiles.reshape(len(weights), math.prod(grid), math.prod(tile))


def compose_entries(scalers: Sequence[Tensor], templates: Tensor, dtype: torch.dtype) -> list[Tensor]:
    """The weights of all entries of one role, as :func:`weit_rl.kernels.chunked.compose` makes them."""
    wide = accumulator(scalers[0], templates)
    return [compose(s.to(wide), templates.to(wide)).to(dtype) for s in scalers]


def gradients(
    grads: Sequence[Tensor], scalers: Sequence[Tensor], templates: Tensor, of_scalers: bool, of_templates: bool
) -> tuple[list[Tensor], Tensor | None]:
    """What reaches scalers and templates, as :func:`weit_rl.kernels.chunked.gradients` computes it."""
    wide, made, total = accumulator(scalers[0], templates), [], None
    t = templates.to(wide).flatten(1)
    for grad, s in zip(grads, scalers, strict=True):
        tiles = by_tile(grad.to(wide), s.shape[2:], templates.shape[1:])
        if of_scalers:
            made.append((t @ tiles.transpose(1, 2)).to(s.dtype).view_as(s))
        if of_templates:
            part = torch.einsum("bng,bgx->nx", s.to(wide).flatten(2), tiles)
            total = part if total is None else total + part
    return made, None if total is None else total.to(templates.dtype).view_as(templates)
