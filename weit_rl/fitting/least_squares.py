"""Least-squares fits, and choices of channels, from observed activations; tokens are the first axis."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

RIDGE = 1e-4  # strength, relative to the mean square of the inputs
LEAST = 1e-30  # lower bound of a mean square, since dead ReLUs give zeros, which are divided by it


def ridge(x: Tensor, y: Tensor, intercept: bool = True, strength: float = RIDGE) -> tuple[Tensor, Tensor]:
    """Fit a linear map from ``x`` to ``y`` by ridge regression.

    Args:
        x: inputs, ``(tokens, in)``.
        y: targets, ``(tokens, out)``.
        intercept: whether there is a bias; without one it is zero (default True).
        strength: of the ridge, relative to the mean square of the inputs (default 1e-4).

    Returns:
        The weight ``(out, in)`` and the bias ``(out,)``.
    """
    x, y = x.double(), y.double()
    x_mean, y_mean = x.mean(0) * intercept, y.mean(0) * intercept
    x, y = x - x_mean, y - y_mean
    square = x.T @ x
    square += _floor(square, len(square), strength)
    weight = torch.linalg.solve(square, x.T @ y).T
    return weight.float(), (y_mean - weight @ x_mean).float()


def ridge_near(x: Tensor, y: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """Fit as :func:`ridge`, but shrink towards a given weight and bias where ``x`` does not determine the map."""
    shift = y.new_zeros(len(weight)) if bias is None else bias
    more, further = ridge(x, y - x @ weight.T - shift, bias is not None)
    return weight + more, shift + further


def channelwise(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Fit a scale and a shift of every channel from ``x`` to ``y``."""
    away = x - x.mean(0)
    scale = (away * (y - y.mean(0))).sum(0) / away.square().sum(0).clamp_min(LEAST)
    return scale, y.mean(0) - scale * x.mean(0)


def principal(streams: Iterable[Tensor], width: int) -> Tensor:
    """Return a basis ``(width, wide)`` of the principal directions of a stream.

    A LayerNorm ignores the mean of all channels. So the directions are those of the stream without it, one fewer than
    there are narrow channels. They are spread over the channels so that these sum to zero. Then the narrow LayerNorm
    divides by the same number as the wide one, up to a constant and the directions that are lost.

    Args:
        streams: the stream at every place where it is read, ``(tokens, wide)``.
        width: number of narrow channels.
    """
    directions = torch.linalg.eigh(covariance(streams)).eigenvectors[:, 1 - width :].T
    return (zero_sum(width).to(directions) @ directions).float()


def selection(streams: Iterable[Tensor], width: int) -> Tensor:
    """Return a basis ``(width, wide)`` of single channels of a stream, those that predict most of the others."""
    square = covariance(streams)
    return torch.eye(len(square)).to(square)[pivots(square, 1, width)].float()


def covariance(streams: Iterable[Tensor]) -> Tensor:
    """Sum the covariances ``(wide, wide)`` of a stream where it is read, each scaled to the same total variance."""
    total: Any = 0.0
    for x in streams:
        x = (x - x.mean(1, keepdim=True)).double()
        x = x - x.mean(0)
        total = total + x.T @ x / x.square().sum().clamp_min(LEAST)
    return total  # type: ignore[no-any-return]


def zero_sum(width: int) -> Tensor:
    """Return an orthonormal basis ``(width, width - 1)``, of cosines, of the vectors whose entries sum to zero."""
    place, wave = torch.arange(width).double() + 0.5, torch.arange(1, width).double()
    return math.sqrt(2 / width) * torch.cos(math.pi / width * place[:, None] * wave)


def pivots(square: Tensor, size: int, count: int) -> Tensor:
    """Choose units one after another, each with the most variance left (pivoted Cholesky factorisation by blocks).

    Args:
        square: ``(channels, channels)``, the products of all pairs of channels.
        size: number of channels in a unit.
        count: number of units to choose.

    Returns:
        Their indices ``(count,)`` in increasing order.
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
    """Return the ridge ``(size, size)`` that is added to products before they are inverted."""
    return strength * square.diagonal().mean().clamp_min(LEAST) * torch.eye(size).to(square)
