"""The units that structured pruning may remove, and their scores before training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from weit_rl.core.plan import HEADS, Layout
from weit_rl.core.resize import layer_map
from weit_rl.core.shared_axes import Axis, blocks_of
from weit_rl.initializers.structured_pruning.masked_network import MaskedNetwork

START, SPREAD = 2.0, 1.0  # mean and standard deviation of the first scores, at which nearly all masks are near 1


@dataclass(frozen=True)
class UnitKind:
    """A kind of units, of which the target has fewer than the source.

    Attributes:
        count: number of units that stay in each layer.
        size: number of entries in a unit.
        scores: the first scores, ``(layers, units)``.
    """

    count: int
    size: int
    scores: Tensor


def unit_kinds(
    network: MaskedNetwork, weights: Mapping[str, Tensor], target: Layout, head_dim: int
) -> Iterator[tuple[str, UnitKind]]:
    """Yield every kind of units with the name of its mask.

    The first scores rank units well without training. Units of an axis are ranked by the product of the norms of all
    weights along it, which rescaling a neuron does not change. Evenly spaced blocks come before the others.
    """
    for key, slot in target.items():
        depth = len(network.layout[key].names)
        if slot.stacked and len(slot.names) < depth:
            even = torch.zeros(1, depth).to(weights[key])
            even[0, layer_map(depth, len(slot.names))] = 1
            yield blocks_of(slot), UnitKind(len(slot.names), 1, _spread(even))
        for axis, length in zip(network.axes[key], slot.part, strict=True):
            if axis is not None and length < axis.length:
                size = head_dim if axis.name == HEADS else 1
                yield axis.key, UnitKind(length // size, size, _spread(_norms(network, weights, axis, size)))


def _norms(network: MaskedNetwork, weights: Mapping[str, Tensor], axis: Axis, size: int) -> Tensor:
    """Sum the log norms of all matrices along an axis; ``(layers, units)``."""
    total = torch.zeros(axis.layers, axis.length // size).to(next(iter(weights.values())))
    for key, axes in network.axes.items():
        for dim, other in enumerate(axes, start=2):
            if other == axis and len(axes) > 1:
                x = weights[key].detach().movedim(dim, 1)
                x = x if axis.blocks else x.transpose(0, 1).unsqueeze(0)
                total += x.unflatten(1, (-1, size)).flatten(2).norm(dim=2).clamp_min(1e-12).log()
    return total


def _spread(merit: Tensor) -> Tensor:
    away = merit - merit.mean(-1, keepdim=True)
    return START + SPREAD * away / away.square().mean(-1, keepdim=True).sqrt().clamp_min(1e-6)
