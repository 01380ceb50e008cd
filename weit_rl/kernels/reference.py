"""The reference backend: composition in plain PyTorch, for any device, any dtype and any order of derivative.

It runs on devices without a backend of their own. Function transforms (``jvp``, ``vmap`` and their combinations) and
exports use it too, because they need operations that PyTorch itself can take apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from weit_rl.kernels.entry_groups import dtype_of_sums, weight_shape


def compose_reference(
    scalers: Sequence[Tensor], templates: Sequence[Tensor], roles: Sequence[int], dtype: torch.dtype | None = None
) -> list[Tensor]:
    """Compose all weights of a call; arguments and result are those of :func:`weit_rl.kernels.operator.compose`."""
    weights = []
    for own, role in zip(scalers, roles, strict=True):
        s, t = _widen(own, templates[role])
        weights.append(kronecker_sum(s, t).to(dtype or own.dtype).reshape(weight_shape(s.shape, t.shape)))
    return weights


def gradients_reference(
    grads: Sequence[Tensor],
    scalers: Sequence[Tensor],
    templates: Sequence[Tensor],
    roles: Sequence[int],
    of_scalers: bool,
    of_templates: bool,
) -> list[Tensor]:
    """Return the gradients of all scalers (if ``of_scalers``), then of all templates (if ``of_templates``).

    Args:
        grads: gradient of each entry's weights, of the weights' shape.
        scalers: as in the forward call.
        templates: as in the forward call.
        roles: as in the forward call.
        of_scalers: whether gradients of the scalers are needed.
        of_templates: whether gradients of the templates are needed.
    """
    own: list[Tensor] = []
    totals = [torch.zeros_like(t, dtype=dtype_of_sums(t.dtype, t.dtype)) for t in templates] if of_templates else []
    for grad, scaler, role in zip(grads, scalers, roles, strict=True):
        s, t = _widen(scaler, templates[role])
        tiles = tiles_as_rows(grad.to(s.dtype), s.shape[0], s.shape[2:], t.shape[1:])
        if of_scalers:
            own.append(scaler_gradient(tiles, t).to(scaler.dtype).reshape(scaler.shape))
        if of_templates:
            totals[role] = totals[role] + template_gradient(tiles, s).reshape(t.shape)
    return [*own, *(total.to(t.dtype) for total, t in zip(totals, templates, strict=False))]


def kronecker_sum(scalers: Tensor, templates: Tensor) -> Tensor:
    """Sum Kronecker products for each leading index: ``W[b] = sum_n kron(scalers[b, n], templates[n])``.

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


def tiles_as_rows(weights: Tensor, batch: int, grid: Sequence[int], tile: Sequence[int]) -> Tensor:
    """Rearrange weights so that each tile is a row: ``(batch, prod(grid), prod(tile))``."""
    pairs = [length for pair in zip(grid, tile, strict=True) for length in pair]
    order = [0, *range(1, len(pairs), 2), *range(2, len(pairs) + 1, 2)]
    tiles = weights.reshape(batch, *pairs).permute(order)
    return tiles.reshape(batch, math.prod(grid), math.prod(tile))


def scaler_gradient(tiles: Tensor, templates: Tensor) -> Tensor:
    """Return the gradient of scalers ``(batch, N, prod(grid))`` from the weights' gradient, tiles as rows."""
    return templates.reshape(len(templates), -1) @ tiles.transpose(1, 2)


def template_gradient(tiles: Tensor, scalers: Tensor) -> Tensor:
    """Return the gradient of templates ``(N, prod(tile))`` from the weights' gradient, tiles as rows."""
    return (scalers.reshape(*scalers.shape[:2], -1) @ tiles).sum(0)  # torch.einsum has no batching rule in older vmap


def _widen(scalers: Tensor, templates: Tensor) -> tuple[Tensor, Tensor]:
    """Convert both factors to the dtype in which products are summed."""
    sums = dtype_of_sums(scalers.dtype, templates.dtype)
    return scalers.to(sums), templates.to(sums)
