"""Conversion between named parameters and the stacked tensors of slots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from weit_rl.core.rules import Layout


def stack(tensors: Mapping[str, Tensor], layout: Layout) -> dict[str, Tensor]:
    """Stack named parameters into slots: ``{slot: (layers, split, *part)}``."""
    return {
        key: torch.stack([tensors[name] for name in slot.names]).reshape(slot.full_shape)
        for key, slot in layout.items()
    }


def unstack(tensors: Mapping[str, Tensor], layout: Layout) -> dict[str, Tensor]:
    """Take stacked slots apart into named parameters, the inverse of :func:`stack`; tied ones get all their names."""
    layers = {key: tensors[key].reshape(-1, *slot.shape).unbind(0) for key, slot in layout.items()}
    return by_parameter_name(layers, layout)


def by_parameter_name(layers: Mapping[str, Sequence[Tensor]], layout: Layout) -> dict[str, Tensor]:
    """Return the layers of every slot by parameter name; a tied parameter gets all its names.

    Args:
        layers: the layers of each slot, in order of depth.
        layout: of the network.
    """
    tensors: dict[str, Tensor] = {}
    for key, slot in layout.items():
        tensors.update(zip(slot.names, layers[key], strict=True))
        tensors.update({alias: tensors[name] for alias, name in slot.ties})
    return tensors
