"""Composition in plain PyTorch: any device, any dtype, any order of derivative."""

from __future__ import annotations

import math

from torch import Tensor


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
