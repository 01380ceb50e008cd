"""Composition in plain PyTorch: any device, any dtype, any order of derivative."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from weit_rl.kernels.grouping import Group


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
    own, shared = scalers.reshape(*scalers.shape[:2], -1), templates.reshape(len(templates), -1)
    tiles = own.transpose(1, 2) @ shared
    axes = len(grid)
    order = [0] + [axis for k in range(axes) for axis in (1 + k, 1 + axes + k)]
    tiles = tiles.reshape(batch, *grid, *tile).permute(order)
    return tiles.reshape(batch, *[math.prod(pair) for pair in zip(grid, tile, strict=True)])


def by_tile(weights: Tensor, batch: int, grid: Sequence[int], tile: Sequence[int]) -> Tensor:
    """A batch of weights with a row for each tile: ``(batch, prod(grid), prod(tile))``."""
    pairs = [length for pair in zip(grid, tile, strict=True) for length in pair]
    order = [0, *range(1, len(pairs), 2), *range(2, len(pairs) + 1, 2)]
    tiles = weights.reshape(batch, *pairs).permute(order)
    return tiles.reshape(batch, math.prod(grid), math.prod(tile))


def weights(group: Group, scalers: Sequence[Tensor], templates: Tensor, dtype: torch.dtype) -> list[Tensor]:
    """The weights of a group's entries, as :func:`weit_rl.kernels.cpu_chunked.weights` makes them."""
    made = (compose(s.to(group.sums), templates.to(group.sums)) for s in scalers)
    return [w.to(dtype).view(group.shape) for w in made]


def gradients(
    group: Group,
    grads: Sequence[Tensor],
    scalers: Sequence[Tensor],
    templates: Tensor,
    of_scalers: bool,
    total: Tensor | None,
) -> list[Tensor]:
    """What reaches scalers and templates, as :func:`weit_rl.kernels.cpu_chunked.gradients` gives it."""
    made, t = [], templates.to(group.sums).flatten(1)
    for grad, s in zip(grads, scalers, strict=True):
        tiles = by_tile(grad.to(group.sums), group.batch, group.grid, group.tile)
        if of_scalers:
            made.append((t @ tiles.transpose(1, 2)).to(group.dtype).view_as(s))
        if total is not None:
            total += torch.einsum("bng,bgx->nx", s.to(group.sums).flatten(2), tiles)
    return made
