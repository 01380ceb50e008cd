"""Fitting and choosing channels from what they were seen to do; tokens lie along the first axis."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

RIDGE = 1e-4  # of the mean square of the inputs
LEAST = 1e-30  # mean square where nothing moves, as behind ReLUs that have died: zeros are divided by it


def ridge(x: Tensor, y: Tensor, intercept: bool = True, strength: float = RIDGE) -> tuple[Tensor, Tensor]:
    """``(out, in)`` weight and bias that predict ``y`` from ``x``, tokens along the first axis."""
    x, y = x.double(), y.double()
    x_mean, y_mean = x.mean(0) * intercept, y.mean(0) * intercept
    x, y = x - x_mean, y - y_mean
    square = x.T @ x
    square += _floor(square, len(square), strength)
    weight = torch.linalg.solve(square, x.T @ y).T
    return weight.float(), (y_mean - weight @ x_mean).float()


def mended(x: Tensor, y: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """As :func:`ridge`, but the nearer to a weight and bias that nearly do it, the less ``x`` says of it."""
    shift = y.new_zeros(len(weight)) if bias is None else bias
    more, further = ridge(x, y - x @ weight.T - shift, bias is not None)
    return weight + more, shift + further


def channelwise(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and shift of every channel of ``x`` that come nearest to ``y``."""
    away = x - x.mean(0)
    scale = (away * (y - y.mean(0))).sum(0) / away.square().sum(0).clamp_min(LEAST)
    return scale, y.mean(0) - scale * x.mean(0)


def principal(streams: Iterable[Tensor], width: int) -> Tensor:
    """``(width, wide)``: a basis of the directions in which the stream moves most, wherever it is read.

    A LayerNorm takes no notice of what all channels have in common. So the directions are those of the stream without
    it, one fewer than there are channels, and they are spread over the channels so that these sum to zero: then the
    narrow LayerNorm divides by what the wide one divides by, but for what is lost, and a constant.
    """
    directions = torch.linalg.eigh(movement(streams)).eigenvectors[:, 1 - width :].T
    return (zero_sum(width).to(directions) @ directions).float()


def selection(streams: Iterable[Tensor], width: int) -> Tensor:
    """``(width, wide)``: a basis of channels of the stream, those that tell most of how all move, where it is read."""
    square = movement(streams)
    return torch.eye(len(square)).to(square)[pivots(square, 1, width)].float()


def movement(streams: Iterable[Tensor]) -> Tensor:
    """``(wide, wide)``: how the channels of the stream move together, all places where it is read counting alike."""
    total: Any = 0.0
    for x in streams:
        x = (x - x.mean(1, keepdim=True)).double()
        x = x - x.mean(0)
        total = total + x.T @ x / x.square().sum().clamp_min(LEAST)
    return total  # type: ignore[no-any-return]


def zero_sum(width: int) -> Tensor:
    """``(width, width - 1)``: an orthonormal basis (of cosines) of the vectors whose entries sum to zero."""
    place, wave = torch.arange(width).double() + 0.5, torch.arange(1, width).double()
    return math.sqrt(2 / width) * torch.cos(math.pi / width * place[:, None] * wave)


def pivots(square: Tensor, size: int, count: int) -> Tensor:
    """Units whose channels say most that those chosen before do not (a Cholesky factorisation by blocks, pivoted).

    Args:
        square: ``(channels, channels)``, products of the channels' sizes.
        size: channels of a unit.
        count: of how many units.

    Returns:
        ``(count,)`` in increasing order.
    """
    units: list[int] = []
    floor = _floor(square, size)
    for _ in range(count):
        merit = square.diagonal().unflatten(0, (-1, size)).sum(1)
        merit[units] = -math.inf
        units.append(int(merit.argmax()))
        rows = square[units[-1] * size : (units[-1] + 1) * size]
        own = rows[:, units[-1] * size : (units[-1] + 1) * size]
        square = square - rows.T @ torch.linalg.solve(own + floor, rows)
    return torch.tensor(sorted(units), device=square.device)


def _floor(square: Tensor, size: int, strength: float = RIDGE) -> Tensor:
    """``(size, size)``: what is added to products so that they can be divided by."""
    return strength * square.diagonal().mean().clamp_min(LEAST) * torch.eye(size).to(square)
